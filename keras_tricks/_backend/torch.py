"""PyTorch's side of the backend door."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from keras_tricks._backend import (
    _gradients_torch,
    _logs,
    _metrics,
    _moments_torch,
    _own,
    _rows,
    _rows_torch,
)

metrics_result = _metrics.metrics_result
GIVES_ROWS = _rows.GIVES_ROWS
change_rows = _rows_torch.change_rows
has_rows = _rows.has_rows
on_values = _rows.on_values
row_optimizer = _rows_torch.row_optimizer
sum_duplicates = _rows.sum_duplicates
take_rows = _rows.take_rows
moment_step = _moments_torch.moment_step
difference_norms = _gradients_torch.difference_norms
has_value = _gradients_torch.has_value
largest = _gradients_torch.largest
norms = _gradients_torch.norms
snapshot = _gradients_torch.snapshot
siphon = _logs.siphon
with_log = _logs.with_log


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


def sync_state(model: Any) -> None:
    """Brings the state of a running epoch into the variables: it is there."""


def numbers(variable: Any) -> list[float]:
    """The elements of a vector as Python numbers, read from the device once."""
    tensor = variable.value
    version, known = getattr(tensor, "_keras_tricks_numbers", (None, []))
    if version != tensor._version:
        known = tensor.tolist()
        tensor._keras_tricks_numbers = (tensor._version, known)
    return list(known)


def equal(values: list[float]) -> list[list[int]]:
    """Positions that may be updated together, by a fused update: those of one value."""
    groups: dict[float, list[int]] = {}
    for position, value in enumerate(values):
        groups.setdefault(value, []).append(position)
    return list(groups.values())


def zero_unless(condition: bool, gradient: Any) -> Any:
    """The gradient, or zeros."""
    return gradient if condition or gradient is None else torch.zeros_like(gradient)


def update_if(
    condition: bool, update: Callable[[], None], variables: list[Any], always: bool
) -> None:
    """Runs an update that moves `variables` only where the condition holds.

    What else it moves is moved in any case if `always`.
    """
    if condition:
        update()


def train_function_of(model: Any, train_step: Callable[..., Any]) -> Any:
    """A `train_function` that runs another training step.

    The model keeps its own.
    """
    with _own.attributes(model, train_function=None):
        model.make_train_function(force=True)
        made = model.train_function

    def train_function(data: Any) -> Any:
        # Keras asks the model for its step at every call.
        with _own.attributes(model, train_step=train_step):
            return made(data)

    return train_function


@contextmanager
def without_gradients(variables: list[Any]) -> Iterator[None]:
    """A block that need not compute these gradients: no update uses them."""
    parameters = [v.value for v in variables if v.value.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def replicas(model: Any = None) -> int:
    """How many copies of the step run side by side, each with gradients of its own.

    PyTorch averages the gradients of several processes itself.
    """
    return 1


def in_strategy() -> bool:
    """Whether the step runs in one of several replicas, as TensorFlow has them."""
    return False


def overwrite(variable: Any, value: Any) -> None:
    """Gives a variable a copy of a value."""
    variable.assign(value)


def adopt(variable: Any, array: Any) -> None:
    """Gives a variable an array that nobody else holds, without a copy between."""
    variable.assign(torch.from_numpy(array) if array.dtype.kind == "f" else array)


def global_norm(gradients: list[Any]) -> Any:
    """The norm of all gradients as one vector; missing ones count nothing."""
    present = [gradient for gradient in gradients if gradient is not None]
    # In float32: a norm of half precision overflows at 65504.
    norms = torch._foreach_norm(present, dtype=torch.float32)
    return torch.linalg.vector_norm(torch.stack(norms))


def dense(gradient: Any) -> Any:
    """The gradient as a tensor: it is one."""
    return gradient


def accelerators() -> list[str]:
    """The names of the devices that are no processors."""
    if torch.cuda.is_available():
        devices = range(torch.cuda.device_count())
        return [torch.cuda.get_device_name(device) for device in devices]
    return ["mps"] if torch.backends.mps.is_available() else []


def random_state() -> bytes | None:
    """The state of PyTorch's global random numbers on processors."""
    return torch.get_rng_state().numpy().tobytes()


def deterministic() -> list[tuple[str, bool, str]]:
    """Makes operations repeat: each setting, whether it holds, and why."""
    # Only a warning: an operation that cannot repeat must not end the training.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    remark = "those that have no such version warn with their name when they run"
    rows = [("deterministic operations of PyTorch", True, remark)]
    if not torch.cuda.is_available():
        return rows
    name, value = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    known = os.environ.get(name) in (value, ":16:8")
    early = known or not torch.cuda.is_initialized()
    if early:
        os.environ.setdefault(name, value)
        rows.append(("products of matrices on CUDA", True, f"by {name}"))
    else:
        remark = f"CUDA has started; set {name}={value} before"
        rows.append(("products of matrices on CUDA", False, remark))
    return rows
