"""The learning rate for another batch size."""

import math
from typing import Any

from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _arguments
from keras_tricks.schedules import _inner
from keras_tricks.schedules.scaled import scaled


def scale_learning_rate(
    learning_rate: LearningRateSchedule | float,
    batch_size: int,
    base_batch_size: int,
    rule: str = "linear",
) -> Any:
    """Adapts a rate that was found with one batch size to another.

    When: the batch size changes and the rate was tuned before.
    Typical: `"linear"` for SGD, `"sqrt"` for Adam (better: `scale_adam`).
    Costs: nothing.
    Beware: add a `Warmup` of about five epochs when the batch grows much. The linear
        rule breaks down beyond some size (8192 for ResNet-50 on ImageNet). Steps of
        a schedule are not stretched: an epoch now has fewer of them.

    Args:
        learning_rate: Float or schedule that suits `base_batch_size`.
        batch_size: Positive integer, rows in the new batch.
        base_batch_size: Positive integer, rows in the batch used for tuning.
        rule: `"linear"` multiplies by k = `batch_size / base_batch_size`, `"sqrt"`
            by its square root.

    Returns:
        Float for a float, `Scaled` for a schedule.

    Raises:
        TypeError: If an argument is not of the right kind.
        ValueError: If a number is not positive or `rule` is unknown.

    Example:
    >>> import keras_tricks as kt
    >>> kt.schedules.scale_learning_rate(0.1, batch_size=512, base_batch_size=128)
    0.4

    Reference: Goyal et al. 2017, arXiv 1706.02677 (linear); Krizhevsky 2014, arXiv
        1404.5997 (square root).
    """
    _inner.checked("learning_rate", learning_rate)
    k = _inner.ratio(batch_size, base_batch_size)
    _arguments.one_of("rule", rule, ("linear", "sqrt"))
    return scaled(learning_rate, k if rule == "linear" else math.sqrt(k))
