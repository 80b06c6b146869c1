"""The vectors of the wanted words, gathered from a source one after the other."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# The first 16,384 covers every model of words that was published; a damaged header is
# far above it.
LARGEST_DIMENSION = 2**14


def damaged(path: str, place: str, what: str) -> ValueError:
    """The one wording for a file that cannot be read."""
    return ValueError(
        "`source` must be a whole file of word vectors (word2vec text or binary, GloVe "
        f"or fastText .vec). Received: source={path!r}, {place}: {what}"
    )


def shown(word: bytes) -> str:
    """A word for a message: short, whatever its bytes are."""
    return repr(word[:40].decode("utf-8", "replace"))


def encoded(words: Iterable[str]) -> dict[bytes, str]:
    """The words by the bytes that a file has for them.

    Files in the wild hold words cut in the middle of a character. Whoever read them
    with Python's "surrogateescape" has the same bytes again.
    """
    found = {}
    for word in words:
        try:
            found[word.encode("utf-8", "surrogateescape")] = word
        except UnicodeEncodeError:
            continue  # Half of a surrogate pair is in no file.
    return found


class Found:
    """The wanted words and, for those that were seen, their vectors.

    The vectors lie end to end in one array of bytes that grows with what is found, so
    that nothing is reserved on the word of a header.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self.wanted = encoded(wanted)
        self.dimension = 0
        self.records = 0
        self.unit = "record"  # what the places of the vectors count
        self.slots: dict[str, int] = {}
        self._data = bytearray()
        self._places: list[int] = []

    def add(self, word: bytes, vector: bytes, place: int) -> None:
        """Keeps the float32 numbers of a wanted word, as it is in a file."""
        self.keep(self.wanted[word], vector, place)

    def keep(self, word: str, vector: bytes, place: int) -> None:
        """Keeps the float32 numbers of a word; of a repeated one, the first."""
        if word not in self.slots:
            self.slots[word] = len(self.slots)
            self._data += vector
            self._places.append(place)

    def table(self) -> NDArray[np.float32]:
        """The vectors, one row for each slot."""
        flat = np.frombuffer(self._data, "<f4")
        return flat.reshape(len(self.slots), self.dimension)

    def not_finite(self) -> tuple[str, int] | None:
        """A word with NaN or infinity in its vector, and where it was read."""
        bad = np.flatnonzero(~np.isfinite(self.table()).all(axis=1))
        if not bad.size:
            return None
        return list(self.slots)[bad[0]], self._places[bad[0]]
