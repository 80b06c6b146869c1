"""The metrics of a running training, as far as all backends agree."""

from collections.abc import Callable
from typing import Any

import keras


def loss_reset(model: Any) -> Callable[[], None]:
    """Makes what forgets earlier batches: the loss reported next is one batch's own.

    Resetting every metric costs several writes per step, so with Keras's own training
    step only the loss tracker is reset. A training step of the user's may keep its
    loss under any name: then all are.
    """
    if type(model).train_step is not keras.Model.train_step:
        return model.reset_metrics
    # Found once: to walk through the layers is slow where steps are not compiled.
    trackers = [metric for metric in model.metrics if metric.name == "loss"]

    def reset() -> None:
        for tracker in trackers:
            tracker.reset_state()

    return reset


def metrics_result(model: Any) -> dict[str, Any]:
    """The metrics so far in the epoch, as NumPy values."""
    result = model.get_metrics_result()
    return {name: keras.ops.convert_to_numpy(value) for name, value in result.items()}
