"""Opens a file of word vectors and tells its format from its content."""

import collections
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple, cast

from keras_tricks.initializers import _binary_vectors, _text_vectors
from keras_tricks.initializers._found import LARGEST_DIMENSION, Found, damaged

# Enough for the first record of the largest dimension, as text too.
SAMPLE = 2**20
# So many lines vote on the dimension of a file without a header.
VOTERS = 100
BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
HEADER = re.compile(rb"[ \t]*([0-9]{1,15})[ \t]+([0-9]{1,15})[ \t\r]*")
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
# How a file begins that is something else, and what to do about it.
FOREIGN = {
    b"PK\x03\x04": "it is a zip archive; unpack it",
    b"BZh": "it is compressed by bzip2; unpack it",
    b"\xfd7zXZ\x00": "it is compressed by xz; unpack it",
    b"\x28\xb5\x2f\xfd": "it is compressed by zstd; unpack it",
    b"\xba\x16\x4f\x2f": "it is a fastText model; take its .vec file",
    b"\x80\x02": "it is a pickle, which is never opened here; load it with the library "
    "that wrote it and pass the object",
    b"\x89HDF": "it is an HDF5 file",
    b"\x93NUMPY": "it is a NumPy array, without words",
    b"\xff\xfe": "it is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "it is UTF-16 text; save it as UTF-8",
}
FOREIGN |= {bytes([0x80, version]): FOREIGN[b"\x80\x02"] for version in (3, 4, 5)}


class Layout(NamedTuple):
    """Where the records of a file begin, and how they are to be read."""

    binary: bool
    dimension: int
    records: int | None  # as the header says
    position: int  # of the first record, in bytes


def read(path: str, wanted: Iterable[str]) -> Found:
    """Reads the vectors of the wanted words, in a stream."""
    found = Found(wanted)
    with open(path, "rb") as file:
        compressed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        stream = cast(
            BinaryIO,
            io.BufferedReader(gzip.GzipFile(fileobj=file)) if compressed else file,
        )
        try:
            _read(stream, found, path)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise damaged(path, "inside the gzip stream", str(error)) from None
    bad = found.not_finite()
    if bad is not None:
        word, place = bad
        what = f"NaN or infinity in the vector of {word!r}"
        raise damaged(path, f"record at {found.unit} {place}", what)
    return found


def _read(stream: BinaryIO, found: Found, path: str) -> None:
    layout = detect(stream.read(SAMPLE), path)
    found.dimension = layout.dimension
    stream.seek(layout.position)
    found.unit = "byte" if layout.binary else "line"
    if layout.binary:
        _binary_vectors.read(stream, found, path, layout.position, layout.records)
    else:
        line = 1 if layout.records is None else 2
        _text_vectors.read(stream, found, path, line, layout.records)
    if not found.records:
        raise damaged(path, "line 1", "no records")


def detect(sample: bytes, path: str) -> Layout:
    """Tells the format from the beginning of a file."""
    for magic, remedy in FOREIGN.items():
        if sample.startswith(magic):
            raise damaged(path, "byte 0", remedy)
    begin = len(BOM) if sample.startswith(BOM) else 0
    if not sample[begin:].strip():
        raise damaged(path, "line 1", "no records")
    whole = len(sample) < SAMPLE
    line, newline, rest = sample[begin:].partition(b"\n")
    header = HEADER.fullmatch(line)
    if not header:
        return Layout(False, _voted(sample[begin:], path, whole), None, begin)
    count, dimension = int(header[1]), int(header[2])
    if not 1 <= dimension <= LARGEST_DIMENSION:
        what = f"a dimension from 1 to {LARGEST_DIMENSION}, not {dimension}"
        raise damaged(path, "line 1", f"the header must give {what}")
    binary = _is_binary(rest, dimension, count if whole else None)
    if not binary:
        _check_dimension(rest, path, dimension)
    position = begin + len(line) + len(newline)
    return Layout(binary, dimension, count, position)


def _is_binary(rest: bytes, dimension: int, count: int | None) -> bool:
    line = rest.partition(b"\n")[0]
    if _text_vectors.numbers_at_the_end(line, dimension) >= dimension:
        return False
    # Hardly any float32 numbers are without such bytes, but a few may be.
    if CONTROL.search(rest[:4096]):
        return True
    return bool(count) and _binary_vectors.fills(rest, dimension, count or 0)


def _check_dimension(rest: bytes, path: str, dimension: int) -> None:
    """Refuses a header that says less than what the first lines have.

    Else the numbers that are too many would be taken for parts of the words. A word
    may be a number itself, so the lines decide together.
    """
    lines = [line for line in rest.split(b"\n", VOTERS)[:VOTERS] if line.strip()]
    more = [
        found
        for line in lines
        if (found := _text_vectors.numbers_at_the_end(line, LARGEST_DIMENSION))
        > dimension
    ]
    if 2 * len(more) > len(lines):
        what = f"{more[0]} numbers after the word, its header says {dimension}"
        raise damaged(path, "line 2", what)


def _voted(sample: bytes, path: str, whole: bool) -> int:
    """The dimension of a file without a header, whose words may hold spaces."""
    lines = sample.split(b"\n", VOTERS)[:VOTERS]
    if len(lines) > 1 and not whole:
        lines = lines[:-1]  # It may be cut off.
    votes = collections.Counter(
        _text_vectors.numbers_at_the_end(line, LARGEST_DIMENSION) for line in lines
    )
    ((dimension, most),) = votes.most_common(1)
    if dimension == 0 or 2 * most <= sum(bool(line.strip()) for line in lines):
        raise damaged(
            path,
            "line 1",
            "neither a header of two numbers nor, on most of the first lines, a word "
            "and equally many numbers",
        )
    if dimension > LARGEST_DIMENSION:
        raise damaged(path, "line 1", f"more than {LARGEST_DIMENSION} numbers")
    return dimension


def checked(source: str | os.PathLike[str]) -> str:
    """The path of a file that is there."""
    path = os.fspath(source)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"`source` must be the path of a file. Received: source={path!r}, which is "
            + ("a folder" if os.path.isdir(path) else "not there")
        )
    return path
