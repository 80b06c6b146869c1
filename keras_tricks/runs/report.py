"""Report: runs on one page that opens anywhere."""

import os
from pathlib import Path
from typing import Any

from keras_tricks import _atomic
from keras_tricks._version import __version__
from keras_tricks.runs import _folder, _given, _html, _page

# Says to the browser what is true anyway: nothing is fetched, no script runs.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report(
    runs: Any = "runs", filename: Any = "report.html", *, title: str | None = None
) -> Path:
    """Writes runs as one HTML file: curves, rates, a table, findings, all settings.

    When: results are to be looked at, on a phone too, or sent to somebody.
    Typical: `kt.runs.report("runs", "report.html")`.
    Costs: reads the records; about 10 kB per run. Needs neither matplotlib nor network.
    Beware: whoever gets the file sees all settings, and the messages of errors.

    Solid lines are of the validation data, dotted ones of the training data. What was
    added by `RunRecorder.add` has a section of its own: findings as tables, a range
    test as its curve. Everything in the records is shown as text, whatever it holds.

    Args:
        runs: Folder of all runs or of one, or a list of paths or of `kt.runs.list()`.
        filename: Path of the file, which is replaced.
        title: String, or None for "Runs" and their number.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: If there is no run at a path.
        OSError: If the file cannot be written.
        TypeError: If a run is neither a path nor a run.
        ValueError: If there is no run, or a record is damaged.

    Example:
    >>> import tempfile, keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.mkdtemp()
    >>> recorder = kt.callbacks.RunRecorder(folder, name="first")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[recorder])
    >>> page = kt.runs.report(folder, f"{folder}/report.html").read_text()
    >>> page.count("<svg"), "://" in page
    (2, False)

    Reference: none.
    """
    found = _given.several("runs", runs)
    path = Path(os.fspath(filename))
    names = _given.labels(found)
    if title is None:
        title = f"Runs: {len(found)}" if len(found) > 1 else f"Run {names[0]}"
    page = _PAGE.format(
        policy=_POLICY,
        title=_html.text(title),
        style=_html.STYLE,
        made=_html.text(f"keras_tricks {__version__}, {_folder.stamp()}"),
        keys=_page.keys(names),
        curves=_page.curves(found, names),
        overview=_page.overview(found, names),
        extras=_page.extras(found, names),
        details=_page.details(found, names),
    )
    raw = page.encode("utf-8", "replace")
    _atomic.write(path, lambda file: file.write(raw))
    return path


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class=note>{made}</p>
{keys}
<h2>Curves</h2>
{curves}
<p class=note>Solid: validation, or training where there is none. Dotted: training.</p>
<h2>Runs</h2>
{overview}
{extras}
<h2>Everything</h2>
{details}
</body>
</html>
"""
