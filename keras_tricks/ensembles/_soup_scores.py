"""How good a model is on held-out data; greater is better."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_tricks import _arguments
from keras_tricks.ensembles import _answers, _labels, _scores


class Scorer:
    """Scores models of one architecture by their predictions."""

    def __init__(
        self,
        model: Any,
        metric: str | Callable[[Any, Any], float],
        x: Any,
        y: Any,
        count: int,
        batch_size: int,
    ) -> None:
        self._x, self._batch_size = x, batch_size
        self._y: Any = y
        self._kind = "values"
        self.name = _scores.name(metric)
        self._metric = metric
        if callable(metric):
            return
        _arguments.one_of("metric", metric, _scores.BY_SAMPLE)
        self._y = _labels.targets(y, None)
        if len(self._y) != count:
            raise ValueError(
                f"`y` must have one entry per sample of `x`, here {count}. Received: "
                f"{len(self._y)}"
            )
        if metric != "squared_error":
            self._kind = _kind(model)

    def __call__(self, model: Any) -> float:
        answer = model.predict(self._x, batch_size=self._batch_size, verbose=0)
        if callable(self._metric):
            return _number(self._metric(self._y, answer))
        if not isinstance(answer, np.ndarray):
            raise ValueError(
                "`metric` must be a function where the models have several outputs. "
                f"Received: metric={self._metric!r}"
            )
        finished = _answers.finished(answer, self._kind)
        return _scores.score(self._metric, self._y, finished)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            "`metric` must be a function that returns a number, greater is better. "
            f"Received: one that returned {value!r}"
        ) from error


def _kind(model: Any) -> str:
    try:
        return _answers.kind(model)
    except ValueError as error:
        raise ValueError(
            "`metric` must be a function where it cannot be found whether the models "
            f"give probabilities or logits. Received: {error}"
        ) from error
