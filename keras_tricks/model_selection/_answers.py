"""A fold's predictions in the clothes of an estimator, for scorers of scikit-learn."""

from typing import Any

import keras
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from keras_tricks.ensembles import _fusions, _outputs

_MANY = _outputs.MULTILABEL


def kind_of(model: Any) -> str:
    """What a model gives: probabilities, logits, or values of another kind."""
    fusion = _fusions.Fusion("probabilities")
    try:
        return str(_outputs.kinds([model], "auto", fusion)[0])
    except ValueError:
        return "values"


def probabilities(predictions: Any, kind: str) -> Any:
    """The predictions with logits turned into probabilities."""
    finished = _outputs.finished(keras.ops.convert_to_tensor(predictions), kind)
    return np.asarray(keras.ops.convert_to_numpy(finished))


class _Answers(BaseEstimator):
    """Answers for one set of rows alone."""

    def __init__(self, x: Any, predictions: Any, column: bool) -> None:
        self.x = x
        self.predictions = predictions
        self.column = column

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _of(self, x: Any) -> Any:
        if x is not self.x:
            raise ValueError(
                "a scorer must ask for the rows that it was given. Received: others"
            )
        return self.predictions


class Values(RegressorMixin, _Answers):
    """A regressor."""

    def predict(self, x: Any) -> Any:
        """The values, in one dimension where the targets are."""
        values = self._of(x)
        return values.reshape(len(values)) if self.column else values


class Classes(ClassifierMixin, _Answers):
    """A classifier."""

    @property
    def classes_(self) -> Any:
        """Column numbers."""
        width = self.predictions.reshape(len(self.predictions), -1).shape[1]
        return np.arange(max(width, 2))

    def predict_proba(self, x: Any) -> Any:
        """A column per class, also where the model has one for both."""
        found = self._of(x).astype("float64")
        if found.ndim == 1 or found.shape[1] == 1:
            found = found.reshape(len(found), 1)
            return np.concatenate([1 - found, found], axis=1)
        # Single precision sums to 1 only nearly.
        return found / found.sum(axis=1, keepdims=True)

    def predict(self, x: Any) -> Any:
        """The likeliest class."""
        return self.predict_proba(x).argmax(axis=1)


class Questions(ClassifierMixin, _Answers):
    """A classifier whose columns are questions of their own."""

    @property
    def classes_(self) -> Any:
        """An answer of no or yes per column."""
        return [np.arange(2)] * self.predictions.shape[1]

    def predict_proba(self, x: Any) -> Any:
        """The probability of yes, a column per question."""
        return self._of(x)

    def predict(self, x: Any) -> Any:
        """Yes or no, a column per question."""
        return (self._of(x) > 0.5).astype("int64")


def estimator(x: Any, y: Any, predictions: Any, kind: str) -> tuple[Any, Any]:
    """The estimator and the targets as scikit-learn wants them."""
    flat = y.reshape(len(y)) if y.ndim == 2 and y.shape[1] == 1 else y
    if kind == "values":
        same = predictions.reshape(len(predictions), -1).shape[1] == 1
        return Values(x, predictions, bool(same and flat.ndim == 1)), flat
    shares = probabilities(predictions, kind)
    if kind in _MANY:
        return Questions(x, shares, False), flat
    labels = flat.argmax(axis=1) if flat.ndim == 2 else flat
    return Classes(x, shares, False), labels
