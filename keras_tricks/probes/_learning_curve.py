"""From the errors at a few sample sizes to the error at a larger one.

Pure functions on arrays. The error is taken to fall as a power of the size towards a
floor, alpha * size**beta + gamma with beta < 0 (Hestness et al. 2017), once it has left
the error of mere guessing, which it cannot exceed: there its odds fall so. Two or three
sizes do not determine as many numbers: many curves are drawn, weighted by how well they
fit, and the answer is the middle of what they say, with an interval.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

_DRAWS = 40_000
# What repeats of one run differ by, as a share of the error, before any was seen; it
# counts as much as so many repeats.
_USUAL_NOISE, _USUAL_COUNT = 0.08, 2
# At a fixed number of epochs larger data also mean more steps: steeper than the 0.07 to
# 0.35 of models trained to the end.
_STEEPEST = 2.0
# Most floors are far below the error of the largest sample, some are not.
_FLOOR_SHAPE = (0.8, 1.6)
# The error of guessing, in errors of the smallest sample: anything in between.
_GUESS_TIMES = (1.1, 30.0)
_QUANTILES = (0.1, 0.5, 0.9)


class Extrapolation(NamedTuple):
    """An error at the full size, and the curve through the middle of all draws."""

    low: float
    estimate: float
    high: float
    alpha: float
    beta: float
    gamma: float
    noise: float


def monotone(means: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The nearest values that do not rise: neighbours that do are averaged."""
    blocks: list[tuple[float, float, int]] = []
    for mean, weight in zip(means, weights, strict=True):
        count = 1
        while blocks and blocks[-1][0] < mean:
            other, other_weight, other_count = blocks.pop()
            total = weight + other_weight
            mean = (mean * weight + other * other_weight) / total
            weight, count = total, count + other_count
        blocks.append((mean, weight, count))
    return [mean for mean, _, count in blocks for _ in range(count)]


def noise(errors: Sequence[Array]) -> float:
    """How much the logarithm of an error differs between repeats."""
    squares = sum(float(np.sum((np.log(e) - np.log(e).mean()) ** 2)) for e in errors)
    freedom = sum(len(e) - 1 for e in errors)
    usual = _USUAL_COUNT * _USUAL_NOISE**2
    return float(np.sqrt((squares + usual) / (freedom + _USUAL_COUNT)))


def extrapolate(
    sizes: Sequence[int],
    errors: Sequence[Array],
    full_size: int,
    counting_noise: float = 0.0,
) -> Extrapolation:
    """The error at the full size, with an 80 % interval of what one run will show.

    Args:
        sizes: Rows of each sample, rising, at least two of them.
        errors: For each size the errors of its runs, all above zero.
        full_size: Rows of all data.
        counting_noise: Variance of the logarithm of an error of 1, where errors are
            counted: (1 - e) / (e * rows) is about 1 / (e * rows).
    """
    random = np.random.default_rng(0)
    spread = noise(errors)
    logs = [float(np.log(e).mean()) for e in errors]
    logs = monotone(logs, [len(e) for e in errors])
    variances = [
        spread**2 / len(e) + counting_noise / float(np.mean(e)) for e in errors
    ]
    last = random.normal(logs[-1], np.sqrt(variances[-1]), _DRAWS)
    beta = random.uniform(0.0, _STEEPEST, _DRAWS)
    floor = random.beta(*_FLOOR_SHAPE, _DRAWS)
    largest = sizes[-1]

    low, high = np.log(_GUESS_TIMES)
    top = np.exp(logs[0] + random.uniform(low, high, _DRAWS))
    error = np.exp(last)
    gamma = floor * error
    odds = (error - gamma) / np.maximum(top - error, 1e-3 * top)

    def at(size: float) -> Array:
        """The logarithm of the error at a size."""
        here = odds * (size / largest) ** -beta
        return np.asarray(np.log(gamma + (top - gamma) * here / (1.0 + here)))

    weights = np.zeros(_DRAWS)
    for size, mean, variance in zip(sizes[:-1], logs[:-1], variances[:-1], strict=True):
        weights -= 0.5 * (mean - at(size)) ** 2 / variance
    weights = np.exp(weights - weights.max())
    full = at(full_size)
    middle = float(np.exp(_quantiles(full, weights, (0.5,))[0]))
    shown = np.sqrt(spread**2 + counting_noise / middle)
    full = full + random.normal(0.0, shown, _DRAWS)
    low, _, high = np.exp(_quantiles(full, weights, _QUANTILES))
    share = float(_quantiles(floor, weights, (0.5,))[0])
    middle_last = float(np.exp(logs[-1]))
    # The power that leads from the largest sample to the answer, above that floor.
    end = min(share * middle_last, 0.99 * middle)
    fall = np.log((middle_last - end) / (middle - end))
    power = float(max(fall, 0.0) / np.log(full_size / largest))
    alpha = (middle_last - end) * largest**power
    return Extrapolation(
        float(low), middle, float(high), float(alpha), -power, end, spread
    )


def _quantiles(values: Array, weights: Array, shares: Sequence[float]) -> Array:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    places = np.searchsorted(sums / sums[-1], shares)
    return np.asarray(values[order][np.minimum(places, len(values) - 1)])
