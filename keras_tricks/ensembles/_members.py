"""The members of an ensemble: what may be one, and the place that asks one."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _arguments
from keras_tricks.ensembles import _estimators, _outputs


def check(models: Any) -> list[Any]:
    """Checks for a list of built models, each with one output.

    Raises:
        TypeError: If it is no list of models.
        ValueError: If it is empty, or one is not built or has several outputs.
    """
    if not isinstance(models, list | tuple):
        raise TypeError(
            f"`models` must be a list of built models. Received: models={models!r}"
        )
    if not models:
        raise ValueError("`models` must hold at least one model. Received: models=[]")
    for index, model in enumerate(models):
        if _estimators.looks_like_one(model):
            _estimators.check(f"models[{index}]", model)
            continue
        _arguments.built_model(f"models[{index}]", model)
        if not isinstance(model, keras.Function):
            continue
        named = isinstance(model.output, dict)
        if len(model.outputs) != 1 or named:
            raise ValueError(
                f"`models` must have one output each. Received: models[{index}] "
                f"{model.name!r} with {len(model.outputs)}"
                f"{' in a dictionary' if named else ''}; give keras.Model("
                "model.inputs, model.outputs[0])"
            )
    return list(models)


def check_shapes(models: Sequence[Any], kinds_of_columns: bool) -> None:
    """Checks that outputs agree, as far as the graphs tell.

    With `kinds_of_columns` the members may have columns of their own.

    Raises:
        ValueError: If two members differ.
    """
    shapes = list(map(_outputs.output_shape, models))
    narrow = _estimators.one_column(models, list(map(_outputs.columns, models)))
    known = [
        (index, (*shape[:-1], 1) if narrow[index] else shape)
        for index, shape in enumerate(shapes)
        if shape is not None
    ]
    for index, shape in known[1:]:
        first, other = known[0][1], shape
        if kinds_of_columns:
            first, other = first[:-1], other[:-1]
        same = len(first) == len(other) and all(
            a == b or a is None or b is None for a, b in zip(first, other, strict=True)
        )
        if not same:
            raise ValueError(
                "`models` must have outputs of one shape; members that know different "
                "classes need `classes`. Received: "
                f"models[{known[0][0]}] with {known[0][1]}, models[{index}] with "
                f"{shape}"
            )


def check_weights(weights: Any, count: int) -> np.ndarray:
    """The weights as numbers with the sum 1; equal ones for None.

    Raises:
        ValueError: If there are not `count` of them, of at least 0 and not all 0.
    """
    try:
        values = np.asarray(np.ones(count) if weights is None else weights, "float64")
        fine = values.shape == (count,) and bool(np.isfinite(values).all())
    except (TypeError, ValueError):
        fine = False
    if not (fine and (values >= 0).all() and values.any()):
        raise ValueError(
            f"`weights` must be {count} numbers of at least 0, one per member, not "
            f"all 0. Received: weights={weights!r}"
        )
    values = values / values.max()
    return values / values.sum()


def inputs_of(model: Any, inputs: Any) -> Any:
    """Of a dictionary what a model with named inputs takes; else all as it is."""
    if not isinstance(inputs, dict):
        return inputs
    if isinstance(model, keras.Function):
        wanted = model.input
    elif isinstance(model, keras.Sequential) and getattr(model, "inputs", None):
        wanted = model.inputs[0]
    else:
        return inputs
    if isinstance(wanted, dict):
        names = {key: key for key in wanted}
    else:
        names = keras.tree.map_structure(lambda tensor: tensor.name, wanted)
    lacking = [name for name in keras.tree.flatten(names) if name not in inputs]
    if lacking:
        raise ValueError(
            f"`x` must hold all inputs of every member. Received: the keys "
            f"{sorted(inputs)}, without {lacking[0]!r} of the member {model.name!r}"
        )
    return keras.tree.map_structure(lambda name: inputs[name], names)


def predictions(
    models: Sequence[Any], kinds: Sequence[str], x: Any, batch_size: int | None = None
) -> list[np.ndarray]:
    """What every member says of all samples, as probabilities or values."""
    found: dict[tuple[int, str], np.ndarray] = {}
    for model, kind in zip(models, kinds, strict=True):
        if (id(model), kind) not in found:
            found[id(model), kind] = _ask(model, kind, x, batch_size)
    return [found[id(m), kind] for m, kind in zip(models, kinds, strict=True)]


def _ask(model: Any, kind: str, x: Any, batch_size: int | None) -> np.ndarray:
    if _estimators.is_one(model):
        return _estimators.ask(model, kind, x)
    answer = model.predict(inputs_of(model, x), batch_size=batch_size, verbose=0)
    finished = _outputs.finished(ops.convert_to_tensor(answer), kind)
    return np.asarray(ops.convert_to_numpy(finished))
