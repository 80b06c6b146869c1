"""Layers that training leaves alone, and back."""

import math
import warnings
from typing import Any, NamedTuple

from keras_tricks import _patterns
from keras_tricks._errors import NoEffectWarning
from keras_tricks._report import Report
from keras_tricks.surgery import _rebuild


def freeze(model: Any, pattern: Any, plan: bool = False) -> Any:
    """Makes a new model in which some layers are not trained.

    When: a new head on a pre-trained backbone, and little data.
    Typical: all but the last layers at first, then fewer (`unfreeze`).
    Costs: a new model, with a copy of all weights; each training step becomes cheaper.
    Beware: a frozen BatchNormalization also normalizes by its moving statistics in
        training, and keeps them. To unfreeze in the course of one `fit` use
        `kt.callbacks.GradualUnfreezing`.

    The old model stays as it is. The new one has its weights, names and dtype policies,
    and is compiled like it. The optimizer keeps the slots of what is still trained.

    Args:
        model: Built model, Sequential or Functional.
        pattern: String, a regular expression that matches the whole path of the layers
            to freeze, such as `"backbone"` or `"backbone/block[1-3]_.*"`; it covers all
            below. Or a list of such.
        plan: Boolean, whether only to return what would be done. Defaults to False.

    Returns:
        The new model. With `plan=True` a table instead, that prints itself: a row for
        each weight that would be frozen, with `weight` and `parameters`, and their sum
        as `parameters`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `pattern` names no layer, or the model is not built, is a
            subclass whose graph is not known, or cannot be copied.

    Example:
    >>> import keras, keras_tricks as kt
    >>> layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(1)]
    >>> model = keras.Sequential([keras.Input((4,)), *layers])
    >>> kt.surgery.freeze(model, "body", plan=True).parameters
    40
    >>> len(kt.surgery.freeze(model, "body").trainable_variables)
    2

    Reference: Yosinski et al. 2014, arXiv 1411.1792.
    """
    return _set(model, pattern, plan, frozen=True)


def unfreeze(model: Any, pattern: Any, plan: bool = False) -> Any:
    """Makes a new model in which frozen layers are trained again.

    When: the new head has learned, and the layers below are to follow.
    Typical: from the top, with a learning rate ten times lower.
    Costs: a new model, with a copy of all weights; each training step costs more.
    Beware: the optimizer begins with new slots for what is unfrozen, but goes on with
        its count of steps: the first steps of Adam are up to three times too large.

    A model inside that is frozen as a whole is unfrozen only as far as the pattern
    says. The rest is as in `freeze`.

    Args:
        model: Built model, Sequential or Functional.
        pattern: String, a regular expression that matches the whole path of the layers
            to train; it covers all below. `".*"` is all. Or a list of such.
        plan: Boolean, whether only to return what would be done. Defaults to False.

    Returns:
        The new model. With `plan=True` a table instead, that prints itself: a row for
        each weight that would be trained again, with `weight` and `parameters`, and
        their sum as `parameters`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `pattern` names no layer, or the model is not built, is a
            subclass whose graph is not known, or cannot be copied.

    Example:
    >>> import keras, keras_tricks as kt
    >>> layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(1)]
    >>> model = keras.Sequential([keras.Input((4,)), *layers])
    >>> frozen = kt.surgery.freeze(model, ".*")
    >>> print(kt.surgery.unfreeze(frozen, "body", plan=True))
    40 parameters
    weight       parameters
    body/kernel  32
    body/bias    8

    Reference: Howard and Ruder 2018, section 3.3, arXiv 1801.06146.
    """
    return _set(model, pattern, plan, frozen=False)


class _Row(NamedTuple):
    weight: str
    parameters: int


class _Parameters(Report):
    """The weights that change, and how many parameters they have."""

    def __init__(self, rows: list[_Row]) -> None:
        self.parameters = sum(row.parameters for row in rows)
        super().__init__(f"{self.parameters:,} parameters", rows)


def _set(model: Any, pattern: Any, plan: bool, *, frozen: bool) -> Any:
    _rebuild.check(model)
    chosen = _patterns.layers("pattern", pattern, model)
    ids = {id(layer) for layer in chosen.values()}
    flags: dict[int, bool] = dict.fromkeys(ids, False)
    if not frozen:
        flags = {}
        _open(model, ids, model.trainable, False, flags)
    result = _rebuild.rebuild(model)
    before = {id(variable) for variable in result.model.trainable_variables}
    _set_flags(result, flags, ids, before)
    after = {id(variable) for variable in result.model.trainable_variables}
    rows = [
        _Row(f"{owners[0]}/{variable.name}", math.prod(variable.shape))
        for variable, owners in _patterns.variable_paths(result.model)
        if id(variable) in before ^ after
    ]
    if plan:
        return _Parameters(rows)
    if not rows:
        verb, state = ("freeze", "frozen") if frozen else ("unfreeze", "trained")
        warnings.warn(
            f"{verb} has no effect on {model.name!r}: the layers that {pattern!r} "
            f"names have no weights that are not {state} already. The copy is like the "
            "model.",
            NoEffectWarning,
            stacklevel=3,
        )
    return result.finish()


def _open(
    layer: Any, chosen: set[int], effective: bool, opened: bool, flags: dict[int, bool]
) -> None:
    """The flags that let chosen layers be trained, and no other layer.

    A flag of False holds for all below. So it must go from above what is chosen, and
    come to what is beside it.
    """
    effective = effective and layer.trainable
    if id(layer) in chosen or _holds(layer, chosen):
        flags[id(layer)] = True
        opened = opened or not layer.trainable
    else:
        flag = effective if opened else layer.trainable
        flags[id(layer)] = flags.get(id(layer), False) or flag
    for child in _patterns.children(layer):
        _open(child, chosen, effective, opened, flags)


def _holds(layer: Any, chosen: set[int]) -> bool:
    return any(
        id(child) in chosen or _holds(child, chosen)
        for child in _patterns.children(layer)
    )


def _set_flags(
    result: Any, flags: dict[int, bool], chosen: set[int], before: set[int]
) -> None:
    for old, new in result.pairs:
        flag = flags.get(id(old), old.trainable)
        if new.trainable != flag:
            new.trainable = flag
    # Weights that are frozen one by one, or beside what is unfrozen in their layer.
    named = [new for old, new in result.pairs if id(old) in chosen]
    asked = {id(variable) for layer in named for variable in layer.weights}
    after = {id(variable) for variable in result.model.trainable_variables}
    for variable in result.model.weights:
        if id(variable) in (before ^ after) - asked:
            variable.trainable = id(variable) in before
