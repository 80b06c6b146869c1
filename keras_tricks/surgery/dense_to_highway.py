"""Dense layers that can learn to let their input through."""

import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_tricks import _arguments, _patterns
from keras_tricks._errors import NoEffectWarning
from keras_tricks._report import Report
from keras_tricks.layers.highway import Highway
from keras_tricks.surgery import _activations, _calls, _rebuild

_SHOWN = 5
# What a Dense and a Highway are both made with.
_SHARED = (
    "activation",
    "use_bias",
    "kernel_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
    "name",
)


def dense_to_highway(
    model: Any,
    layers: str | Iterable[str] | None = None,
    transform_bias: float = -2.0,
    plan: bool = False,
) -> Any:
    """Makes a new model whose hidden dense layers of one width are Highway layers.

    When: a stack of more than some ten dense layers of one width does not train.
    Typical: `transform_bias` from -1 to -3, the lower the deeper the stack.
    Costs: a new model, with a copy of all weights; twice the weights and the time of
        the layers that are replaced.
    Beware: the new model computes something else than the old one: it begins as a
        shallow network, near to the identity in each layer. Train it on. With a high
        `transform_bias`, such as 10, it begins as the old model.

    A hidden `Dense` with as many units as inputs becomes a `kt.layers.Highway` of its
    name, whose transform is that Dense: activation, kernel, bias, regularizers and
    constraints, and the optimizer's slots. The gate's kernel begins at zero, so that
    the gate is open by `sigmoid(transform_bias)` whatever the input. The rest is as it
    was, and the model is compiled like the old one, which stays as it is.

    A layer after which no layer with a kernel follows before an output is not hidden. A
    Dense inside another layer (`TimeDistributed`, a block of your own) stays: Highway
    itself takes inputs of any rank. A quantized one stays, and so does a subclass of
    Dense; the weights of LoRA are merged into the kernel.

    Args:
        model: Built model, Sequential or Functional.
        layers: String, a regular expression that matches the whole path of the layers
            that may be replaced, such as `"block_.*"`; it covers all below. Or a list
            of such. Defaults to None, all.
        transform_bias: Float, where the gate begins: open by 0.269, 0.119 or 0.047 at
            -1, -2 or -3. From -1e4 to 1e4. Defaults to -2.
        plan: Boolean, whether only to return what would be done. Defaults to False.

    Returns:
        The new model. With `plan=True` a table instead, that prints itself: a row for
        each candidate with `layer`, `change` ("" if it is left alone) and `why`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `transform_bias` is out of range, `layers` names no layer, or
            the model is not built, is a subclass whose graph is not known, or cannot be
            copied.

    Example:
    >>> import keras, keras_tricks as kt
    >>> hidden = [keras.layers.Dense(8, "relu", name=f"h{i}") for i in range(3)]
    >>> model = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(1)])
    >>> [type(layer).__name__ for layer in kt.surgery.dense_to_highway(model).layers]
    ['Dense', 'Highway', 'Highway', 'Dense']

    Reference: Srivastava, Greff and Schmidhuber 2015, arXiv 1505.00387.
    """
    _rebuild.check(model)
    _arguments.within("transform_bias", transform_bias, -1e4, 1e4)
    rows, chosen = _candidates(model, layers)
    if plan:
        return Report(f"{len(chosen)} x Dense to Highway", rows)
    if not chosen:
        reasons = [f"{row.layer}: {row.why}" for row in rows[:_SHOWN]]
        warnings.warn(
            f"dense_to_highway has no effect on {model.name!r}: "
            f"{'; '.join(reasons) or 'no Dense stands in its graph'}. The copy is like "
            "the model.",
            NoEffectWarning,
            stacklevel=2,
        )

    def replace(layer: Any) -> Any:
        return _highway_like(layer, transform_bias) if id(layer) in chosen else None

    result = _rebuild.rebuild(model, replace=replace)
    for dense, highway in result.replaced:
        result.carry(dense.kernel, highway.kernel)
        if dense.use_bias:
            result.carry(dense.bias, highway.bias)
        highway.gate_kernel.assign(ops.zeros_like(highway.gate_kernel.value))
    return result.finish()


class _Row(NamedTuple):
    layer: str
    change: str
    why: str


def _candidates(model: Any, patterns: Any) -> tuple[list[_Row], set[int]]:
    """A row for each Dense, and the ids of those that are to be replaced."""
    named = None if patterns is None else _patterns.layers("layers", patterns, model)
    found: dict[int, list[Any]] = {}
    for call in _calls.calls(model):
        if type(call.layer) is keras.layers.Dense:
            found.setdefault(id(call.layer), []).append(call)
    rows, chosen = [], set()
    for identity, same in found.items():
        layer, path = same[0].layer, same[0].path
        if named is not None and not any(call.path in named for call in same):
            continue
        width, units = layer.kernel.shape
        if getattr(layer, "quantization_mode", None):
            rows.append(_Row(path, "", f"it is quantized ({layer.quantization_mode})"))
        elif width != units:
            rows.append(_Row(path, "", f"{width} inputs, but {units} units"))
        elif any(_calls.is_head(call, _activations.has_kernel) for call in same):
            why = "no layer with a kernel before an output"
            rows.append(_Row(path, "", why))
        else:
            chosen.add(identity)
            rows.append(_Row(path, "Highway", f"hidden, {units} wide"))
    return rows, chosen


def _highway_like(dense: Any, transform_bias: float) -> Any:
    return Highway(
        **{name: getattr(dense, name) for name in _SHARED},
        dtype=dense.dtype_policy,
        transform_bias=transform_bias,
    )
