"""The one place that copies and gives back everything a model holds."""

import copy
import random
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _atomic, _backend

# What `fit` and a probe set on the model itself, beside its variables.
_ATTRIBUTES = (
    "optimizer",
    "train_step",
    "train_function",
    "test_function",
    "predict_function",
    "steps_per_execution",
    "stop_training",
    "history",
    "_eval_epoch_iterator",
    "_jax_state",
)


Copies = list[tuple[Any, np.ndarray]]


def copy_variables(variables: Any) -> Copies:
    """Pairs of a variable and a copy of its value in host memory.

    The host, because a device copy may share its buffer with the variable, and JAX
    donates buffers to the next step.
    """
    unique = {id(variable): variable for variable in variables}.values()
    return [(v, np.array(ops.convert_to_numpy(v.value))) for v in unique]


def assign_variables(copies: Copies) -> None:
    """Writes the copies back; on JAX also into variables that a failure left empty."""
    for variable, value in copies:
        variable.assign(value)


def write_copies(path: Path, copies: Copies) -> None:
    """Writes the values to a zip file of raw bytes, whole or not at all."""

    def fill(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for index, (_, value) in enumerate(copies):
                archive.writestr(str(index), value.tobytes())

    _atomic.write(path, fill)


def read_copies(path: Path, variables: Any, *, beginning: bool = False) -> Copies:
    """Reads what `write_copies` wrote for the same variables.

    With `beginning` there may be more of them in the file.

    Raises:
        ValueError: If the file is damaged, or does not fit the variables.
    """
    # Shapes and types are those of the variables: the file is not trusted.
    copies = copy_variables(variables)
    sizes = {str(index): value.nbytes for index, (_, value) in enumerate(copies)}
    try:
        with zipfile.ZipFile(path) as archive:
            held = {item.filename: item.file_size for item in archive.infolist()}
            if beginning:
                held = {name: size for name, size in held.items() if name in sizes}
            if held != sizes:
                raise ValueError("its arrays are not those of the model")
            return [
                (variable, _from_bytes(archive.read(str(index)), value))
                for index, (variable, value) in enumerate(copies)
            ]
    except Exception as error:  # A damaged zip file may raise almost anything.
        raise ValueError(
            f"{str(path)!r} must hold the weights of this model. Received: a file "
            f"that cannot be used ({error}); delete its folder to start afresh"
        ) from error


def _from_bytes(raw: bytes, like: np.ndarray) -> np.ndarray:
    return np.frombuffer(raw, like.dtype).reshape(like.shape).copy()


def seed(value: int) -> None:
    """Seeds what `borrowed` gives back, which Keras's own `set_random_seed` is not."""
    random.seed(value)
    np.random.seed(value)
    _backend.seed(value)


@contextmanager
def seeded(value: int) -> Iterator[None]:
    """Seeds the global random numbers, and gives them back however the block ends."""
    python, numpy = random.getstate(), np.random.get_state()
    # What PyTorch adds is noted for a module: any will do.
    extras = _backend.borrow_extras(keras.layers.Identity(name="none"))
    try:
        seed(value)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        extras()


@contextmanager
def borrowed(model: Any) -> Iterator[None]:
    """Gives the model back as it was, bit for bit, however the block ends.

    Weights, metrics, seed generators, optimizer slots, the optimizer itself, the
    compiled functions and the global random numbers are given back (not those that
    TensorFlow draws eagerly, which no training does). A model that the block builds
    stays built.
    """
    own = vars(model)
    # A training step of the user's may use more optimizers than `model.optimizer`.
    optimizers = [o for o in own.values() if isinstance(o, keras.optimizers.Optimizer)]
    slots = [variable for optimizer in optimizers for variable in optimizer.variables]
    copies = copy_variables([*model.variables, *model.metrics_variables, *slots])
    attributes = {name: own[name] for name in _ATTRIBUTES if name in own}
    unbuild = _note_unbuilt(model)
    extras = _backend.borrow_extras(model)
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        for name in _ATTRIBUTES:
            if name in attributes:
                setattr(model, name, attributes[name])
            elif name in vars(model):
                delattr(model, name)
        # Metrics whose variables are not among the copies.
        model.reset_metrics()
        assign_variables(copies)
        unbuild()
        random.setstate(python)
        np.random.set_state(numpy)
        extras()


def _note_unbuilt(model: Any) -> Callable[[], None]:
    """Makes compiled losses and metrics that are not built yet unbuilt again.

    `fit` draws from the global random numbers when it builds them, so a seeded
    training would be another one. No public name reaches them.
    """
    parts = [vars(model).get(name) for name in ("_compile_loss", "_compile_metrics")]
    unbuilt = [
        (part, {k: copy.copy(v) for k, v in vars(part).items() if k != "_tracker"})
        for part in parts
        if part is not None and not part.built
    ]

    def unbuild() -> None:
        for part, before in unbuilt:
            vars(part).update(before)

    return unbuild
