"""Gives a compiled model another optimizer, also between two epochs of `fit`."""

import copy
import difflib
from typing import Any

import keras
from keras import ops
from keras.optimizers import LossScaleOptimizer

from keras_tricks import _backend, _state
from keras_tricks.callbacks import _averages
from keras_tricks.schedules import _rates


def switch(model: Any, optimizer: Any, *, finalize: bool = True) -> None:
    """Makes `optimizer` the one that trains the model, and that is saved with it.

    Args:
        model: Compiled model, built.
        optimizer: Optimizer that is not built yet.
        finalize: Whether the old optimizer puts its averages into the model.
    """
    old = model.optimizer
    if isinstance(old, LossScaleOptimizer) and not isinstance(
        optimizer, LossScaleOptimizer
    ):
        optimizer = _scaled_like(old, optimizer)
    # Whatever fails here leaves the model as it was.
    optimizer.build(model.trainable_variables)
    if finalize and old.built and steps(old) > 0:
        # Before the first step the averages are zeros.
        old.finalize_variable_values(model.trainable_variables)
        # On JAX the model would share its buffers with the averages.
        _state.assign_variables(_state.copy_variables(model.trainable_variables))
    # A callback may write the averages before the first step, when they are zeros.
    _averages.settle(optimizer, model.trainable_variables)
    model.optimizer = optimizer
    # What `compile` noted is saved with the model, and there is no public way to it.
    if "_compile_config" in vars(model):
        model._compile_config.config["optimizer"] = optimizer
    if model.train_function is not None:
        _backend.rebuild_train_function(model)


def steps(optimizer: Any) -> int:
    """How often an optimizer has changed the model."""
    return int(ops.convert_to_numpy(ops.convert_to_tensor(optimizer.iterations)))


def _scaled_like(old: LossScaleOptimizer, optimizer: Any) -> LossScaleOptimizer:
    """Loss scaling belongs to the model's number format: it goes on, at its scale."""
    scale = float(old.dynamic_scale) if old.built else old.initial_scale
    return LossScaleOptimizer(
        optimizer,
        initial_scale=scale,
        dynamic_growth_steps=old.dynamic_growth_steps,
        name=old.name,
    )


def made(optimizer: Any) -> Any:
    """The optimizer that a name, a config or an optimizer stands for, as in `compile`.

    Raises:
        TypeError: If it is none of these.
        ValueError: If the name or the config is of no optimizer.
    """
    if isinstance(optimizer, keras.optimizers.Optimizer):
        return optimizer
    expected = "`optimizer` must be a Keras optimizer, its name or its config"
    if not isinstance(optimizer, str | dict):
        raise TypeError(f"{expected}. Received: optimizer={optimizer!r}")
    try:
        # Keras changes the config that it reads.
        return keras.optimizers.get(copy.deepcopy(optimizer))
    except Exception as error:
        near = difflib.get_close_matches(str(optimizer).lower(), _names(), 1)
        hint = f". Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"{expected}. Received: optimizer={optimizer!r} ({error}){hint}"
        ) from error


def _names() -> list[str]:
    return [
        name.lower()
        for name, thing in vars(keras.optimizers).items()
        if isinstance(thing, type) and issubclass(thing, keras.optimizers.Optimizer)
    ]


def names(optimizer: Any) -> str:
    """How a person calls an optimizer: "Adam"."""
    return " and ".join(
        dict.fromkeys(type(group).__name__ for group in _rates.groups(optimizer))
    )


def share(first: Any, second: Any) -> bool:
    """Whether two optimizers are the same, or hold the same one inside."""
    return bool(_variables(first) & _variables(second))


def _variables(optimizer: Any) -> set[int]:
    parts = (optimizer, *_rates.groups(optimizer))
    return {id(variable) for part in parts for variable in part.variables}
