"""A fresh compiled model from what was given as `build`."""

import copy
import json
from typing import Any

import keras

from keras_tricks import _build
from keras_tricks.wrappers import _clones, _mlp, _optimizers, _parameters


def make(
    build: Any,
    arguments: dict[str, Any],
    offered: dict[str, Any],
    optimizer: Any,
    optimizer_arguments: dict[str, Any],
    loss: Any,
) -> Any:
    """Calls `build`, or copies the model that it is, and compiles as asked.

    `arguments` are those that the user set, `offered` those that `build` gets if it
    asks for them by name; so it is with `optimizer` and `loss`.

    Raises:
        TypeError: If `build` is nothing that a model can be made from.
        ValueError: If it does not lead to a compiled model.
    """
    if build is None:
        build = _mlp.build
    if isinstance(build, keras.Model):
        made = _clones.cloned(build)
    elif isinstance(build, str | dict):
        made = _from_config(build)
    elif callable(build):
        if optimizer is not None:
            optimizer = _optimizers.made_optimizer(optimizer, optimizer_arguments)
        extras = {**offered, "optimizer": optimizer, "loss": loss}
        names = _parameters.signature(build)
        taken = {k: v for k, v in extras.items() if k in names and v is not None}
        made = _called(build, {**taken, **arguments})
        # What `build` has used is compiled in by itself.
        if "optimizer" in taken:
            optimizer, optimizer_arguments = None, {}
        if "loss" in taken:
            loss = None
    else:
        raise TypeError(
            "`build` must be a function that returns a compiled keras.Model, such a "
            f"model, its configuration, or None. Received: build={build!r}"
        )
    _compile(made, optimizer, optimizer_arguments, loss)
    return made


def _called(build: Any, arguments: dict[str, Any]) -> Any:
    missing = [
        name
        for name, parameter in _parameters.signature(build).items()
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_KEYWORD
        and name not in arguments
    ]
    if missing:
        raise ValueError(
            f"`{missing[0]}` must be given: `build` asks for it. Received: no value; "
            f"set it as a parameter of the estimator ({missing[0]}=...), or give it a "
            "default value in `build`"
        )
    made = _build.call(build, **arguments)
    if not isinstance(made, keras.Model):
        raise TypeError(
            "`build` must return a keras.Model. Received: a function that returned "
            f"{made!r}"
        )
    return made


def _from_config(config: str | dict[str, Any]) -> Any:
    try:
        content = json.loads(config) if isinstance(config, str) else config
        made = keras.saving.deserialize_keras_object(copy.deepcopy(content))
    except Exception as error:
        raise ValueError(
            "`build` must be a configuration that a model can be made from, as "
            "keras.saving.serialize_keras_object(model) and model.to_json() give it. "
            f"Received: build={config!r} ({error})"
        ) from error
    if not isinstance(made, keras.Model):
        raise TypeError(
            "`build` must be the configuration of a keras.Model. Received: one of "
            f"{made!r}"
        )
    return made


def _compile(
    model: Any, optimizer: Any, optimizer_arguments: dict[str, Any], loss: Any
) -> None:
    compiled = model.compiled and model.optimizer is not None
    if not compiled and loss is None:
        raise ValueError(
            "`build` must lead to a compiled model where no `loss` is given. Received: "
            f"the model {model.name!r}, not compiled; call model.compile(optimizer, "
            "loss) in `build`, or give the estimator a `loss`"
        )
    if compiled and optimizer is None and not optimizer_arguments and loss is None:
        return
    if optimizer is None:
        optimizer = model.optimizer if compiled else "adam"
    optimizer = _optimizers.made_optimizer(
        optimizer, optimizer_arguments, model.trainable_variables
    )
    if not compiled:
        model.compile(optimizer, _made_loss(loss))
        return
    if type(model).compile is not keras.Model.compile:
        raise ValueError(
            "`optimizer` and `loss` must be None for a model with a `compile` of its "
            f"own. Received: the model {model.name!r}, a {type(model).__name__}; let "
            "`build` take `optimizer` as an argument"
        )
    given = _clones.compile_arguments(model)
    given["optimizer"] = optimizer
    if loss is not None:
        given["loss"] = _made_loss(loss)
    model.compile(**given)


def _made_loss(loss: Any) -> Any:
    return loss() if isinstance(loss, type) else loss
