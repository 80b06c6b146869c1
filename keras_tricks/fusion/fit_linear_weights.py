"""The weights of a linear blend, fitted to held-out answers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_tricks import _arguments
from keras_tricks.fusion import _blocks, _checks, _held_out
from keras_tricks.fusion._members import Members

Loss = Callable[[Any], float]


def fit_linear_weights(
    predictions: Any,
    y: Any,
    loss: str | Callable[[Any, Any], float] = "log_loss",
    *,
    classes: Any = None,
    members_axis: int = 0,
) -> Any:
    """Finds the weights with which the members' mean has the least loss.

    When: members of different strength or family, such as a network and a classical
        model, and out-of-fold predictions of all.
    Typical: up to 20 members, 1,000 samples or more.
    Costs: seconds; with a callable some hundred calls of it per member.
    Beware: on predictions for the training data it favours whoever overfits most. Few
        samples and many members: prefer `greedy_selection`, or equal weights.

    The weights are at least 0 and have the sum 1. The two losses by name have one
    minimum, and it is found. A callable need not be smooth; it is searched from the
    best of equal weights and single members, and the answer is never worse than these.

    Args:
        predictions: Array of the shape (members, samples, classes), or a list with one
            array per member. One column, or none, is the probability of class 1, or
            the value of a regression.
        y: Labels of the shape (samples,), or one-hot rows (samples, classes); true
            values with `"squared_error"`. Without `classes` labels are 0, 1, 2, ...
        loss: `"log_loss"`, `"squared_error"`, or a callable (y, fused) -> float, where
            less is better. It gets `y` as given. Defaults to `"log_loss"`.
        classes: List with the class labels of each member in the order of its columns;
            see `mean_probability`. Defaults to None, the same columns in all.
        members_axis: Integer, the axis of the members in an array. Defaults to 0.

    Returns:
        Array of the shape (members,).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If members do not fit together or to `y`, there is no sample, a
            number is not finite or, for `"log_loss"`, no probability, or a callable
            gives a NaN.

    Example:
    >>> import keras_tricks as kt
    >>> members = [[0.9, 0.2, 0.6, 0.2], [0.2, 0.1, 0.9, 0.7]]
    >>> kt.fusion.fit_linear_weights(members, [1, 0, 1, 0]).round(2).tolist()
    [1.0, 0.0]

    Reference: Breiman 1996, "Stacked regressions"; Wolpert 1992.
    """
    members = _held_out.members(predictions, classes, members_axis)
    count = len(members.parts)
    singles = list(np.eye(count))
    starts = [np.full(count, 1 / count), *singles]
    if callable(loss):
        value = _of_callable(members, y, loss)
        start = min(starts, key=value)
        return min([start, _searched(value, start)], key=value)
    _arguments.one_of("loss", loss, ("log_loss", "squared_error"))
    if loss == "log_loss":
        value, slope = _log_loss(members, y)
        found = _descended(value, slope, min(starts, key=value))
    else:
        value, found = _least_squares(members, y)
    return min([found, *starts], key=value)


def _log_loss(members: Members, y: Any) -> tuple[Loss, Callable[[Any], Any]]:
    _checks.refuse_improbable(members.parts)
    columns = _held_out.true_columns(y, members.shape, members.labels)
    given = np.maximum(_held_out.true_probabilities(members, columns), _held_out.LEAST)

    def value(weights: Any) -> float:
        return float(-np.log(weights @ given).mean())

    def slope(weights: Any) -> Any:
        return -(given / (weights @ given)).mean(axis=1)

    return value, slope


def _least_squares(members: Members, y: Any) -> tuple[Loss, Any]:
    """The error of weights with the sum 1, and those with the least."""
    from scipy import optimize

    truth = _held_out.targets(y, members)
    count = len(members.parts)
    # A triangle with the lengths and angles of the members' errors. Their products
    # would lose the good members' digits beside those of a wild one.
    root: Any = np.zeros((0, count))
    for rows in _blocks.rows(members.shape, share=count):
        part = truth[rows]
        errors = np.stack(
            [_blocks.block(members, index, rows, part) - part for index in range(count)]
        ).reshape(count, -1)
        root = np.linalg.qr(np.concatenate([root, errors.T]), mode="r")

    def value(weights: Any) -> float:
        return float(((root @ weights) ** 2).sum())

    lengths = np.sqrt((root**2).sum(axis=0))
    if not lengths.all():
        return value, np.eye(count)[np.argmin(lengths)]
    # The sum is asked for by one equation more. It is missed, by a factor: the least
    # among non-negative weights lies in the same direction, whatever their sum.
    columns = np.concatenate([root / lengths.min(), np.ones((1, count))])
    scale = lengths.min() / lengths
    wanted = np.eye(len(columns))[-1]
    found = optimize.nnls(columns * scale, wanted, maxiter=100 * count)[0] * scale
    return value, found / found.sum()


def _of_callable(members: Members, y: Any, loss: Callable[[Any, Any], float]) -> Loss:
    def value(weights: Any) -> float:
        return _held_out.number("loss", loss(y, _held_out.weighted(members, weights)))

    return value


def _descended(value: Loss, slope: Callable[[Any], Any], start: Any) -> Any:
    # Here: `import keras_tricks` must not wait for SciPy.
    from scipy import optimize

    # From inside, where no slope is infinite.
    inside = 0.9 * start + 0.1 / len(start)
    found = optimize.minimize(
        value,
        inside,
        jac=slope,
        method="SLSQP",
        bounds=[(0, 1)] * len(start),
        constraints={
            "type": "eq",
            "fun": lambda weights: weights.sum() - 1,
            "jac": lambda weights: np.ones_like(weights),
        },
        options={"ftol": 1e-12, "maxiter": 1000},
    ).x
    return _tidied(found)


def _searched(value: Loss, start: Any) -> Any:
    from scipy import optimize

    found = optimize.minimize(
        lambda weights: value(_tidied(weights)),
        0.9 * start + 0.1 / len(start),
        method="Nelder-Mead",
        options={"maxfev": 200 * len(start), "xatol": 1e-4, "fatol": 1e-9},
    ).x
    return _tidied(found)


def _tidied(weights: Any) -> Any:
    """Nothing below 0, no crumbs, and the sum 1."""
    weights = np.abs(weights)
    weights = weights / max(weights.sum(), np.finfo("float64").tiny)
    weights[weights < 1e-6] = 0
    if not weights.any():
        return np.full(len(weights), 1 / len(weights))
    return weights / weights.sum()
