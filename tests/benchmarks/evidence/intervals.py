"""The difference of two sides over paired seeds, and what it says."""

from typing import NamedTuple

import numpy as np
from scipy import stats

LEAST_SEEDS = 5


class Metric(NamedTuple):
    """How good predictions are, as a number."""

    name: str
    higher_is_better: bool


ACCURACY = Metric("accuracy, %", True)
LOG_LOSS = Metric("log loss", False)
RMSE = Metric("RMSE, in spreads of the target", False)


class Difference(NamedTuple):
    """Mean of trick minus baseline, and half its 95 % interval."""

    mean: float
    half: float
    seeds: int


def difference(baseline, trick):
    """Student's t on the pairs: the same seed has the same rows, weights and order."""
    pairs = np.asarray(trick, "float64") - np.asarray(baseline, "float64")
    count = len(pairs)
    if count < LEAST_SEEDS:
        raise ValueError(
            f"`baseline` and `trick` must hold at least {LEAST_SEEDS} paired seeds. "
            f"Received: {count}; run more seeds"
        )
    quantile = stats.t.ppf(0.975, count - 1)
    half = quantile * pairs.std(ddof=1) / np.sqrt(count)
    return Difference(float(pairs.mean()), float(half), count)


def verdict(found, metric):
    """By the interval alone: it lies on one side of zero, or it says nothing."""
    towards_better = found.mean if metric.higher_is_better else -found.mean
    if towards_better - found.half > 0:
        return "helps"
    return "hurts" if towards_better + found.half < 0 else "no difference"


def score(answers, truth, metric):
    """The metric of predictions: probabilities (rows, classes), or values (rows,).

    A training that diverged counts as a guess: all classes alike, or the mean of the
    (standardised) targets.
    """
    answers = np.asarray(answers, "float64")
    if metric is RMSE:
        values = np.where(np.isfinite(answers), answers, 0.0).reshape(-1)
        return float(np.sqrt(np.mean((values - truth) ** 2)))
    good = np.isfinite(answers).all(axis=1, keepdims=True)
    answers = np.where(good, answers, 1.0 / answers.shape[1])
    if metric is ACCURACY:
        return float(100 * np.mean(answers.argmax(axis=1) == truth))
    shares = answers / answers.sum(axis=1, keepdims=True)
    chosen = shares[np.arange(len(truth)), truth]
    return float(-np.mean(np.log(np.maximum(chosen, 1e-7))))
