"""Labels that do not fit the output and the loss."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_tricks.lint import _targets
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

# What rounding may do to labels that were scaled to 0 to 1.
_NEAR = 1e-5
_NOT_NEGATIVE = ("poisson", "mean_squared_logarithmic_error", "kl_divergence")
_NAMED = ("crossentropy", "mean_", "huber", "log_cosh", "poisson", "kl_")


@rule(
    "KT411",
    "Labels are out of the range that the loss expects.",
    severity="error",
    why=(
        "On JAX a class that the output does not have trains on nonsense without an "
        "error; TensorFlow and PyTorch stop."
    ),
    source="run on three backends",
    needs=("compiled", "y"),
)
def out_of_range(facts: Any) -> Iterator[Finding]:
    """Compares labels with the number of classes, or with what the loss is defined for.

    It cannot see losses of one's own, outputs whose size is not known, and of data sets
    more than the rows that were read.
    """
    for target in _targets.of(facts):
        part = target.part
        if part.finite and part.values.size:
            told = _out_of_range(target)
            if told:
                message, fix = told
                yield Finding(f"{part.name} {message}", fix=fix)


def _out_of_range(target: _targets.Target) -> tuple[str, str] | None:
    loss, values, classes = target.loss, target.part.values, target.classes
    if loss.kind.startswith("sparse_"):
        if loss.ignored_class is not None:
            values = values[values != loss.ignored_class]
        return _classes(values, target, classes) if values.size else None
    low, high = target.part.low, target.part.high
    if loss.kind.startswith(("binary_", "categorical_")):
        if "crossentropy" in loss.kind and not (low >= -_NEAR and high <= 1 + _NEAR):
            told = f"goes from {low:g} to {high:g}; {loss.kind} expects 0 to 1."
            return told, "y = (y > 0).astype('float32')"
    elif loss.kind in _NOT_NEGATIVE and low < 0:
        told = f"holds {low:g}; {loss.kind} expects numbers of at least 0."
        return told, 'model.compile(optimizer, "mse")'
    return None


def _classes(
    values: np.ndarray, target: _targets.Target, classes: int | None
) -> tuple[str, str] | None:
    part = target.part
    exact = target.loss.ignored_class is None and part.high is not None
    low = part.low if exact else float(values.min())
    high = part.high if exact else float(values.max())
    if values.dtype.kind == "f" and np.any(values != np.floor(values)):
        return "holds numbers that are no classes.", "y = y.astype('int32')"
    if low >= 0 and (classes is None or high < classes):
        return None
    if classes is None:
        return f"holds the class {low:g}; classes begin with 0.", "# look at these rows"
    bad = high if high >= classes else low
    remedy = "y = y - 1" if low == 1 and high == classes else "# look at these rows"
    return f"holds the class {bad:g}; the output has 0 to {classes - 1}.", remedy


@rule(
    "KT412",
    "Labels have a shape that the loss does not expect.",
    severity="error",
    why=(
        "Some shapes fail at once; others are broadcast, and then every prediction is "
        "compared with every label, without a word."
    ),
    source="Keras's documentation of `compile`",
    needs=("y",),
)
def wrong_shape(facts: Any) -> Iterator[Finding]:
    """Compares the shape of labels with the output's, and their rows with the inputs'.

    It cannot see losses of one's own, and outputs whose shape is not known.
    """
    counts = {part.rows for part in [*facts.data.x, *facts.data.y]}
    if facts.data.kind == "arrays" and len(counts - {None}) > 1:
        told = ", ".join(f"{p.name}: {p.rows}" for p in [*facts.data.x, *facts.data.y])
        yield Finding(f"Inputs and labels have unequal rows ({told}).")
    for target in _targets.of(facts):
        shape, output = tuple(target.part.values.shape), target.shape
        fix = _misfit(target.loss.kind, shape, output) if output else ""
        if fix:
            told = ", ".join("None" if size is None else str(size) for size in output)
            rows = ", ".join(["None", *map(str, shape[1:])])
            yield Finding(
                f"{target.part.name} has the shape ({rows}), the output ({told}), and "
                f"the loss is {target.loss.kind}.",
                fix=fix,
            )


def _misfit(kind: str, shape: tuple[int, ...], output: tuple[int | None, ...]) -> str:
    """What to do about labels of a wrong shape; "" for a right one."""
    last = output[-1] if output else None
    if kind.startswith("sparse_categorical"):
        column = len(shape) == len(output) and shape[-1] == 1
        right = column or len(shape) == len(output) - 1
        onehot = len(shape) == len(output) and shape[-1] == last
        return "" if right else "y = y.argmax(axis=-1)" if onehot else "# look at y"
    if not kind.startswith(_NAMED) and "crossentropy" not in kind:
        return ""
    if kind == "crossentropy" or _matches(shape, output):
        return ""
    # Keras gives labels the axis that they lack where the output has one number.
    if len(shape) == len(output) - 1 and last == 1:
        return "" if _matches(shape, output[:-1]) else "# look at y"
    if len(shape) == len(output) + 1 and shape[-1] == 1:
        return "" if _matches(shape[:-1], output) else "# look at y"
    if kind.startswith("categorical_"):
        return f"y = keras.utils.to_categorical(y, {last})\n# or a sparse_{kind}"
    return f"y = y.reshape(-1, {last})  # or another output"


def _matches(shape: tuple[int, ...], output: tuple[int | None, ...]) -> bool:
    return len(shape) == len(output) and all(
        size is None or one == size
        for one, size in zip(shape[1:], output[1:], strict=True)
    )
