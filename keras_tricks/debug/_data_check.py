"""What can be seen in a batch alone, and in a batch beside the answers to it."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_tricks.debug._finding import Finding, plain


def leaves(name: str, part: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a part of the batch, each with its name."""
    if part is None:
        return
    if isinstance(part, dict):
        for key, value in part.items():
            yield from leaves(f"{name}[{key!r}]", value)
    elif isinstance(part, list | tuple):
        for index, value in enumerate(part):
            yield from leaves(f"{name}[{index}]", value)
    else:
        yield name, np.asarray(part)


def check(model: Any, x: Any, y: Any, sample_weight: Any) -> Finding | None:
    """The first thing that is wrong with the batch whatever the model makes of it."""
    parts = {"x": x, "y": y, "sample_weight": sample_weight}
    arrays = [pair for name, part in parts.items() for pair in leaves(name, part)]
    for name, array in arrays:
        found = _dtype(name, array) or _finite(name, array)
        if found:
            return found
    rows = {name: len(array) for name, array in arrays if array.ndim}
    if len(set(rows.values())) > 1:
        return Finding(
            f"the arrays of the batch have different numbers of samples: {rows}",
            "give every array one row per sample",
        )
    return _shapes(model, x)


def _dtype(name: str, array: np.ndarray) -> Finding | None:
    wrong = array.dtype.kind == "O" or (array.dtype.kind in "US" and name[0] != "x")
    if not wrong:
        return None
    return Finding(
        f"`{name}` is of dtype {array.dtype}, which is no number",
        "convert it, for example by np.asarray(..., 'float32'); rows of unequal "
        "length must be padded first, and names of classes become integers",
    )


def _finite(name: str, array: np.ndarray) -> Finding | None:
    if array.dtype.kind not in "fcV":
        return None
    numbers = array.astype("float32") if array.dtype.kind == "V" else array
    bad = np.argwhere(~np.isfinite(numbers))
    if not len(bad):
        return None
    place = tuple(int(i) for i in bad[0])
    sample = place[0] if place else None
    samples = len(set(bad[:, 0].tolist())) if place else 1
    return Finding(
        f"`{name}` holds {numbers[place]} in sample {sample}, at {place}; "
        f"{samples} of {len(array) if place else 1} samples hold such values",
        f"look at how `{name}` was made (a division by zero, a gap in a table, a "
        "logarithm of 0), and drop or fill these samples",
        sample=sample,
        value=plain(numbers[place]),
    )


def _shapes(model: Any, x: Any) -> Finding | None:
    """Inputs that do not fit those of a functional model."""
    try:
        wanted = [(i.name, tuple(i.shape)) for i in model.inputs]
    except Exception:  # A subclassed model has none.
        return None
    given = list(leaves("x", x))
    if isinstance(x, dict):
        given = [p for name, _ in wanted for p in leaves(f"x[{name!r}]", x.get(name))]
    if len(given) != len(wanted):
        return None
    for (name, array), (input_name, shape) in zip(given, wanted, strict=True):
        # Keras adds or takes away a last axis of 1.
        same_rank = array.ndim == len(shape)
        close = abs(array.ndim - len(shape)) == 1 and 1 in (*array.shape, *shape)
        fits = same_rank and all(
            w in (None, g) for w, g in zip(shape[1:], array.shape[1:], strict=True)
        )
        if not fits and not close:
            return Finding(
                f"`{name}` has the shape {array.shape}, but the input {input_name!r} "
                f"of the model takes {shape}",
                f"bring `{name}` to that shape, or build the model for this one",
                layer=input_name,
            )
    return None


def check_labels(model: Any, y: Any, y_pred: Any) -> Finding | None:
    """Labels that the compiled loss cannot use for these answers."""
    for name, loss, labels, answer in _outputs(model, y, y_pred):
        if labels.dtype.kind in "biuf":
            found = _labels(name, loss, labels, answer)
            if found:
                return found
    return None


def _outputs(
    model: Any, y: Any, y_pred: Any
) -> Iterator[tuple[str, Any, np.ndarray, np.ndarray]]:
    """What can be told to belong together: name, loss, labels and answers."""
    loss = model.loss
    if isinstance(loss, dict):
        names = list(getattr(model, "output_names", ()))
        y, y_pred = (
            dict(zip(names, part, strict=False))
            if isinstance(part, list | tuple)
            else part
            for part in (y, y_pred)
        )
        if not (isinstance(y, dict) and isinstance(y_pred, dict)):
            return
        wanted = [(f"y[{k!r}]", loss[k], y.get(k), y_pred.get(k)) for k in loss]
    elif isinstance(loss, list | tuple) and len(loss) > 1:
        parts = (y, y_pred)
        if not all(isinstance(p, list | tuple) and len(p) == len(loss) for p in parts):
            return
        wanted = [
            (f"y[{i}]", *each) for i, each in enumerate(zip(loss, *parts, strict=True))
        ]
    else:
        wanted = [("y", loss[0] if isinstance(loss, list | tuple) else loss, y, y_pred)]
    for name, one, label, answer in wanted:
        labels, answers = list(leaves(name, label)), list(leaves("answer", answer))
        if len(labels) == len(answers) == 1:
            yield labels[0][0], one, labels[0][1], answers[0][1]


def _labels(name: str, loss: Any, y: Any, answer: Any) -> Finding | None:
    kind = _kind(loss)
    if kind == "sparse_categorical_crossentropy":
        return _class_range(
            name, y, answer.shape[-1], getattr(loss, "ignore_class", None)
        )
    if kind in ("binary_crossentropy", "binary_focal_crossentropy"):
        bad = np.argwhere((y < 0) | (y > 1))
        if len(bad):
            return _out_of_range(name, y, bad[0], "between 0 and 1 for this loss")
    if kind == "categorical_crossentropy" and y.shape != answer.shape:
        return Finding(
            f"`{name}` has the shape {y.shape}, but the model answers with "
            f"{answer.shape}",
            "use 'sparse_categorical_crossentropy' for integer labels, or "
            "keras.utils.to_categorical for this loss",
        )
    return None


def _class_range(name: str, y: Any, classes: int, ignored: Any) -> Finding | None:
    wrong = (y < 0) | (y >= classes)
    if ignored is not None:
        wrong &= y != ignored
    bad = np.argwhere(wrong)
    if not len(bad):
        return None
    return _out_of_range(
        name,
        y,
        bad[0],
        f"from 0 to {classes - 1}, because the model answers with {classes} classes",
    )


def _out_of_range(name: str, y: Any, place: Any, wanted: str) -> Finding:
    where = tuple(int(i) for i in place)
    sample = where[0] if where else None
    return Finding(
        f"the label in `{name}` of sample {sample} is {y[where]}, and must be {wanted}",
        "count the classes from 0, map the labels to that range, or give the last "
        "layer more units",
        sample=sample,
        value=plain(y[where]),
    )


def _kind(loss: Any) -> str:
    """The name of a loss, by whatever way it was given."""
    try:
        loss = keras.losses.get(loss)
    except Exception:
        return ""
    name = getattr(loss, "__name__", None) or type(loss).__name__
    words = "".join("_" + c.lower() if c.isupper() else c for c in name)
    return words.lstrip("_")
