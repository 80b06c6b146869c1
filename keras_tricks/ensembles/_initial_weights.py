"""Initial weights that a seed of the user's does not make the same each time."""

import copy
import functools
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_tricks import _state
from keras_tricks.ensembles import _random

# One block after the other: each has to put back what it found.
_ONE_AT_A_TIME = threading.RLock()

# They draw nothing.
_FIXED = (
    keras.initializers.Zeros,
    keras.initializers.Ones,
    keras.initializers.Constant,
    keras.initializers.Identity,
    keras.initializers.STFT,
)
_SAMPLE = 100
_SEEDS = ("seed", "_seed", "_init_seed")


class Drawn:
    """What was drawn for the weights of a model, in the order of their making."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Any]] = []
        self._found: dict[int, tuple[str, bytes]] = {}

    def add(self, number: int, variable: Any) -> None:
        self._waiting.append((number, variable))
        self.settle()

    def settle(self) -> None:
        """Notes the values of all that have one by now."""
        waiting, self._waiting = self._waiting, []
        for number, variable in waiting:
            value = _value(variable)
            if value is None:
                self._waiting.append((number, variable))
            elif _looks_drawn(value):
                digest = hashlib.sha256(value.tobytes()).digest()
                self._found[number] = (variable.path, digest)

    def same_as(self, other: "Drawn") -> list[str]:
        """The paths of the weights that were drawn with the same values there."""
        pairs = (
            (path, digest, other._found.get(number, ("", b""))[1])
            for number, (path, digest) in self._found.items()
        )
        return [path for path, digest, theirs in pairs if digest == theirs]


def _value(variable: Any) -> np.ndarray | None:
    # While shapes are found out, Keras only notes what it is to draw later.
    if vars(variable).get("_initializer") is not None:
        return None
    try:
        return np.asarray(keras.ops.convert_to_numpy(variable.value))
    except Exception:  # Made in a function that is being compiled.
        return None


def _looks_drawn(value: np.ndarray) -> bool:
    """Whether its numbers are mostly different ones, as random ones are.

    Those of a constant are not, nor of an LSTM's bias, which a function makes.
    """
    some = value.reshape(-1)[:_SAMPLE].astype("float32")
    return bool(len(np.unique(some)) > max(1, len(some) // 2))


@contextmanager
def drawn_anew(seed: int) -> Iterator[Drawn]:
    """A block in which each weight that is drawn at random is drawn from a new seed.

    In the order in which the weights are made. At their making, not afterwards: what
    is read from a file, or set, is set later and so stays.
    """
    thread = threading.get_ident()
    drawn, made = Drawn(), 0
    with _ONE_AT_A_TIME:
        kind: Any = keras.Variable
        own, inner = "__init__" in vars(kind), kind.__init__

        def init(
            variable: Any,
            initializer: Any,
            shape: Any = None,
            dtype: Any = None,
            *args: Any,
            **kwargs: Any,
        ) -> None:
            nonlocal made
            if threading.get_ident() != thread or not _draws(initializer, dtype):
                inner(variable, initializer, shape, dtype, *args, **kwargs)
                return
            new = _random.derived(seed, _random.WEIGHTS, made)
            # For functions that ask the global numbers, which `build` may have seeded.
            _state.seed(new)
            if isinstance(initializer, str):
                initializer = keras.initializers.get(initializer)
            initializer = with_seed(initializer, new)
            inner(variable, initializer, shape, dtype, *args, **kwargs)
            drawn.add(made, variable)
            made += 1

        kind.__init__ = init
        try:
            yield drawn
        finally:
            if own:
                kind.__init__ = inner
            else:
                del kind.__init__


def _draws(initializer: Any, dtype: Any) -> bool:
    """Whether it may draw floating numbers: it is no array, and not always the same."""
    if dtype is not None:
        name = keras.backend.standardize_dtype(dtype)
        if not keras.backend.is_float_dtype(name):
            return False
    if isinstance(initializer, str):
        initializer = keras.initializers.get(initializer)
    return callable(initializer) and not isinstance(initializer, _FIXED)


def with_seed(initializer: Any, seed: int) -> Any:
    """An initializer like this one with another seed, if it has one.

    Also where it is None: such an object draws one when it is made, and gives the same
    weights at each call. Seeds of initializers inside it are others, each its own.
    """
    count = 0

    def another() -> int:
        nonlocal count
        count += 1
        return _random.derived(seed, count)

    return _seeded(initializer, another)


def _seeded(thing: Any, another: Callable[[], int]) -> Any:
    if isinstance(thing, list | tuple) and type(thing) in (list, tuple):
        return type(thing)(_seeded(part, another) for part in thing)
    if isinstance(thing, dict):
        return {key: _seeded(part, another) for key, part in thing.items()}
    if isinstance(thing, keras.random.SeedGenerator):
        return keras.random.SeedGenerator(another())
    if isinstance(thing, np.random.Generator):
        return np.random.default_rng(another())
    if isinstance(thing, functools.partial) and "seed" in thing.keywords:
        keywords = {**thing.keywords, "seed": another()}
        return functools.partial(thing.func, *thing.args, **keywords)
    if not isinstance(thing, keras.Initializer):
        return thing
    new = copy.copy(thing)
    # One seed under all its names.
    seed = another()
    for name, value in vars(thing).items():
        whole = value is None or isinstance(value, int | keras.random.SeedGenerator)
        if name in _SEEDS and whole:
            vars(new)[name] = seed
        else:
            vars(new)[name] = _seeded(value, another)
    return new
