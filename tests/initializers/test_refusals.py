"""Arguments, sources and tables that are refused, and the words for it."""

import struct
import types

import keras
import numpy as np
import pytest

from keras_tricks.initializers.word_vectors import WordVectors

SOURCE = {
    "the": [1.0, 2.0],
    "cat": [3.0, 4.0],
    "sat": [-5.0, 6.0],
    "Paris": [7.0, -8.0],
    "us": [0.5, 0.25],
}


def write(path, source=SOURCE):
    header = f"{len(source)} {len(next(iter(source.values())))}\n".encode()
    records = b"".join(
        word.encode() + b" " + struct.pack(f"<{len(vector)}f", *vector) + b"\n"
        for word, vector in source.items()
    )
    path.write_bytes(header + records)
    return path


def keyed_vectors():
    """What gensim's KeyedVectors has."""
    return types.SimpleNamespace(
        key_to_index={word: row for row, word in enumerate(SOURCE)},
        vectors=np.array(list(SOURCE.values()), "float32"),
    )


def wrong_vocabulary(vocabulary, error, message):
    with pytest.raises(error, match=f"`vocabulary` must {message}"):
        WordVectors(SOURCE, vocabulary)


@pytest.mark.parametrize("vocabulary", ["cat", None, 7, {"cat"}])
def test_a_vocabulary_of_another_kind_is_refused(vocabulary):
    wrong_vocabulary(vocabulary, TypeError, "be a list of words, a dict .* Received:")


@pytest.mark.parametrize(
    ("vocabulary", "error", "message"),
    [
        ([], ValueError, "be a list .*, which has no words$"),
        ([""], ValueError, "be a list .*, which has no words$"),
        ({}, ValueError, "be a list .*, which has no words$"),
        (["cat", 3], TypeError, "hold words as strings. Received: 3, of type int"),
        ([b"cat"], TypeError, "hold words as strings. Received: b'cat', of type bytes"),
        (
            ["a", "b", "a"],
            ValueError,
            "name each word once. Received: 'a' at 0 and at 2",
        ),
        ({"a": 1, "b": 1}, ValueError, "give each word .* row 1 for both 'a' and 'b'"),
        ({"a": 1.5}, TypeError, r"map each word .* Received: vocabulary\['a'\]=1.5"),
        ({"a": True}, TypeError, r"map each word .* Received: vocabulary\['a'\]=True"),
        ({"a": -1}, ValueError, r"map each word .* Received: vocabulary\['a'\]=-1"),
    ],
)
def test_a_wrong_vocabulary_is_refused(vocabulary, error, message):
    wrong_vocabulary(vocabulary, error, message)


@pytest.mark.needs("tensorflow")
def test_a_layer_without_vocabulary_is_refused():
    for layer in (keras.layers.TextVectorization(), keras.layers.StringLookup()):
        wrong_vocabulary(layer, ValueError, r"be .* no words; call its adapt\(data\)")


@pytest.mark.needs("tensorflow")
def test_a_layer_that_gives_no_rows_is_refused():
    words = ["a", "b"]
    for layer, told in (
        (
            keras.layers.TextVectorization(output_mode="multi_hot", vocabulary=words),
            "m",
        ),
        (keras.layers.StringLookup(vocabulary=words, output_mode="count"), "count"),
        (keras.layers.StringLookup(vocabulary=words, invert=True), "int', invert=True"),
    ):
        message = f"be a layer that turns words .* output_mode='{told}"
        wrong_vocabulary(layer, ValueError, message)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"missing": "normall"}, ValueError, "`missing` must .* Did you mean 'normal'"),
        ({"missing": 0}, TypeError, "`missing` must be .* Received: missing=0"),
        ({"scale": 0.1}, ValueError, "`scale` must be one of 'match', None"),
        ({"casing": "lower"}, ValueError, "`casing` must be one of 'exact', 'lower-f"),
        ({"seed": 0.5}, TypeError, "`seed` must be an integer"),
        ({"seed": -1}, ValueError, "`seed` must be an integer from 0"),
        ({"counts": [1]}, TypeError, "`counts` must be a dict from word to count"),
        ({"counts": {"a": -1}}, ValueError, r"`counts\['a'\]` must be a number of at"),
    ],
)
def test_a_wrong_option_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        WordVectors(SOURCE, ["cat"], **options)


def test_a_source_of_another_kind_is_refused():
    with pytest.raises(
        TypeError, match=r"`source` must be the path of a file .* source=7$"
    ):
        WordVectors(7, ["cat"])


def test_a_model_of_gensim_is_refused_with_the_remedy():
    model = types.SimpleNamespace(wv=keyed_vectors())
    with pytest.raises(TypeError, match=r"(?s)`source` must be .*; pass its \.wv"):
        WordVectors(model, ["cat"])


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`source` must .*, which is not there"
    ):
        WordVectors(tmp_path / "no", ["cat"])
    with pytest.raises(FileNotFoundError, match=r"`source` must .*, which is a folder"):
        WordVectors(tmp_path, ["cat"])


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1.0], "for 'cat' 1 numbers, others have 2"),
        ([[1.0, 2.0]], r"for 'cat' an array of shape \(1, 2\)"),
        ([], r"for 'cat' an array of shape \(0,\)"),
        ("text", "for 'cat' no vector of numbers"),
        ([1.0, float("nan")], "for 'cat' NaN or infinity in it"),
        ([1.0, 1e39], "for 'cat' NaN or infinity in it"),
    ],
)
def test_a_dict_with_a_wrong_vector_is_refused(vector, message):
    start = WordVectors({**SOURCE, "cat": vector}, ["the", "cat"])
    with pytest.raises(ValueError, match=f"`source` must hold vectors .* {message}"):
        start((2, 2))


def test_damage_in_the_file_is_told_when_it_is_read(tmp_path):
    path = write(tmp_path / "vectors")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="vectors', record 5 at byte"):
        WordVectors(path, ["cat"])((1, 2))


@pytest.mark.parametrize(
    ("vocabulary", "shape", "message"),
    [
        (
            ["a", "cat"],
            (3, 2),
            r"have 2 rows, .*\(3, 2\); .* input_dim=2; for rows f",
        ),
        (["a", "cat"], (1, 2), "have 2 rows"),
        ({"cat": 4}, (4, 2), "have at least 5 rows.* input_dim=5$"),
        (["a", "cat"], (2, 3), "have 2 columns, .* give the layer output_dim=2"),
        (["a", "cat"], (2,), r"be that of a table, .* shape=\(2,\)"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(vocabulary, shape, message):
    with pytest.raises(ValueError, match=f"`shape` must {message}"):
        WordVectors(SOURCE, vocabulary)(shape)


def test_a_dtype_of_integers_is_refused():
    with pytest.raises(ValueError, match=r"`dtype` must be .* Received: dtype=int32"):
        WordVectors(SOURCE, ["cat"])((1, 2), "int32")
