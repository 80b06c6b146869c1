"""The scores of a fold, from its predictions."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from sklearn.metrics import get_scorer

from keras_tricks.model_selection import _answers, _program

Logs = dict[str, float]


def scorers(scoring: Any) -> dict[str, Callable[..., Any]]:
    """Names and scorers, from all that scikit-learn's `scoring` may be.

    Raises:
        TypeError: If it is something else.
        ValueError: If scikit-learn does not know a name.
    """
    if scoring is None:
        return {}
    if isinstance(scoring, str):
        return {scoring: _scorer(scoring)}
    if isinstance(scoring, Mapping):
        return {str(name): _scorer(given) for name, given in scoring.items()}
    if callable(scoring):
        return {"score": scoring}
    if isinstance(scoring, list | tuple | set) and all(
        isinstance(name, str) for name in scoring
    ):
        return {name: _scorer(name) for name in scoring}
    raise TypeError(
        "`scoring` must be a name, a callable (estimator, x, y), a list of names or a "
        f"dict, as in scikit-learn. Received: scoring={scoring!r}"
    )


def _scorer(given: Any) -> Any:
    if callable(given):
        return given
    try:
        return get_scorer(given)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            "`scoring` must hold names that sklearn.metrics.get_scorer_names() lists. "
            f"Received: scoring={given!r}"
        ) from error


class Judge:
    """Judges predictions by Keras metrics and scikit-learn scorers."""

    def __init__(self, metrics: Any, scoring: Any) -> None:
        if metrics is not None and not isinstance(metrics, list | tuple):
            raise TypeError(
                f"`metrics` must be a list, as in `compile`. Received: {metrics!r}"
            )
        self._metrics = list(metrics or [])
        self._scorers = scorers(scoring)
        self._panel: Any = None

    @property
    def names(self) -> list[str]:
        """The names of the scorers, where more is always better."""
        return list(self._scorers)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_panel": None}

    def __call__(self, x: Any, y: Any, predictions: Any, kind: str) -> Logs:
        """The scores of these rows."""
        found: Logs = {}
        if self._metrics:
            found.update(self._measured(y, predictions))
        if self._scorers:
            answers, truth = _answers.estimator(x, y, predictions, kind)
            for name, scorer in self._scorers.items():
                found[name] = float(scorer(answers, x, truth))
        return found

    def _measured(self, y: Any, predictions: Any) -> Logs:
        if self._panel is None:
            # A model that gives back what it gets: Keras finds out which function
            # "accuracy" is for these shapes.
            identity = keras.layers.Identity()
            self._panel = keras.Sequential(
                [keras.Input(predictions.shape[1:], dtype=predictions.dtype), identity]
            )
            metrics = [_copied(metric) for metric in self._metrics]
            self._panel.compile(loss=_none, metrics=metrics)
        self._panel.reset_metrics()
        # All at once: to make a data set takes TensorFlow longer than to go through it.
        logs = self._panel.test_on_batch(predictions, y, return_dict=True)
        logs.pop("loss", None)
        return canonical(self._panel, logs)


def _none(_: Any, predictions: Any) -> Any:
    # `evaluate` insists on a loss.
    return keras.ops.zeros_like(predictions)


def _copied(metric: Any) -> Any:
    """A metric that has counted nothing yet."""
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    return type(metric).from_config(metric.get_config())


def canonical(model: Any, logs: Mapping[str, Any]) -> dict[str, Any]:
    """Logs whose names do not count up from model to model (`auc`, `auc_1`, ...)."""
    names = {}
    metrics = [getattr(metric, "metrics", [metric]) for metric in model.metrics]
    for metric in (inner for some in metrics for inner in some):
        plain = _program.automatic(type(metric).__name__, metric.name)
        names[metric.name] = plain
        names[f"val_{metric.name}"] = f"val_{plain}"
    plains = [names.get(name, name) for name in logs]
    if len(set(plains)) < len(plains):
        return dict(logs)
    found = dict(zip(plains, logs.values(), strict=True))
    # Keras sorts by name.
    return {name: found[name] for name in sorted(found, key=_losses_first)}


def _losses_first(name: str) -> bool:
    return name not in ("loss", "val_loss")
