"""Models and copies: what is kept, and what is not."""

import copy
import json
import pickle
import struct
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_tricks as kt
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


def write(path, source=SOURCE):
    header = f"{len(source)} {len(next(iter(source.values())))}\n".encode()
    records = b"".join(
        word.encode() + b" " + struct.pack(f"<{len(vector)}f", *vector) + b"\n"
        for word, vector in source.items()
    )
    path.write_bytes(header + records)
    return path


def small_model(start, rows=4):
    inputs = keras.Input((3,), dtype="int32")
    words = keras.layers.Embedding(
        rows, 2, embeddings_initializer=start, mask_zero=True, name="words"
    )(inputs)
    outputs = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(words))
    return keras.Model(inputs, outputs)


def rows_of(model):
    variable = model.get_layer("words").embeddings
    return np.array(keras.ops.convert_to_numpy(variable.value))


VOCABULARY = ["", "cat", "Paris", "dog"]
LOAD = """
import sys
import keras, numpy as np
import keras_tricks.initializers.word_vectors

model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[2], model.predict(np.array([[1, 2, 3], [3, 0, 0]]), verbose=0))
copy = keras.models.clone_model(model)
assert abs(copy.get_weights()[0]).max() <= 0.05
"""


def test_a_saved_model_loads_without_the_file_in_a_fresh_process(tmp_path):
    path = write(tmp_path / "vectors")
    model = small_model(WordVectors(path, VOCABULARY))
    model.save(tmp_path / "model.keras")
    expected = model.predict(np.array([[1, 2, 3], [3, 0, 0]]), verbose=0)
    path.unlink()
    files = [tmp_path / "model.keras", tmp_path / "found.npy"]
    command = [sys.executable, "-c", LOAD, *files]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert np.allclose(np.load(files[1]), expected, atol=1e-6)


def test_the_config_holds_neither_words_nor_vectors(tmp_path):
    source = many(2000)
    start = WordVectors(source, list(source))
    table(start, (2000, 4))
    config = json.dumps(keras.saving.serialize_keras_object(start))
    assert len(config) < 500


def test_a_clone_in_the_same_process_has_the_vectors():
    model = small_model(WordVectors(SOURCE, VOCABULARY, seed=3))
    copies = [keras.models.clone_model(model)]
    expected = rows_of(model)
    del model
    copies.append(keras.models.clone_model(copies[0]))
    for found in copies:
        assert np.array_equal(rows_of(found), expected)


def test_a_copy_has_the_vectors():
    start = plain(["cat", "the"])
    for found in (copy.deepcopy(start), pickle.loads(pickle.dumps(start))):
        assert table(found, (2, 2)).tolist() == [[3, 4], [1, 2]]


def test_the_config_round_trip_keeps_the_options():
    ones = keras.initializers.Constant(3.0)
    options = {"scale": None, "casing": "lower-fallback", "seed": 5}
    start = WordVectors(SOURCE, ["dog"], missing=ones, **options)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(start)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == start.get_config()
    assert again.missing.get_config() == ones.get_config()
    assert {name: getattr(again, name) for name in options} == options
    with pytest.warns(kt.NoEffectWarning):
        assert table(again, (1, 2)).tolist() == [[3, 3]]


def loaded():
    """The initializer of a model that another process has saved."""
    config = {**WordVectors(SOURCE, ["cat"]).get_config(), "lookup": "elsewhere"}
    return WordVectors.from_config(config)


def test_a_loaded_initializer_draws_as_the_default_would():
    found = table(loaded(), (500, 4))
    assert abs(found).max() <= 0.05
    assert found.std() == pytest.approx(DEFAULT_SPREAD, rel=0.05)
    assert loaded().get_config()["lookup"] is None


def test_a_loaded_initializer_has_no_coverage():
    with pytest.raises(ValueError, match=r"`coverage` must .* one of a loaded model"):
        _ = loaded().coverage


def test_training_moves_the_rows():
    model = small_model(WordVectors(SOURCE, VOCABULARY))
    before = rows_of(model)
    model.compile("sgd", "mse")
    model.fit(np.array([[1, 2, 0]]), np.ones((1, 1)), verbose=0)
    moved = (rows_of(model) != before).any(axis=1)
    assert moved.tolist() == [False, True, True, False]
