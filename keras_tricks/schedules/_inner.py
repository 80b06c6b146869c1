"""The schedule, or plain float, that another schedule wraps."""

from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks import _arguments


def checked(name: str, schedule: Any) -> Any:
    """Checks for a `LearningRateSchedule` or a positive number."""
    if isinstance(schedule, LearningRateSchedule):
        return schedule
    return _arguments.positive(name, schedule, remedy=" or a LearningRateSchedule")


def rate_at(schedule: Any, step: Any) -> Any:
    """Returns the rate at each of `step`."""
    if isinstance(schedule, LearningRateSchedule):
        return schedule(step)
    return ops.full_like(ops.convert_to_tensor(step), schedule, dtype="float32")


def serialized(schedule: Any) -> Any:
    """Returns what `get_config` stores."""
    return keras.saving.serialize_keras_object(schedule)


def deserialized(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the constructor's arguments from a config with a `schedule`."""
    schedule = keras.saving.deserialize_keras_object(config["schedule"])
    return {**config, "schedule": schedule}


def ratio(batch_size: int, base_batch_size: int) -> float:
    """Returns how many times larger the new batch is."""
    _arguments.positive_integer("batch_size", batch_size)
    _arguments.positive_integer("base_batch_size", base_batch_size)
    return int(batch_size) / int(base_batch_size)
