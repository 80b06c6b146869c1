"""HDF5 files that nobody has to trust: groups, texts and arrays, checked before read.

A dataset is refused unless the file holds all of its values, in a way that takes no
more memory than they do.
"""

import math
import os
import zlib
from typing import Any

import h5py
import numpy as np

from keras_tricks import _aligned
from keras_tricks.surgery import _hdf5_texts

# The filters that h5py applies itself and whose output has a known size.
_SHUFFLE, _CHECKSUM, _DEFLATE = 2, 3, 1
_TEXT_BYTES = 1 << 20
_PIECE = 1 << 20
_LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED)


class RefusedError(Exception):
    """The file is not what it should be; the text says how."""


def child(group: Any, name: str) -> Any:
    """A group or dataset that lies in the file itself.

    Raises:
        RefusedError: If there is none, or a link leads elsewhere.
    """
    for part in name.split("/"):
        if part in ("", ".") or not isinstance(group, h5py.Group):
            raise RefusedError(f"it has no {name!r}")
        link = group.get(part, getlink=True)
        if link is None:
            raise RefusedError(f"it has no {name!r}")
        if not isinstance(link, h5py.HardLink):
            raise RefusedError(f"{part!r} is a link, not a value")
        group = group[part]
    if not isinstance(group, (h5py.Group, h5py.Dataset)):
        raise RefusedError(f"{name!r} is neither a group nor a dataset")
    return group


def address(thing: Any) -> int:
    """Where it lies in the file: two names of one thing have one address."""
    return int(h5py.h5o.get_info(thing.id).addr)


def texts(thing: Any, name: str, raw: Any) -> list[str] | None:
    """An attribute of strings, or None where there is none.

    Keras splits a long list into `name0`, `name1` and so on.

    Raises:
        RefusedError: If it holds anything else, or far too much.
    """
    if name in thing.attrs:
        return _text(thing, name, raw)
    parts: list[str] = []
    while f"{name}{len(parts)}" in thing.attrs:
        parts.append(f"{name}{len(parts)}")
    found = [line for part in parts for line in _text(thing, part, raw)]
    return found if parts else None


def _text(thing: Any, name: str, raw: Any) -> list[str]:
    attribute = h5py.h5a.open(thing.id, name.encode())
    kind, count = attribute.dtype, math.prod(attribute.shape)
    if count == 0:
        # An empty list of strings is a list of numbers to NumPy.
        return []
    if count * max(kind.itemsize, 1) > _TEXT_BYTES:
        raise RefusedError(f"its attribute {name!r} holds {count} strings")
    if kind.kind == "S":
        values = np.ravel(thing.attrs[name]).tolist()
    elif h5py.check_string_dtype(kind) is not None:
        values = _hdf5_texts.read(raw, address(thing), name, count)
    else:
        raise RefusedError(f"its attribute {name!r} holds {kind}, not strings")
    return [value.decode() for value in values]


def check(dataset: Any, raw: Any) -> None:
    """Checks that the file, whose bytes are `raw`, holds every value of the dataset.

    Raises:
        RefusedError: If it does not, or reading would take more than the values need.
    """
    size = raw.seek(0, os.SEEK_END)
    name, kind, plist = dataset.name, dataset.dtype, dataset.id.get_create_plist()
    if dataset.shape is None:
        raise RefusedError(f"{name!r} has no shape")
    if kind.kind not in "biuf" and not is_bfloat16(dataset):
        raise RefusedError(f"{name!r} holds {kind}, not numbers")
    if kind.itemsize > 8:
        raise RefusedError(f"{name!r} holds {kind}, which Keras does not know")
    if dataset.external or plist.get_layout() not in _LAYOUTS:
        raise RefusedError(f"the values of {name!r} lie in another file")
    needed = math.prod(dataset.shape) * kind.itemsize
    stored = dataset.id.get_storage_size()
    if stored > size:
        raise RefusedError(f"{name!r} says that it takes {stored} of {size} bytes")
    if plist.get_nfilters() == 0:
        if stored < needed:
            raise RefusedError(f"{name!r} needs {needed} bytes and has {stored}")
    elif needed > stored * 1100 + 1024:
        # Deflate packs 1032 bytes into one at best.
        raise RefusedError(f"{name!r} cannot have {needed} bytes in {stored}")
    if plist.get_layout() == h5py.h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        if needed and (offset is None or offset + needed > size):
            raise RefusedError(f"{name!r} reaches beyond the end of the file")
    if plist.get_layout() == h5py.h5d.CHUNKED:
        _check_chunks(dataset, plist, needed)


def is_bfloat16(dataset: Any) -> bool:
    """Whether it holds the type of 2 bytes that HDF5 has no name for."""
    kind = dataset.dtype
    return kind.kind == "V" and kind.itemsize == 2 and kind.names is None


def _check_chunks(dataset: Any, plist: Any, needed: int) -> None:
    name, bytes_each = dataset.name, dataset.dtype.itemsize
    chunk = math.prod(dataset.chunks) * bytes_each
    if chunk > 4 * needed + _PIECE:
        raise RefusedError(f"{name!r} has chunks of {chunk} bytes for {needed}")
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    known = [f for f in (_SHUFFLE, _DEFLATE, _CHECKSUM) if f in filters]
    if filters != known:
        raise RefusedError(
            f"{name!r} is packed in a way that is not accepted; unpack the file "
            "with h5repack -f NONE"
        )
    counts = [
        math.ceil(length / step)
        for length, step in zip(dataset.shape, dataset.chunks, strict=True)
    ]
    if dataset.id.get_num_chunks() != math.prod(counts):
        raise RefusedError(f"the file does not hold all of {name!r}")
    if _DEFLATE in filters:
        extra = 4 if _CHECKSUM in filters else 0
        for i in range(math.prod(counts)):
            info = dataset.id.get_chunk_info(i)
            if info.size > 2 * chunk + 1024:
                raise RefusedError(f"a chunk of {name!r} is larger than its values")
            mask, raw = dataset.id.read_direct_chunk(info.chunk_offset)
            if mask or not _unpacks(raw[: len(raw) - extra], chunk):
                raise RefusedError(f"a chunk of {name!r} does not unpack to its size")


def _unpacks(raw: bytes, size: int) -> bool:
    """Whether it unpacks to just this size; never holds more than a piece of it."""
    unpacker, seen = zlib.decompressobj(), 0
    while raw and seen <= size and not unpacker.eof:
        seen += len(unpacker.decompress(raw, _PIECE))
        raw = unpacker.unconsumed_tail
    return unpacker.eof and seen == size


def read(dataset: Any) -> np.ndarray:
    """The values, once checked, as an array of the machine's own byte order."""
    if dataset.dtype.kind == "f" and dataset.size and not is_bfloat16(dataset):
        value = _aligned.empty(dataset.shape, dataset.dtype.newbyteorder("="))
        dataset.read_direct(value)
        return value
    value = np.asarray(dataset[()])
    if is_bfloat16(dataset):
        wide = value.view("<u2").astype("<u4")
        wide <<= 16
        return wide.view("<f4")
    return value.astype(value.dtype.newbyteorder("="), copy=False)
