"""Weights as a stream: from a model, or from a file that nobody has to trust.

A file is listed first, without its values; then each value is read when it is asked
for. Nothing of a file but names, shapes and numbers is used: no configuration is
deserialised, nothing is unpickled, and no link is followed.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import ops

from keras_tricks import _aligned, _arguments, _patterns
from keras_tricks.surgery import _hdf5, _keras_zip, _weight_matching
from keras_tricks.surgery._hdf5 import RefusedError
from keras_tricks.surgery._weight_matching import Slot

_EXPECTED = (
    "a keras.Model, or the path of a `.keras`, `.weights.h5` or legacy `.h5` file"
)
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
# Deeper than models nest.
_DEPTH = 64
# What a file holds beside the weights.
_NO_WEIGHTS = re.compile(r"optimizer|seed_generator(_\d+)?")
# The names of Keras 1.
_OLD_NAMES = {
    "W": "kernel",
    "U": "recurrent_kernel",
    "b": "bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}


@contextmanager
def opened(source: Any) -> Iterator[list[Slot]]:
    """The weights of the source, readable within the block.

    Raises:
        TypeError: If the source is neither a model nor a path.
        FileNotFoundError: If there is no such file.
        ValueError: If the model is not built, or the file cannot be used.
    """
    if isinstance(source, keras.Model):
        weights = model_weights(_arguments.built_model("source", source))
        for place, layer in _patterns.layer_paths(source):
            if getattr(layer, "lora_enabled", False):
                raise ValueError(
                    "`source` must have its LoRA weights merged. Received: a model "
                    f"whose layer {place!r} keeps them apart; save it, and give the "
                    "path of the file"
                )
        yield [slot for _, slot in weights]
        return
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"`source` must be {_EXPECTED}. Received: source={source!r}")
    path = Path(os.fspath(source))
    with ExitStack() as stack:
        with _errors_of(path):
            slots = list(_listed(*_hdf5_file(path, stack)))
            if not slots:
                raise RefusedError("it holds no weights")
        yield [replace(slot, read=partial(_read, slot, path)) for slot in slots]


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    # A damaged file may raise almost anything, a lack of memory too.
    except Exception as error:
        raise ValueError(
            f"`source` must be {_EXPECTED} that Keras has written. Received: "
            f"source={str(path)!r}, which cannot be used: {error}. The model is as it "
            "was; get the file anew from where it comes"
        ) from error


def _read(slot: Slot, path: Path) -> Any:
    with _errors_of(path):
        return slot.read()


def model_weights(model: Any) -> list[tuple[Any, Slot]]:
    """The weights of a model and their slots, without the states of random numbers."""
    weights = {id(weight) for weight in model.weights}
    kinds = {
        layer.name: _weight_matching.snake_case(type(layer).__name__)
        for layer in _patterns.children(model)
    }
    owned = [
        (variable, tuple(owners) or ("",))
        for variable, owners in _patterns.variable_paths(model)
        if id(variable) in weights
    ]
    indices = _counted([paths[0] for _, paths in owned])
    return [
        (variable, _model_slot(variable, paths, index, kinds))
        for (variable, paths), index in zip(owned, indices, strict=True)
    ]


def _model_slot(
    variable: Any, paths: tuple[str, ...], index: int, kinds: dict[str, str]
) -> Slot:
    kind = kinds.get(paths[0].split("/")[0])
    dtype = keras.backend.standardize_dtype(variable.dtype)
    read = partial(_copied, variable)
    shape, name = tuple(variable.shape), variable.name
    return Slot(paths, index, shape, dtype, name, kind, False, read)


def _counted(paths: list[str]) -> list[int]:
    """How often each path has been there before."""
    counts: dict[str, int] = defaultdict(int)
    indices = []
    for path in paths:
        indices.append(counts[path])
        counts[path] += 1
    return indices


def _copied(variable: Any) -> np.ndarray:
    # A copy: on JAX two variables must not share a buffer.
    return _aligned.copied(ops.convert_to_numpy(variable.value))


def _hdf5_file(path: Path, stack: ExitStack) -> tuple[Any, Any]:
    """The HDF5 file at the path, or inside the zip file there, and its bytes."""
    file: Any = stack.enter_context(path.open("rb"))
    magic = file.read(8)
    file.seek(0)
    if magic.startswith(_ZIP):
        file = _keras_zip.weights_in(file, stack)
        file.seek(0)
        magic = file.read(8)
    if magic != _HDF5:
        raise RefusedError(
            f"it begins with {magic!r}, as neither HDF5 nor a zip file does"
        )
    return stack.enter_context(h5py.File(file, "r")), file


def _listed(file: Any, raw: Any) -> Iterator[Slot]:
    group = file
    if "layer_names" not in file.attrs and "model_weights" in file:
        group = _hdf5.child(file, "model_weights")
    names = _hdf5.texts(group, "layer_names", raw)
    if names is None:
        return _layers_below(file, (), set(), raw)
    return _legacy_layers(group, names, raw)


def _layers_below(
    group: Any, layers: tuple[str, ...], seen: set[int], raw: Any
) -> Iterator[Slot]:
    """The weights in a file of Keras 3: numbered, in groups that tell their layer."""
    if not isinstance(group, h5py.Group):
        raise RefusedError(f"{group.name!r} is a value, not a group")
    place = _hdf5.address(group)
    if place in seen or len(layers) > _DEPTH:
        raise RefusedError(f"{group.name!r} leads into a loop")
    root = not seen
    seen.add(place)
    names = sorted(group, key=_natural)
    if "vars" in names:
        own = _hdf5.child(group, "vars")
        if not isinstance(own, h5py.Group):
            raise RefusedError(f"{own.name!r} is a value, not a group")
        if not root:
            # Keras before 3.5 did not write the layers' names.
            told = _hdf5.texts(own, "name", raw) or [group.name.rsplit("/", 1)[-1]]
            layers = (*layers, *told)
        for index, name in enumerate(sorted(own, key=_natural)):
            number = None if name.isdecimal() else name
            dataset = _hdf5.child(own, name)
            # The second group, below `layers`, is named by the class.
            kind = _natural(own.name.split("/")[2])[0] if layers else None
            path = "/".join(layers)
            yield _slot(path, index, dataset, number, kind, False, raw)
    for name in names:
        if name != "vars" and not _NO_WEIGHTS.fullmatch(name):
            below = _hdf5.child(group, name)
            yield from _layers_below(below, layers, seen, raw)


def _natural(name: str) -> tuple[str, int, str]:
    """An order in which `dense_10` comes after `dense_9`, and `dense` first."""
    base, digits = re.fullmatch(r"(.*?)_?(\d{0,9})", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return base, int(digits or -1), name


def _legacy_layers(group: Any, names: list[str], raw: Any) -> Iterator[Slot]:
    """The weights in a file of Keras 1 or 2: named, in the groups of their layers."""
    if "top_level_model_weights" in group:
        names = [*names, "top_level_model_weights"]
    for layer in names:
        own = _hdf5.child(group, layer)
        weights = _hdf5.texts(own, "weight_names", raw) or []
        places = [_legacy_place(layer, weight) for weight in weights]
        indices = _counted([path for path, _ in places])
        for weight, (path, name), index in zip(weights, places, indices, strict=True):
            dataset = _hdf5.child(own, weight)
            yield _slot(path, index, dataset, name, None, True, raw)


def _legacy_place(layer: str, weight: str) -> tuple[str, str]:
    """The path of the layer that holds a weight itself, and the weight's name."""
    *layers, name = re.sub(r":\d+\Z", "", weight).split("/")
    name = name.removeprefix(f"{layer}_")
    # The layer's own name, counted up where TensorFlow had it before.
    same = re.compile(re.escape(layer) + r"(_\d+)?")
    at = next((i for i, part in enumerate(layers) if same.fullmatch(part)), -1)
    below = layers[at + 1 :]
    path = "" if layer == "top_level_model_weights" else "/".join([layer, *below])
    return path, _OLD_NAMES.get(name, name)


def _slot(
    path: str,
    index: int,
    dataset: Any,
    name: str | None,
    kind: str | None,
    loose: bool,
    raw: Any,
) -> Slot:
    if not isinstance(dataset, h5py.Dataset):
        raise RefusedError(f"{dataset.name!r} is a group, not a value")
    _hdf5.check(dataset, raw)
    dtype = "bfloat16" if _hdf5.is_bfloat16(dataset) else dataset.dtype.name
    read = partial(_hdf5.read, dataset)
    return Slot((path,), index, dataset.shape, dtype, name, kind, loose, read)
