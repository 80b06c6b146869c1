"""PyTorch's side of the backend door."""

from collections.abc import Callable
from typing import Any

import torch

from keras_tricks._backend import _metrics

metrics_result = _metrics.metrics_result


def batch_step(model: Any, select: Callable[[Any], Any]) -> Callable[..., Any]:
    """A training step that reports `select(logs)` of its batch alone."""
    inner, reset = model.train_step, _metrics.loss_reset(model)

    def train_step(data: Any) -> Any:
        reset()
        iterations = torch.clone(_value(model.optimizer.iterations))
        return {**select(inner(data)), "iterations": iterations}

    return train_step


def _value(variable_or_tensor: Any) -> Any:
    return getattr(variable_or_tensor, "value", variable_or_tensor)


def tap(function: Callable[..., Any], sink: Callable[[Any], None]) -> Any:
    """A `train_function` that hands its logs to `sink` and shows Keras none."""

    def train_function(data: Any) -> dict[str, Any]:
        sink(function(data))
        return {}

    return train_function


def building_function(model: Any) -> Callable[..., Any]:
    """A `train_function` that ends the training: `fit` itself has built the model."""

    def train_function(data: Any) -> dict[str, Any]:
        model.stop_training = True
        return {}

    return train_function


def rebuild_train_function(model: Any) -> None:
    """Makes the training step anew, as it must be after a new schedule."""
    model.make_train_function(force=True)


def seed(value: int) -> None:
    """Seeds PyTorch's global random numbers."""
    torch.manual_seed(value)


def borrow_extras(model: Any) -> Callable[[], None]:
    """Notes what only PyTorch holds: random numbers, gradients, module modes."""
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    # By name: `fit` replaces some of the modules.
    modes = {name: module.training for name, module in model.named_modules()}
    gradients = [
        (parameter, None if parameter.grad is None else parameter.grad.clone())
        for parameter in model.parameters()
    ]

    def give_back() -> None:
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        for name, module in model.named_modules():
            module.training = modes.get(name, module.training)
        for parameter, gradient in gradients:
            parameter.grad = gradient

    return give_back
