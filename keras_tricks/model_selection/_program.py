"""Whether two models run the same program, so that one's compiled steps do for both."""

import json
import re
import warnings
from typing import Any

import keras

# What these run is not all in their configuration.
_OPAQUE = ("Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")
_OURS = ("keras", "keras_tricks", "builtins", None)


class _UnknownError(Exception):
    """Something whose program cannot be told from its configuration."""


def key(model: Any) -> Any:
    """What the compiled steps depend on, or None if that cannot be told.

    Two models with equal keys differ by the values of variables at most, among them
    the learning rate, and by names and seeds.
    """
    try:
        with warnings.catch_warnings():
            # Keras warns of lambdas, which are not saved here.
            warnings.simplefilter("ignore")
            return _key(model)
    except (_UnknownError, NotImplementedError, TypeError, ValueError, AttributeError):
        return None


def _key(model: Any) -> Any:
    _check(model)
    optimizer = {**model.optimizer.get_config(), "name": None}
    if isinstance(optimizer.get("learning_rate"), int | float):
        # A variable of the optimizer.
        optimizer["learning_rate"] = None
    compiled = dict(model.get_compile_config() or {})
    compiled.pop("optimizer", None)
    loss = model.loss
    if callable(loss) and not isinstance(loss, keras.losses.Loss):
        compiled.pop("loss", None)
    else:
        loss = None
    config = keras.saving.serialize_keras_object(model)["config"]
    names: dict[str, int] = {}
    _find_names(config, {layer.name for layer in _layers(model)}, names)
    described = _plain(
        [
            config,
            type(model.optimizer).__name__,
            optimizer,
            compiled,
            [layer.trainable for layer in _layers(model)],
            str(model.jit_compile),
            model.run_eagerly,
        ],
        names,
    )
    return json.dumps(described, sort_keys=True), loss


def _check(model: Any) -> None:
    if not model.built or "train_step" in vars(model):
        raise _UnknownError
    for thing in (*_layers(model), model.optimizer):
        kind = type(thing)
        if kind.__module__.split(".")[0] not in ("keras", "keras_tricks"):
            raise _UnknownError
        # What `adapt` has found is a constant of the step, not always a variable.
        if kind.__name__ in _OPAQUE or hasattr(thing, "adapt"):
            raise _UnknownError
    if not isinstance(model, keras.Function | keras.Sequential):
        raise _UnknownError


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers())


def _find_names(config: Any, layers: set[str], names: dict[str, int]) -> None:
    """Numbers the names of layers and inputs, in the order in which they come."""
    if isinstance(config, dict):
        inner = config.get("config")
        name = inner.get("name") if isinstance(inner, dict) else config.get("name")
        # A Sequential does not list its input among its layers.
        if name in layers or config.get("class_name") == "InputLayer":
            names.setdefault(str(name), len(names))
        config = list(config.values())
    if isinstance(config, list | tuple):
        for value in config:
            _find_names(value, layers, names)


def _plain(value: Any, names: dict[str, int]) -> Any:
    """Lists and scalars, with places instead of layers' names and without seeds."""
    if isinstance(value, dict):
        if "class_name" in value:
            _check_class(value)
            value = _named(value, names)
        return {
            str(k): _plain(v, names)
            for k, v in value.items()
            if k not in ("seed", "build_config", "compile_config")
        }
    if isinstance(value, list | tuple):
        return [_plain(item, names) for item in value]
    if isinstance(value, str):
        return f"layer {names[value]}" if value in names else value
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), names)
    raise _UnknownError


def _check_class(described: dict[str, Any]) -> None:
    module = described.get("module")
    root = module.split(".")[0] if isinstance(module, str) else module
    ours = root in _OURS or str(described.get("registered_name")).startswith(
        "keras_tricks>"
    )
    if not ours or described["class_name"] in ("function", "__lambda__", *_OPAQUE):
        raise _UnknownError


def _named(described: dict[str, Any], names: dict[str, int]) -> dict[str, Any]:
    """Without the number that Keras gives to a second metric without a name."""
    config = described.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("name"), str):
        return described
    if config["name"] in names:
        return described
    plain = automatic(described["class_name"], config["name"])
    return {**described, "config": {**config, "name": plain}}


def automatic(class_name: str, name: str) -> str:
    """The name without its number, if Keras made it up: `auc` for `auc_2`."""
    found = re.fullmatch(r"(.+)_\d+", name)
    if found and _letters(found[1]) == _letters(class_name):
        return found[1]
    return name


def _letters(name: str) -> str:
    return name.replace("_", "").lower()
