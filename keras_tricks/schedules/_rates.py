"""The learning rates inside any optimizer: read, scaled and replaced in one place.

An optimizer may hold a float, a schedule, another optimizer (loss scaling) or several
(`MultiOptimizer`). Callers see a list of groups instead, in a stable order.
"""

from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers import LossScaleOptimizer, MultiOptimizer
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _backend
from keras_tricks.schedules._evaluate import rates_at
from keras_tricks.schedules.scaled import Scaled, scaled

# Where the highest rate of a schedule is looked for: every step at first, then ever
# fewer, 1 % apart, up to a million. A foreign schedule may need a call for each.
_STEPS = np.unique(np.geomspace(1, 1_000_000, 1400).astype("int32")) - 1


def groups(optimizer: Any) -> list[Any]:
    """The optimizers that own a rate, the optimizer itself in the plain case."""
    if isinstance(optimizer, LossScaleOptimizer):
        return groups(optimizer.inner_optimizer)
    if isinstance(optimizer, MultiOptimizer):
        # A default for the rest owns nothing where the map leaves no rest.
        owners = [o for o in optimizer.optimizers if o.built or not optimizer.built]
        return [group for owner in owners for group in groups(owner)]
    return [optimizer]


def schedule_of(group: Any) -> LearningRateSchedule | None:
    """The schedule of one group, or None when its rate is a number.

    Raises:
        TypeError: If the rate is a function without a step: it cannot be scaled.
    """
    # No public name gives the object back: `learning_rate` is today's value, and the
    # config can be read back only when the user's class is registered.
    rate = group._learning_rate
    if isinstance(rate, LearningRateSchedule):
        return rate
    if isinstance(rate, keras.Variable):
        return None
    raise TypeError(
        "`optimizer.learning_rate` must be a float or a LearningRateSchedule, so that "
        f"it can be scaled. Received: learning_rate={rate!r}; turn the function into "
        "a subclass of keras.optimizers.schedules.LearningRateSchedule"
    )


def peak(optimizer: Any) -> float:
    """The highest rate that any group reaches."""
    return max(_peak(group) for group in groups(optimizer))


def _peak(group: Any) -> float:
    schedule = schedule_of(group)
    if schedule is None:
        return _number(group.learning_rate)
    return float(rates_at(schedule, _STEPS).max())


def _number(rate: Any) -> float:
    return float(ops.convert_to_numpy(ops.convert_to_tensor(rate)))


def now(optimizer: Any) -> list[float]:
    """Each group's rate at this moment."""
    return [_number(group.learning_rate) for group in groups(optimizer)]


def highest(optimizer: Any) -> float:
    """The highest rate of any group at this moment."""
    return max(now(optimizer))


def read(optimizer: Any) -> list[dict[str, float]]:
    """Each group's rate in plain numbers, which `write` takes and JSON stores."""
    state = []
    for group in groups(optimizer):
        schedule = schedule_of(group)
        if schedule is None:
            state.append({"learning_rate": _peak(group)})
        else:
            state.append({"factor": _unscaled(schedule)[1]})
    return state


def _unscaled(schedule: LearningRateSchedule) -> tuple[Any, float]:
    """What a `Scaled` multiplies, and by what."""
    if isinstance(schedule, Scaled):
        return schedule.schedule, schedule.factor
    return schedule, 1.0


def write(model: Any, state: list[dict[str, float]]) -> None:
    """Sets what `read` gave, in a model that may be between two epochs of `fit`.

    A new schedule reaches the compiled training step only when that is traced anew.
    """
    traced = False
    for group, entry in zip(groups(model.optimizer), state, strict=True):
        schedule = schedule_of(group)
        if schedule is None:
            group.learning_rate = entry["learning_rate"]
            continue
        inner, old = _unscaled(schedule)
        if old != entry["factor"]:
            group.learning_rate = scaled(inner, entry["factor"])
            traced = True
    if traced and model.train_function is not None:
        _backend.rebuild_train_function(model)


def multiply(state: list[dict[str, float]], factor: float) -> list[dict[str, float]]:
    """The same groups, every rate times `factor`: ratios between them stay."""
    return [{name: rate * factor for name, rate in entry.items()} for entry in state]


def checked(optimizer: Any, state: Any) -> list[dict[str, float]]:
    """Refuses a state that `read` did not give for an optimizer like this."""
    expected = [list(entry) for entry in read(optimizer)]
    rates = [rate for entry in state for rate in entry.values()]
    if [list(entry) for entry in state] != expected or not all(
        isinstance(rate, float) and np.isfinite(rate) and rate >= 0 for rate in rates
    ):
        raise ValueError(f"its rates {state} do not fit the optimizer's {expected}")
    return state


def set_peak(model: Any, learning_rate: float) -> None:
    """Scales all groups, so that the highest rate of any becomes `learning_rate`."""
    optimizer = model.optimizer
    if isinstance(optimizer, MultiOptimizer) and not optimizer.built:
        # Only then it is known which groups there are.
        optimizer.build(model.trainable_variables)
    old = peak(optimizer)
    if old > 0:
        write(model, multiply(read(optimizer), learning_rate / old))
    else:
        # Groups that all stand still have no ratio to keep.
        write(model, [{"learning_rate": learning_rate} for _ in groups(optimizer)])


def with_schedule(
    optimizer: Any, schedule: LearningRateSchedule, variables: Any
) -> Any:
    """A new optimizer of the same kind that follows `schedule`, built on `variables`.

    With several groups the one of the highest peak follows the schedule itself, and
    the others keep their ratio to it.
    """
    copy = _copy(optimizer, schedule, variables)
    copy.build(variables)
    return copy


def _copy(optimizer: Any, schedule: Any, variables: Any) -> Any:
    if isinstance(optimizer, LossScaleOptimizer):
        return LossScaleOptimizer(
            _copy(optimizer.inner_optimizer, schedule, variables),
            initial_scale=optimizer.initial_scale,
            dynamic_growth_steps=optimizer.dynamic_growth_steps,
        )
    if isinstance(optimizer, MultiOptimizer):
        return _copy_multi(optimizer, schedule, variables)
    rate = optimizer._learning_rate
    # The config of a user's schedule may not exist, and is not needed.
    optimizer._learning_rate = None
    try:
        config = _with_rate(optimizer.get_config(), schedule)
        copy = type(optimizer).from_config(config)
    except Exception as error:
        raise ValueError(_NO_COPY.format(f"{error!r}")) from error
    finally:
        optimizer._learning_rate = rate
    # What `build` adds is missing in an unbuilt copy, and is no setting.
    kept = vars(copy)
    lost = [n for n, value in _settings(optimizer) if kept.get(n, value) != value]
    if lost:
        raise ValueError(_NO_COPY.format(f"a copy that has lost {', '.join(lost)}"))
    # No config holds what `exclude_from_weight_decay` was told.
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(optimizer, name):
            setattr(copy, name, getattr(optimizer, name))
    return copy


def _with_rate(config: dict[str, Any], schedule: Any) -> dict[str, Any]:
    """The config with another rate, which may be that of an optimizer it extends."""
    inner = config.get("optimizer")
    if not isinstance(inner, dict):
        return {**config, "learning_rate": schedule}
    inner = {**inner, "config": _with_rate(inner["config"], schedule)}
    return {**config, "optimizer": inner}


_NO_COPY = (
    "`model.optimizer` must be one that its config describes in full, so that a copy "
    "can be tested. Received: {}; let its `get_config` return all its arguments, with "
    "`learning_rate` among them"
)


def _settings(optimizer: Any) -> list[tuple[str, Any]]:
    """The plain values that an optimizer keeps under public names."""
    return [
        (name, value)
        for name, value in vars(optimizer).items()
        if name not in ("name", "built")
        and not name.startswith("_")
        and isinstance(value, bool | int | float | str | None)
    ]


def _copy_multi(
    optimizer: MultiOptimizer, schedule: LearningRateSchedule, variables: Any
) -> Any:
    # The map may be a function, which no config can hold, and one that makes a new
    # optimizer at every call: it is asked once per variable.
    originals = {v.path: _inner(optimizer, v) for v in variables}
    highest = max(_peak(original) for original in originals.values())
    copies = {}
    for original in originals.values():
        ratio = _peak(original) / highest if highest else 1.0
        own = scaled(schedule, ratio) if ratio else 0.0
        copies[id(original)] = _copy(original, own, variables)
    return MultiOptimizer(
        lambda variable: copies[id(originals[variable.path])],
        loss_scale_factor=optimizer.loss_scale_factor,
    )


def _inner(optimizer: MultiOptimizer, variable: Any) -> Any:
    if not optimizer.built:
        return optimizer._optimizer_map(variable)
    index = optimizer._var_to_optimizer_idx[optimizer._var_key(variable)]
    return optimizer.optimizers[index]
