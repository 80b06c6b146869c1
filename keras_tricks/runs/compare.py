"""Compare: what differs between two runs."""

from typing import Any, NamedTuple

from keras_tricks._report import Report
from keras_tricks.runs import _differences, _flat, _given


def compare(a: Any, b: Any) -> Report:
    """Tells what differs between two runs: settings first, then results.

    When: one training is better than the other, and nobody knows why.
    Typical: `print(kt.runs.compare(*kt.runs.list()[-2:]))`.
    Costs: reads two records.
    Beware: only what was recorded is compared: give `RunRecorder` a `config` with what
        Keras does not know of. Names of layers do not count.

    Args:
        a: Folder of a run, or one of `kt.runs.list()`.
        b: The other one.

    Returns:
        Rows of `kind` ("setting" or "result"), `name`, `a` and `b`, that print as a
        table; None where one run has no such setting. A result is the last value of a
        metric, the number of epochs, the seconds, the state.

    Raises:
        FileNotFoundError: If there is no run.
        TypeError: If it is given as something else than a path or a run.
        ValueError: If a record is damaged.

    Example:
    >>> import tempfile, keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> folder = tempfile.mkdtemp()
    >>> for rate in (0.1, 0.2):
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     recorder = kt.callbacks.RunRecorder(folder, name=f"rate {rate}")
    ...     x, y = np.ones((8, 2)), np.ones((8, 1))
    ...     _ = model.fit(x, y, verbose=0, callbacks=[recorder])
    >>> rows = kt.runs.compare(*kt.runs.list(folder)).rows
    >>> [(row.a, row.b) for row in rows if row.name.endswith("config.learning_rate")]
    [('0.1', '0.2')]

    Reference: none.
    """
    one, other = _given.one("a", a), _given.one("b", b)
    rows = [
        _Difference("setting", name, *(_shown(value) for value in pair))
        for name, pair in _differences.settings(one, other).items()
    ]
    settings_count = len(rows)
    first, second = _differences.results(one), _differences.results(other)
    for name in {**first, **second}:
        pair = first.get(name), second.get(name)
        if not _differences.same(*pair):
            rows.append(_Difference("result", name, *(_shown(value) for value in pair)))
    summary = (
        f"{one.name!r} (a) and {other.name!r} (b) differ in {settings_count} settings "
        f"and {len(rows) - settings_count} results"
    )
    return Report(summary, rows)


class _Difference(NamedTuple):
    """One line of a comparison."""

    kind: str
    name: str
    a: Any
    b: Any


def _shown(value: Any) -> Any:
    return None if value is None else _flat.short(value)
