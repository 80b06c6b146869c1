"""Which metrics make up the loss that a training step reports."""

from typing import Any

import keras


def reset_loss(model: Any) -> None:
    """Forgets earlier batches, so that the loss reported next is one batch's own.

    Resetting every metric costs several writes per step, so with Keras's own training
    step only the loss trackers are reset. A training step of the user's may keep its
    loss under any name: then all are.
    """
    own_step = type(model).train_step is not keras.Model.train_step
    for metric in model.metrics:
        if own_step or metric.name == "loss":
            metric.reset_state()
