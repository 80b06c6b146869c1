"""A training step that leaves some layers as they are, and saves their work."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import keras
from keras.optimizers import LossScaleOptimizer

from keras_tricks import _backend, _patterns
from keras_tricks._backend import _own
from keras_tricks.callbacks import _averages
from keras_tricks.schedules import _rates

# They change themselves while they are trained, by what they see.
SELF_CHANGING = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization)


def frozen_step(
    model: Any,
    inner: Callable[..., Any],
    layers: Sequence[Any],
    variables: Sequence[Any],
) -> Callable[..., Any]:
    """The step `inner` without moving the variables, nor the layers' statistics.

    Nothing of it is left on the model, its layers or its optimizer between two calls:
    whatever stops a training, there is nothing to undo.
    """
    changing = [layer for layer in layers if _changes_itself(layer)]
    frozen = {id(variable) for variable in variables}

    def train_step(*state_and_data: Any) -> Any:
        with ExitStack() as stack:
            for layer in changing:
                stack.enter_context(_in_inference(layer))
            for hook in _without_updates(model.optimizer, frozen):
                stack.enter_context(hook)
            stack.enter_context(_backend.without_gradients(list(variables)))
            return inner(*state_and_data)

    return train_step


def _changes_itself(layer: Any) -> bool:
    """Whether it may be told by `training` to leave its own statistics alone."""
    parameters = inspect.signature(layer.call).parameters.values()
    tells = any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)
    return tells and (isinstance(layer, SELF_CHANGING) or _holds_statistics(layer))


def _holds_statistics(layer: Any) -> bool:
    """Whether a layer of the user's own holds numbers that no gradient moves."""
    if type(layer).__module__.startswith("keras."):
        return False
    below = {id(v) for c in _patterns.children(layer) for v in c.variables}
    return any(
        not variable.trainable
        and id(variable) not in below
        and keras.backend.is_float_dtype(variable.dtype)
        for variable in layer.variables
    )


def _in_inference(layer: Any) -> AbstractContextManager[None]:
    # Not by `trainable`: that would change the variables that the model counts.
    call = layer.call

    def inference(*args: Any, **kwargs: Any) -> Any:
        # Keras gives it by its name only.
        return call(*args, **{**kwargs, "training": False})

    return _own.attributes(layer, call=inference)


def _without_updates(
    optimizer: Any, frozen: set[int]
) -> list[AbstractContextManager[None]]:
    hooks = [_hooked(group, frozen) for group in _rates.groups(optimizer)]
    while isinstance(optimizer, LossScaleOptimizer):
        # It looks at every gradient, and so would have every one computed.
        hooks.append(_masked(optimizer, frozen))
        optimizer = optimizer.inner_optimizer
    return hooks


def _hooked(group: Any, frozen: set[int]) -> AbstractContextManager[None]:
    """The optimizer's `apply` for the variables that are not frozen."""
    inner = group.apply

    def apply(grads: Any, trainable_variables: Any = None) -> None:
        known = group._trainable_variables
        variables = known if trainable_variables is None else trainable_variables
        kept = [
            (gradient, variable)
            for gradient, variable in zip(grads, variables, strict=True)
            if id(variable) not in frozen
        ]
        with _own.attributes(group, **_moving(group, frozen)):
            inner([gradient for gradient, _ in kept], [v for _, v in kept])

    return _own.attributes(group, apply=apply)


def _moving(group: Any, frozen: set[int]) -> dict[str, Any]:
    """What Keras averages after a step, without the frozen variables."""
    if not group.use_ema:
        return {}
    kept = [pair for pair in _averages.of(group) if id(pair[0]) not in frozen]
    return {
        "_trainable_variables": [variable for variable, _ in kept],
        "_model_variables_moving_average": [average for _, average in kept],
    }


def _masked(optimizer: Any, frozen: set[int]) -> AbstractContextManager[None]:
    """The optimizer given no gradients of frozen variables."""
    apply, stateless_apply = optimizer.apply, optimizer.stateless_apply

    def mask(grads: Any, variables: Any) -> list[Any]:
        return [
            None if id(variable) in frozen else gradient
            for gradient, variable in zip(grads, variables, strict=True)
        ]

    def masked_apply(grads: Any, trainable_variables: Any = None) -> None:
        known = optimizer._trainable_variables
        variables = known if trainable_variables is None else trainable_variables
        apply(mask(grads, variables), trainable_variables)

    def masked_stateless_apply(
        optimizer_variables: Any, grads: Any, trainable_variables: Any
    ) -> Any:
        grads = mask(grads, optimizer._trainable_variables)
        return stateless_apply(optimizer_variables, grads, trainable_variables)

    return _own.attributes(
        optimizer, apply=masked_apply, stateless_apply=masked_stateless_apply
    )
