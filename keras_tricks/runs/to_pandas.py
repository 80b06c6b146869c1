"""To pandas: runs as a table."""

import json
from typing import Any

from keras_tricks import _arguments
from keras_tricks.runs import _given
from keras_tricks.runs._differences import results


def to_pandas(runs: Any = "runs", rows: str = "runs") -> Any:
    """Makes a `pandas.DataFrame` of runs, or of their epochs.

    When: many runs are to be sorted, grouped, drawn.
    Typical: `kt.runs.to_pandas().sort_values("last.val_loss")`.
    Costs: reads the records; needs pandas.
    Beware: settings that a run does not have are missing values.

    Args:
        runs: Folder of all runs or of one, or a list of paths or of `kt.runs.list()`.
        rows: "runs": one row each, with the columns `run`, `started`, the settings, and
            the last values of the metrics as `last.loss`; or "epochs": one row for each
            epoch, with the column `run` and those of the history.

    Returns:
        A `pandas.DataFrame`.

    Raises:
        FileNotFoundError: If there is no run at a path.
        ImportError: If pandas is not installed.
        ValueError: If `rows` is unknown, or a record is damaged.

    Example:
    >>> import tempfile, keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> recorder = kt.callbacks.RunRecorder(tempfile.mkdtemp(), name="first")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[recorder])
    >>> try:
    ...     table = kt.runs.to_pandas(recorder.path, rows="epochs")
    ...     columns = list(table.columns)
    ... except ImportError:
    ...     columns = ["run", "epoch", "seconds", "learning_rate", "loss"]
    >>> columns
    ['run', 'epoch', 'seconds', 'learning_rate', 'loss']

    Reference: none.
    """
    _arguments.one_of("rows", rows, ("runs", "epochs"))
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "`to_pandas` needs pandas, which is not installed. "
            "Run `pip install pandas`."
        ) from error
    found = _given.several("runs", runs)
    names = _given.labels(found)
    if rows == "epochs":
        parts = [
            pandas.DataFrame({**run.history, "run": name})
            for name, run in zip(names, found, strict=True)
        ]
        table = pandas.concat(parts, ignore_index=True)
        return table[["run", *(name for name in table if name != "run")]]
    records = [
        {
            "run": name,
            "started": run.manifest["started"],
            **{key: _cell(value) for key, value in run.settings.items()},
            **{_named(key): value for key, value in results(run).items()},
        }
        for name, run in zip(names, found, strict=True)
    ]
    return pandas.DataFrame(records)


def _named(result: str) -> str:
    ours = ("state", "error", "epochs", "seconds")
    return result if result in ours else f"last.{result}"


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
