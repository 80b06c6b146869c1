"""The score of an answer by a metric's name or function; greater is better."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_tricks.ensembles import _labels
from keras_tricks.fusion import _held_out

# What single precision can tell from 0 and 1: the loss stays finite.
_LEAST = float(np.finfo("float32").eps)

Metric = Callable[[Any, Any], float]


def score(
    metric: str | Metric,
    y: np.ndarray,
    answer: np.ndarray,
    kind: str | None = None,
    threshold: Any = None,
) -> float:
    """The mean over the samples, or what the function says."""
    if callable(metric):
        return float(metric(y, answer))
    return float(by_sample(metric, y, answer, kind, threshold).mean())


def by_sample(
    metric: str,
    y: np.ndarray,
    answer: np.ndarray,
    kind: str | None = None,
    threshold: Any = None,
) -> np.ndarray:
    """The score of every sample; its mean is the score.

    `y` is of the form that `_truth.truth` gives for the kind; without a kind it is
    found from `y`. At the threshold an accuracy decides.
    """
    if kind is None:
        kind, y = _found(metric, y, answer)
    return BY_SAMPLE[metric](y, answer, kind, threshold)


def _found(metric: str, y: np.ndarray, answer: np.ndarray) -> tuple[str, np.ndarray]:
    """What the answers are, as far as `y` tells, and `y` in the form for that."""
    if metric == "squared_error" and (y.ndim > 1 or _single(answer)):
        return "values", y
    if _single(answer) or y.ndim == 1 or _one_hot(y):
        return "probabilities", _held_out.true_columns(y, answer.shape)
    return "multilabel", y


def name(metric: Any) -> str:
    """How a table calls the metric."""
    if isinstance(metric, str):
        return metric
    return str(getattr(metric, "__name__", type(metric).__name__))


def _accuracy(y: Any, answer: Any, kind: str, threshold: Any) -> np.ndarray:
    right: np.ndarray = _labels.decided(answer, kind, threshold, None) == y
    return right if right.ndim < 2 else right.mean(axis=-1)


def _log_loss(y: Any, answer: Any, kind: str, _: Any) -> np.ndarray:
    clipped = np.clip(answer.astype("float64"), _LEAST, 1.0 - _LEAST)
    if not _single(answer) and kind != "multilabel":
        found: np.ndarray = np.log(clipped[np.arange(len(y)), y])
        return found
    clipped, y = clipped.reshape(len(answer), -1), y.reshape(len(y), -1)
    cells: np.ndarray = y * np.log(clipped) + (1 - y) * np.log1p(-clipped)
    return cells.mean(axis=-1)


def _squared_error(y: Any, answer: Any, kind: str, _: Any) -> np.ndarray:
    if kind == "probabilities" and y.ndim == 1 and not _single(answer):
        y = np.eye(answer.shape[-1])[y]
    error = (answer.reshape(len(answer), -1) - y.reshape(len(y), -1)) ** 2
    return -error.mean(axis=-1)


def _single(answer: np.ndarray) -> bool:
    return answer.ndim == 1 or answer.shape[-1] == 1


def _one_hot(y: np.ndarray) -> bool:
    return bool((y.sum(axis=-1) == 1).all() and ((y == 0) | (y == 1)).all())


# Greater is better.
BY_SAMPLE: dict[str, Callable[[Any, Any, str, Any], np.ndarray]] = {
    "accuracy": _accuracy,
    "log_loss": _log_loss,
    "squared_error": _squared_error,
}
