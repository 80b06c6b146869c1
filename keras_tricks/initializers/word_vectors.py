"""An embedding that starts from word vectors learned elsewhere."""

import random
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _arguments
from keras_tricks._errors import NoEffectWarning
from keras_tricks.initializers import _lookup, _missing
from keras_tricks.initializers._coverage import Coverage


@keras.saving.register_keras_serializable("keras_tricks")
class WordVectors(keras.Initializer):
    """Starts an embedding's rows from word vectors.

    When: few labelled texts, and vectors learned from many texts of the same language.
    Typical: `casing="lower-fallback"` for vectors of lower-case words, and a look at
        `coverage` before the training.
    Costs: one reading of the file, a few seconds for each GB, and the memory of the
        vectors that are used, as long as the model lives.
    Beware: drawn rows are noise, as large as the vectors: with vectors for less than
        some 80 % of the tokens take `missing="zeros"` or `scale=None`. A saved model
        holds its weights, not the way to the vectors: the initializer of a loaded
        model, and of a clone of that, draws rows as Keras's default would, which the
        loaded weights then replace. A clone in the process of the original has them.

    The format is told from the content: word2vec, text or binary; GloVe; fastText's
    `.vec`; each of them also compressed by gzip. Files are read as a stream, words are
    compared as bytes, and what is no wanted word is not looked at. Damage that is met
    is an error with the place; of a word that comes twice, the first counts.

    Row `i` of the table is the `i`-th word of a list, the row that a dict says, or the
    number that a layer gives to the word. Padding is all zeros: the mask of a layer,
    the word "" of a list or dict, row 0 of a dict that names no word for it. The OOV
    rows of a layer, and rows that no word has, are drawn like those of missing words.
    With a list the table has a row for each of its words; with a dict or a layer it may
    have more.

    Args:
        source: Path of a file, dict from word to vector, or gensim's `KeyedVectors`
            (anything with `key_to_index` and `vectors`).
        vocabulary: List of words, dict from word to row, or a `TextVectorization` or
            `StringLookup` layer that has its vocabulary. It is read at once.
        missing: "normal", "zeros" or a `keras.Initializer`: the rows of words without
            a vector. Defaults to "normal", drawn with the mean and the spread of the
            rows that have one. An initializer is called with the table's whole shape;
            another `WordVectors` is one, too.
        scale: "match" or None. Defaults to "match": the vectors are multiplied by one
            number that gives them a standard deviation of 1, for which the Glorot, He
            and Lecun initializers of the layers that follow are made. At Keras's own
            spread for embeddings, 0.029, Adam's steps soon drown what the vectors
            know (`tutorials/word_vectors.py`). None leaves them as they are.
        casing: "exact" or "lower-fallback", which gives a word without a vector that of
            its lower-case form. Defaults to "exact".
        counts: Dict from word to how often it comes in the texts, for `coverage`, or
            None. Words outside of the vocabulary count as without a vector.
        seed: Integer, or None for one that is drawn here (`set_random_seed` decides).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument has a wrong value; a layer has no vocabulary yet; the
            file is damaged, with its place; the table does not fit the vocabulary, or
            the vectors.
        FileNotFoundError: If there is no such file.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> vectors = {"good": [3.0, 4.0], "bad": [-3.0, -4.0]}
    >>> vocabulary = ["", "good", "bad", "ugly"]
    >>> start = kt.initializers.WordVectors(
    ...     vectors, vocabulary, missing="zeros", scale=None
    ... )
    >>> embedding = keras.layers.Embedding(4, 2, embeddings_initializer=start)
    >>> print(keras.ops.convert_to_numpy(embedding(np.array([1, 2]))))
    [[ 3.  4.]
     [-3. -4.]]
    >>> print(start.coverage)
    2 of 3 words have a vector (66.7%); the source holds 2
    missing, for example: 'ugly'

    Reference: Turian, Ratinov and Bengio 2010, "Word representations", for one scale of
    all vectors (theirs is 0.1); Kim 2014, arXiv 1408.5882, for the spread of missing
    rows; Glorot and Bengio 2010 for inputs of unit variance.
    """

    def __init__(
        self,
        source: Any,
        vocabulary: Any,
        *,
        missing: str | keras.Initializer = "normal",
        scale: str | None = "match",
        casing: str = "exact",
        counts: Mapping[str, float] | None = None,
        seed: int | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.counts = _checked_counts(counts)
        self._set_options(missing, scale, casing, seed)
        self._lookup: _lookup.Lookup | None = _lookup.Lookup(
            source, vocabulary, casing, counts
        )

    def _set_options(
        self, missing: Any, scale: str | None, casing: str, seed: int | None
    ) -> None:
        if not isinstance(missing, keras.Initializer):
            if not isinstance(missing, str):
                raise TypeError(
                    '`missing` must be "normal", "zeros" or a keras.Initializer. '
                    f"Received: missing={missing!r}"
                )
            _arguments.one_of("missing", missing, ("normal", "zeros"))
        self.missing = missing
        self.scale = _arguments.one_of("scale", scale, ("match", None))
        self.casing = _arguments.one_of("casing", casing, ("exact", "lower-fallback"))
        if seed is not None:
            _arguments.integer("seed", seed, 0, 2**63)
        self.seed = seed
        # Like Keras's own: drawn once, so that one initializer gives the same twice.
        self._drawn = random.randint(0, 2**31) if seed is None else seed

    @property
    def source(self) -> Any:
        """The source, as long as it is not read; of a file, its path."""
        return None if self._lookup is None else self._lookup.source

    @property
    def coverage(self) -> Coverage:
        """How much of the vocabulary has vectors; reads the source if need be."""
        if self._lookup is None:
            raise ValueError(
                "`coverage` must be asked of an initializer that has its vectors. "
                "Received: one of a loaded model, which has none"
            )
        return self._lookup.coverage

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Returns the table: words by numbers."""
        shape = tuple(shape)
        dtype = keras.backend.standardize_dtype(dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise ValueError(
                f"`dtype` must be one of floating numbers. Received: dtype={dtype}"
            )
        if len(shape) != 2:
            raise ValueError(
                "`shape` must be that of a table, rows by columns. "
                f"Received: shape={shape}"
            )
        generator = np.random.default_rng(self._drawn)
        if self._lookup is None:
            table = _missing.default(shape, generator)
        else:
            _check_shape(self._lookup, shape)
            table = self._table(self._lookup, shape, generator)
        return ops.cast(ops.convert_to_tensor(table), dtype)

    def _table(
        self, lookup: _lookup.Lookup, shape: Any, generator: np.random.Generator
    ) -> Any:
        vectors, padding = lookup.vectors, lookup.vocabulary.padding
        if not len(vectors):
            warnings.warn(
                "WordVectors has no effect: none of the words of the vocabulary "
                f"{list(lookup.coverage.missing[:5])} ... has a vector in `source`; "
                "is it of another language, or another casing?",
                NoEffectWarning,
                stacklevel=3,
            )
        elif self.scale == "match":
            vectors = _missing.rescaled(vectors, _missing.MATCHED_SPREAD)
        if isinstance(self.missing, keras.Initializer) or self.missing == "zeros":
            table = np.zeros(shape, "float32")
        elif not len(vectors):
            table = _missing.default(shape, generator)
        else:
            table = np.empty(shape, "float32")
            empty = np.ones(shape[0], bool)
            empty[lookup.rows] = False
            table[empty] = _missing.normal(vectors, int(empty.sum()), generator)
        table[lookup.rows] = vectors.reshape(-1, shape[1])
        if padding is not None:
            table[padding] = 0
        if isinstance(self.missing, keras.Initializer):
            kept = np.zeros((shape[0], 1), bool)
            kept[lookup.rows] = True
            if padding is not None:
                kept[padding] = True
            # Not through NumPy: inside a step that is traced there are no numbers yet.
            return ops.where(kept, table, self.missing(shape, dtype="float32"))
        return table

    def get_config(self) -> dict[str, Any]:
        """Returns the options; the words and their vectors are not part of them."""
        missing = self.missing
        if isinstance(missing, keras.Initializer):
            missing = keras.saving.serialize_keras_object(missing)
        return {
            "missing": missing,
            "scale": self.scale,
            "casing": self.casing,
            "seed": self.seed,
            "lookup": None if self._lookup is None else self._lookup.key(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WordVectors":
        """Makes the initializer again, with its vectors if this process holds them."""
        config = dict(config)
        lookup = _lookup.living(config.pop("lookup", None))
        if not isinstance(config["missing"], str):
            config["missing"] = keras.saving.deserialize_keras_object(config["missing"])
        made = cls.__new__(cls)
        made.vocabulary = made.counts = None
        made._set_options(**config)
        made._lookup = lookup
        return made


def _check_shape(lookup: _lookup.Lookup, shape: tuple[int, int]) -> None:
    rows, exact = lookup.vocabulary.size, lookup.vocabulary.exact
    if shape[0] < rows or (exact and shape[0] != rows):
        remedy = "; for rows from 1 on, let the list begin with ''" if exact else ""
        raise ValueError(
            f"`shape` must have {'' if exact else 'at least '}{rows} rows, those of "
            f"the vocabulary. Received: shape={shape}; give the layer "
            f"input_dim={rows}{remedy}"
        )
    columns = lookup.vectors.shape[1]
    if len(lookup.vectors) and shape[1] != columns:
        raise ValueError(
            f"`shape` must have {columns} columns, as many as the vectors have "
            f"numbers. Received: shape={shape}; give the layer output_dim={columns}"
        )


def _checked_counts(counts: Any) -> Any:
    if counts is None:
        return None
    if not isinstance(counts, Mapping):
        raise TypeError(
            "`counts` must be a dict from word to count. "
            f"Received: counts={counts!r:.200}"
        )
    for word, count in counts.items():
        _arguments.not_negative(f"counts[{word!r}]", count)
    return counts
