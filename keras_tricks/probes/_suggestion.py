"""From the curve of a learning-rate range test to a rate to train with.

Pure functions on arrays. The constants were chosen on the curves of 21 small tasks
(tables and images; dense, convolutional, normalised, tanh; batches of 8 and 32) with
four optimizers and five seeds, by what 5 epochs at each of 43 rates reached, and
confirmed on eight further tasks. None of them is sharp.
"""

from bisect import bisect_left
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Smoothed losses before this step are averages of too few batches to compare with.
_SETTLED = 10
# A blow-up is seen a few steps after its cause (momentum remembers about ten).
_STEPS_UNTIL_SEEN = 5
_BELOW_TURN = 3.0
# Once the loss lies on its floor a longer floor says nothing about the rate: small
# data that are learned by heart stay there at any rate. One decade of it counts.
_FLOOR = 10.0
# In all but one of 2,320 curves the two nearest estimates were within a factor of 9.
_AGREE = 10.0
# A floor is level if it stays within this part of the fall; results are the same
# from 0.003 to 0.02.
_LEVEL = 0.01


class Suggestion(NamedTuple):
    """What the methods said, the rate that follows from it, and why."""

    suggestions: dict[str, float]
    suggestion: float | None
    verdict: Literal["clear", "inconclusive"]
    reason: str


def smooth(losses: ArrayLike, smoothing: float = 0.98) -> Array:
    """Exponential moving average without the bias towards its start at zero (fastai).

    It lags: at 0.98 by about 50 steps, a factor of 11 in rate at 5 % a step.
    """
    values = np.asarray(losses, dtype=np.float64)
    smoothed = np.empty_like(values)
    average = 0.0
    for step, value in enumerate(values):
        average = smoothing * average + (1.0 - smoothing) * value
        smoothed[step] = average / (1.0 - smoothing ** (step + 1))
    return smoothed


def should_stop(losses: ArrayLike, smoothed: ArrayLike, stop_at: float = 4.0) -> bool:
    """Says whether the test has gone far enough, from all that was seen so far.

    It has when the last loss is not finite, or the smoothed loss exceeds `stop_at`
    times its best (fastai; here from the tenth step on, so that one lucky first batch
    does not end the test). A loss that was negative has no such multiple: there
    the distance to the best is measured by the size of the best or by the
    improvement so far, whichever is larger.
    """
    losses = np.asarray(losses, dtype=np.float64)
    smoothed = np.asarray(smoothed, dtype=np.float64)
    if losses.size and not (np.isfinite(losses[-1]) and np.isfinite(smoothed[-1])):
        return True
    settled = smoothed[_SETTLED - 1 :]
    if settled.size == 0:
        return False
    best = scale = float(settled.min())
    # On its way below zero a smoothed loss passes 0.001, and four times that is no
    # blow-up; the batches are negative before the lagging average is.
    if losses.min() < 0.0 or best <= 0.0:
        scale = max(abs(best), float(settled[0]) - best)
    return bool(scale > 0.0 and settled[-1] > best + (stop_at - 1.0) * scale)


def segment(learning_rates: ArrayLike, losses: ArrayLike) -> float:
    """Nine tenths down the straight fall, in log rate, that fits the losses best.

    Takes the batch losses themselves: a fitted line averages without lag. Near the
    foot of the fall the loss still improves and the rates are of use; the middle
    (Smith 2015 reads the fall by eye) trains 5 epochs too slowly.
    """
    rates, values = _finite(learning_rates, losses)
    fall = _fall(np.log(rates), values)
    if fall is None:
        return float("nan")
    return float(rates[fall[0]] ** 0.1 * rates[fall[1]] ** 0.9)


def steepest(learning_rates: ArrayLike, smoothed: ArrayLike) -> float:
    """The rate at which the smoothed loss falls fastest per unit of log rate.

    One point decides, so one lucky batch can: `consensus` does not ask it.
    """
    rates, values = _finite(learning_rates, smoothed)
    if len(values) < 3:
        return float("nan")
    slope = np.gradient(values, np.log(rates))
    index = int(np.argmin(slope))
    return float(rates[index]) if slope[index] < 0.0 else float("nan")


def valley(learning_rates: ArrayLike, smoothed: ArrayLike) -> float:
    """The middle of the longest fall of the smoothed loss (fastai's `valley`).

    The fall is the longest decreasing subsequence, of length L and taken to begin L
    steps before its end; the answer is at L/3 + L/6. Cautious: `consensus` does not
    ask it.
    """
    rates, values = _finite(learning_rates, smoothed)
    lowest_ends: list[float] = []  # by length of subsequence, signs turned
    length = end = 0
    for index, value in enumerate(-values):
        place = bisect_left(lowest_ends, value)
        lowest_ends[place : place + 1] = [float(value)]
        if place + 1 > length:
            length, end = place + 1, index
    if length < 3:
        return float("nan")
    return float(rates[max(end - length, 0) + length // 3 + length // 6])


def minimum(learning_rates: ArrayLike, smoothed: ArrayLike) -> float:
    """A tenth of the rate at which the smoothed loss is lowest (fastai).

    No answer if it never went below its first value.
    """
    rates, values = _finite(learning_rates, smoothed)
    index = int(np.argmin(values)) if len(values) else 0
    return float(rates[index]) / 10.0 if index else float("nan")


def consensus(
    learning_rates: ArrayLike,
    losses: ArrayLike,
    smoothing: float = 0.98,
    *,
    diverged: bool = False,
) -> Suggestion:
    """The middle one of three estimates, if the loss fell and two of them agree.

    The estimates are `segment`, `minimum`, and a third of the rate that made the
    loss turn upwards. They err differently: the segment ends too late where the
    test was too fast for the loss to find a floor, the minimum lags, and the turn
    never comes where small data are learned by heart.

    `diverged` says that a loss that was not finite came next and was left out.
    """
    rates, values = _finite(learning_rates, losses)
    diverged = diverged or len(values) < np.size(losses)
    smoothed = smooth(values, smoothing)
    answers = {
        "segment": segment(rates, values),
        "steepest": steepest(rates, smoothed),
        "valley": valley(rates, smoothed),
        "minimum": minimum(rates, smoothed),
    }

    def inconclusive(reason: str) -> Suggestion:
        return Suggestion(answers, None, "inconclusive", reason)

    count = len(values)
    if count < 10:
        return inconclusive(f"{count} finite losses are too few to judge by")
    if not _fell(values):
        return inconclusive(
            "the loss shows no fall beyond the noise of its batches: test higher "
            "rates or more steps, or check that the model can learn"
        )
    bottom = _bottom(values)
    unturned = not diverged and bottom >= count - 1 - _half_width(count)
    if unturned and answers["segment"] > rates[-1] / _BELOW_TURN:
        # Where the test ended says nothing about the minimum and the turn.
        still = f"falling when the test ended at {rates[-1]:.2g}"
        start = float(np.median(values[: max(5, count // 10)]))
        if start - values[-5:].mean() < 0.2 * abs(start):
            return inconclusive(f"the loss had hardly begun {still}: test higher rates")
        reason = f"the loss was still {still}, a higher rate may do better"
        return Suggestion(answers, answers["segment"], "clear", reason)
    turn = rates[max(bottom - _STEPS_UNTIL_SEEN, 0)] / _BELOW_TURN
    estimates = {"segment": answers["segment"], "minimum": answers["minimum"]}
    estimates["turn"] = float(turn)
    given = np.sort([rate for rate in estimates.values() if np.isfinite(rate)])
    apart = float(np.min(given[1:] / given[:-1])) if len(given) > 1 else np.inf
    said = ", ".join(f"{name} {rate:.2g}" for name, rate in estimates.items())
    if apart > _AGREE:
        return inconclusive(f"no two estimates agree within {_AGREE:.0f}x: {said}")
    limit = answers["segment"] * _FLOOR if np.isfinite(answers["segment"]) else np.inf
    rate = float(np.exp(np.median(np.log(np.minimum(given, limit)))))
    return Suggestion(answers, rate, "clear", f"the middle of {said}")


def _finite(learning_rates: ArrayLike, losses: ArrayLike) -> tuple[Array, Array]:
    """The curve up to its first loss that is not finite."""
    rates = np.asarray(learning_rates, dtype=np.float64)
    values = np.asarray(losses, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    end = int(bad[0]) if bad.size else len(values)
    return rates[:end], values[:end]


def _sums(values: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(values)])


def _half_width(count: int) -> int:
    return max(1, count // 40)


def _bottom(values: Array) -> int:
    """Where the lowest centred moving average, which does not lag, is last seen."""
    index, count = np.arange(len(values)), len(values)
    low = np.maximum(index - _half_width(count), 0)
    high = np.minimum(index + _half_width(count) + 1, count)
    sums = _sums(values - values[0])
    means = (sums[high] - sums[low]) / (high - low)
    lowest = means.min()
    return int(np.flatnonzero(means <= lowest + _LEVEL * (means[0] - lowest))[-1])


def _fell(values: Array) -> bool:
    """Tests whether some stretch of the curve lies lower than all that came before.

    A scan over all stretches with the logarithm of the ranks as scores (Savage's,
    which look at the low end). Ranks make the test independent of how the losses
    are distributed; a later blow-up does not hide the fall. Noise exceeds the bound
    in less than 1 % of the curves from 10 to 800 steps (simulated), less often still
    if the batches repeat; healthy curves of 378 steps reach 8 and more.
    """
    count = len(values)
    _, inverse, ties = np.unique(values, return_inverse=True, return_counts=True)
    scores = np.log((np.cumsum(ties) - (ties - 1) / 2 - 0.5)[inverse] / count)
    spread = scores.std()
    if spread < 1e-12:
        return False
    sums = _sums((scores - scores.mean()) / spread)
    shortest = max(5, count // 10)
    start = np.arange(shortest, count - shortest + 1)[:, None]
    end = np.arange(2 * shortest, count + 1)[None, :]
    length = np.maximum(end - start, 1)
    drop = sums[start] / start - (sums[end] - sums[start]) / length
    drop /= np.sqrt(1 / start + 1 / length)
    highest = np.max(drop, where=end - start >= shortest, initial=-np.inf)
    return bool(highest > 4.6 * (1 - 5 / count))


def _fall(x: Array, values: Array) -> tuple[int, int] | None:
    """Least squares of flat - straight fall - flat, up to the bottom: both corners."""
    if len(values) < 4:
        return None
    count = _bottom(values) + 1
    if count < 3:
        return None
    x, y = x[:count] - x[0], values[:count]
    # Freak batches far above the rest would pull the line; low ones are the signal.
    low, high = np.quantile(y, [0.25, 0.75])
    y = np.minimum(y, high + 5.0 * (high - low))
    y = y - y.mean()
    # Let c be 0 before the fall, 1 after it and straight between. Each pair of
    # corners is then a simple regression on c, and all its sums come from prefix sums.
    sx, sxx, sy, sxy = _sums(x), _sums(x * x), _sums(y), _sums(x * y)
    start, end = np.triu_indices(count, 1)
    width, origin, after = x[end] - x[start], x[start], count - end
    sum_x = sx[end] - sx[start]
    c = (sum_x - (end - start) * origin) / width + after
    cc = sxx[end] - sxx[start] - 2 * origin * sum_x + (end - start) * origin**2
    cc = cc / width**2 + after
    cy = (sxy[end] - sxy[start] - origin * (sy[end] - sy[start])) / width
    cy = cy + sy[count] - sy[end]
    gain = np.where(cy < 0.0, cy**2 / np.maximum(cc - c * c / count, 1e-12), 0.0)
    best = int(np.argmax(gain))
    return (int(start[best]), int(end[best])) if gain[best] > 0.0 else None
