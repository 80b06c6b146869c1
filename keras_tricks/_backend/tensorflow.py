"""TensorFlow's side of the backend door."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.eager import context as eager_context

from keras_tricks._backend import _metrics

metrics_result = _metrics.metrics_result


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
