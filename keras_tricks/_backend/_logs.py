"""What a training step tells beside its logs: what TensorFlow and PyTorch share."""

from collections.abc import Callable
from typing import Any


def with_log(result: Any, name: str, value: Any) -> Any:
    """What a training step returned, with one value more in its logs."""
    return {**checked(result), name: value}


def siphon(
    function: Callable[..., Any], name: str, sink: Callable[[Any], None]
) -> Callable[..., Any]:
    """A `train_function` that gives one of its logs to `sink` instead of to Keras."""

    def train_function(data: Any) -> Any:
        logs = function(data)
        if name in logs:
            logs = dict(logs)
            sink(logs.pop(name))
        return logs

    return train_function


def checked(logs: Any) -> Any:
    """Checks for logs that can take one value more."""
    if not isinstance(logs, dict):
        raise ValueError(
            "`model.train_step` must return a dict of logs, so that what is measured "
            f"in it can be told. Received: {type(logs).__name__}; return "
            "`self.compute_metrics(...)`, or {'loss': loss}"
        )
    return logs
