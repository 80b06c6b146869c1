"""Models like a given one, to hold the weights of snapshots."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments
from keras_tricks.ensembles import _scores
from keras_tricks.surgery import _calls, _carry, _rebuild

_REMEDY = (
    "give Snapshots `build`, a function without arguments that returns a model like it"
)


def like(model: Any, build: Callable[[], Any] | None) -> Any:
    """Another model of the same structure, built, with weights of its own.

    Raises:
        ValueError: If the model cannot be copied, or what `build` gives is no such
            model.
    """
    if build is not None:
        new = build()
        if not isinstance(new, keras.Model):
            raise ValueError(
                "`build` must return a keras.Model. Received: build() gave "
                f"{type(new).__name__}"
            )
    elif _calls.is_copyable(model):
        return _rebuild.rebuild(_rebuild.check(model)).model
    else:
        new = _from_config(model)
    if not new.built:
        # On what the other was called on first, as Keras does in loading.
        new.build_from_config(model.get_build_config() or {})
        new.built = True
    theirs, ours = _shapes(new), _shapes(model)
    if theirs != ours:
        what = "`build` must return" if build else "`model.get_config` must describe"
        remedy = "return a built model" if build else _REMEDY
        raise ValueError(
            f"{what} a model with the same weights. Received: weights of shapes "
            f"{theirs} where {model.name!r} has {ours}; {remedy}"
        )
    return new


def _from_config(model: Any) -> Any:
    kind = type(model).__name__
    try:
        return type(model).from_config(model.get_config())
    except Exception as error:
        raise ValueError(
            "`build` must be given where a model cannot be made from its config. "
            f"Received: build=None and a model of the class {kind} "
            f"({_carry.first_line(error)}); {_REMEDY}"
        ) from error


def _shapes(model: Any) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in model.weights]


def check_metric(model: Any, y: Any, metric: Any) -> None:
    """Refuses what `score` cannot do."""
    if metric is None:
        if not model.compiled or not vars(model).get("loss", True):
            raise ValueError(
                "`metric` must be given where the model is not compiled with a loss. "
                f"Received: metric=None and the model {model.name!r}; compile it, or "
                f"give a function or one of {list(_scores.BY_SAMPLE)}"
            )
        return
    if isinstance(metric, str):
        _arguments.one_of("metric", metric, _scores.BY_SAMPLE)
    elif not callable(metric):
        raise TypeError(
            "`metric` must be a function of the targets and the predictions, one of "
            f"{list(_scores.BY_SAMPLE)}, or None. Received: metric={metric!r}"
        )
    if y is None:
        raise ValueError(
            "`y` must hold the targets where `metric` is given. Received: y=None; give "
            "the inputs and the targets of a dataset apart"
        )


def score(model: Any, x: Any, y: Any, metric: Any, batch_size: int | None) -> float:
    """How good a model is, greater is better; NaN is worse than all."""
    arguments = {"batch_size": batch_size, "verbose": 0}
    if metric is None:
        found = -float(model.evaluate(x, y, return_dict=True, **arguments)["loss"])
    elif callable(metric):
        found = float(metric(y, model.predict(x, **arguments)))
    else:
        answer = model.predict(x, **arguments)
        found = _scores.score(metric, _targets(y, answer), answer)
    return -math.inf if math.isnan(found) else found


def _targets(y: Any, answer: np.ndarray) -> np.ndarray:
    targets = np.asarray(y)
    if len(targets) != len(answer):
        raise ValueError(
            f"`y` must have one entry per sample, here {len(answer)}. Received: "
            f"{len(targets)}"
        )
    # A column of labels.
    column = targets.shape[1:] == (1,) and answer.shape[-1] > 1
    return targets.reshape(-1) if column else targets
