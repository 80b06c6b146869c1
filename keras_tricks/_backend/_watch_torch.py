"""PyTorch's way to look at the steps of a training from outside."""

from collections.abc import Callable
from typing import Any

import keras
import torch

# What layers count was counted before a later one failed.
VALUES_BEFORE = False


def watch(model: Any, function: Callable[..., Any], around: Any, training: bool) -> Any:
    """A train or test function that runs each call inside `around`.

    That is given three functions: one that takes the batches of the call, one that
    gives the pairs of a variable and its value before it (or after it, from what it
    returned), one that makes the call and returns its logs and what is to be returned.
    """

    def watched(data: Any) -> Any:
        def take() -> list[Any]:
            return list(data)

        def values(result: Any = None) -> list[tuple[Any, Any]]:
            optimizer = model.optimizer.variables if training else []
            variables = [*model.variables, *optimizer, *model.metrics_variables]
            return [(variable, variable.value) for variable in variables]

        def run() -> tuple[Any, Any]:
            logs = function(data)
            return logs, logs

        return around(take, values, run)

    return watched


def run_step(model: Any, function: Callable[..., Any], batches: list[Any]) -> Any:
    """One call of a training function, on the model's own variables; its logs."""
    return function(batches)


def gradients(model: Any, x: Any, y: Any, sample_weight: Any) -> list[Any]:
    """The gradients of the trainable variables, not compiled."""
    weights = [variable.value for variable in model.trainable_weights]
    y_pred = model(x, training=True)
    loss = model.compute_loss(x, y, y_pred, sample_weight, training=True)
    return list(torch.autograd.grad(loss, weights, allow_unused=True))


def accelerated() -> bool:
    """Whether the model runs on something else than the CPU."""
    return keras.ops.zeros(()).device.type != "cpu"
