"""Tuning tricks for Keras 3, each as one small part.

Sub-packages with classes that a saved model may name are imported at once, so that
`keras.models.load_model` finds them; the others load on first use.
"""

import importlib
from types import ModuleType

from keras_tricks import ensembles, initializers, layers, optimizers, schedules
from keras_tricks._errors import NoEffectWarning
from keras_tricks._version import __version__

_LAZY = (
    "callbacks",
    "data",
    "debug",
    "fusion",
    "lint",
    "model_selection",
    "probes",
    "runs",
    "surgery",
    "wrappers",
)

__all__ = [
    "NoEffectWarning",
    "__version__",
    "callbacks",
    "data",
    "debug",
    "ensembles",
    "fusion",
    "initializers",
    "layers",
    "lint",
    "model_selection",
    "optimizers",
    "probes",
    "runs",
    "schedules",
    "surgery",
    "wrappers",
]


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
