"""The temperature at which probabilities are honest."""

from typing import Any

import numpy as np

from keras_tricks.fusion import _checks, _classes, _held_out
from keras_tricks.fusion.apply_temperature import LEAST

_SOFTEST = 100.0


def fit_temperature(predictions: Any, y: Any, *, classes: Any = None) -> float:
    """Finds the temperature with the least log loss on held-out data.

    When: the confidence of a model or an ensemble will be used, not only its classes.
    Typical: 1,000 held-out samples; networks get 1 to 3.
    Costs: some dozen passes over the predictions.
    Beware: on training data it comes out too low. Where every prediction is right,
        the loss only falls, and the lower end of the range is returned.

    For other shapes of calibration see `sklearn.calibration`.

    Args:
        predictions: Probabilities of one model, of the shape (samples, classes); one
            column, or none, is the probability of class 1.
        y: Labels of the shape (samples,), or one-hot rows. Without `classes` labels are
            0, 1, 2, ...
        classes: List of the class labels in the order of the columns; two for one
            column, the second of which it is the probability. Defaults to None.

    Returns:
        Float from 0.01 to 100, for `apply_temperature`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If predictions and labels do not fit together, there is no sample,
            or predictions hold a NaN or numbers that are no probabilities.

    Example:
    >>> import keras_tricks as kt
    >>> probabilities = [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]
    >>> round(kt.fusion.fit_temperature(probabilities, [0, 0, 1, 1]), 3)
    2.0

    Reference: Guo et al. 2017, arXiv 1706.04599.
    """
    # Here: `import keras_tricks` must not wait for SciPy.
    from scipy import optimize, special

    members = _held_out.members([predictions], None, 0)
    _checks.refuse_improbable(members.parts)
    part = members.parts[0].astype("float64")
    labels = None if classes is None else _classes.listed(classes, "the model")
    columns = _held_out.true_columns(y, part.shape, labels)
    if _held_out.has_column_only(part.shape):
        part = np.stack([1 - part.reshape(-1), part.reshape(-1)], axis=1)
    logits = np.log(np.maximum(part, LEAST))
    logits -= logits[np.arange(len(columns)), columns][:, None]

    def loss(logarithm: float) -> float:
        return float(special.logsumexp(logits / np.exp(logarithm), axis=1).mean())

    # The loss is convex in 1 / T, so that it has one minimum in log T as well.
    edge = float(np.log(_SOFTEST))
    found = optimize.minimize_scalar(
        loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-8}
    )
    # The search stops short of the ends, and nowhere in particular on a level.
    steps = [-edge, float(found.x), edge]
    return float(np.exp(min(steps, key=loss)))
