"""What an initializer says of its vectors."""

import keras
import pytest

import keras_tricks as kt
from keras_tricks.initializers.word_vectors import WordVectors

SOURCE = {
    "the": [1.0, 2.0],
    "cat": [3.0, 4.0],
    "sat": [-5.0, 6.0],
    "Paris": [7.0, -8.0],
    "us": [0.5, 0.25],
}


def test_coverage_counts_types_and_tokens():
    counts = {"the": 10, "cat": 4, "dog": 5, "cow": 1, "elsewhere": 5}
    start = WordVectors(SOURCE, ["", "the", "cow", "dog", "cat"], counts=counts)
    coverage = start.coverage
    assert (coverage.words, coverage.found, coverage.records) == (4, 2, 5)
    assert coverage.types == 0.5
    assert coverage.tokens == 14 / 25
    assert coverage.missing == ("dog", "cow")
    assert str(coverage) == (
        "2 of 4 words have a vector (50.0%); the source holds 5\n"
        "56.0% of the tokens\n"
        "missing, for example: 'dog' 'cow'"
    )


def test_coverage_without_counts_knows_no_tokens():
    start = WordVectors(SOURCE, ["The", "cat"], casing="lower-fallback")
    assert start.coverage.tokens is None
    assert str(start.coverage) == (
        "2 of 2 words have a vector (100.0%), 1 of them in lower case; "
        "the source holds 5"
    )


def test_coverage_shows_some_of_the_missing():
    vocabulary = ["cat", *(f"absent{i}" for i in range(100))]
    assert WordVectors(SOURCE, vocabulary).coverage.missing == tuple(vocabulary[1:21])


def test_no_word_found_is_said():
    start = WordVectors(SOURCE, ["THE", "CAT"])
    with pytest.warns(
        kt.NoEffectWarning, match=r"none of the words .*\['THE', 'CAT'\]"
    ):
        found = keras.ops.convert_to_numpy(start((2, 3)))
    assert abs(found).max() <= 0.05
    assert found.all()
