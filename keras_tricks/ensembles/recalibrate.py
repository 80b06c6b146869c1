"""Recalibrate: moments of BatchNormalization that fit the weights."""

import warnings
from typing import Any

from keras_tricks import _arguments
from keras_tricks._errors import NoEffectWarning
from keras_tricks.ensembles import _moments


def recalibrate(
    model: Any, data: Any, batch_size: int | None = None, steps: int | None = None
) -> Any:
    """Recomputes the moments of `BatchNormalization` over data, in place.

    When: the weights were not trained as they are: averaged, merged, or pruned; or the
        inputs have changed.
    Typical: the training data, or some thousand samples of it, as the model gets them.
    Costs: one pass over the data, compiled anew at each call.
    Beware: every layer but the first sees what the layers before it make of a batch
        with that batch's own statistics, as in training; so the batches should be as
        large and as mixed as those. Arrays are read in their order: shuffle sorted
        ones before.

    The moments become the exact mean and variance (over all values, not corrected by
    n - 1) of the data that enter the layer, while `BatchNormalization` before it uses
    batch statistics: the cumulative means of x and of x squared, in which every value
    counts alike, a last short batch too, and masked ones not. (PyTorch's `update_bn`
    with `momentum=None` gives the means of the batches' means and variances instead:
    the variance between the batches is lost there.) All other layers run in inference
    mode, so Dropout is off, and nothing else in the model changes. Layers that are
    frozen (`trainable=False`) keep their moments, as in training.

    Args:
        model: Built model.
        data: Array, list or dict of arrays, tuple (x, y) of which x is used, or any
            dataset that `model.predict` takes.
        batch_size: Positive integer for arrays, or None for 32.
        steps: Positive integer, batches to read, or None for all.

    Returns:
        The model itself.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model is not built, uses batch renormalization, or has
            `BatchNormalization` in the cell of a recurrent layer; if all data are
            masked, or the moments are not finite. The model is as it was then.

    Warns:
        NoEffectWarning: If the model has no such layer that is not frozen, or one that
            nothing enters in inference: it keeps its moments.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> layer = keras.layers.BatchNormalization()
    >>> model = keras.Sequential([keras.Input((1,)), layer])
    >>> x = np.array([[1.0], [2.0], [3.0], [10.0]])
    >>> model = kt.ensembles.recalibrate(model, x, batch_size=3)
    >>> [round(float(m[0]), 4) for m in (layer.moving_mean, layer.moving_variance)]
    [4.0, 12.5]

    Reference: Izmailov et al. 2018, section 3.2, arXiv 1803.05407.
    """
    _arguments.built_model("model", model)
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value is not None:
            _arguments.positive_integer(name, value)
    recorder = _moments.Recorder(model)
    if not recorder.normalizations:
        warnings.warn(
            f"recalibrate has no effect: model {model.name!r} has no "
            "BatchNormalization that is not frozen",
            NoEffectWarning,
            stacklevel=2,
        )
        return model
    found = recorder.read(data, batch_size=batch_size, steps=steps)
    _moments.check(found)
    _moments.assign(found)
    return model
