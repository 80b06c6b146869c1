"""How good a mean of members is, for sums of members that grow one by one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_tricks import _arguments
from keras_tricks.fusion import _blocks, _checks, _held_out
from keras_tricks.fusion._members import Members

NAMES = ("accuracy", "log_loss", "squared_error")

Metric = Callable[[Any, Any], float]


class Scores:
    """The score of a mean of members, of which sums are at hand; greater is better."""

    def __init__(self, members: Members, y: Any, metric: str | Metric) -> None:
        self._metric: Metric
        self._members = members
        # Of each member only what the metric looks at: less work for each pick.
        self._seen: Any = None
        shape = members.shape
        if callable(metric):
            self._metric, self._y = metric, y
            return
        _arguments.one_of("metric", metric, NAMES)
        if metric == "squared_error":
            self._metric, self._y = _squared_error, _held_out.targets(y, members)
            return
        self._y = _held_out.true_columns(y, shape, members.labels)
        if metric == "accuracy":
            self._metric = _accuracy
            return
        _checks.refuse_improbable(members.parts)
        self._metric = _log_loss
        self._seen = _held_out.true_probabilities(members, self._y)

    def nothing(self) -> Any:
        """The sum of no members."""
        if self._seen is not None:
            return np.zeros(self._seen.shape[1])
        return np.zeros(self._members.shape)

    def add(self, total: Any, index: int, out: Any) -> Any:
        """Puts the sum with one member more into `out`."""
        if self._seen is not None:
            return np.add(total, self._seen[index], out=out)
        for rows in _blocks.rows(total.shape):
            part = _blocks.block(self._members, index, rows, total[rows])
            np.add(total[rows], part, out=out[rows])
        return out

    def score(self, mean: Any) -> float:
        """The score of a mean of members."""
        return _held_out.number("metric", self._metric(self._y, mean))

    def of_weights(self, weights: Any) -> float:
        """The score of the members' mean with these weights."""
        if self._seen is not None:
            return self.score(weights @ self._seen)
        # As the user will fuse them, rounded alike.
        return self.score(_held_out.weighted(self._members, weights))


def _accuracy(columns: Any, fused: Any) -> float:
    if _held_out.has_column_only(fused.shape):
        found = fused.reshape(-1) > 0.5
    else:
        found = fused.argmax(axis=1)
    return float(np.mean(found == columns))


def _log_loss(_: Any, given: Any) -> float:
    return float(np.log(np.maximum(given, _held_out.LEAST)).mean())


def _squared_error(truth: Any, fused: Any) -> float:
    # By blocks, without arrays of the differences.
    blocks = (fused[rows] - truth[rows] for rows in _blocks.rows(fused.shape))
    return -float(sum(np.vdot(apart, apart) for apart in blocks)) / fused.size
