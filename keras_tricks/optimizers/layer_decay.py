"""Layer-wise decay: the rate falls by a factor with each level below the head."""

import warnings
from collections.abc import Sequence
from typing import Any

from keras_tricks import _arguments
from keras_tricks.optimizers import _depth

# Below it a layer hardly moves; 24 blocks at 0.75, as BEiT has them, are above.
_STARVED = 1e-4


def layer_decay(
    model: Any,
    decay: float = 0.75,
    min_scale: float = 0.0,
    groups: Sequence[str | Sequence[str]] | None = None,
) -> dict[str, float]:
    """Multipliers that shrink the learning rate with each level below the head.

    When: fine-tuning a transformer, or any deep pre-trained model, as a whole.
    Typical: `decay` = 0.65 to 0.75 for 12 blocks, 0.8 to 0.9 for 24 or for small data.
    Costs: nothing.
    Beware: in a model without blocks each layer is a level, and many levels starve the
        lowest ones (InceptionV3, InceptionResNetV2, NASNet and DenseNet have 48 and
        more): it warns; raise `min_scale`, or give `groups`.

    With n blocks, level i has `decay ** (n + 1 - i)`, as in BEiT and timm:

    | level i     | what                                       | decay 0.75, n = 12 |
    |-------------|--------------------------------------------|--------------------|
    | 0           | stem: all before the first block           | .75^13 = .0238     |
    | 1 ... n     | the blocks, from the input up              | .75^12 ... .75     |
    | n + 1       | head: all after the last block             | 1                  |

    A block is one of several layers of one class of yours that hold other layers
    (`TransformerBlock`), one of several models that are named alike, or the layers
    whose names begin alike, up to a number (`block3_conv1` and `block3_conv2`;
    `conv2_block1` rather than `conv2`), if there are two or more with kernels. Layers
    between two blocks go with the upper one. If less than half of the layers with
    kernels are in blocks, each layer is a level, and a normalization goes with the
    layer before it. Levels are counted from the output, along the longest way through
    the graph: parallel branches share levels. Models inside the model are looked into.
    Layers of a subclassed model count in the order in which it holds them; its own
    weights, which have the empty path, belong to the lowest level.

    Args:
        model: Built `keras.Model`.
        decay: Float in (0, 1], the factor from one level to the next lower one.
        min_scale: Float in [0, 1], no multiplier is lower. Defaults to 0.
        groups: List of patterns, or of lists of patterns, from the lowest level to the
            head: the levels by hand. Defaults to None: read from the model.

    Returns:
        Dict from patterns to multipliers, the lowest level first: an ordinary dict to
        print and edit, for `LayerwiseLearningRate`. Each pattern is the escaped path
        of one layer or block, unless `groups` gave the patterns; together they cover
        every layer that can be trained.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, the model is not built, a
            container holds weights beside its blocks, `groups` do not put every layer
            that can be trained into one group, or nothing can be trained.

    Warns:
        UserWarning: If the lowest level has less than 1e-4 of the rate.

    Example:
    >>> import keras, keras_tricks as kt
    >>> names = ["embedding", "hidden", "head"]
    >>> dense = [keras.layers.Dense(2, name=name) for name in names]
    >>> model = keras.Sequential([keras.Input((3,)), *dense])
    >>> kt.optimizers.layer_decay(model, decay=0.5)
    {'embedding': 0.25, 'hidden': 0.5, 'head': 1.0}

    Reference: Bao et al. 2021, arXiv 2106.08254, and timm's `param_groups_layer_decay`;
    after Clark et al. 2020 (ELECTRA), arXiv 2003.10555, which decays once more.
    """
    _arguments.within("decay", decay, 0, 1, open_low=True)
    _arguments.within("min_scale", min_scale, 0, 1)
    found = _depth.multipliers(
        model, groups, lambda distance: max(min_scale, decay**distance)
    )
    lowest = min(found.values())
    if lowest < _STARVED:
        warnings.warn(
            f"layer_decay gives the lowest of {len(set(found.values()))} levels "
            f"{lowest:.1e} of the rate, which freezes it in practice: raise "
            "`min_scale` or `decay`, or give `groups`.",
            stacklevel=2,
        )
    return found
