"""A copy of a compiled model that is to be trained from the beginning."""

import tempfile
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments
from keras_tricks.surgery import _compiled_like
from keras_tricks.wrappers import _own_code


def cloned(model: Any) -> Any:
    """A model like this one with fresh weights, compiled in the same way.

    What no training changes is kept: frozen layers, and what layers were adapted to.

    Raises:
        TypeError: If it is no model.
        ValueError: If it is not compiled, or cannot be copied.
    """
    _arguments.compiled_model("build", model)
    given = compile_arguments(model)
    # `clone_model` compiles too, from a configuration that names losses and metrics.
    with keras.saving.custom_object_scope(_own_code.named(model)):
        clone = keras.models.clone_model(model)
    _keep(model, clone)
    if type(model).compile is not keras.Model.compile:
        clone.compile_from_config(model.get_compile_config())
        return clone
    optimizer = _compiled_like.fresh(model.optimizer)
    before, after = model.trainable_variables, clone.trainable_variables
    if len(before) == len(after):
        _compiled_like.carry_exclusions(model.optimizer, optimizer, before, after)
    metrics = ("metrics", "weighted_metrics")
    clone.compile(
        **given
        | {name: _compiled_like._fresh_metrics(given[name]) for name in metrics}
        | {"optimizer": optimizer, "auto_scale_loss": False}
    )
    return clone


def compile_arguments(model: Any) -> dict[str, Any]:
    """What `compile` was given: a configuration cannot be read back for every loss."""
    return dict(model._compile_config.config)


def _keep(model: Any, clone: Any) -> None:
    kept = [(i, old) for i, old in enumerate(_layers(model)) if _is_kept(old)]
    if not kept:
        return
    if not clone.built:
        clone.build_from_config(model.get_build_config())
    twins = _layers(clone)
    for i, old in kept:
        if i >= len(twins) or type(twins[i]) is not type(old):
            raise ValueError(
                "`build` must be a model whose layers its configuration gives again, "
                f"to keep those that are frozen or adapted. Received: {old.name!r}, "
                "which is not there; give a function that builds the model"
            )
        _copy_state(old, twins[i])


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False))


def _is_kept(layer: Any) -> bool:
    return layer.built and (not layer.trainable or hasattr(layer, "adapt"))


def _copy_state(old: Any, new: Any) -> None:
    # As Keras saves and loads a layer, which also finishes what was adapted.
    store: dict[str, Any] = {}
    old.save_own_variables(store)
    if store:
        # In host memory: JAX would donate the old model's arrays to the training.
        host = {k: np.array(keras.ops.convert_to_numpy(v)) for k, v in store.items()}
        new.load_own_variables(host)
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
