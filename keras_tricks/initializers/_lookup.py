"""The vectors of a vocabulary's rows, read once from a source of any kind."""

import os
import uuid
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_tricks.initializers import _coverage, _vector_file, _vocabulary
from keras_tricks.initializers._found import Found

SOURCES = (
    "the path of a file of word vectors, a dict from word to vector, or gensim's "
    "KeyedVectors"
)
# A config names its lookup by key: a copy in this process reads the same vectors, and
# a model that is loaded in another process needs none.
_living: weakref.WeakValueDictionary[str, "Lookup"] = weakref.WeakValueDictionary()


def living(key: str | None) -> "Lookup | None":
    """The lookup of a config, when it is still held in this process."""
    return None if key is None else _living.get(key)


class Lookup:
    """Reads on first use; holds what was found."""

    def __init__(
        self, source: Any, vocabulary: Any, casing: str, counts: Any = None
    ) -> None:
        self.source, self._counts = _checked(source), counts
        self.vocabulary = _vocabulary.read(vocabulary)
        self._casing = casing
        self._result: tuple[NDArray[np.int64], Any, _coverage.Coverage] | None = None
        self._key = uuid.uuid4().hex

    def key(self) -> str:
        """What names this lookup in a config."""
        _living[self._key] = self
        return self._key

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows of the table whose words have a vector."""
        return self._read()[0]

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Their vectors, in that order."""
        return self._read()[1]

    @property
    def coverage(self) -> _coverage.Coverage:
        """How much of the vocabulary has vectors."""
        return self._read()[2]

    def _read(self) -> tuple[NDArray[np.int64], Any, _coverage.Coverage]:
        if self._result is None:
            words = self.vocabulary.rows
            lower = self._casing == "lower-fallback"
            wanted = dict.fromkeys(words)
            if lower:
                wanted |= dict.fromkeys(word.lower() for word in words)
            found = _reader(self.source)(self.source, wanted)
            slots, lowered = {}, 0
            for word, row in words.items():
                slot = found.slots.get(word)
                if slot is None and lower:
                    slot = found.slots.get(word.lower())
                    lowered += slot is not None
                if slot is not None:
                    slots[row] = slot
            coverage = _coverage.measure(
                words, slots, lowered, self._counts, found.records
            )
            rows = np.fromiter(slots, np.int64, len(slots))
            order = np.fromiter(slots.values(), np.int64, len(slots))
            self._result = rows, found.table()[order], coverage
            if not isinstance(self.source, str):
                # It may hold millions of vectors that nobody wants.
                self.source = None
        return self._result


def _checked(source: Any) -> Any:
    if isinstance(source, str | os.PathLike):
        return _vector_file.checked(source)
    _reader(source)
    return source


def _reader(source: Any) -> Callable[[Any, Mapping[str, Any]], Found]:
    if isinstance(source, str):
        return _vector_file.read
    if isinstance(source, Mapping):
        return _of_mapping
    if hasattr(source, "key_to_index") and hasattr(source, "vectors"):
        return _of_keyed_vectors
    hint = "; pass its .wv" if hasattr(source, "wv") else ""
    raise TypeError(
        f"`source` must be {SOURCES}. Received: source={source!r:.200}{hint}"
    )


def _of_mapping(source: Mapping[str, Any], wanted: Mapping[str, Any]) -> Found:
    return _gather(source.get, len(source), wanted)


def _of_keyed_vectors(source: Any, wanted: Mapping[str, Any]) -> Found:
    def get(word: str) -> Any:
        index = source.key_to_index.get(word)
        return None if index is None else source.vectors[index]

    return _gather(get, len(source.key_to_index), wanted)


def _gather(
    get: Callable[[str], Any], records: int, wanted: Mapping[str, Any]
) -> Found:
    found = Found(())
    found.records = records
    for word in wanted:
        vector = get(word)
        if vector is None:
            continue
        try:
            with np.errstate(over="ignore"):  # An infinity is found below.
                vector = np.asarray(vector, "<f4")
        except (TypeError, ValueError):
            raise _bad_vector(word, "no vector of numbers") from None
        if vector.ndim != 1 or not vector.size:
            raise _bad_vector(word, f"an array of shape {vector.shape}")
        if found.dimension not in (0, len(vector)):
            what = f"{len(vector)} numbers, others have {found.dimension}"
            raise _bad_vector(word, what)
        if not np.isfinite(vector).all():
            raise _bad_vector(word, "NaN or infinity in it")
        found.dimension = len(vector)
        found.keep(word, vector.tobytes(), 0)
    return found


def _bad_vector(word: str, what: str) -> ValueError:
    return ValueError(
        "`source` must hold vectors of finite numbers, all of one length. Received: "
        f"for {word!r} {what}"
    )
