"""Plot: one metric of several runs."""

from typing import Any

import numpy as np

from keras_tricks import _arguments
from keras_tricks._axes import axes
from keras_tricks.runs import _given


def plot(runs: Any, metric: str | None = None, ax: Any = None) -> Any:
    """Draws a metric over the epochs, a line per run.

    When: several runs are over, or still going.
    Typical: `kt.runs.plot("runs")`, `kt.runs.plot(kt.runs.list()[-3:], "accuracy")`.
    Costs: reads the records; needs matplotlib. `kt.runs.report` needs nothing.
    Beware: runs without the metric are left out.

    Args:
        runs: Folder of all runs or of one, or a list of paths or of `kt.runs.list()`.
        metric: String, the name of a column of the history. Defaults to "val_loss" if
            a run has it, else "loss".
        ax: `matplotlib.axes.Axes` to draw on. Defaults to those of a new figure.

    Returns:
        The `matplotlib.axes.Axes`.

    Raises:
        FileNotFoundError: If there is no run at a path.
        ImportError: If matplotlib is not installed and `ax` is not given.
        ValueError: If no run has the metric, or a record is damaged.

    Example:
    >>> import tempfile, keras, numpy as np, keras_tricks as kt
    >>> from matplotlib.figure import Figure
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> recorder = kt.callbacks.RunRecorder(tempfile.mkdtemp(), name="first")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[recorder])
    >>> kt.runs.plot(recorder.path, ax=Figure().subplots()).get_ylabel()
    'loss'

    Reference: none.
    """
    found = _given.several("runs", runs)
    names = list(dict.fromkeys(name for run in found for name in run.history))
    if metric is None:
        metric = "val_loss" if "val_loss" in names else "loss"
    _arguments.one_of("metric", metric, names)
    ax = axes(ax)
    for label, run in zip(_given.labels(found), found, strict=True):
        values = run.history.get(metric)
        if values is None:
            continue
        there = ~np.isnan(values)
        # matplotlib leaves labels that begin with an underscore out of the legend.
        shown = label.lstrip("_") or "run"
        ax.plot(run.history["epoch"][there] + 1, values[there], ".-", label=shown)
    ax.set(xlabel="epoch", ylabel=metric)
    ax.legend()
    return ax
