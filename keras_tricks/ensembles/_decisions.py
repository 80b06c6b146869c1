"""What an ensemble decides: its temperature, its threshold, and the labels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_tricks import fusion as kt_fusion
from keras_tricks.ensembles import _labels, _members, _truth


class Decisions:
    """The methods of an `Ensemble` that go from its answer to a label."""

    # Made by `Ensemble`.
    models: Any
    labels: list[Any] | None
    threshold: float | list[float] | None
    temperature: Any
    name: Any
    predict: Any
    _answer_kind: Any
    _columns: Any
    _fuse: Any
    _kinds: tuple[str, ...]
    _side_by_side: Any
    _temperature: Any

    def calibrate(self, x: Any, y: Any, *, batch_size: int | None = None) -> float:
        """Fits a temperature on held-out data and applies it from now on.

        It is kept in the saved file. A threshold that was fitted before is dropped.

        Args:
            x: Inputs, as for `fit_weights`.
            y: Labels or one-hot rows; for several sigmoids rows of 0 and 1.
            batch_size: As in `predict`.

        Returns:
            The temperature: above 1 the ensemble was too sure, below 1 too cautious.

        Raises:
            ValueError: If the ensemble gives values, or the scores of a code table.
        """
        self._check_classes("calibrate", coded=False)
        _truth.check_inputs(x)
        self._forget()
        answer = self._one_answer(x, batch_size)
        y = self._true(y, answer, None)
        if self._answer_kind == "multilabel":
            answer, y = answer.ravel(), y.ravel()
        self._temperature.assign(float(kt_fusion.fit_temperature(answer, y)))
        return self.temperature

    def fit_threshold(
        self,
        x: Any,
        y: Any,
        metric: str | Callable[..., float] = "accuracy",
        *,
        batch_size: int | None = None,
    ) -> float | list[float]:
        """Fits the threshold that `decide` uses from now on, on held-out data.

        It is kept in the saved file.

        Args:
            x: Inputs, as for `fit_weights`.
            y: Labels of two classes; or rows of 0 and 1, one column per question.
            metric: As in `kt.fusion.fit_threshold`; a function is asked up to 1,000
                times per column. Defaults to "accuracy".
            batch_size: As in `predict`.

        Returns:
            The threshold for the second of two classes, or one per column.

        Raises:
            ValueError: If the ensemble gives values, the scores of a code table, or
                one of several classes.
        """
        self._check_classes("fit_threshold", coded=False)
        _truth.check_inputs(x)
        answer = self._one_answer(x, batch_size)
        columns = 1 if answer.ndim < 2 else answer.shape[-1]
        if columns > 2 and self._answer_kind != "multilabel":
            raise ValueError(
                "`y` must hold two classes, or one column of 0 and 1 per question: "
                "among several classes the greatest probability decides. Received: "
                f"an ensemble of {columns} columns, of which one is true for a row"
            )
        y = self._true(y, answer, None)
        if columns == 1 or self._answer_kind != "multilabel":
            answer = answer.reshape(len(answer), -1)[:, -1]
        found = np.asarray(kt_fusion.fit_threshold(answer, y, metric), "float64")
        threshold: float | list[float] = found.tolist()
        self.threshold = threshold
        return threshold

    def decide(self, x: Any, *, batch_size: int | None = None) -> np.ndarray:
        """Says which class each sample is of.

        Args:
            x: Inputs, as for `predict`.
            batch_size: As in `predict`.

        Returns:
            Labels, those of `classes` where given, else column numbers; 0 and 1 in
            each column where the members end in several sigmoids. Two classes are told
            apart at the fitted threshold, or at 0.5.

        Raises:
            ValueError: If the ensemble gives values, or a NaN; or has more or fewer
                columns than `classes` names.
        """
        self._check_classes("decide")
        answer = self.predict(x, batch_size=batch_size, verbose=0)
        self._name_nan(answer, x, batch_size)
        if answer.shape[-1] == 1:
            _truth.check_rank(answer, f"ensemble {self.name!r}")
        if self._columns is None:
            _labels.check_count(self.labels, answer, "the ensemble")
        return _labels.decided(answer, self._answer_kind, self.threshold, self.labels)

    def _one_answer(self, x: Any, batch_size: int | None) -> Any:
        """The ensemble's answer, checked."""
        answer = self.predict(x, batch_size=batch_size, verbose=0)
        _truth.check_rank(answer, f"ensemble {self.name!r}")
        self._name_nan(answer, x, batch_size)
        return answer

    def _name_nan(self, answer: np.ndarray, x: Any, batch_size: int | None) -> None:
        """Refuses an answer with a NaN, and names the member that it comes from."""
        if not np.isnan(answer).any():
            return
        try:
            _truth.check_inputs(x)
        except TypeError:
            # What cannot be asked twice.
            found = []
        else:
            found = self._predictions(x, batch_size)
        for index, own in enumerate(found):
            _truth.check_numbers(own, self._member(index))
        _truth.check_numbers(answer, f"ensemble {self.name!r}")

    def _check_answer(self, answer: np.ndarray, index: int) -> None:
        _truth.check_rank(answer, self._member(index))
        _truth.check_numbers(answer, self._member(index))

    def _member(self, index: int) -> str:
        member = self.models[index]
        name = getattr(member, "name", None) or type(member).__name__
        return f"models[{index}] {name!r}"

    def _true(self, y: Any, answer: np.ndarray, metric: Any) -> Any:
        """The true answers in the form for the ensemble's."""
        soft = metric == "squared_error"
        return _truth.truth(y, self.labels, self._answer_kind, answer, soft)

    def _predictions(self, x: Any, batch_size: int | None) -> list[np.ndarray]:
        found = _members.predictions(self.models, self._kinds, x, batch_size)
        return self._side_by_side(found)

    def _forget(self) -> None:
        """Drops what was fitted to an answer that is no more."""
        self._temperature.assign(1.0)
        self.threshold = None

    def _check_classes(self, method: str, coded: bool = True) -> None:
        if self._answer_kind == "values":
            raise ValueError(
                f"`{method}` needs probabilities. Received: ensemble {self.name!r}, "
                "which gives values; if they are probabilities, make it with "
                "outputs='probabilities'"
            )
        if not coded and self._fuse.code is not None:
            raise ValueError(
                f"`{method}` needs probabilities. Received: ensemble {self.name!r} "
                "with a code table, whose scores are none; calibrate its members, each "
                "in an ensemble of its own"
            )

    def save_own_variables(self, store: Any) -> None:
        base: Any = super()
        base.save_own_variables(store)
        if self.threshold is not None:
            store["threshold"] = np.asarray(self.threshold, "float64")

    def load_own_variables(self, store: Any) -> None:
        base: Any = super()
        names = [name for name in store.keys() if name != "threshold"]  # noqa: SIM118
        base.load_own_variables({name: store[name] for name in names})
        self.threshold = None
        if "threshold" in store.keys():  # noqa: SIM118
            self.threshold = np.asarray(store["threshold"], "float64").tolist()
