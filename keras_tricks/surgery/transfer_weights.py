"""Weights from another model or file, wherever they fit."""

import os
import warnings
from typing import Any, NamedTuple

import keras

from keras_tricks import _arguments, _backend, _patterns
from keras_tricks._errors import NoEffectWarning
from keras_tricks._report import Report
from keras_tricks.surgery import _rebuild, _weight_files, _weight_matching
from keras_tricks.surgery._weight_matching import Slot

_SHOWN = 5


class _Row(NamedTuple):
    """What became of a weight."""

    weight: str
    status: str
    source: str
    note: str


def transfer_weights(
    model: keras.Model,
    source: keras.Model | str | os.PathLike[str],
    match: str = "path",
    strict: bool = False,
    *,
    report: bool = False,
) -> Any:
    """Takes the weights of another model or file, wherever they fit.

    When: another head on a trained body; a file of an older Keras; a changed model.
    Typical: `match="path"` with named layers, `match="auto"` for a body whose layers
        have other names.
    Costs: one copy of the model, and memory for one weight at a time.
    Beware: `match="shape"` takes what looks alike, in order: read the report.

    A file is read without trusting it: nothing is unpickled or deserialised, no link
    is followed, and a file that does not hold all it promises is refused as a whole.
    What is no weight stays: optimizer state, random seeds, vocabularies. Kernels of
    Keras 1 are taken as they lie in the file, so those of Theano do not fit.

    Args:
        model: Built Functional or Sequential model, nested or not. It stays as it is.
        source: Built model of any kind, or path of a `.keras` or `.weights.h5` file
            or of a legacy `.h5` file (Keras 1 and 2, weights or whole models).
        match: "path", "shape" or "auto". "path" goes by the names of the layers from
            the model down and of the weight; names that Keras gives (`dense_3`) are
            counted from the first of their kind where they differ. "shape" goes by
            equal shapes in order, whole layers first. "auto" goes by path, then by
            shape for what has no counterpart. Defaults to "path".
        strict: Boolean, whether anything that is not loaded, of the model or of the
            source, is an error. Defaults to False.
        report: Boolean, whether to return a table as well. Defaults to False.

    Returns:
        A new model, compiled like the old one where that was; with `report=True` the
        pair of it and a table that prints itself, one row per weight: `weight`,
        `status` ("loaded", "mismatched" where its counterpart does not fit, or
        "skipped" where it has none), `source` and `note`.

    Raises:
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such file.
        ValueError: If the model cannot be copied, the file cannot be used, or
            something was not loaded and `strict` is set.

    Warns:
        NoEffectWarning: If nothing was loaded.

    Example:
    >>> import keras, keras_tricks as kt
    >>> def net(classes):
    ...     return keras.Sequential([
    ...         keras.Input((4,)),
    ...         keras.layers.Dense(8, name="body"),
    ...         keras.layers.Dense(classes, name=f"head_{classes}"),
    ...     ])
    >>> model, table = kt.surgery.transfer_weights(net(3), net(10), report=True)
    >>> print(table.summary)
    2 loaded, 4 skipped, 0 mismatched
    >>> table.rows[0].weight, table.rows[0].status
    ('body/kernel', 'loaded')

    Reference: Yosinski et al. 2014, arXiv 1411.1792.
    """
    _arguments.one_of("match", match, ("path", "shape", "auto"))
    copy = _rebuild.rebuild(_rebuild.check(model))
    weights = _weight_files.model_weights(copy.model)
    wanted = [slot for _, slot in weights]
    with _weight_files.opened(source) as given:
        pairs = _pairs(wanted, given, match)
        table = _table(wanted, given, pairs)
        _complain(table, source, strict, report)
        for position, chosen in pairs.items():
            if not _misfit(wanted[position], given[chosen]):
                variable = weights[position][0]
                _backend.adopt(variable, given[chosen].read())
                # What an optimizer knows of the weight is of the old one.
                copy.origin.pop(id(variable), None)
    _settle(copy.model)
    new = copy.finish()
    return (new, table) if report else new


def _pairs(wanted: list[Slot], given: list[Slot], match: str) -> dict[int, int]:
    pairs = {} if match == "shape" else _weight_matching.by_path(wanted, given)
    if match != "path":
        pairs = _weight_matching.by_shape(wanted, given, pairs)
    return pairs


def _misfit(wanted: Slot, given: Slot) -> str:
    """Why the value cannot become that of the weight; empty where it can."""
    if wanted.shape != given.shape:
        return f"{given.shape} in the source, {wanted.shape} here"
    if _kind(wanted) != _kind(given):
        return f"{given.dtype} in the source, {wanted.dtype} here"
    return ""


def _kind(slot: Slot) -> str:
    return next((kind for kind in ("float", "int") if kind in slot.dtype), slot.dtype)


def _table(wanted: list[Slot], given: list[Slot], pairs: dict[int, int]) -> Report:
    rows = []
    for position, slot in enumerate(wanted):
        if position not in pairs:
            rows.append(_Row(str(slot), "skipped", "", "not in the source"))
            continue
        other = given[pairs[position]]
        misfit = _misfit(slot, other)
        status = "mismatched" if misfit else "loaded"
        rows.append(_Row(str(slot), status, str(other), misfit or str(slot.shape)))
    used = set(pairs.values())
    rows += [
        _Row("", "skipped", str(slot), "not in the model")
        for chosen, slot in enumerate(given)
        if chosen not in used
    ]
    found = [row.status for row in rows]
    statuses = ("loaded", "skipped", "mismatched")
    return Report(", ".join(f"{found.count(s)} {s}" for s in statuses), rows)


def _complain(table: Report, source: Any, strict: bool, report: bool) -> None:
    left = [row for row in table if row.status != "loaded"]
    name = source.name if isinstance(source, keras.Model) else os.fspath(source)
    if strict and left:
        shown = "; ".join(
            f"{row.weight or row.source} ({row.note})" for row in left[:_SHOWN]
        )
        more = "; ..." if len(left) > _SHOWN else ""
        raise ValueError(
            "`source` must have just the weights of the model, since `strict` is set. "
            f"Received: source={name!r} with {table.summary}: {shown}{more}"
        )
    misfits = [row for row in left if row.status == "mismatched"]
    if len(left) < len(table) and misfits and not report:
        shown = "; ".join(f"{row.weight} ({row.note})" for row in misfits[:_SHOWN])
        warnings.warn(
            f"Not all of {name!r} fits: {table.summary}: {shown}"
            f"{'; ...' if len(misfits) > _SHOWN else ''}. Give report=True for the "
            "whole table.",
            UserWarning,
            stacklevel=3,
        )
    if len(left) == len(table):
        warnings.warn(
            f"Nothing was loaded from {name!r}: {table.summary}. Give the layers the "
            'same names, or match="auto".',
            NoEffectWarning,
            stacklevel=3,
        )


def _settle(model: Any) -> None:
    """Lets the layers that keep a form of their weights make it anew."""
    for _, layer in _patterns.layer_paths(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
