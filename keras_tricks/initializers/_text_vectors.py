"""Reads text records as a stream: lines of a word and its numbers, spaces between."""

from typing import BinaryIO

import numpy as np

from keras_tricks.initializers._found import Found, damaged, shown

LONGEST_WORD = 4096
# Twice what the longest float64 takes, so that a file of one endless line ends soon.
LONGEST_NUMBER = 48
TAIL = 2**16


def read(
    stream: BinaryIO, found: Found, path: str, line_number: int, count: int | None
) -> None:
    """Reads the lines from `line_number`, where the stream is, to the end.

    The numbers are the last fields, since words may hold spaces. Only lines of wanted
    words are read as numbers; of the others, the fields are counted.
    """
    dimension, wanted = found.dimension, found.wanted
    longest = LONGEST_WORD + LONGEST_NUMBER * dimension
    first = line_number
    while line := stream.readline(longest):
        if len(line) == longest:
            what = f"longer than {longest} bytes"
            raise damaged(path, _place(line_number, line), what)
        text = line.strip(b" \r\n")
        spaces = text.count(b" ")
        if spaces == dimension:
            word = text[: text.find(b" ")]
        elif spaces > dimension:
            word = text.rsplit(b" ", dimension)[0].rstrip(b" ")
        elif not text and _only_space(stream):
            break
        else:
            what = f"{spaces} numbers after the word, expected {dimension}"
            raise damaged(path, _place(line_number, text), what)
        # The first is always read, to see that these are numbers at all.
        if word in wanted or line_number == first:
            vector = _numbers(text, path, line_number, dimension)
            if word in wanted:
                found.add(word, vector, line_number)
        line_number += 1
    found.records = line_number - first
    if count is not None and found.records < count:
        raise damaged(
            path,
            f"line {line_number}",
            f"the file ends after {found.records} records, its header says {count}. "
            "Get the whole file, or correct the header",
        )


def numbers_at_the_end(line: bytes, most: int) -> int:
    """How many fields are numbers, counted from the right and without the first."""
    fields = line.rstrip(b" \r\n").rsplit(b" ", most + 1)
    count = 0
    for field in reversed(fields[1:]):
        try:
            float(field)
        except ValueError:
            break
        count += 1
    return count


def _numbers(text: bytes, path: str, line_number: int, dimension: int) -> bytes:
    fields = text.rsplit(b" ", dimension)[1:]
    try:
        values = [float(field) for field in fields]
    except ValueError as error:
        what = f"what follows the word is not a number: {error}"
        raise damaged(path, _place(line_number, text), what) from None
    with np.errstate(over="ignore"):  # An infinity is found afterwards.
        return np.array(values).astype("<f4").tobytes()


def _place(line_number: int, text: bytes) -> str:
    return f"line {line_number} (word {shown(text.split(b' ')[0])})"


def _only_space(stream: BinaryIO) -> bool:
    """Whether nothing but some white space is left."""
    rest = stream.read(TAIL)
    return len(rest) < TAIL and not rest.strip()
