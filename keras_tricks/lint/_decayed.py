"""Which weights an optimizer decays."""

from typing import Any

import keras
from keras.optimizers import LossScaleOptimizer, MultiOptimizer

from keras_tricks.optimizers._no_decay import NoDecay
from keras_tricks.optimizers.no_decay import no_decay

_LISTS = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")


def of(group: Any) -> float:
    """The strength of an optimizer's decoupled decay; 0 for none."""
    names = ("weight_decay", "adam_weight_decay")
    return max(float(getattr(group, name, None) or 0) for name in names)


def has_exclusions(group: Any) -> bool:
    """Whether Keras's `exclude_from_weight_decay` has told it anything."""
    return any(getattr(group, name, None) for name in _LISTS)


def variables(group: Any, model: Any) -> list[Any]:
    """The trainable variables that an optimizer decays."""
    if not of(group):
        return []
    trained = list(model.trainable_variables)
    if group.built:
        own = {id(variable) for variable in group._trainable_variables}
        trained = [variable for variable in trained if id(variable) in own]
    return [
        variable for variable in trained if not _is_excluded(group, variable, model)
    ]


def _is_excluded(group: Any, variable: Any, model: Any) -> bool:
    # Not by Keras's own `_use_weight_decay`, which would remember the answer.
    keys = getattr(group, _LISTS[0], None) or ()
    pattern = getattr(group, _LISTS[1], None)
    if keys and group._var_key(variable) in keys:
        return True
    if pattern is not None and pattern.search(variable.name):
        return True
    if not isinstance(group, NoDecay):
        return False
    places = {id(v): place for place, v in enumerate(model.trainable_variables)}
    return places[id(variable)] in set(group.excluded)


def better_spared(model: Any) -> set[int]:
    """The ids of the trainable variables that `no_decay` leaves out."""
    # With a name of its own, so that no later optimizer gets another one.
    any_one = keras.optimizers.SGD(0.1, weight_decay=0.1, name="lint")
    excluded = no_decay(any_one, model).excluded
    trained = model.trainable_variables
    return {id(trained[place]) for place in excluded}


def can_be_extended(facts: Any) -> bool:
    """Whether `kt.lint.fix` can put `no_decay` around the optimizer."""
    optimizer = facts.optimizer
    several = isinstance(optimizer, LossScaleOptimizer | MultiOptimizer | NoDecay)
    return facts.can_be_recompiled and not several
