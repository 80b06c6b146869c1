"""What an ensemble learns from data that no member has seen."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from keras_tricks import _arguments
from keras_tricks import fusion as kt_fusion
from keras_tricks.ensembles import _outputs, _scores, _truth
from keras_tricks.ensembles._decisions import Decisions

if TYPE_CHECKING:
    from keras_tricks.ensembles._score_table import ScoreTable


class HeldOut(Decisions):
    """The methods of an `Ensemble` that take held-out data."""

    # Made by `Ensemble`.
    fusion: Any
    classes: Any
    _shares: Any
    _given: Any
    _tempered: Any
    member_weights: Any

    def fit_weights(
        self,
        x: Any,
        y: Any,
        loss: str | Callable[..., float] | None = None,
        *,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Fits the weights on held-out data and uses them from now on.

        They are those of the weighted mean, so for "probabilities" and "mean" only: a
        vote, say, has weights from the user. A temperature and a threshold that were
        fitted before are dropped.

        Args:
            x: Inputs: an array, or a list or dictionary of arrays. Every member is
                asked in turn, so no dataset or generator.
            y: Labels, one-hot rows or values.
            loss: As in `kt.fusion.fit_linear_weights`; a function is given column
                numbers for labels. Defaults to "log_loss", or "squared_error" for
                values.
            batch_size: As in `predict`.

        Returns:
            The weights, of the shape (members,) and with the sum 1.

        Raises:
            ValueError: If the fusion is not a weighted mean.
        """
        self._check_linear()
        if loss is None:
            loss = "squared_error" if self._answer_kind == "values" else "log_loss"
        predictions, y, numbers = self._as_fusion_takes(x, y, loss, batch_size)
        weights = kt_fusion.fit_linear_weights(predictions, y, loss, classes=numbers)
        self._shares.assign(np.asarray(weights))
        self._forget()
        return self.member_weights

    def _as_fusion_takes(
        self, x: Any, y: Any, metric: Any, batch_size: int | None
    ) -> tuple[list[np.ndarray], Any, Any]:
        """Predictions, true answers, and the column numbers of each member's classes.

        With these numbers for names a function is given them too.
        """
        answers = self._answers(x, batch_size)
        y = self._true(y, self._alone(answers, 0), metric)
        if self._columns is None:
            if self._answer_kind == "multilabel" and not callable(metric):
                # Every column is a question of its own.
                return [answer.reshape(-1) for answer in answers], y.reshape(-1), None
            return answers, y, None
        place = {label: index for index, label in enumerate(self.labels or [])}
        numbers = [[place[label] for label in names] for names in self._columns]
        return answers, y, numbers

    def _alone(self, answers: list[np.ndarray], member: int) -> np.ndarray:
        """A member's answer in the columns of the ensemble's."""
        weights = (np.arange(len(answers)) == member).astype("float64")
        values = self._answer_kind == "values"
        mean = kt_fusion.mean if values else kt_fusion.mean_probability
        return np.asarray(mean(answers, weights, classes=self._columns))

    def _answers(self, x: Any, batch_size: int | None) -> list[np.ndarray]:
        """What every member says, checked."""
        _truth.check_inputs(x)
        answers = self._predictions(x, batch_size)
        for index, answer in enumerate(answers):
            self._check_answer(answer, index)
        return answers

    def select(
        self,
        x: Any,
        y: Any,
        metric: str | Callable[..., float] | None = None,
        *,
        picks: int = 50,
        bags: int = 20,
        seed: int | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Selects members on held-out data, greedily and with replacement.

        A member that only knows a class the selected ones do not stays with the weight
        0: the columns stay the same.

        Args:
            x: Inputs, as for `fit_weights`.
            y: Labels, one-hot rows or values.
            metric: As in `kt.fusion.greedy_selection`; a function is given column
                numbers for labels, and called `bags * picks * members` times. Defaults
                to "accuracy", or "squared_error" for values.
            picks: As in `kt.fusion.greedy_selection`. Defaults to 50.
            bags: As in `kt.fusion.greedy_selection`. Defaults to 20.
            seed: Integer for the bags, or None.
            batch_size: As in `predict`.

        Returns:
            A new ensemble of the selected members (the same models, not copies) with
            their weights, not calibrated. This one stays as it is.

        Raises:
            ValueError: If the fusion is not a weighted mean.
        """
        self._check_linear()
        metric = self._metric(metric)
        predictions, y, numbers = self._as_fusion_takes(x, y, metric, batch_size)
        shares = kt_fusion.greedy_selection(
            predictions, y, metric, picks, bags, seed=seed, classes=numbers
        )
        chosen = [index for index, share in enumerate(shares) if share > 0]
        classes = self._columns
        if numbers is not None:
            chosen = _with_all_classes(chosen, numbers)
        kind: Any = type(self)
        return kind(
            [self.models[index] for index in chosen],
            self.fusion,
            [float(shares[index]) for index in chosen],
            self.classes if classes is None else [classes[i] for i in chosen],
            outputs=_outputs.Resolved(
                self._words(chosen), [self._kinds[index] for index in chosen]
            ),
        )

    def _words(self, chosen: Sequence[int]) -> Any:
        outputs = self._given[1]
        return outputs if isinstance(outputs, str) else [outputs[i] for i in chosen]

    def _check_linear(self) -> None:
        if not self._fuse.linear:
            raise ValueError(
                "`fusion` must be 'probabilities' or 'mean' to fit weights or select "
                "members: both are made for the weighted mean. Received: "
                f"fusion={self.fusion!r}"
            )

    def score_table(
        self,
        x: Any,
        y: Any,
        metric: str | Callable[..., float] | None = None,
        *,
        resamples: int = 1000,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> "ScoreTable":
        """Scores each member, the best few of each number, and the ensemble.

        The best few are fused with equal weights. The gain is over the best member;
        its interval comes from drawing the rows again with replacement, the same for
        both. The ensemble's accuracy is that of `decide`, at the fitted threshold if
        there is one; the others are decided at 0.5.

        Args:
            x: Inputs, as for `fit_weights`.
            y: Labels, one-hot rows or values.
            metric: "accuracy", "log_loss" or "squared_error" (the last two negated), or
                a function of `y` and an answer, greater is better, which is given
                column numbers for labels. A function is called for every row of the
                table and every draw. Defaults to "accuracy", or "squared_error" for
                values.
            resamples: Positive integer, the draws of the interval. Defaults to 1000.
            seed: Integer, of the draws. Defaults to 0.
            batch_size: As in `predict`.

        Returns:
            A table that prints itself, with `rows` and `plot()`.

        Raises:
            ValueError: If the members answer different questions (a code table).
        """
        from keras_tricks.ensembles._score_table import score_table

        if self._fuse.code is not None:
            raise ValueError(
                "`fusion` must not be a code table here: members that answer "
                "different questions have no common score. Score each with its "
                "`evaluate`, and the ensemble with its own"
            )
        metric = self._metric(metric)
        answers, count = self._answers(x, batch_size), len(self.models)

        def fuse(chosen: Sequence[int]) -> np.ndarray:
            weights = np.isin(np.arange(count), chosen).astype("float64")
            return np.asarray(self._fuse(answers, weights, self._columns))

        alone = [self._alone(answers, member) for member in range(count)]
        whole = self._fuse(answers, self.member_weights, self._columns)
        whole = self._tempered(ops.convert_to_tensor(whole))
        return score_table(
            alone,
            fuse,
            np.asarray(ops.convert_to_numpy(whole)),
            self._true(y, alone[0], metric),
            metric,
            resamples,
            seed,
            self._answer_kind,
            self.threshold,
        )

    def _metric(self, metric: Any) -> Any:
        """The metric, or the one for what the ensemble gives.

        Raises:
            ValueError: If it is none, or not for values.
        """
        values = self._answer_kind == "values"
        if metric is None:
            return "squared_error" if values else "accuracy"
        if not callable(metric):
            _arguments.one_of("metric", metric, _scores.BY_SAMPLE)
            if values and metric != "squared_error":
                raise ValueError(
                    "`metric` must be 'squared_error' or a function for values. "
                    f"Received: metric={metric!r} for ensemble {self.name!r}; if it "
                    "gives probabilities, make it with outputs='probabilities'"
                )
        return metric


def _with_all_classes(chosen: list[int], numbers: list[list[int]]) -> list[int]:
    """The members chosen, and those that a class would be lost without."""
    known = {number for index in chosen for number in numbers[index]}
    kept = list(chosen)
    for index, own in enumerate(numbers):
        if not known.issuperset(own):
            known.update(own)
            kept.append(index)
    return sorted(kept)
