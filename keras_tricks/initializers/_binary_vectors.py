"""Reads word2vec's binary records as a stream: a word, a space, its float32 numbers."""

from typing import BinaryIO

from keras_tricks.initializers._found import Found, damaged, shown

BLOCK = 2**20
LONGEST_WORD = 4096


def read(
    stream: BinaryIO, found: Found, path: str, position: int, count: int | None
) -> None:
    """Reads the records from `position`, where the stream is, to the end.

    Some writers end each record with a newline, some do not: one before a word is no
    part of it.
    """
    size, wanted = 4 * found.dimension, found.wanted
    data, start, records = b"", 0, 0
    while block := stream.read(BLOCK):
        data, position, start = data[start:] + block, position + start, 0
        # A space at or behind this has not all of its numbers in `data`.
        limit = len(data) - size
        while 0 <= (space := data.find(b" ", start)) < limit:
            if space - start > LONGEST_WORD:
                raise _no_space(path, records, position + start)
            word = data[start:space].lstrip(b"\r\n")
            if word in wanted:
                vector = data[space + 1 : space + 1 + size]
                found.add(word, vector, position + start)
            start = space + 1 + size
            records += 1
        if space < 0 and len(data) - start > LONGEST_WORD:
            raise _no_space(path, records, position + start)
    found.records = records
    rest = data[start:].lstrip(b"\n")
    if rest.strip():
        raise damaged(
            path,
            _place(records, position + start),
            f"the file ends inside of it, {len(rest)} bytes after its first: {size} "
            f"bytes of numbers must follow the word {shown(rest.split(b' ')[0])}. The "
            "file was cut off, or its header has a wrong dimension",
        )
    if count is not None and records < count:
        raise damaged(
            path,
            _place(records, position + start),
            f"the file ends after {records} records, its header says {count}. Get the "
            "whole file, or correct the header",
        )


def _place(records: int, byte: int) -> str:
    return f"record {records + 1} at byte {byte}"


def _no_space(path: str, records: int, byte: int) -> ValueError:
    what = f"no space in {LONGEST_WORD} bytes, where a word must end"
    return damaged(path, _place(records, byte), what)


def fills(data: bytes, dimension: int, count: int) -> bool:
    """Whether `data` is just so many binary records."""
    start = 0
    for _ in range(count):
        space = data.find(b" ", start)
        start = space + 1 + 4 * dimension
        if space < 0 or start > len(data):
            return False
    return not data[start:].strip()
