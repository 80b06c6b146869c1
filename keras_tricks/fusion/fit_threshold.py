"""The probability from which on a class is predicted."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_tricks import _arguments
from keras_tricks.fusion import _checks, _classes, _held_out

_NAMES = ("accuracy", "balanced_accuracy", "f1")
# A callable is asked at most this often per class.
_CALLS = 1000


def fit_threshold(
    predictions: Any,
    y: Any,
    metric: str | Callable[[Any, Any], float],
    *,
    classes: Any = None,
) -> Any:
    """Finds the threshold that is best for a metric on held-out data.

    When: classes are rare, or errors do not cost the same, and 0.5 is not the place.
    Typical: `"f1"` for rare classes, `"balanced_accuracy"` for unequal ones.
    Costs: one sort per class; with a callable up to 1,000 calls per class.
    Beware: with few positive samples the best place is luck. Class 1 is predicted
        above the threshold, not at it.

    A threshold is tried halfway between any two neighbouring predictions, below all and
    above all. Of equally good ones the nearest to 0.5 is taken.

    Args:
        predictions: Probabilities of one model: (samples,) or (samples, 1) of class 1,
            or (samples, classes), each class against the rest.
        y: For one column 0 or 1 for each sample; else rows of 0 and 1 of the shape of
            the predictions (also several 1 in a row), or labels. Without `classes`
            labels are 0, 1, 2, ...
        metric: `"accuracy"`, `"balanced_accuracy"`, `"f1"`, or a callable (y, labels)
            -> float of 0 and 1 for one class, where more is better.
        classes: List of the class labels in the order of the columns; two for one
            column, the second of which it is the probability. Defaults to None.

    Returns:
        Float for one column, else an array of the shape (classes,).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If predictions and `y` do not fit together, there is no sample,
            predictions hold a NaN or numbers that are no probabilities, or a callable
            gives a NaN.

    Example:
    >>> import keras_tricks as kt
    >>> kt.fusion.fit_threshold([0.1, 0.25, 0.375, 0.375], [0, 0, 1, 1], "f1")
    0.3125

    Reference: Lipton et al. 2014, arXiv 1402.1892 (F1).
    """
    if not callable(metric):
        _arguments.one_of("metric", metric, _NAMES)
    members = _held_out.members([predictions], None, 0)
    _checks.refuse_improbable(members.parts)
    part, shape = members.parts[0].astype("float64"), members.shape
    labels = None if classes is None else _classes.listed(classes, "the model")
    if _held_out.has_column_only(shape):
        truth = _held_out.true_columns(y, shape, labels)
        return _threshold(part.reshape(-1), truth, metric)
    truth = _held_out.truth(y)
    if truth.shape != shape or len(shape) > 2:
        columns = _held_out.true_columns(truth, shape, labels)
        truth = np.arange(shape[1]) == columns[:, None]
    elif not np.isin(truth, (0, 1)).all():
        raise ValueError("`y` must be labels, or rows of 0 and 1. Received: others")
    pairs = zip(part.T, truth.T.astype(int), strict=True)
    return np.array([_threshold(scores, y, metric) for scores, y in pairs])


def _threshold(scores: Any, truth: Any, metric: Any) -> float:
    places = _places(scores)
    if callable(metric):
        if len(places) > _CALLS:
            near = np.linspace(0, len(places) - 1, _CALLS).round().astype(int)
            places = places[near]
        answers = (metric(truth, (scores > at).astype(int)) for at in places)
        value = np.array([_held_out.number("metric", answer) for answer in answers])
    else:
        value = _values(scores, truth, places, metric)
    best = np.flatnonzero(value >= value.max() - 1e-12)
    return float(places[best[np.argmin(np.abs(places[best] - 0.5))]])


def _places(scores: Any) -> Any:
    """A threshold between any two neighbours, one below all and one above."""
    known = np.unique(scores)
    # Of two floats without one between them, the lower: above means above.
    between = np.minimum(known[:-1] / 2 + known[1:] / 2, np.nextafter(known[1:], 0))
    lowest, highest = known[0], known[-1]
    below = lowest / 2 if lowest > 0 else -0.5
    return np.array([below, *between, max((highest + 1) / 2, highest)])


def _values(scores: Any, truth: Any, places: Any, metric: str) -> Any:
    """The metric at all places, from how many samples lie above each."""
    positives = np.sort(scores[truth == 1])
    negatives = np.sort(scores[truth == 0])
    hits = len(positives) - np.searchsorted(positives, places, side="right")
    alarms = len(negatives) - np.searchsorted(negatives, places, side="right")
    if metric == "f1":
        # Without positive samples no threshold is better than another.
        return 2 * hits / np.maximum(hits + alarms + len(positives), 1)
    passed = len(negatives) - alarms
    if metric == "accuracy":
        return (hits + passed) / len(scores)
    recalls = [hits / len(positives)] if len(positives) else []
    recalls += [passed / len(negatives)] if len(negatives) else []
    return np.mean(recalls, axis=0)
