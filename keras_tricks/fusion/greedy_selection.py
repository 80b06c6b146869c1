"""The best few of many members, picked one after the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_tricks import _arguments
from keras_tricks.fusion import _held_out
from keras_tricks.fusion._scores import Scores

# With fewer members, half of them are no choice.
_LEAST_BAG = 5


def greedy_selection(
    predictions: Any,
    y: Any,
    metric: str | Callable[[Any, Any], float],
    picks: int = 50,
    bags: int = 20,
    *,
    seed: int | None = None,
    classes: Any = None,
    members_axis: int = 0,
) -> Any:
    """Picks members, with replacement, that make the mean better by any metric.

    When: many members, of a search or of several runs, and held-out predictions.
    Typical: 10 to 1000 members; 50 picks in each of 20 bags.
    Costs: `picks * bags * members / 2` calls of the metric; memory for two answers in
        double precision, three for `"squared_error"`.
    Beware: the score on the same data is too good; judge the ensemble on other data.

    In each bag half of the members, at least five, take part. Each pick is of the
    member that makes the mean of all picks best, the first one of equals. If on this
    data the mean of all bags is worse than the best member alone, that one gets the
    whole weight.

    Args:
        predictions: Array of the shape (members, samples, classes), or a list with one
            array per member. One column, or none, is the probability of class 1, or
            the value of a regression.
        y: Labels of the shape (samples,), or one-hot rows (samples, classes); true
            values with `"squared_error"`. Without `classes` labels are 0, 1, 2, ...
        metric: `"accuracy"`, `"log_loss"`, `"squared_error"` (the last two negated), or
            a callable (y, fused) -> float, where more is better. It gets `y` as given.
        picks: Positive integer, the picks in each bag. Defaults to 50.
        bags: Positive integer; 1 is a single run with all members. Defaults to 20.
        seed: Integer for the choice of the bags, or None for another one each time.
        classes: List with the class labels of each member in the order of its columns;
            see `mean_probability`. Defaults to None, the same columns in all.
        members_axis: Integer, the axis of the members in an array. Defaults to 0.

    Returns:
        Array of the shape (members,): each member's share of the picks.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If members do not fit together or to `y`, there is no sample, a
            number is not finite or, for `"log_loss"`, no probability, or the metric
            gives a NaN.

    Example:
    >>> import keras_tricks as kt
    >>> members = [[0.9, 0.7, 0.6], [0.4, 0.1, 0.9], [0.1, 0.2, 0.3]]
    >>> weights = kt.fusion.greedy_selection(members, [1, 0, 1], "accuracy", picks=2)
    >>> weights.tolist()
    [0.5, 0.5, 0.0]

    Reference: Caruana et al. 2004, "Ensemble selection from libraries of models".
    """
    _arguments.positive_integer("picks", picks)
    _arguments.positive_integer("bags", bags)
    members = _held_out.members(predictions, classes, members_axis)
    if seed is not None:
        _arguments.integer("seed", seed, 0, 2**63 - 1)
    scores = Scores(members, y, metric)
    count = len(members.parts)
    size = max(-(-count // 2), min(count, _LEAST_BAG))
    if bags == 1 or size == count:
        chosen = [np.arange(count)]
    else:
        random = np.random.default_rng(seed)
        chosen = [
            np.sort(random.choice(count, size, replace=False)) for _ in range(bags)
        ]
    counts = sum(_picked(scores, bag, picks, count) for bag in chosen)
    weights = counts / (picks * len(chosen))
    singles = np.eye(count)
    alone = [scores.of_weights(single) for single in singles]
    if scores.of_weights(weights) < max(alone):
        return singles[int(np.argmax(alone))]
    return weights


def _picked(scores: Scores, bag: Any, picks: int, count: int) -> Any:
    """How often each member is picked."""
    counts = np.zeros(count)
    total = scores.nothing()
    trial = np.empty_like(total)
    for pick in range(1, picks + 1):
        tried = []
        for index in bag:
            scores.add(total, index, trial)
            # In place: a metric may not keep, but even change what it gets.
            tried.append(scores.score(np.divide(trial, pick, out=trial)))
        best = bag[int(np.argmax(tried))]
        scores.add(total, best, total)
        counts[best] += 1
    return counts
