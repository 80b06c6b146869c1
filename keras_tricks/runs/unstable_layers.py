"""Unstable layers: where two predictions of the same rows part."""

from contextlib import ExitStack
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import tree

from keras_tricks import _arguments, _patterns, _state
from keras_tricks._backend import _own
from keras_tricks._report import Report


def unstable_layers(model: Any, x: Any) -> Report:
    """Predicts twice and names the layers that do not answer the same.

    When: `predict` gives other numbers each time; `kt.runs.repeat` asks too.
    Typical: a few rows, `kt.runs.unstable_layers(model, x[:8])`.
    Costs: two forward passes that are not compiled, all layers' outputs in memory.
    Beware: a layer that is random once in a while may not be caught in two passes.

    Found are the innermost layers whose inputs were equal in both passes, bit for bit,
    and whose outputs were not: as `predict` calls them and, if that gives the same, as
    `model(x)` does, where an argument `training=True` of the model's own counts. The
    model is given back as it was.

    Args:
        model: Built model.
        x: Its inputs: arrays, or a structure of them, shape (rows, ...).

    Returns:
        Rows of `layer` (its path, as in patterns), `kind`, `difference` (the largest)
        and `reason`, that print as a table; no rows if both predictions are equal.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If it is not built.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> inputs = keras.Input((4,))
    >>> hidden = keras.layers.Dropout(0.5, name="left_on")(inputs, training=True)
    >>> model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    >>> report = kt.runs.unstable_layers(model, np.ones((8, 4), "float32"))
    >>> [(row.layer, row.reason) for row in report]
    [('left_on', 'is called with training=True')]

    Reference: none.
    """
    _arguments.built_model("model", model)
    for what, mode in _MODES.items():
        with _state.borrowed(model):
            rows = _parted(*(_passed(model, x, mode) for _ in range(2)))
        if rows:
            names = ", ".join(repr(row.layer) for row in rows)
            return Report(f"two {what} differ because of {names}", rows)
    return Report("both predictions are the same", [])


_MODES: dict[str, dict[str, bool]] = {
    "predictions": {"training": False},
    "calls of the model": {},
}


class _Row(NamedTuple):
    layer: str
    kind: str
    difference: float
    reason: str


class _Call(NamedTuple):
    """One call of a layer in a forward pass."""

    layer: str
    kind: str
    above: tuple[int, ...]
    training: bool
    generators: int
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]


def _passed(model: Any, x: Any, mode: dict[str, bool]) -> dict[int, _Call]:
    """All calls of a forward pass, by their number in the order in which they began."""
    calls: dict[int, _Call] = {}
    open_calls: list[int] = []
    began = [0]

    def hooked(path: str, layer: Any) -> Any:
        inner = layer.call

        def call(*args: Any, **kwargs: Any) -> Any:
            number = began[0]
            began[0] += 1
            above = tuple(open_calls)
            inputs = _arrays((args, kwargs))
            open_calls.append(number)
            try:
                result = inner(*args, **kwargs)
            finally:
                open_calls.pop()
            calls[number] = _Call(
                path,
                type(layer).__name__,
                above,
                kwargs.get("training") is True,
                sum(v.name == "seed_generator_state" for v in layer.variables),
                inputs,
                _arrays(result),
            )
            return result

        return call

    layers = {id(layer): (path, layer) for path, layer in _patterns.layer_paths(model)}
    layers[id(model)] = (model.name, model)
    with ExitStack() as stack:
        for path, layer in layers.values():
            hook = _own.attributes(layer, call=hooked(path, layer))
            stack.enter_context(hook)
        given = tree.map_structure(keras.ops.convert_to_tensor, x)
        model(given, **mode)
    return calls


def _arrays(structure: Any) -> list[np.ndarray]:
    return [
        np.array(keras.ops.convert_to_numpy(leaf))
        for leaf in tree.flatten(structure)
        if keras.ops.is_tensor(leaf) or isinstance(leaf, np.ndarray)
    ]


def _parted(first: dict[int, _Call], second: dict[int, _Call]) -> list[_Row]:
    unlike = {
        number
        for number in first.keys() & second.keys()
        if _equal(first[number].inputs, second[number].inputs)
        and not _equal(first[number].outputs, second[number].outputs)
    }
    outer = {above for number in unlike for above in first[number].above}
    rows: dict[str, _Row] = {}
    for number in sorted(unlike - outer):
        one, other = first[number], second[number]
        gap = max(map(_gap, one.outputs, other.outputs), default=0.0)
        rows.setdefault(one.layer, _Row(one.layer, one.kind, gap, _reason(one)))
    return list(rows.values())


def _equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    if len(one) != len(other):
        return False
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one.astype("float64") - other.astype("float64")).max())


def _reason(call: _Call) -> str:
    if call.training:
        return "is called with training=True"
    if call.generators:
        return "draws random numbers also outside of training"
    return "draws random numbers without a seed generator, or remembers earlier calls"
