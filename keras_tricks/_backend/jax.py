"""JAX's side of the backend door."""

from collections.abc import Callable
from typing import Any

import keras

from keras_tricks._backend import _metrics


def batch_step(model: Any, select: Callable[[Any], Any]) -> Callable[..., Any]:
    """A training step that reports `select(logs)` of its batch alone."""
    inner, reset = model.train_step, _metrics.loss_reset(model)

    def train_step(state: Any, data: Any) -> Any:
        trainable, non_trainable, optimizer, metrics = state
        mapping = [
            *zip(model.metrics_variables, metrics, strict=True),
            *zip(model.optimizer.variables, optimizer, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            reset()
            iterations = keras.ops.convert_to_tensor(model.optimizer.iterations)
        metrics = [scope.get_current_value(v) for v in model.metrics_variables]
        logs, state = inner((trainable, non_trainable, optimizer, metrics), data)
        return {**select(logs), "iterations": iterations}, state

    return train_step


def tap(function: Callable[..., Any], sink: Callable[[Any], None]) -> Any:
    """A `train_function` that hands its logs to `sink` and shows Keras none."""

    def train_function(state: Any, iterator: Any) -> tuple[dict[str, Any], Any]:
        logs, state = function(state, iterator)
        sink(logs)
        return {}, state

    return train_function


def building_function(model: Any) -> Callable[..., Any]:
    """A `train_function` that ends the training: `fit` itself has built the model."""

    def train_function(state: Any, iterator: Any) -> tuple[dict[str, Any], Any]:
        next(iterator)
        model.stop_training = True
        return {}, state

    return train_function


def rebuild_train_function(model: Any) -> None:
    """Traces the training step anew, as it must be after a new schedule.

    `jax.jit` finds its old trace again by an equal function, and the bound
    `model.train_step` is always equal to itself: a new function is not.
    """
    own = vars(model).get("train_step")
    inner = model.train_step
    model.train_step = lambda state, data: inner(state, data)
    try:
        model.make_train_function(force=True)
    finally:
        if own is None:
            del model.train_step
        else:
            model.train_step = own


def metrics_result(model: Any) -> dict[str, Any]:
    """The metrics so far in the epoch: costs a copy of the state."""
    model.jax_state_sync()
    return _metrics.metrics_result(model)


def seed(value: int) -> None:
    """Seeds JAX's global random numbers: it has none."""


def borrow_extras(model: Any) -> Callable[[], None]:
    """Notes what only JAX holds: nothing, its random numbers have no global state."""
    return lambda: None
