"""Texts of any length in an HDF5 file, read without the HDF5 library.

Such a text lies in a heap, and the attribute holds its length and place. The library
believes both: it takes the memory for a length of gigabytes, and does not come back
from some damaged heaps. So the few bytes are looked up here, within their bounds.

Reference: HDF5 File Format Specification 3.0, sections III.E, IV.A.1 and IV.A.2.m.
"""

import os
import struct
from collections.abc import Iterator
from typing import Any

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10
_HEAP = b"GCOL\x01\0\0\0"
# Keras writes names of layers.
_LARGEST, _BLOCKS = 1 << 24, 1000


class TextError(Exception):
    """The text cannot be found."""


def read(file: Any, header: int, name: str, count: int) -> list[bytes]:
    """The texts of an attribute of the object whose header lies at an address.

    Raises:
        TextError: If they are not where the file says.
    """
    for body in _messages(file, header):
        found, data = _attribute(body)
        if found == name.encode():
            if len(data) < 16 * count:
                raise TextError(f"its attribute {name!r} is cut")
            places = struct.iter_unpack("<IQI", data[: 16 * count])
            return [_from_heap(file, *place) for place in places]
    raise TextError(f"its attribute {name!r} is written in a way that is not known")


def _bytes(file: Any, at: int, size: int) -> bytes:
    if size > _LARGEST or at > file.seek(0, os.SEEK_END):
        raise TextError("a text lies beyond the end of the file")
    file.seek(at)
    data: bytes = file.read(size)
    if len(data) < size:
        raise TextError("a text lies beyond the end of the file")
    return data


def _messages(file: Any, header: int) -> Iterator[bytes]:
    """The attributes in an object's header, which may go on elsewhere."""
    version, _, _, _, size = struct.unpack("<BBHII", _bytes(file, header, 12))
    if version != 1:
        return
    blocks, done = [(header + 16, size)], 0
    while blocks and done < _BLOCKS:
        block, at, done = _bytes(file, *blocks.pop(0)), 0, done + 1
        while at + 8 <= len(block):
            kind, length = struct.unpack_from("<HH", block, at)
            body = block[at + 8 : at + 8 + length]
            at += 8 + length
            if kind == _ATTRIBUTE:
                yield body
            elif kind == _CONTINUATION and len(body) >= 16:
                blocks.append(struct.unpack_from("<QQ", body))


def _attribute(body: bytes) -> tuple[bytes, bytes]:
    """The name of an attribute and its data."""
    if len(body) < 8 or body[0] not in (1, 2, 3):
        return b"", b""
    sizes = struct.unpack_from("<HHH", body, 2)
    # The first version fills each part up to eight bytes.
    steps = [-(-size // 8) * 8 for size in sizes] if body[0] == 1 else list(sizes)
    start = 9 if body[0] == 3 else 8
    name = body[start : start + sizes[0]].split(b"\0")[0]
    return name, body[start + sum(steps) :]


def _from_heap(file: Any, length: int, place: int, wanted: int) -> bytes:
    head = _bytes(file, place, 16)
    if head[:8] != _HEAP:
        raise TextError("a text does not lie in a heap")
    heap = _bytes(file, place, struct.unpack_from("<Q", head, 8)[0])
    at = 16
    while at + 16 <= len(heap):
        index, size = struct.unpack_from("<H6xQ", heap, at)
        if index == wanted and size >= length and at + 16 + length <= len(heap):
            return heap[at + 16 : at + 16 + length]
        if index in (0, wanted):
            break
        at += 16 + -(-size // 8) * 8
    raise TextError("a text is not in its heap")
