"""Whether models are made alike, so that their weights may be averaged."""

import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_tricks import _patterns, _state
from keras_tricks.ensembles import _stateful
from keras_tricks.surgery import _carry

_COUNTED = r"_\d+$"
_TOLERANCE = 1e-3
_IGNORED = ("name", "seed", "trainable", "dtype")


def variables(model: Any) -> list[Any]:
    """All that a model holds, each once, in an order that its architecture decides."""
    found: dict[int, Any] = {}
    for _, layer in layers(model):
        for variable in _carry.own_variables(layer):
            found.setdefault(id(variable), variable)
    return list(found.values())


def layers(model: Any) -> list[tuple[str, Any]]:
    """The model itself, and all below it, with their paths."""
    return [("", model), *_patterns.layer_paths(model)]


def check(models: list[Any]) -> None:
    """Checks for models of the same layers, with weights of the same shapes.

    Raises:
        TypeError: If one is no model.
        ValueError: If one is not built, quantized, or made otherwise than the first.
    """
    for index, model in enumerate(models):
        name = f"models[{index}]"
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"`models` must be a list of built keras.Models. Received: {model!r} "
                "in it"
            )
        if not model.built:
            raise ValueError(
                f"`models` must be built. Received: {name} {model.name!r}, not built; "
                "call it on a batch of data first"
            )
        for path, layer in layers(model):
            if getattr(layer, "quantization_mode", None):
                raise ValueError(
                    "`models` must have weights that can be averaged. Received: "
                    f"{name}, whose layer {path!r} is quantized; average before "
                    "`quantize`"
                )
            if getattr(layer, "lora_enabled", False):
                # The product of two averages is not the average of the products.
                raise ValueError(
                    "`models` must have weights that can be averaged. Received: "
                    f"{name}, whose layer {path!r} has LoRA weights; `save_weights` "
                    "merges them: load the file into a model without `enable_lora`"
                )
        different = _first_difference(models[0], model, name)
        if different:
            raise ValueError(f"`models` must be made alike. Received: {different}")


def _first_difference(one: Any, other: Any, name: str) -> str:
    ours, theirs = layers(one)[1:], layers(other)[1:]
    for (path, layer), (other_path, other_layer) in zip(ours, theirs, strict=False):
        pair = [_described(path, layer), _described(other_path, other_layer)]
        if pair[0][1] != pair[1][1]:
            words = [f"{path!r}, {' '.join(made)}" for path, made in pair]
            return f"models[0] with the layer {words[0]}, and {name} with {words[1]}"
    if len(ours) != len(theirs):
        longer = "models[0]" if len(ours) > len(theirs) else name
        path, layer = max(ours, theirs, key=len)[min(len(ours), len(theirs))]
        return f"{longer} with one more layer, {path!r}, {type(layer).__name__}"
    shapes = [[tuple(v.shape) for v in variables(model)] for model in (one, other)]
    if shapes[0] != shapes[1]:
        return (
            f"models[0] with weights of the shapes {shapes[0]}, and {name} with "
            f"{shapes[1]}"
        )
    return ""


def _described(path: str, layer: Any) -> tuple[str, list[str]]:
    own = _carry.own_variables(layer)
    # Weights without a name of their own are counted up.
    parts = [
        f"{re.sub(_COUNTED, '', v.name)} {tuple(v.shape)}"
        for v in own
        if not _is_seed(v)
    ]
    return path, [type(layer).__name__, *parts]


def _is_seed(variable: Any) -> bool:
    return variable.name == "seed_generator_state"


def check_same_answers(models: list[Any], index: int, work: Any, batch: Any) -> None:
    """Checks that a model does what `work`, which holds its weights, does.

    Raises:
        ValueError: If not: something beside the weights differs.
    """
    answers = _answers(models[index], batch), _answers(work, batch)
    for one, other in zip(*answers, strict=True):
        scale = 1.0 + np.nanmax(np.abs(one), initial=0.0)
        equal = np.isclose(one, other, rtol=0, atol=_TOLERANCE * scale, equal_nan=True)
        if equal.all():
            continue
        if not index:
            raise ValueError(
                "`models` must be models that can be copied. Received: models[0] "
                f"{models[0].name!r}, whose copy answers differently with the same "
                "weights; let the `get_config` of the model and its layers return all "
                "that decides on their answers"
            )
        raise ValueError(
            "`models` must be made alike. Received: models[0] and "
            f"models[{index}], which answer differently with the same weights: "
            f"{_other_option(models[0], models[index])}"
        )


def _answers(model: Any, batch: Any) -> list[np.ndarray]:
    """What the model answers from a state of zeros; it stays as it is."""
    before = _state.copy_variables(model.variables) + _stateful.copies(model)
    try:
        _stateful.reset(model)
        found = keras.tree.flatten(model(batch, training=False))
    finally:
        _state.assign_variables(before)
    return [np.asarray(keras.ops.convert_to_numpy(a), "float64") for a in found]


def _other_option(one: Any, other: Any) -> str:
    """The first option of a layer that differs, as far as configurations tell."""
    for (path, layer), (_, other_layer) in zip(
        layers(one)[1:], layers(other)[1:], strict=True
    ):
        ours, theirs = dict(_options(layer)), dict(_options(other_layer))
        for name, value in ours.items():
            if name in theirs and theirs[name] != value:
                return (
                    f"the layer {path!r} has {name}={value!r} in the one, and "
                    f"{theirs[name]!r} in the other"
                )
    return "its layers are connected in another way, or hold other constants"


def _options(layer: Any) -> Iterator[tuple[str, Any]]:
    try:
        config = layer.get_config()
    except NotImplementedError:
        return
    for name, value in config.items():
        plain = isinstance(value, str | int | float | bool | list | tuple | None)
        if plain and name not in _IGNORED:
            yield name, value
