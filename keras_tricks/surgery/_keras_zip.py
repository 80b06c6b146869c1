"""The weights inside a `.keras` file, without unpacking the file."""

import io
import struct
import tempfile
import zipfile
from contextlib import ExitStack
from typing import IO, Any

from keras_tricks.surgery._hdf5 import RefusedError

_MEMBER = "model.weights.h5"
_PIECE = 1 << 18
# Beyond this size weights are not packed to a twentieth: they are noise to a packer.
_SMALL, _RATIO = 64 << 20, 20


def weights_in(file: IO[bytes], stack: ExitStack) -> Any:
    """The member with the weights as a file to read and seek in.

    Raises:
        RefusedError: If there is none, it is damaged, or its size is absurd.
    """
    with zipfile.ZipFile(file) as archive:
        members = [i for i in archive.infolist() if i.filename == _MEMBER]
        if len(members) != 1:
            raise RefusedError(f"it holds {len(members)} files {_MEMBER!r}")
        (member,) = members
        stored = member.compress_type == zipfile.ZIP_STORED
        if not stored and member.compress_type != zipfile.ZIP_DEFLATED:
            raise RefusedError(
                f"{_MEMBER!r} is packed in a way that Keras does not use"
            )
        size, packed = member.file_size, member.compress_size
        if packed > _length(file) or (stored and size != packed):
            raise RefusedError(f"{_MEMBER!r} says that it takes {packed} bytes")
        if size > _SMALL and size > _RATIO * packed:
            raise RefusedError(f"{_MEMBER!r} would unpack {packed} bytes to {size}")
        # Not into memory: that is for one value at a time.
        copy = None if stored else tempfile.TemporaryFile()  # noqa: SIM115
        if copy is not None:
            stack.enter_context(copy)
        # To the end, because only there zipfile compares the checksum.
        with archive.open(member) as reader:
            while piece := reader.read(_PIECE):
                if copy is not None:
                    copy.write(piece)
    return Window(file, _start(file, member), size) if copy is None else copy


def _length(file: IO[bytes]) -> int:
    return file.seek(0, io.SEEK_END)


def _start(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Where the member's bytes begin: behind a header, a name and extras."""
    file.seek(member.header_offset + 26)
    return member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))


class Window(io.RawIOBase):
    """A part of a file as a file: zipfile's own would read from its start again."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}
        self._at = max(0, base[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        self._file.seek(self._start + self._at)
        done = int(self._file.readinto(view[:count]))  # type: ignore[attr-defined]
        self._at += done
        return done
