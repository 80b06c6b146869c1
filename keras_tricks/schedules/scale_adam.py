"""Adam's settings for another batch size."""

import math
from typing import Any

from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _arguments
from keras_tricks.schedules import _inner
from keras_tricks.schedules.scaled import scaled


def scale_adam(
    learning_rate: LearningRateSchedule | float,
    batch_size: int,
    base_batch_size: int,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> dict[str, Any]:
    """Adapts Adam's settings that were found with one batch size to another.

    When: the batch size changes and Adam was tuned before.
    Typical: k = `batch_size / base_batch_size` of 2 to 8, either way.
    Costs: nothing.
    Beware: k must stay below `1 / (1 - beta_1)`, ten with the usual `beta_1`. Steps of
        a schedule are not stretched: an epoch now has fewer of them.

    The rate is multiplied by sqrt(k), each beta becomes `1 - k * (1 - beta)`, and
    epsilon is divided by sqrt(k). Scaling by a, then by b, is scaling by a * b.

    Args:
        learning_rate: Float or schedule that suits `base_batch_size`.
        batch_size: Positive integer, rows in the new batch.
        base_batch_size: Positive integer, rows in the batch used for tuning.
        beta_1: Float in (0, 1), as tuned. Defaults to Keras's.
        beta_2: Float in (0, 1), as tuned. Defaults to Keras's.
        epsilon: Positive float, as tuned. Defaults to Keras's.

    Returns:
        Dictionary of the arguments of `keras.optimizers.Adam`, also of `AdamW`.

    Raises:
        TypeError: If an argument is not of the right kind.
        ValueError: If an argument is out of its range, or the batch grows so much
            that a beta would not be positive.

    Example:
    >>> import keras
    >>> import keras_tricks as kt
    >>> settings = kt.schedules.scale_adam(1e-3, batch_size=128, base_batch_size=32)
    >>> {name: round(value, 9) for name, value in settings.items()}
    {'learning_rate': 0.002, 'beta_1': 0.6, 'beta_2': 0.996, 'epsilon': 5e-08}
    >>> optimizer = keras.optimizers.Adam(**settings)

    Reference: Malladi et al. 2022, arXiv 2205.10287.
    """
    _inner.checked("learning_rate", learning_rate)
    k = _inner.ratio(batch_size, base_batch_size)
    _arguments.positive("epsilon", epsilon)
    return {
        "learning_rate": scaled(learning_rate, math.sqrt(k)),
        "beta_1": _scaled_beta("beta_1", beta_1, k),
        "beta_2": _scaled_beta("beta_2", beta_2, k),
        "epsilon": epsilon / math.sqrt(k),
    }


def _scaled_beta(name: str, beta: float, k: float) -> float:
    _arguments.within(name, beta, 0, 1, open_low=True, open_high=True)
    result = 1 - k * (1 - beta)
    # Ten times 1 - 0.9 is a little below 1 in floats; it means 1.
    if result < 1e-9:
        raise ValueError(
            f"`batch_size` must be less than {1 / (1 - beta):g} times `base_batch_size`"
            f" for {name}={beta!r}: scaled, {name} would be {result:.3g}, and Adam "
            "would forget all earlier batches at every step. Use a smaller batch, or "
            f"a larger {name} to start from. Received: batch_size / base_batch_size = "
            f"{k:g}"
        )
    return result
