"""The one door to TensorFlow, JAX and PyTorch.

Each module of this folder offers the same functions for one backend; this one hands
out those of the backend that Keras runs on. Nothing else in the package imports a
backend or asks for its name.
"""

import importlib

import keras

_backend = importlib.import_module(f"{__name__}.{keras.backend.backend()}")

batch_step = _backend.batch_step
building_function = _backend.building_function
borrow_extras = _backend.borrow_extras
metrics_result = _backend.metrics_result
rebuild_train_function = _backend.rebuild_train_function
seed = _backend.seed
tap = _backend.tap

__all__ = [
    "batch_step",
    "borrow_extras",
    "building_function",
    "metrics_result",
    "rebuild_train_function",
    "seed",
    "tap",
]
