"""Inputs far from zero mean and unit spread."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_tricks import _layer_kinds
from keras_tricks.lint import _inputs, _kinds, _places
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

_LARGE = 10.0
_SHOWN = 3
# Numbers that all lie below this are scaled twice, or not at all.
_TINY = 0.01
# So many spreads from zero, a column is hardly more than its mean.
_FAR = 5.0
_WIDE = 32
# Raw images reach 255; sums of a few centred numbers do not reach this.
_RAW = 20.0
# They leave the scale of the numbers as it is, and no others are known to.
_NEUTRAL = tuple(
    kind
    for name, kind in vars(keras.layers).items()
    if isinstance(kind, type)
    and (
        name.startswith(("Random", "ZeroPadding", "Cropping", "MaxPool", "AveragePool"))
        or name
        in ("Flatten", "Identity", "Permute", "Reshape", "Resizing", "CenterCrop")
        or name == "Concatenate"
    )
)
_PASSING = (*_NEUTRAL, *_layer_kinds.DROPOUTS)


@rule(
    "KT402",
    "The inputs are not centred or not scaled.",
    severity="warning",
    why=(
        "Inputs of a common sign push all weights of a unit the same way, and columns "
        "of unequal scale need unequal rates: the training zigzags."
    ),
    source="LeCun et al. 1998, Efficient BackProp, 4.3",
    needs=("graph", "x"),
)
def unscaled_inputs(facts: Any) -> Iterator[Finding]:
    """Looks at the numbers that a layer with a kernel reads as they come.

    Columns of a table, or of a sequence, are looked at one by one: large ones, and
    those that are tiny or whose mean is more than 5 times their spread (of sequences,
    and of more than 32 columns, only if they are most). Constant and binary ones are
    left alone. Of images all numbers count together; raw ones that are centred are
    "info", since some pre-trained networks were trained with them. `Rescaling` is
    applied first.

    An input that meets a normalization, an embedding, arithmetic or any layer that is
    not known to keep the scale is left alone.

    It cannot see columns that are numbers of categories.
    """
    places = _places.of_inputs(facts)
    for part, place in zip(facts.data.x, places, strict=True):
        if place is None or not part.is_numeric or part.finite is False:
            continue
        if not part.values.size:
            continue
        scaling = _scaling(facts, place)
        if scaling is None:
            continue
        factor, offset = scaling
        values = part.values.astype("float64") * factor + offset
        wide = values.ndim > 3
        told = _image(values) if wide else _table(values)
        if told:
            message, severity = told
            layer = "Rescaling(1 / 255)" if wide else "Normalization()"
            yield Finding(
                f"{part.name}: {message}",
                severity=severity,
                fix=f"keras.layers.{layer}  # first in the model"
                + ("" if wide else "; call its adapt(x)"),
            )


def _scaling(facts: Any, place: int) -> tuple[float, float] | None:
    """What is done to the numbers, as factor and offset, before a kernel reads them.

    None where something else is done to them on some way, or none reads them.
    """
    first = {id(layer) for layer in _inputs.readers(facts.model, place)}
    begun = [c for c in facts.calls if id(c.layer) in first and None in c.inputs]
    waiting = [(call, 1.0, 0.0) for call in begun]
    seen: set[Any] = set()
    found: set[tuple[float, float]] = set()
    while waiting:
        call, factor, offset = waiting.pop()
        if (call, factor, offset) in seen:
            continue
        seen.add((call, factor, offset))
        layer = _layer_kinds.unwrapped(call.layer)
        if isinstance(layer, keras.layers.Embedding):
            return None
        if not call.is_model and _kinds.has_own_kernel(layer):
            found.add((factor, offset))
            continue
        if isinstance(layer, keras.layers.Rescaling):
            if np.ndim(layer.scale) or np.ndim(layer.offset):
                return None
            factor = factor * float(layer.scale)
            offset = offset * float(layer.scale) + float(layer.offset)
        elif not call.is_model and not isinstance(layer, _PASSING):
            return None
        waiting += [(target, factor, offset) for target in call.fed()]
    return found.pop() if len(found) == 1 else None


def _table(values: np.ndarray) -> tuple[str, str] | None:
    """What is wrong with the columns of a table, or of a sequence of rows."""
    columns = values.reshape(-1, values.shape[-1])
    if values.ndim < 2 or len(columns) < 2:
        return None
    means, spreads = columns.mean(axis=0), columns.std(axis=0)
    low, high = columns.min(axis=0), columns.max(axis=0)
    largest = np.maximum(np.abs(low), np.abs(high))
    binary = ((columns == low) | (columns == high)).all(axis=0) & (largest <= 1)
    varied = spreads > 1e-12 * np.maximum(np.abs(means), 1e-300)
    large = (spreads > _LARGE) | (np.abs(means) > _LARGE)
    odd = (largest < _TINY) | (np.abs(means) > _FAR * spreads)
    odd &= varied & ~binary
    # A few odd ones are in every wide table, such as the border pixels of digits.
    wide = values.ndim > 2 or len(means) > _WIDE
    if wide and 2 * odd.sum() <= varied.sum():
        odd[:] = False
    wrong = np.flatnonzero((large & varied) | odd)
    if not len(wrong):
        return None
    shown = "; ".join(
        f"column {at} has mean {means[at]:.3g}, spread {spreads[at]:.3g}"
        for at in wrong[:_SHOWN]
    )
    of = f"{len(wrong)} of {len(means)} columns are not centred or not scaled"
    return f"{of} ({shown}).", ""


def _image(numbers: np.ndarray) -> tuple[str, str] | None:
    mean, spread = float(numbers.mean()), float(numbers.std())
    largest = float(np.abs(numbers).max(initial=0.0))
    raw = largest >= _RAW and (spread >= _LARGE or abs(mean) >= _LARGE)
    if not raw and not (spread and (largest < _TINY or abs(mean) > _FAR * spread)):
        return None
    centred = abs(mean) < spread / 2 and float(numbers.min()) < 0
    told = f"numbers up to {largest:.3g} (mean {mean:.3g}, spread {spread:.3g})."
    return told, "info" if centred and raw else ""
