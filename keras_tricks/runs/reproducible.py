"""Reproducible: the same numbers again, as far as that can be had."""

import os
from typing import NamedTuple

import keras

from keras_tricks import _arguments, _backend
from keras_tricks._report import Report
from keras_tricks.runs import _surroundings

_LARGEST = 2**32 - 1


def reproducible(seed: int) -> Report:
    """Sets all seeds, turns deterministic operations on, and says what stays open.

    When: before models are built; `kt.runs.repeat` then knows the seed.
    Typical: `print(kt.runs.reproducible(0))` in the first lines of a program.
    Costs: deterministic operations may be slower on accelerators; TensorFlow's input
        pipelines are no longer parallel where that would change the order.
    Beware: it holds for the whole process, and there is no way back but a new one. A
        seed makes a result repeatable, not typical: report several.

    Args:
        seed: Integer from 0 to 2**32 - 1.

    Returns:
        Rows of `what`, `holds` and `remark`, that print as a table; `holds` is False
        for what cannot be made deterministic, or no longer.

    Raises:
        TypeError: If `seed` is no integer.
        ValueError: If it is negative or too large.

    Example:
    >>> # In a process of its own: for this one there would be no way back.
    >>> import subprocess, sys
    >>> program = "import keras_tricks as kt; print(kt.runs.reproducible(7))"
    >>> python = [sys.executable, "-W", "ignore", "-c", program]
    >>> table = subprocess.run(python, capture_output=True, text=True).stdout
    >>> table[:7], "another machine or version" in table
    ('seed 7;', True)

    Reference: none.
    """
    number = int(_arguments.integer("seed", seed, 0, _LARGEST))
    operations = _backend.deterministic()
    keras.utils.set_random_seed(number)
    _surroundings.SEED[:] = [number]
    rows = [
        _Setting(
            "seeds of Python, NumPy, Keras and the backend", True, f"set to {number}"
        ),
        *(_Setting(*operation) for operation in operations),
        _hashes(),
        _Setting(
            "generators of your own",
            False,
            "NumPy's default_rng, random.Random, random_state: give them seeds",
        ),
        _Setting(
            "data from several workers",
            False,
            "their random numbers mix by chance: draw none there, or use one worker",
        ),
        _Setting(
            "another machine or version",
            False,
            "sums in another order, other algorithms: nearly equal at best",
        ),
    ]
    open_ = sum(not row.holds for row in rows)
    return Report(f"seed {number}; {open_} things cannot be promised", rows)


class _Setting(NamedTuple):
    """One line: what it is about, whether it holds, and why."""

    what: str
    holds: bool
    remark: str


def _hashes() -> _Setting:
    name = "PYTHONHASHSEED"
    holds = os.environ.get(name, "random") != "random"
    remark = f"set {name}=0 before Python starts"
    return _Setting(
        "order of sets of strings", holds, "by " + name if holds else remark
    )
