"""TensorFlow's way to look at the steps of a training from outside."""

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Parts of a call run side by side: some may be done when another fails.
VALUES_BEFORE = False


def watch(model: Any, function: Callable[..., Any], around: Any, training: bool) -> Any:
    """A train or test function that runs each call inside `around`.

    That is given three functions: one that takes the batches of the call, one that
    gives the pairs of a variable and its value before it (or after it, from what it
    returned), one that makes the call and returns its logs and what is to be returned.
    """

    def watched(iterator: Any) -> Any:
        batches: list[Any] = []

        def take() -> list[Any]:
            batches.extend(itertools.islice(iterator, model.steps_per_execution))
            if not batches:
                raise StopIteration
            return batches

        def values(result: Any = None) -> list[tuple[Any, Any]]:
            return _values(model, training)

        def run() -> tuple[Any, Any]:
            # Not a tensor iterator: Keras takes the batches one by one then.
            logs = function(iter(batches))
            return logs, logs

        return around(take, values, run)

    return watched


def _values(model: Any, training: bool) -> list[tuple[Any, Any]]:
    optimizer = model.optimizer.variables if training else []
    variables = [*model.variables, *optimizer, *model.metrics_variables]
    return [(variable, variable.value) for variable in variables]


def run_step(model: Any, function: Callable[..., Any], batches: list[Any]) -> Any:
    """One call of a training function, on the model's own variables; its logs."""
    return function(iter(batches))


def gradients(model: Any, x: Any, y: Any, sample_weight: Any) -> list[Any]:
    """The gradients of the trainable variables, not compiled."""
    with tf.GradientTape() as tape:
        y_pred = model(x, training=True)
        loss = model.compute_loss(x, y, y_pred, sample_weight, training=True)
    found = tape.gradient(loss, model.trainable_weights)
    return [None if g is None else tf.convert_to_tensor(g) for g in found]


def accelerated() -> bool:
    """Whether the model runs on something else than the CPU."""
    return any(d.device_type != "CPU" for d in tf.config.list_logical_devices())
