"""Compiles a model like another one, down to the slots of the optimizer."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras.optimizers import LossScaleOptimizer, MultiOptimizer, OptimizerMap

from keras_tricks.surgery import _carry, _no_weight_decay

# Not slots. `_own` is what this package's optimizers add, also found as attributes.
_OTHER_LISTS = ("_variables", "_trainable_variables", "_own")


def compile_like(old: Any, new: Any, origin: Mapping[int, Any]) -> None:
    """Compiles `new` as `old` is now, if it is.

    The loss and the metrics' functions are shared; metrics and the optimizer are new
    ones. Slots come over for the variables whose old one `origin` gives by their id.
    """
    if not old.compiled:
        return
    if type(new).compile is not keras.Model.compile:
        _compile_its_own_way(old, new)
        return
    # What `compile` was given: a config could not be read back for every loss.
    given = dict(old._compile_config.config)
    _check_optimizer(old.optimizer)
    optimizer = None if old.optimizer is None else fresh(old.optimizer)
    new.compile(
        **{
            **given,
            "optimizer": optimizer,
            "metrics": _fresh_metrics(given["metrics"]),
            "weighted_metrics": _fresh_metrics(given["weighted_metrics"]),
            "run_eagerly": old.run_eagerly,
            "steps_per_execution": old.steps_per_execution,
            "jit_compile": old.jit_compile and not old.run_eagerly,
            # The optimizer is scaled already, if it is to be.
            "auto_scale_loss": False,
        }
    )
    if optimizer is not None:
        # Before the slots: a step may follow at once.
        places = [origin.get(id(variable)) for variable in new.trainable_variables]
        carry_exclusions(old.optimizer, optimizer, places, new.trainable_variables)
    carry_slots(old.optimizer, optimizer, new.trainable_variables, origin)


def carry_exclusions(
    old: Any, new: Any, before: Sequence[Any], after: Sequence[Any]
) -> None:
    """Excludes from weight decay what the other optimizer does.

    By pattern; and of the variables `after` those whose old ones, `before`, it does.
    """
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b is not None]
    found = _no_weight_decay.told(_leaves(old), [b for b, _ in pairs])
    _no_weight_decay.tell(_leaves(new), [a for _, a in pairs], found)


def _compile_its_own_way(old: Any, new: Any) -> None:
    if type(new).compile_from_config is not keras.Model.compile_from_config:
        new.compile_from_config(old.get_compile_config())
        return
    warnings.warn(
        f"The new model is not compiled: {type(new).__name__} has a `compile` of its "
        "own. Call it, or define `get_compile_config` and `compile_from_config`.",
        UserWarning,
        stacklevel=5,
    )


def fresh(thing: Any) -> Any:
    """Another optimizer, or metric, with the same configuration.

    Raises:
        ValueError: If its configuration does not say all.
    """
    try:
        with keras.saving.custom_object_scope(_named(thing)):
            config = _unresolved(keras.saving.serialize_keras_object(thing))
            made = keras.saving.deserialize_keras_object(config)
    except Exception as error:
        kind = "a metric" if isinstance(thing, keras.Metric) else "an optimizer"
        raise ValueError(
            "`model` must be compiled with what can be copied. Received: "
            f"{kind} of the class {type(thing).__name__}, which cannot "
            f"({_carry.first_line(error)}); give the class a `get_config` that returns "
            "all arguments of its constructor, and register what it holds with "
            "keras.saving.register_keras_serializable"
        ) from error
    if not isinstance(thing, keras.Metric):
        carry_exclusions(thing, made, (), ())
    return made


def _check_optimizer(optimizer: Any) -> None:
    """Refuses a function that gives optimizers: it would give the same ones again."""
    for part in [] if optimizer is None else _leaves(optimizer):
        mapped = any(isinstance(value, OptimizerMap) for value in vars(part).values())
        if isinstance(part, MultiOptimizer) and not mapped:
            raise ValueError(
                "`model` must be compiled with what can be copied. Received: a "
                "MultiOptimizer that asks a function, which would give the optimizers "
                "of the old model to the new one; give it a "
                "keras.optimizers.OptimizerMap"
            )


def _unresolved(config: Any) -> Any:
    """Leaves out what this package's optimizers know of the old model's variables.

    They read it by their order, and the new model may have another.
    """
    if isinstance(config, dict):
        items = config.items()
        return {k: _unresolved(v) for k, v in items if k != "resolved"}
    return config


def _named(thing: Any) -> dict[str, Any]:
    """The classes and the functions that a configuration may name."""
    found = {type(thing).__name__: type(thing)}
    for part in vars(thing).values():
        if hasattr(part, "get_config"):
            found |= _named(part)
        elif callable(part) and hasattr(part, "__name__"):
            found[part.__name__] = part
    return found


def _fresh_metrics(metrics: Any) -> Any:
    if isinstance(metrics, dict):
        return {name: _fresh_metrics(metric) for name, metric in metrics.items()}
    if isinstance(metrics, list | tuple):
        return [_fresh_metrics(metric) for metric in metrics]
    return fresh(metrics) if isinstance(metrics, keras.Metric) else metrics


def carry_slots(
    old: Any, new: Any, variables: list[Any], origin: Mapping[int, Any]
) -> None:
    """Builds an optimizer on the variables and gives it the other one's state."""
    if old is None or not old.built:
        return
    new.build(variables)
    for one, other in zip(_leaves(old), _leaves(new), strict=True):
        _carry_leaf(one, other, origin)


def _leaves(optimizer: Any) -> list[Any]:
    """The optimizer and those inside, each of which holds slots of its own."""
    inside: list[Any] = []
    if isinstance(optimizer, LossScaleOptimizer):
        inside = [optimizer.inner_optimizer]
    elif isinstance(optimizer, MultiOptimizer):
        inside = optimizer.optimizers
    return [optimizer, *(leaf for part in inside for leaf in _leaves(part))]


def _carry_leaf(old: Any, new: Any, origin: Mapping[int, Any]) -> None:
    # Keras keeps slots in lists that run parallel to the variables, and what is one for
    # all of them as attributes. There is no public way from a variable to its slots.
    index = {id(variable): i for i, variable in enumerate(old._trainable_variables)}
    places = [index.get(id(origin.get(id(v)))) for v in new._trainable_variables]
    same = places == list(range(len(index)))
    known: set[int] = set()
    for name, value in vars(new).items():
        other = vars(old).get(name)
        if isinstance(value, keras.Variable):
            known.add(id(other))
            if tuple(value.shape) == (len(places),) and not same:
                _carry_numbers(value, other, places, len(index))
            else:
                _carry_one(value, other)
        elif _is_parallel(name, value, len(places)) and isinstance(other, list):
            known.update(map(id, other))
            for slot, place in zip(value, places, strict=True):
                if place is not None:
                    _carry_one(slot, other[place])
    _start_averages(new, places)
    if not places:
        # All that it trained is frozen.
        return
    lost = [slot for slot in old.variables if id(slot) not in known]
    if isinstance(old, LossScaleOptimizer | MultiOptimizer) or not lost:
        return
    if same and len(old.variables) == len(new.variables):
        for one, other in zip(new.variables, old.variables, strict=True):
            _carry_one(one, other)
        return
    warnings.warn(
        f"The new model's {type(new).__name__} starts with slots at zero: it keeps "
        f"{[slot.name for slot in lost]} neither in a list with one for each variable "
        "nor as attributes, so nobody can say whose they are.",
        UserWarning,
        stacklevel=6,
    )


def _is_parallel(name: str, value: Any, length: int) -> bool:
    return (
        name not in _OTHER_LISTS
        and isinstance(value, list)
        and len(value) == length
        and all(item is None or isinstance(item, keras.Variable) for item in value)
    )


def _carry_one(new: Any, old: Any) -> None:
    both = isinstance(new, keras.Variable) and isinstance(old, keras.Variable)
    if both and tuple(new.shape) == tuple(old.shape):
        _carry.assign(new, old)


def _carry_numbers(new: Any, old: Any, places: list[int | None], count: int) -> None:
    """One number for each variable: each goes where its variable went."""
    if not isinstance(old, keras.Variable):
        return
    if tuple(old.shape) != (count,):
        _carry_one(new, old)
        return
    numbers, before = _carry.host(new), _carry.host(old)
    for at, place in enumerate(places):
        if place is not None:
            numbers[at] = before[place]
    new.assign(numbers)


def _start_averages(new: Any, places: list[int | None]) -> None:
    """A weight that is new to a running average begins it."""
    averages = getattr(new, "_model_variables_moving_average", [])
    for average, variable, place in zip(
        averages, new._trainable_variables, places, strict=False
    ):
        if place is None:
            _carry.assign(average, variable)
