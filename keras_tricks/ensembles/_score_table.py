"""What each member, each size of a subset and the whole ensemble are worth."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_tricks import _arguments
from keras_tricks._axes import axes
from keras_tricks._report import Report
from keras_tricks.ensembles import _scores


class Row(NamedTuple):
    """A score, and how far it is above that of the best member."""

    name: str
    members: tuple[int, ...]
    score: float
    gain: float
    low: float
    high: float


class ScoreTable(Report):
    """Rows of `name, members, score, gain, low, high`; prints and draws itself."""

    def plot(self, ax: Any = None) -> Any:
        """Draws the gains over the best member with their intervals.

        Args:
            ax: `matplotlib.axes.Axes` to draw on. Defaults to those of a new figure.

        Returns:
            The `matplotlib.axes.Axes`.
        """
        ax = axes(ax)
        places = np.arange(len(self.rows))
        gains = np.array([row.gain for row in self.rows])
        low = gains - [row.low for row in self.rows]
        high = np.array([row.high for row in self.rows]) - gains
        spread = np.maximum([low, high], 0.0)
        ax.errorbar(gains, places, xerr=spread, fmt="o", capsize=3)
        ax.axvline(0.0, linestyle=":", color="gray")
        ax.set_yticks(places, [row.name for row in self.rows])
        ax.invert_yaxis()
        ax.set(xlabel="gain over the best member")
        return ax


def score_table(
    alone: Sequence[np.ndarray],
    fuse: Callable[[Sequence[int]], np.ndarray],
    whole: np.ndarray,
    y: np.ndarray,
    metric: str | _scores.Metric,
    resamples: int,
    seed: int,
    kind: str,
    threshold: Any,
) -> ScoreTable:
    """The table.

    Args:
        alone: Each member's answer.
        fuse: Gives the answer of the members of these numbers, with equal weights.
        whole: The answer of the ensemble.
        y: As `_truth.truth` gives it.
        metric: Name, or function of `y` and an answer; greater is better.
        resamples: How many samples of the rows are drawn for the intervals.
        seed: Of these draws.
        kind: What the answers are.
        threshold: At which the ensemble decides, or None; of use to an accuracy.

    Raises:
        ValueError: If an argument is out of its range.
    """
    _arguments.positive_integer("resamples", resamples)
    own = [_scores.score(metric, y, answer, kind) for answer in alone]
    order = sorted(range(len(alone)), key=lambda member: -own[member])
    rows: list[tuple[str, tuple[int, ...], np.ndarray]]
    rows = [(f"member {i}", (i,), answer) for i, answer in enumerate(alone)]
    for size in range(2, len(alone) + 1):
        chosen = sorted(order[:size])
        rows.append((f"best {size}", tuple(chosen), fuse(chosen)))
    rows.append(("ensemble", tuple(range(len(alone))), whole))
    answers = [answer for _, _, answer in rows]
    bounds = [None] * (len(rows) - 1) + [threshold]
    if callable(metric):
        draws = _of_function(metric, y, answers, resamples, seed)
        gains = draws - draws[:, [order[0]]]
    else:
        scores = [
            _scores.by_sample(metric, y, answer, kind, bound)
            for answer, bound in zip(answers, bounds, strict=True)
        ]
        values = np.stack(scores, axis=1).astype("float64")
        gains = _of_samples(values - values[:, [order[0]]], resamples, seed)
    low, high = np.percentile(gains, [2.5, 97.5], axis=0)
    best = own[order[0]]
    table = []
    for i, (name, members, answer) in enumerate(rows):
        score = _scores.score(metric, y, answer, kind, bounds[i])
        gain = score - best
        table.append(Row(name, members, score, gain, float(low[i]), float(high[i])))
    label = _scores.name(metric)
    return ScoreTable(
        f"{label} on {len(y)} samples, greater is better; gain over member "
        f"{order[0]}, the best one, with its 95 % interval",
        table,
    )


def _drawn(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Numbers of rows, drawn with replacement; the same for all answers."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield generator.integers(0, count, count)


def _of_function(
    metric: _scores.Metric,
    y: np.ndarray,
    answers: Sequence[np.ndarray],
    resamples: int,
    seed: int,
) -> np.ndarray:
    """The scores of the answers on each draw."""
    scores = [
        [float(metric(y[rows], answer[rows])) for answer in answers]
        for rows in _drawn(len(y), resamples, seed)
    ]
    return np.array(scores)


def _of_samples(scores: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The same where a score is a mean over samples."""
    count = len(scores)
    means = [
        np.bincount(rows, minlength=count) @ scores / count
        for rows in _drawn(count, resamples, seed)
    ]
    return np.array(means)
