"""Discriminative rates: each layer trains more slowly than the one above it."""

from collections.abc import Sequence
from typing import Any

from keras_tricks import _arguments
from keras_tricks.optimizers import _depth


def discriminative(
    model: Any,
    factor: float = 2.6,
    groups: Sequence[str | Sequence[str]] | None = None,
) -> dict[str, float]:
    """Multipliers that divide the learning rate by a factor at each lower layer.

    When: fine-tuning a pre-trained model of a few layers, or of a few groups.
    Typical: `factor` = 2.6, with the groups of `GradualUnfreezing`.
    Costs: nothing.
    Beware: made for three to five levels. With ten the lowest one gets 1/5400 of the
        rate; use `layer_decay`, or fewer `groups`.

    The last layer (or group) has 1, the one below 1 / factor, then 1 / factor ** 2.
    Without `groups` the levels are those of `layer_decay`, whose card says how they
    are read from the model: `discriminative(model, 2.6)` is
    `layer_decay(model, 1 / 2.6)`.

    Args:
        model: Built `keras.Model`.
        factor: Float of at least 1, from one level to the next lower one.
        groups: List of patterns, or of lists of patterns, from the lowest layers to
            the head. Defaults to None: read from the model.

    Returns:
        Dict from patterns to multipliers, the lowest level first, for
        `LayerwiseLearningRate`; an ordinary dict to print and edit.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `factor` is below 1, the model is not built, a container holds
            weights beside its blocks, or `groups` do not put every layer that can be
            trained into one group.

    Example:
    >>> import keras, keras_tricks as kt
    >>> names = ["embedding", "hidden", "head"]
    >>> dense = [keras.layers.Dense(2, name=name) for name in names]
    >>> model = keras.Sequential([keras.Input((3,)), *dense])
    >>> kt.optimizers.discriminative(model, 2.0, groups=["embedding|hidden", "head"])
    {'embedding|hidden': 0.5, 'head': 1.0}

    Reference: Howard and Ruder 2018, section 3.2, arXiv 1801.06146.
    """
    _arguments.within("factor", factor, 1, float("inf"), open_high=True)
    return _depth.multipliers(model, groups, lambda distance: factor**-distance)
