"""A leaderboard: configurations in the order of their scores."""

import re
from typing import Any, NamedTuple

import numpy as np

from keras_tricks import _arguments
from keras_tricks import fusion as kt_fusion
from keras_tricks._report import Report
from keras_tricks.ensembles import _outputs
from keras_tricks.ensembles.ensemble import Ensemble
from keras_tricks.model_selection import _cross_validation
from keras_tricks.model_selection._cross_validation import CrossValidation

_HIGHER = re.compile("acc|auc|precision|recall|f1|fbeta|io_?u|similarity|r2")
_LOWER = re.compile("loss|error|entropy|hinge|divergence|poisson|mse|mae|mape|msle")


def _questions_answered(y: Any, shares: Any) -> float:
    """The negative log loss of columns that are questions of their own."""
    shares = np.clip(shares, 1e-7, 1 - 1e-7)
    return float(np.mean(y * np.log(shares) + (1 - y) * np.log(1 - shares)))


# What `select` goes by, where it is not the log loss of classes.
_METRICS: dict[str, Any] = {"values": "squared_error"}
_METRICS |= dict.fromkeys(_outputs.MULTILABEL, _questions_answered)


class Entry(NamedTuple):
    """A configuration, its cross-validation, its epochs, and its last round."""

    configuration: dict[str, Any]
    result: CrossValidation
    epochs: int
    round: int = 0


class Line(NamedTuple):
    """A line of the table."""

    rank: int
    mean: float
    standard_error: float
    epochs: int
    seconds: float
    configuration: str


def higher_is_better(name: str, mode: str, scorers: Any) -> bool:
    """Which way a score is better.

    Raises:
        ValueError: If `mode` is unknown, or "auto" cannot tell.
    """
    _arguments.one_of("mode", mode, ("auto", "min", "max"))
    if mode != "auto":
        return mode == "max"
    if name in scorers:
        # So it is with all of scikit-learn's.
        return True
    if _LOWER.search(name):
        return False
    if _HIGHER.search(name):
        return True
    raise ValueError(
        f"`mode` must be 'min' or 'max' where the name does not tell. Received: "
        f"mode='auto' for rank_by={name!r}"
    )


class Leaderboard:
    """Configurations with their cross-validations, the best one first.

    It is made by `leaderboard`.

    Attributes:
        entries: List of entries with `configuration`, `result` (as `cross_validate`
            returns it) and `epochs`.
        rank_by: String, the score that decides.
    """

    def __init__(self, entries: list[Entry], rank_by: str, higher: bool) -> None:
        self.rank_by, self._higher = rank_by, higher
        # Who got into a later round has won the one before.
        self.entries = sorted(entries, key=lambda e: (-e.round, self._order(e)))

    def _order(self, entry: Entry) -> float:
        mean = self.mean(entry)
        if np.isnan(mean):
            return np.inf
        return -mean if self._higher else mean

    def mean(self, entry: Entry) -> float:
        """The mean score of an entry.

        Raises:
            ValueError: If there is no such score.
        """
        scores = entry.result.scores
        if self.rank_by not in scores:
            raise ValueError(
                f"`rank_by` must be one of {', '.join(map(repr, scores))}. Received: "
                f"rank_by={self.rank_by!r}"
            )
        return scores[self.rank_by].mean

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<Leaderboard {self._headline()}>"

    def _headline(self) -> str:
        best = self.entries[0]
        count = f"{len(self)} configuration" + "s" * (len(self) > 1)
        return f"{count}, best {self.rank_by} {self.mean(best):.4g}"

    @property
    def best(self) -> dict[str, Any]:
        """The configuration at the top."""
        return self.entries[0].configuration

    def summary(self) -> Report:
        """The table, which prints itself."""
        lines = []
        for rank, entry in enumerate(self.entries, 1):
            score = entry.result.scores[self.rank_by]
            lines.append(
                Line(
                    rank,
                    score.mean,
                    score.standard_error,
                    entry.epochs,
                    float(np.sum(entry.result.seconds)),
                    ", ".join(
                        f"{k}={_short(v)}" for k, v in entry.configuration.items()
                    ),
                )
            )
        return Report(self._headline(), lines)

    def top(self, count: int) -> "Leaderboard":
        """The best few alone.

        Args:
            count: Positive integer.

        Returns:
            A leaderboard.
        """
        _arguments.positive_integer("count", count)
        return Leaderboard(self.entries[:count], self.rank_by, self._higher)

    def keep_models(self, count: int) -> None:
        """Lets go of the weights in memory of all but the best.

        Args:
            count: Positive integer, how many keep theirs.
        """
        for entry in self.entries[count:]:
            entry.result.forget_models()

    def select(
        self, metric: Any = None, picks: int = 50, bags: int = 20, *, seed: int = 0
    ) -> np.ndarray:
        """How much each configuration adds to their mean, by greedy selection.

        It goes by the out-of-fold predictions of the rows that all have predicted.

        Args:
            metric: As of `kt.fusion.greedy_selection`. Defaults to None: the log loss
                for classes and for columns that are questions of their own, the
                squared error for values.
            picks: Positive integer.
            bags: Positive integer.
            seed: Integer, for the choice of the bags.

        Returns:
            Array with a share per configuration, with the sum 1.
        """
        results = [entry.result for entry in self.entries]
        found = [_cross_validation.probabilities(result) for result in results]
        known = np.all(
            [np.isfinite(one.reshape(len(one), -1)).all(axis=1) for one in found],
            axis=0,
        )
        plan = results[0]._plan
        if metric is None:
            metric = _METRICS.get(plan.kind, "log_loss")
        y = plan.data.y[known]
        if plan.kind == "values" and y.ndim < found[0].ndim:
            y = y.reshape(found[0][known].shape)
        return np.asarray(
            kt_fusion.greedy_selection(
                [one[known] for one in found], y, metric, picks, bags, seed=seed
            )
        )

    def ensemble(
        self, fusion: Any = None, *, greedy: bool = False, metric: Any = None
    ) -> Any:
        """All fold models of all configurations as one.

        Args:
            fusion: As of `kt.ensembles.Ensemble`. Defaults to None: "probabilities"
                where the models tell classes apart, else "mean".
            greedy: Boolean, whether each configuration has the weight that `select`
                gives it; those without are left out. Defaults to False: equal ones.
            metric: As of `select`.

        Returns:
            An `Ensemble`.
        """
        count = len(self.entries)
        shares = self.select(metric) if greedy else np.full(count, 1 / count)
        models, weights = [], []
        for entry, share in zip(self.entries, shares, strict=True):
            if share > 0:
                own = entry.result.ensemble(fusion).models
                models += own
                weights += [float(share) / len(own)] * len(own)
        return Ensemble(models, self.entries[0].result._fusion(fusion), weights)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
