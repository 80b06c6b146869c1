"""JAX's side of the backend door."""

import functools
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import keras

from keras_tricks import _aligned
from keras_tricks._backend import (
    _gradients_jax,
    _metrics,
    _moments,
    _own,
    _rows,
    _rows_jax,
)

GIVES_ROWS = _rows.GIVES_ROWS
change_rows = _rows_jax.change_rows
has_rows = _rows.has_rows
on_values = _rows.on_values
row_optimizer = _rows_jax.row_optimizer
sum_duplicates = _rows.sum_duplicates
take_rows = _rows.take_rows
moment_step = _moments.maker(lambda gradient: gradient)
difference_norms = _gradients_jax.difference_norms
has_value = _gradients_jax.has_value
largest = _gradients_jax.largest
norms = _gradients_jax.norms
snapshot = _gradients_jax.snapshot
siphon = _gradients_jax.siphon
with_log = _gradients_jax.with_log


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


def sync_state(model: Any) -> None:
    """Brings the state of a running epoch into the variables, where it can be set."""
    if model is not None:
        model.jax_state_sync()


def numbers(variable: Any) -> list[Any]:
    """The elements of a vector, each as something to calculate with."""
    return list(variable.value)


def equal(values: list[Any]) -> list[list[int]]:
    """Positions that may be updated together: inside a compiled step each by itself."""
    return [[position] for position in range(len(values))]


def zero_unless(condition: Any, gradient: Any) -> Any:
    """The gradient, or zeros."""
    return None if gradient is None else jnp.where(condition, gradient, 0)


def update_if(
    condition: Any, update: Callable[[], None], variables: list[Any], always: bool
) -> None:
    """Runs an update that moves `variables` only where the condition holds.

    What else it moves is moved in any case if `always`.
    """
    # Not `lax.cond`, which copies. And at each assignment, not at the end: so a weight
    # is computed from the slots as they are stored, and no old one must be kept beside.
    with ExitStack() as selections:
        for variable in variables:
            assign = functools.partial(_assign_if, condition, variable, variable.assign)
            selections.enter_context(_own.attributes(variable, assign=assign))
        update()


def _assign_if(condition: Any, variable: Any, assign: Any, value: Any) -> Any:
    value = keras.ops.convert_to_tensor(value, variable.dtype)
    return assign(jnp.where(condition, value, variable.value))


def train_function_of(model: Any, train_step: Callable[..., Any]) -> Any:
    """A `train_function`, traced anew, that runs another training step.

    The model keeps its own.
    """
    with _own.attributes(model, train_step=train_step, train_function=None):
        model.make_train_function(force=True)
        return model.train_function


def without_gradients(variables: list[Any]) -> AbstractContextManager[None]:
    """A block that need not compute these gradients: no update uses them.

    A compiled step leaves out what is not used.
    """
    return nullcontext()


def replicas(model: Any = None) -> int:
    """How many copies of the step run side by side: JAX has one program."""
    return 1


def in_strategy() -> bool:
    """Whether the step runs in one of several replicas, as TensorFlow has them."""
    return False


def overwrite(variable: Any, value: Any) -> None:
    """Gives a variable a copy of a value: what is assigned as it is, is shared."""
    variable.assign(jnp.array(value))


def adopt(variable: Any, array: Any) -> None:
    """Gives a variable an array that nobody else holds, without a copy where it can."""
    if jax.default_backend() == "cpu" and _aligned.can_be_taken(array, variable.dtype):
        variable.assign(jnp.from_dlpack(array))
        return
    # Holds less on its way than `jnp.array` does, and waits: so the array can go.
    variable.assign(jax.device_put(array, may_alias=False).block_until_ready())


def global_norm(gradients: list[Any]) -> Any:
    """The norm of all gradients as one vector; missing ones count nothing."""
    parts = [g.astype("float32") for g in gradients if g is not None]
    return jnp.sqrt(sum(jnp.vdot(part, part) for part in parts))


def dense(gradient: Any) -> Any:
    """The gradient as a tensor: it is one."""
    return gradient


def accelerators() -> list[str]:
    """The names of the devices that are no processors."""
    return [d.device_kind for d in jax.devices() if d.platform != "cpu"]


def random_state() -> bytes | None:
    """JAX's global random numbers: it has none."""
    return None


def deterministic() -> list[tuple[str, bool, str]]:
    """Makes operations repeat: each setting, whether it holds, and why.

    XLA reads its flags when it starts, which it has.
    """
    if not accelerators():
        return [("operations of XLA", True, "on processors they repeat as they are")]
    flag = "--xla_gpu_deterministic_ops=true"
    if flag in os.environ.get("XLA_FLAGS", "").split():
        return [("operations of XLA", True, "by XLA_FLAGS, if set before the start")]
    remark = f"XLA has started; set XLA_FLAGS={flag} before Python starts"
    return [("operations of XLA", False, remark)]
