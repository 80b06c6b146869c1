import gc
import struct
import types
import weakref

import keras
import numpy as np
import pytest

from keras_tricks.initializers.word_vectors import WordVectors

DEFAULT_SPREAD = 0.05 / 3**0.5  # of a uniform distribution in [-0.05, 0.05]
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


def many(count, columns=4):
    """Vectors that lie far from zero, each column in its own way."""
    random = np.random.default_rng(3)
    spread = np.arange(1, columns + 1)
    vectors = random.normal(size=(count, columns)) * spread + 10 * spread
    return {f"w{i}": vector for i, vector in enumerate(vectors)}


# Where the vectors come from.


def write(path, source=SOURCE):
    header = f"{len(source)} {len(next(iter(source.values())))}\n".encode()
    records = b"".join(
        word.encode() + b" " + struct.pack(f"<{len(vector)}f", *vector) + b"\n"
        for word, vector in source.items()
    )
    path.write_bytes(header + records)
    return path


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_reads_a_file(kind, tmp_path):
    start = plain(["Paris", "nowhere"], kind(write(tmp_path / "vectors")))
    assert table(start, (2, 2)).tolist() == [[7, -8], [0, 0]]
    assert start.coverage.records == 5


def keyed_vectors():
    """What gensim's KeyedVectors has."""
    return types.SimpleNamespace(
        key_to_index={word: row for row, word in enumerate(SOURCE)},
        vectors=np.array(list(SOURCE.values()), "float32"),
    )


def test_reads_keyed_vectors():
    start = plain(["Paris", "nowhere", "the"], keyed_vectors())
    assert table(start, (3, 2)).tolist() == [[7, -8], [0, 0], [1, 2]]


def test_the_file_is_read_once(tmp_path):
    path = write(tmp_path / "vectors")
    start = plain(["Paris"], path)
    first = table(start, (1, 2))
    path.unlink()
    assert np.array_equal(table(start, (1, 2)), first)


# Casing.


def test_lower_fallback_takes_the_lower_case_form_only_for_want_of_another():
    source = {**SOURCE, "paris": [9.0, 9.0]}
    vocabulary = ["The", "Paris", "US", "the", "PARIS", "Dog"]
    start = plain(vocabulary, source, casing="lower-fallback")
    expected = [[1, 2], [7, -8], [0.5, 0.25], [1, 2], [9, 9], [0, 0]]
    assert table(start, (6, 2)).tolist() == expected
    assert start.coverage.lowered == 3


def test_casing_is_exact_by_default():
    assert not table(plain(["The", "US", "us"]), (3, 2))[:2].any()


# Missing rows.


def test_missing_rows_have_mean_and_spread_of_each_column():
    source = many(3000)
    vocabulary = [*source, *(f"absent{i}" for i in range(3000))]
    found = table(WordVectors(source, vocabulary, scale=None), (6000, 4))
    known, drawn = found[:3000], found[3000:]
    # Five standard errors of the mean of 3,000, and of their standard deviation.
    error = 5 * known.std(axis=0) / 3000**0.5
    assert (abs(drawn.mean(axis=0) - known.mean(axis=0)) < error).all()
    assert (abs(drawn.std(axis=0) - known.std(axis=0)) < error).all()
    assert abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.1


def test_few_vectors_give_one_mean_and_one_spread_for_all_columns():
    source = {"a": [10.0, 14.0, 6.0, 10.0]}
    vocabulary = ["a", *(f"absent{i}" for i in range(4000))]
    drawn = table(WordVectors(source, vocabulary, scale=None), (4001, 4))[1:]
    # By hand: the mean is 10, the variance (0 + 16 + 16 + 0) / 4.
    assert np.allclose(drawn.mean(axis=0), 10, atol=0.25)
    assert np.allclose(drawn.std(axis=0), 8**0.5, atol=0.25)


def test_missing_zeros():
    found = table(WordVectors(SOURCE, ["dog", "cat"], missing="zeros"), (2, 2))
    assert not found[0].any()
    assert found[1].all()


def test_missing_rows_come_from_an_initializer():
    ones = keras.initializers.Constant(3.0)
    found = table(WordVectors(SOURCE, ["", "dog", "cat"], missing=ones), (3, 2))
    assert found[:2].tolist() == [[0, 0], [3, 3]]


def test_other_word_vectors_can_stand_in():
    vocabulary = ["dog", "cat", "cow"]
    other = plain(vocabulary, {"dog": [8.0, 9.0], "cat": [5.0, 5.0]})
    start = WordVectors(SOURCE, vocabulary, missing=other, scale=None)
    assert table(start, (3, 2)).tolist() == [[8, 9], [3, 4], [0, 0]]


# Scale.


def test_scale_match_gives_a_spread_of_one_and_keeps_directions():
    source = many(500)
    found = table(WordVectors(source, list(source)), (500, 4))
    before = np.array(list(source.values()))
    assert found.std() == pytest.approx(1, rel=1e-4)
    assert np.allclose(found * before.std(), before, rtol=1e-4)


def test_drawn_rows_are_scaled_with_the_others():
    source = many(500)
    vocabulary = [*source, *(f"absent{i}" for i in range(500))]
    found = table(WordVectors(source, vocabulary), (1000, 4))
    assert found[500:].std() == pytest.approx(1, rel=0.1)


def test_vectors_without_spread_are_not_scaled():
    source = {"a": [0.0, 0.0], "b": [0.0, 0.0]}
    assert not table(WordVectors(source, ["a", "b"]), (2, 2)).any()


# Chance.


def test_a_seed_gives_the_same_rows_and_another_seed_others():
    first, again, other = (
        table(WordVectors(SOURCE, ["cat", "dog"], seed=seed), (2, 2))
        for seed in (7, 7, 8)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first[1], other[1])
    assert np.array_equal(first[0], other[0])


def test_without_a_seed_set_random_seed_decides():
    tables = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        tables.append(table(WordVectors(SOURCE, ["cat", "dog"]), (2, 2)))
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])


def test_one_initializer_gives_the_same_twice():
    start = WordVectors(SOURCE, ["cat", "dog"])
    assert np.array_equal(table(start, (2, 2)), table(start, (2, 2)))


# As Keras's initializer.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", None])
def test_the_table_has_the_dtype(dtype):
    found = plain(["cat"])((1, 2), dtype)
    expected = dtype or "float32"
    assert keras.backend.standardize_dtype(found.dtype) == expected


def test_an_initializer_for_missing_words_may_be_called_inside_a_traced_step():
    class Late(keras.Model):
        def __init__(self):
            super().__init__()
            missing = keras.initializers.RandomNormal(seed=1)
            start = WordVectors(SOURCE, ["cat", "dog"], missing=missing, scale=None)
            self.words = keras.layers.Embedding(2, 2, embeddings_initializer=start)

        def call(self, ids):
            return self.words(ids)

    model = Late()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(np.array([[0, 1]]), np.zeros((1, 2, 2)), verbose=0)
    found = keras.ops.convert_to_numpy(model.words.embeddings.value)
    drawn = keras.initializers.RandomNormal(seed=1)((2, 2))
    assert found[0].tolist() == [3.0, 4.0]
    np.testing.assert_allclose(
        found[1], keras.ops.convert_to_numpy(drawn)[1], rtol=1e-6
    )


def test_the_source_can_be_freed_once_it_is_read():
    class Source(dict):
        pass

    source = Source(SOURCE)
    alive = weakref.ref(source)
    start = plain(["cat"], source)
    start((1, 2))
    del source
    gc.collect()
    assert alive() is None
    assert start.source is None


@pytest.mark.needs("tensorflow")
def test_the_missing_words_of_a_layer_are_printed_as_words():
    lookup = keras.layers.StringLookup(vocabulary=["cat", "zz"])
    coverage = WordVectors(SOURCE, lookup).coverage
    assert coverage.missing == ("zz",)
    assert "np.str_" not in str(coverage)
