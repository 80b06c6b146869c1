"""The readers: every format, and 2,000 damaged files."""

import gzip
import random
import re
import struct
import time
import tracemalloc

import numpy as np
import pytest

from keras_tricks.initializers import _binary_vectors, _vector_file

WORDS = ["the", "naïve", "New_York", "zebra", "</s>", "1984"]
VECTORS = np.array(
    [
        [0.5, -1.25, 3.0],
        [1e-3, 2.0, -0.125],
        [7, 8, 9],
        [-1, 0, 1],
        [4, 4, 4],
        [2, 1, 0],
    ],
    "float32",
)


def text(words=WORDS, header=True, end=b"\n", vectors=VECTORS):
    lines = [b"%d %d" % vectors.shape] if header else []
    for word, vector in zip(words, vectors, strict=True):
        numbers = " ".join(repr(float(number)) for number in vector)
        lines.append(f"{word} {numbers}".encode())
    return end.join(lines) + end


def binary(words=WORDS, end=b"\n", vectors=VECTORS):
    records = b"".join(
        word.encode() + b" " + struct.pack(f"<{len(vector)}f", *vector) + end
        for word, vector in zip(words, vectors, strict=True)
    )
    return b"%d %d\n" % vectors.shape + records


FORMATS = {
    "word2vec text": text(),
    "word2vec text, trailing space": text(end=b" \n"),
    "word2vec text, Windows": text(end=b"\r\n"),
    "word2vec text, mixed line ends": text().replace(b"\n", b"\r\n", 3),
    "word2vec text, byte order mark": b"\xef\xbb\xbf" + text(),
    "word2vec text, no newline at the end": text()[:-1],
    "word2vec text, empty lines at the end": text() + b"\n\n\r\n",
    "word2vec text, more than its header says": text().replace(b"6 3", b"4 3", 1),
    "GloVe": text(header=False),
    "GloVe, byte order mark": b"\xef\xbb\xbf" + text(header=False),
    "word2vec binary, newlines": binary(),
    "word2vec binary, no newlines": binary(end=b""),
    "word2vec binary, more than its header says": binary().replace(b"6 3", b"4 3", 1),
    "word2vec binary, gzip": gzip.compress(binary()),
    "GloVe, gzip": gzip.compress(text(header=False)),
}


def read(folder, content, wanted):
    # The name says nothing: the content does.
    path = folder / "vectors.dat"
    path.write_bytes(content)
    return _vector_file.read(str(path), wanted)


def vectors(found):
    return {word: found.table()[slot].tolist() for word, slot in found.slots.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_reads_the_wanted_words_of_a(name, tmp_path):
    found = read(tmp_path, FORMATS[name], ["zebra", "naïve", "absent", "the"])
    expected = {w: VECTORS[WORDS.index(w)].tolist() for w in ("the", "naïve", "zebra")}
    assert vectors(found) == expected
    assert found.records == len(WORDS)


def test_a_word_of_text_may_hold_spaces(tmp_path):
    words = [". . .", "at name@domain.com", "5 1/2", "zebra", "a", "b"]
    content = text(words, header=False)
    found = read(tmp_path, content, ["at name@domain.com", "5 1/2", "zebra"])
    expected = {w: VECTORS[words.index(w)].tolist() for w in found.slots}
    assert len(expected) == 3
    assert vectors(found) == expected


def test_numbers_of_binary_records_may_look_like_spaces_and_newlines(tmp_path):
    vector = np.frombuffer(b"  \n  \n \n    ", "<f4")
    table = np.stack([vector, vector * 2, vector])
    content = binary(["a", "b", "c"], b"", table)
    assert vectors(read(tmp_path, content, ["b"])) == {"b": table[1].tolist()}


def test_binary_numbers_without_control_characters_are_told_from_text(tmp_path):
    table = np.frombuffer(b"AAAABBBB" * 2, "<f4").reshape(2, 2)
    content = binary(["x", "y"], b"", table)
    assert vectors(read(tmp_path, content, ["y"])) == {"y": table[1].tolist()}


def test_the_first_of_a_repeated_word_counts(tmp_path):
    for content in (text(["a"] * 6), binary(["a"] * 6)):
        assert vectors(read(tmp_path, content, ["a"])) == {"a": VECTORS[0].tolist()}


def test_words_that_are_not_utf8_are_found_by_their_bytes(tmp_path):
    cut = b"clich\xe9".decode("utf-8", "surrogateescape")
    for content in (text(), binary()):
        damaged = content.replace(b"zebra", b"clich\xe9")
        found = read(tmp_path, damaged, [cut, "zebra", "\ud800"])
        assert vectors(found) == {cut: VECTORS[3].tolist()}


def test_records_across_the_blocks_are_whole(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    table = random.normal(size=(300, 3)).astype("float32")
    words = [f"w{i}" for i in range(300)]
    expected = dict(zip(words, table.tolist(), strict=True))
    for block in (1, 7, 16, 100, 4096):
        monkeypatch.setattr(_binary_vectors, "BLOCK", block)
        for end in (b"", b"\n"):
            content = binary(words, end, table)
            assert vectors(read(tmp_path, content, words)) == expected


BINARY, TEXT = binary(), text()
DAMAGED = {
    "text, cut in a line": (
        TEXT[:-8],
        r"line 7 \(word '1984'\): 1 numbers after the word, expected 3",
    ),
    "text, cut between lines": (
        TEXT[: TEXT.index(b"1984")],
        "line 7: the file ends after 5 records, its header says 6",
    ),
    "text, wanted word with a bad number": (
        TEXT.replace(b"-1.0", b"-1.O"),
        r"line 5 \(word 'zebra'\): what follows the word is not a number: .*-1.O",
    ),
    "text, other dimension than the header": (
        TEXT.replace(b"6 3", b"6 4", 1),
        r"line 2 \(word 'the'\): 3 numbers after the word, expected 4",
    ),
    "text, an empty line": (
        TEXT.replace(b"zebra", b"\nzebra"),
        r"line 5 \(word ''\): 0 numbers after the word, expected 3",
    ),
    "text, NaN": (
        TEXT.replace(b"-1.0", b"nan"),
        "record at line 5: NaN or infinity in the vector of 'zebra'",
    ),
    "text, more than float32 holds": (
        TEXT.replace(b"-1.0", b"1e39"),
        "record at line 5: NaN or infinity in the vector of 'zebra'",
    ),
    "text, one endless line": (
        TEXT.replace(b"zebra", b"z" * 5000),
        "line 5 .*: longer than 4240 bytes",
    ),
    "binary, cut in a record": (
        BINARY[:-8],
        r"record 6 at byte \d+: the file ends inside of it, 10 bytes after its first: "
        "12 bytes of numbers must follow the word '1984'. The file was cut off",
    ),
    "binary, cut between records": (
        BINARY[: BINARY.index(b"1984")],
        r"record 6 at byte \d+: the file ends after 5 records, its header says 6",
    ),
    "binary, infinity": (
        BINARY.replace(struct.pack("<f", -1.0), struct.pack("<f", float("inf"))),
        r"record at byte \d+: NaN or infinity in the vector of 'zebra'",
    ),
    "binary, no space": (
        BINARY.replace(b"zebra", b"z" * 5000),
        r"record 4 at byte \d+: no space in 4096 bytes, where a word must end",
    ),
    "binary, no space to the end": (
        BINARY + b"\0" * 5000,
        r"record 7 at byte \d+: no space in 4096 bytes, where a word must end",
    ),
    "header, no dimension": (
        TEXT.replace(b"6 3", b"6 0", 1),
        "line 1: the header must give a dimension from 1 to 16384, not 0",
    ),
    "header, absurd dimension": (
        BINARY.replace(b"6 3", b"6 999999999", 1),
        "line 1: the header must give a dimension from 1 to 16384, not 999999999",
    ),
    "header, absurd count": (
        BINARY.replace(b"6 3", b"600000000000 3", 1),
        "the file ends after 6 records, its header says 600000000000",
    ),
    "header alone": (b"0 3\n", "line 1: no records"),
    "nothing": (b"", "line 1: no records"),
    "prose": (b"We met\nin 1999\nor so\n" * 9, "line 1: neither a header"),
    "GloVe, as many lines of one length as of another": (
        b"a 1 2\nb 1 2 3\n",
        "line 1: neither a header of two numbers nor, on most of the first lines, a",
    ),
    "too many numbers": (
        b"a" + b" 1" * 20000 + b"\n",
        "line 1: more than 16384 numbers",
    ),
    "gzip, cut": (gzip.compress(BINARY)[:-20], "inside the gzip stream: "),
    "gzip, damaged": (
        gzip.compress(BINARY)[:10] + b"\xff" * 50,
        "inside the gzip stream: ",
    ),
    "zip": (b"PK\x03\x04" + TEXT, "byte 0: it is a zip archive; unpack it"),
    "pickle": (b"\x80\x04" + TEXT, "byte 0: it is a pickle, which is never opened"),
    "UTF-16": (TEXT.decode().encode("utf-16"), "byte 0: it is UTF-16 text"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_an_error_with_file_and_place(name, tmp_path):
    content, message = DAMAGED[name]
    expected = r"`source` must be a whole file of word vectors .*vectors\.dat', .*"
    with pytest.raises(ValueError, match=f"{expected}(?:{message})"):
        read(tmp_path, content, WORDS)


def test_the_byte_of_an_error_is_where_the_record_begins(tmp_path):
    content = binary(end=b"")
    with pytest.raises(ValueError, match="record 6 at byte") as error:
        read(tmp_path, content[:-1], WORDS)
    byte = int(re.search(r"at byte (\d+)", str(error.value))[1])
    assert content[byte:].startswith(b"1984 ")


def damaged(content, chance):
    """The content with one to four of the things that happen to files."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        size = len(content)
        place, other = sorted(chance.randint(0, size) for _ in range(2))
        kind = chance.randrange(6)
        if kind == 0:
            del content[place:]
        elif kind == 1:
            del content[place : min(other, place + 50)]
        elif kind == 2 and size:
            content[place % size] = chance.randrange(256)
        elif kind == 3:
            content[place:place] = chance.randbytes(chance.randint(1, 40))
        elif kind == 4:
            content[place:place] = content[place:other]
        else:
            numbers = [b"0", b"-1", b"7", b"99999999", b"9" * 30, b"nan", b"1e999"]
            header = content.partition(b"\n")[0].split(b" ")
            header[chance.randrange(len(header))] = chance.choice(numbers)
            content = bytearray(b" ".join(header)) + content[content.find(b"\n") :]
    return bytes(content)


def test_2000_damaged_files_are_read_or_refused(tmp_path):
    chance = random.Random(4)
    outcomes = {"read": 0, "refused": 0}
    contents = list(FORMATS.values())
    tracemalloc.start()
    slowest = 0.0
    for turn in range(2000):
        content = damaged(contents[turn % len(contents)], chance)
        started = time.perf_counter()
        try:
            found = read(tmp_path, content, WORDS)
        except ValueError as error:
            found, message = None, str(error)
        slowest = max(slowest, time.perf_counter() - started)
        outcomes["refused" if found is None else "read"] += 1
        if found is None:
            assert "vectors.dat" in message, content
            assert re.search(r"(line|byte) \d|the gzip stream", message), content
        else:
            assert np.isfinite(found.table()).all(), content
            assert set(found.slots) <= set(WORDS), content
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
    assert slowest < 5
    assert min(outcomes.values()) > 200, outcomes


def test_memory_grows_with_the_vocabulary_and_not_with_the_file(tmp_path):
    table = np.ones((40_000, 100), "float32")
    words = [f"word{i}" for i in range(len(table))]
    path = tmp_path / "large"
    path.write_bytes(binary(words, b"", table))
    assert path.stat().st_size > 16e6
    tracemalloc.start()
    found = _vector_file.read(str(path), words[::400])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.slots) == 100
    assert peak < 5e6


def test_a_header_that_says_fewer_numbers_than_there_are_is_named(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"2 2\nthe 1 2 3\ncat 4 5 6\n")
    told = r"line 2.*3 numbers after the word, its header says 2"
    with pytest.raises(ValueError, match=told):
        _vector_file.read(str(path), {"the": None})


def test_spaces_around_a_word_and_other_line_ends_are_no_part_of_it(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"2 2\n ab  1 2\ncd 3 4\n")
    assert set(_vector_file.read(str(path), {"ab": None, "cd": None}).slots) == {
        "ab",
        "cd",
    }
    path.write_bytes(binary(end=b"\r\n"))
    assert len(_vector_file.read(str(path), dict.fromkeys(WORDS)).slots) == len(WORDS)
