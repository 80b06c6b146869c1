"""Which row of the table a word has."""

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


def table(initializer, shape, dtype="float32"):
    return keras.ops.convert_to_numpy(initializer(shape, dtype))


def plain(vocabulary, source=SOURCE, **options):
    return WordVectors(source, vocabulary, scale=None, missing="zeros", **options)


def test_word_i_of_a_list_has_row_i():
    found = table(plain(["cat", "dog", "the"]), (3, 2))
    assert found.tolist() == [[3, 4], [0, 0], [1, 2]]


@pytest.mark.parametrize("kind", [tuple, np.array])
def test_a_tuple_and_an_array_are_lists(kind):
    found = table(plain(kind(["cat", "the"])), (2, 2))
    assert found.tolist() == [[3, 4], [1, 2]]


def test_the_empty_word_of_a_list_is_padding_and_zero():
    start = WordVectors(SOURCE, ["", "cat", "dog"], scale=None)
    found = table(start, (3, 2))
    assert found[:2].tolist() == [[0, 0], [3, 4]]
    assert found[2].all()
    assert start.coverage.words == 2


def test_a_dict_says_the_rows_and_a_free_row_0_is_padding():
    start = WordVectors(SOURCE, {"cat": 1, "the": np.int64(3)}, scale=None)
    found = table(start, (5, 2))
    assert found[[0, 1, 3]].tolist() == [[0, 0], [3, 4], [1, 2]]
    assert found[[2, 4]].all()


def test_a_dict_whose_row_0_has_a_word_has_no_padding():
    found = table(plain({"cat": 0, "the": 1}), (2, 2))
    assert found.tolist() == [[3, 4], [1, 2]]


def test_the_empty_word_of_a_dict_is_padding():
    start = WordVectors(SOURCE, {"cat": 0, "the": 1, "": 2}, scale=None)
    assert table(start, (3, 2)).tolist() == [[3, 4], [1, 2], [0, 0]]


@pytest.mark.needs("tensorflow")
def test_an_adapted_text_vectorization_gives_the_rows():
    layer = keras.layers.TextVectorization()
    layer.adapt(["the cat", "the dog", "the cat"])
    start = WordVectors(SOURCE, layer, scale=None)
    found = table(start, (5, 2))
    ids = np.asarray(keras.ops.convert_to_numpy(layer(["the cat"])))[0]
    assert found[ids].tolist() == [[1, 2], [3, 4]]
    assert not found[0].any()
    assert found[1].all(), "the row of unknown words is drawn"
    assert start.coverage.words == 3


@pytest.mark.needs("tensorflow")
@pytest.mark.parametrize("mask_token", [None, "<pad>"])
@pytest.mark.parametrize("num_oov_indices", [0, 1, 3])
def test_a_string_lookup_gives_the_rows(mask_token, num_oov_indices):
    layer = keras.layers.StringLookup(
        vocabulary=["cat", "dog", "the"],
        mask_token=mask_token,
        num_oov_indices=num_oov_indices,
    )
    found = table(WordVectors(SOURCE, layer, scale=None), (layer.vocabulary_size(), 2))
    first = num_oov_indices + (mask_token is not None)
    assert found[first].tolist() == [3, 4]
    assert found[first + 2].tolist() == [1, 2]
    assert found[first - num_oov_indices :].any(axis=1).all()
    if mask_token is not None:
        assert not found[0].any()


@pytest.mark.needs("tensorflow")
def test_a_layer_may_have_more_rows_than_words():
    layer = keras.layers.StringLookup(vocabulary=["cat"])
    assert table(plain(layer), (9, 2))[1].tolist() == [3, 4]
