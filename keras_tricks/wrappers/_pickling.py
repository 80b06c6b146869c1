"""Keras objects as plain bytes and dictionaries, for pickle and joblib."""

import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from keras_tricks import _backend
from keras_tricks.surgery import _compiled_like, _no_weight_decay
from keras_tricks.wrappers import _own_code

# The worker processes that joblib starts later import the same backend, even if it
# was chosen in this process by other means than its environment.
os.environ["KERAS_BACKEND"] = _backend.NAME

_OBJECTS = (
    keras.optimizers.Optimizer,
    keras.losses.Loss,
    keras.optimizers.schedules.LearningRateSchedule,
)


@dataclass(frozen=True)
class _Packed:
    """A model as the bytes of a .keras file, another object as its configuration.

    `own` are the user's classes and functions in it, by their names: pickle keeps them
    by reference, and refuses by name those that it could not find again.
    """

    content: bytes | dict[str, Any]
    own: dict[str, Any] = field(default_factory=dict)
    no_decay: Sequence[tuple[Any, set[int]]] = ()


def packed(value: Any) -> Any:
    """What can be pickled in the place of a Keras object; all else as it is."""
    if isinstance(value, keras.Model):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            value.save(path)
            content = path.read_bytes()
        told = _told(getattr(value, "optimizer", None), value.trainable_variables)
        return _Packed(content, _own_code.named(value), told)
    if isinstance(value, _OBJECTS):
        config = keras.saving.serialize_keras_object(value)
        return _Packed(config, _own_code.named(value), _told(value, ()))
    if type(value) is dict:
        return {name: packed(part) for name, part in value.items()}
    return value


def unpacked(value: Any) -> Any:
    """The Keras object again."""
    if type(value) is dict:
        return {name: unpacked(part) for name, part in value.items()}
    if not isinstance(value, _Packed):
        return value
    # Whoever reads a pickle trusts it: `safe_mode` would protect nobody.
    with keras.saving.custom_object_scope(value.own):
        if isinstance(value.content, dict):
            made = keras.saving.deserialize_keras_object(value.content, safe_mode=False)
            optimizer, variables = made, ()
        else:
            made = _loaded(value.content)
            optimizer = getattr(made, "optimizer", None)
            variables = made.trainable_variables
    if value.no_decay:
        leaves = _compiled_like._leaves(optimizer)
        _no_weight_decay.tell(leaves, variables, value.no_decay)
    return made


def _loaded(content: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Of a model that was never trained, whose optimizer has nothing to load.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        path = Path(folder) / "model.keras"
        path.write_bytes(content)
        return keras.saving.load_model(path, safe_mode=False)


def _told(optimizer: Any, variables: Sequence[Any]) -> list[tuple[Any, set[int]]]:
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return []
    leaves = _compiled_like._leaves(optimizer)
    _no_weight_decay.check_placed(leaves, variables)
    return _no_weight_decay.told(leaves, variables)
