"""TensorFlow's side of the backend door."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.eager import context as eager_context

from keras_tricks import _aligned
from keras_tricks._backend import (
    _gradients_tensorflow,
    _logs,
    _metrics,
    _moments,
    _own,
    _rows_tensorflow,
)

metrics_result = _metrics.metrics_result
GIVES_ROWS = _rows_tensorflow.GIVES_ROWS
change_rows = _rows_tensorflow.change_rows
has_rows = _rows_tensorflow.has_rows
on_values = _rows_tensorflow.on_values
row_optimizer = _rows_tensorflow.row_optimizer
sum_duplicates = _rows_tensorflow.sum_duplicates
take_rows = _rows_tensorflow.take_rows
# A sparse gradient's duplicates are summed before they are squared.
moment_step = _moments.maker(tf.convert_to_tensor)
difference_norms = _gradients_tensorflow.difference_norms
has_value = _gradients_tensorflow.has_value
largest = _gradients_tensorflow.largest
norms = _gradients_tensorflow.norms
snapshot = _gradients_tensorflow.snapshot
siphon = _logs.siphon
with_log = _logs.with_log


def batch_step(model: Any, select: Callable[[Any], Any]) -> Callable[..., Any]:
    """A training step that reports `select(logs)` of its batch alone."""
    inner, reset = model.train_step, _metrics.loss_reset(model)

    def train_step(data: Any) -> Any:
        reset()
        # The counter is read before the update, and copied: a read may alias.
        iterations = tf.identity(model.optimizer.iterations)
        return {**select(inner(data)), "iterations": iterations}

    return train_step


def tap(function: Callable[..., Any], sink: Callable[[Any], None]) -> Any:
    """A `train_function` that hands its logs to `sink` and shows Keras none."""

    def train_function(iterator: Any) -> dict[str, Any]:
        sink(function(iterator))
        return {}

    return train_function


def building_function(model: Any) -> Callable[..., Any]:
    """A `train_function` that builds the model on one batch and ends the training."""

    def train_function(iterator: Any) -> dict[str, Any]:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(next(iterator))
        model(x)
        model.stop_training = True
        return {}

    return train_function


def rebuild_train_function(model: Any) -> None:
    """Traces the training step anew, as it must be after a new schedule."""
    model.make_train_function(force=True)


def seed(value: int) -> None:
    """Seeds TensorFlow's global random numbers."""
    tf.random.set_seed(value)


def borrow_extras(model: Any) -> Callable[[], None]:
    """Notes what only TensorFlow holds: the state of its global random numbers."""
    # There is no public way to read the global seed and the position after it.
    context = vars(eager_context.context())
    before = {name: context[name] for name in ("_seed", "_rng") if name in context}
    generator = before.get("_rng")
    state = None if generator is None else generator.getstate()

    def give_back() -> None:
        context.pop("_rng", None)
        context.update(before)
        if generator is not None:
            generator.setstate(state)

    return give_back


def sync_state(model: Any) -> None:
    """Brings the state of a running epoch into the variables: it is there."""


def numbers(variable: Any) -> list[Any]:
    """The elements of a vector, each as something to calculate with."""
    return list(tf.unstack(variable.value))


def equal(values: list[Any]) -> list[list[int]]:
    """Positions that may be updated together: inside a compiled step each by itself."""
    return [[position] for position in range(len(values))]


def zero_unless(condition: Any, gradient: Any) -> Any:
    """The gradient, or zeros."""
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        values = zero_unless(condition, gradient.values)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.where(condition, gradient, tf.zeros_like(gradient))


def update_if(
    condition: Any, update: Callable[[], None], variables: list[Any], always: bool
) -> None:
    """Runs an update that moves `variables` only where the condition holds.

    What else it moves is moved in any case if `always`.
    """
    if not always:
        tf.cond(condition, update, lambda: None)
        return
    # Multiplied, because a mere read may see later values.
    before = [tf.convert_to_tensor(variable) * 1 for variable in variables]
    update()
    for variable, value in zip(variables, before, strict=True):
        variable.assign(tf.where(condition, variable, value))


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
    """How many copies of the step run side by side, each with gradients of its own."""
    strategy = model.distribute_strategy if model else tf.distribute.get_strategy()
    return int(strategy.num_replicas_in_sync)


def in_strategy() -> bool:
    """Whether the step runs under a `tf.distribute` strategy."""
    return bool(tf.distribute.has_strategy())


def overwrite(variable: Any, value: Any) -> None:
    """Gives a variable a copy of a value."""
    variable.assign(value)


def adopt(variable: Any, array: Any) -> None:
    """Gives a variable an array that nobody else holds, without a copy where it can."""
    if _aligned.can_be_taken(array, variable.dtype):
        array = tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    variable.assign(array)


def global_norm(gradients: list[Any]) -> Any:
    """The norm of all gradients as one vector; missing ones count nothing."""
    parts = [tf.cast(g, tf.float32) for g in gradients if g is not None]
    return tf.linalg.global_norm([sum_duplicates(part) for part in parts])


def dense(gradient: Any) -> Any:
    """The gradient as a tensor."""
    return tf.convert_to_tensor(gradient)


def accelerators() -> list[str]:
    """The names of the devices that are no processors."""
    devices = tf.config.list_physical_devices()
    return [_device_name(device) for device in devices if device.device_type != "CPU"]


def _device_name(device: Any) -> str:
    details = tf.config.experimental.get_device_details(device)
    return str(details.get("device_name", device.device_type))


def random_state() -> bytes | None:
    """TensorFlow's global random numbers: there is no way to read their position."""
    return None


def deterministic() -> list[tuple[str, bool, str]]:
    """Makes operations repeat: each setting, whether it holds, and why."""
    tf.config.experimental.enable_op_determinism()
    remark = "those that have no such version raise an error with their name"
    return [("deterministic operations of TensorFlow", True, remark)]
