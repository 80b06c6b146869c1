"""Whether a model has weights, an optimizer and metrics of its own."""

from collections.abc import Iterator
from typing import Any

import keras
from keras.optimizers import LossScaleOptimizer, MultiOptimizer

_EXPECTED = "`build` must return a new model at each call, with {} of its own. "


def check(model: Any, earlier: list[Any]) -> None:
    """Checks that a model shares nothing that a training moves with earlier ones.

    Raises:
        ValueError: If it does, or its optimizer belongs to yet another one.
    """
    known = {id(variable) for other in earlier for variable in other.variables}
    shared = [v.path for v in model.variables if id(v) in known]
    if shared or any(model is other for other in earlier):
        what = f"one that has {shared[0]!r}" if shared else "the same model"
        raise ValueError(
            _EXPECTED.format("weights")
            + f"Received: {what} of an earlier member again; make all layers inside "
            "`build`"
        )
    optimizers = {id(part) for other in earlier for part in _optimizers(other)}
    for part in _optimizers(model):
        if id(part) in optimizers or _is_anothers(part, model):
            raise ValueError(
                _EXPECTED.format("an optimizer")
                + f"Received: one with the {type(part).__name__} of another model; "
                "make the optimizer inside `build`"
            )
    metrics = {id(metric) for other in earlier for metric in _metrics(other)}
    for metric in _metrics(model):
        if id(metric) in metrics:
            raise ValueError(
                _EXPECTED.format("metrics")
                + f"Received: one with the metric {metric.name!r} of an earlier "
                "member; make the metrics inside `build`"
            )


def _optimizers(model: Any) -> list[Any]:
    held = vars(model).values()
    return [
        part
        for own in held
        if isinstance(own, keras.optimizers.Optimizer)
        for part in _parts(own)
    ]


def _parts(optimizer: Any) -> Iterator[Any]:
    """The optimizer and those inside it."""
    yield optimizer
    inside: list[Any] = []
    if isinstance(optimizer, LossScaleOptimizer):
        inside = [optimizer.inner_optimizer]
    elif isinstance(optimizer, MultiOptimizer):
        inside = list(optimizer.optimizers or ())
    for part in inside:
        yield from _parts(part)


def _is_anothers(optimizer: Any, model: Any) -> bool:
    """Whether it has slots for weights that are not the model's."""
    # A loaded model has an optimizer that is built too, on its own weights.
    mine = {id(variable) for variable in model.variables}
    trained = getattr(optimizer, "_trainable_variables", None) or []
    return bool(optimizer.built) and any(id(v) not in mine for v in trained)


def _metrics(model: Any) -> list[Any]:
    # Before a training begins, only what `compile` was given knows them.
    given = getattr(getattr(model, "_compile_config", None), "config", {})
    held = [given.get("metrics"), given.get("weighted_metrics")]
    return [m for m in keras.tree.flatten(held) if isinstance(m, keras.Metric)]
