"""What is trained, and how: model, optimizer, loss, callbacks, as plain values."""

import json
from typing import Any

import keras

from keras_tricks.runs import _files, _fingerprint, _plain

_NOT_TOLD = ("History", "ProgbarLogger", "RunRecorder")
# Attributes that may hold a path of this machine.
_PLACES = ("dir", "file", "path")


def model(trained: Any) -> dict[str, Any]:
    """The parts of the manifest that are about the model."""
    configured = config(trained)
    return {
        "name": trained.name,
        "class_name": type(trained).__name__,
        "parameters": int(trained.count_params()) if trained.built else None,
        "trainable_parameters": _count(trained.trainable_variables),
        "shapes": _fingerprint.digest(*map(_shape, trained.variables)),
        "architecture": None if configured is None else architecture(configured),
        "initial_weights": _fingerprint.of_variables(_weights(trained)),
    }


def _weights(trained: Any) -> list[Any]:
    return [v for v in trained.variables if v.name != "seed_generator_state"]


def _count(variables: Any) -> int:
    total = 0
    for variable in variables:
        size = 1
        for side in variable.shape:
            size *= int(side)
        total += size
    return total


def _shape(variable: Any) -> bytes:
    return f"{tuple(variable.shape)} {variable.dtype}".encode()


def config(trained: Any) -> dict[str, Any] | None:
    """The model's config, or None if it has none that can be written."""
    try:
        made = keras.saving.serialize_keras_object(trained)
        # Compile settings are noted on their own: Keras's may name an old optimizer.
        made.pop("compile_config", None)
        found = _plain.plain(made)
    except Exception:
        # A subclassed model may have no config, or fail at it in any way.
        return None
    if not isinstance(found, dict) or len(json.dumps(found)) > _files.LARGEST // 2:
        return None
    return found


def architecture(configured: Any) -> str:
    """The digest of a config that is the same under any names of the layers."""
    text = json.dumps(nameless(configured), sort_keys=True)
    return _fingerprint.digest(text.encode())


def nameless(configured: Any) -> Any:
    """The config with numbers for names.

    Names that Keras makes count up within a process, so the second model of a program
    has others.
    """
    names: dict[str, str] = {}
    _find_names(configured, names)
    return _renamed(configured, names)


def _find_names(part: Any, names: dict[str, str]) -> None:
    if isinstance(part, dict):
        name = part.get("name")
        # Dtype policies and the like have names that mean something.
        if isinstance(name, str) and len(part) > 1:
            names.setdefault(name, f"#{len(names)}")
        for item in part.values():
            _find_names(item, names)
    elif isinstance(part, list):
        for item in part:
            _find_names(item, names)


def _renamed(part: Any, names: dict[str, str]) -> Any:
    if isinstance(part, dict):
        return {key: _renamed(item, names) for key, item in part.items()}
    if isinstance(part, list):
        return [_renamed(item, names) for item in part]
    return names.get(part, part) if isinstance(part, str) else part


def optimizer(of: Any) -> dict[str, Any] | None:
    """The optimizer's class and config, with that of a schedule in it."""
    if of is None:
        return None
    described = _plain.plain(of)
    if isinstance(described, dict):
        return described
    # Its config, or that of its schedule, cannot be had.
    settings = {
        name: value
        for name, value in vars(of).items()
        if not name.startswith("_")
        and isinstance(value, bool | int | float | str | None)
    }
    try:
        settings["learning_rate"] = of.learning_rate
    except Exception:
        # That of a MultiOptimizer, for one.
        settings["learning_rate"] = None
    return {"class_name": type(of).__name__, "config": _plain.plain(settings)}


def compiled(trained: Any) -> dict[str, Any]:
    """How the model was compiled, but for its optimizer."""
    try:
        given = dict(trained.get_compile_config() or {})
    except Exception:
        # What a loss of the user's own leads to.
        given = {}
    given.pop("optimizer", None)
    given.update(
        jit_compile=getattr(trained, "jit_compile", None),
        run_eagerly=getattr(trained, "run_eagerly", None),
        steps_per_execution=getattr(trained, "steps_per_execution", None),
    )
    described = _plain.plain(given)
    return described if isinstance(described, dict) else {}


def callbacks(used: Any) -> list[dict[str, Any]]:
    """The callbacks' names, and those of their settings that are plain."""
    return [
        {
            "class_name": type(callback).__name__,
            "config": {
                name: _plain.plain(value)
                for name, value in sorted(vars(callback).items())
                if not name.startswith("_")
                and not any(word in name for word in _PLACES)
                and isinstance(value, bool | int | float | str | None)
            },
        }
        for callback in used
        if type(callback).__name__ not in _NOT_TOLD
    ]
