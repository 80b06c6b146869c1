import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_tricks.layers.embedding import Embedding

TABLE = np.arange(15, dtype="float32").reshape(5, 3)
IDS = np.array([[0, 4, 2], [2, 2, 1]])


def both(**arguments):
    """Keras's layer and ours, with the same table."""
    layers = [kind(5, 3, **arguments) for kind in (keras.layers.Embedding, Embedding)]
    for layer in layers:
        layer.build()
        layer.set_weights([TABLE])
    return layers


def outputs(layer, ids):
    return ops.convert_to_numpy(ops.cast(layer(ids), "float32"))


def test_returns_the_rows_of_the_ids():
    expected = [[[0, 1, 2], [12, 13, 14], [6, 7, 8]], [[6, 7, 8], [6, 7, 8], [3, 4, 5]]]
    assert outputs(Embedding(5, 3, weights=TABLE), IDS).tolist() == expected


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "float32"])
def test_takes_ids_of_the_types_that_keras_takes(dtype):
    theirs, mine = both()
    ids = IDS.astype(dtype)
    assert np.array_equal(outputs(mine, ids), outputs(theirs, ids))


def test_negative_ids_count_from_the_end():
    theirs, mine = both()
    ids = np.array([[-1, 0, -5], [-2, 3, -1]])
    assert np.array_equal(outputs(mine, ids), TABLE[ids])
    assert np.array_equal(outputs(theirs, ids), TABLE[ids])


def test_takes_ids_of_any_shape():
    theirs, mine = both()
    for shape in [(2,), (1, 2, 3), (0, 3)]:
        ids = np.ones(shape, "int32")
        assert outputs(mine, ids).shape == (*shape, 3)
        assert np.array_equal(outputs(mine, ids), outputs(theirs, ids))
    assert mine.compute_output_shape((None, 7)) == (None, 7, 3)


@pytest.mark.parametrize(
    "policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]
)
def test_computes_in_the_precision_of_its_policy(policy):
    theirs, mine = both(dtype=policy)
    found = mine(IDS)
    assert keras.backend.standardize_dtype(found.dtype) == mine.compute_dtype
    assert np.array_equal(outputs(mine, IDS), outputs(theirs, IDS))


def test_passes_on_its_mask():
    pooling = keras.layers.GlobalAveragePooling1D()
    found = ops.convert_to_numpy(
        pooling(Embedding(5, 3, weights=TABLE, mask_zero=True)(IDS))
    )
    assert found[0] == pytest.approx((TABLE[4] + TABLE[2]) / 2)


def test_has_the_config_of_keras_and_its_own_name():
    arguments = {
        "mask_zero": True,
        "embeddings_regularizer": "l2",
        "embeddings_constraint": "non_neg",
        "name": "words",
    }
    theirs, mine = both(**arguments)
    assert mine.get_config() == theirs.get_config()
    config = keras.saving.serialize_keras_object(mine)
    assert config["registered_name"] == "keras_tricks>Embedding"
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert again.get_config() == mine.get_config()


def gradient_steps(layer, ids):
    """The table after three steps of SGD that pull every vector towards zero."""
    model = keras.Sequential([keras.Input(ids.shape[1:], dtype="int32"), layer])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    for _ in range(3):
        model.train_on_batch(ids, np.zeros((*ids.shape, 3)))
    return layer.get_weights()[0]


@pytest.mark.parametrize("mixed", [False, True])
def test_learns_as_keras_does(mixed):
    ids = np.array([[0, -1, 2], [2, 2, 1]])
    policy = "mixed_bfloat16" if mixed else "float32"
    theirs, mine = (gradient_steps(layer, ids) for layer in both(dtype=policy))
    assert np.allclose(mine, theirs, atol=1e-6)
    assert np.array_equal(mine[3], TABLE[3])
    assert not np.array_equal(mine[4], TABLE[4]), "the id -1 is row 4"


def test_weights_are_carried_both_ways(tmp_path):
    ids = keras.Input((3,), dtype="int32")
    models = [keras.Model(ids, layer(ids)) for layer in both(name="words")]
    for name, source, target in [("a", *models), ("b", *reversed(models))]:
        source.set_weights([TABLE + ord(name)])
        source.save_weights(tmp_path / f"{name}.weights.h5")
        target.load_weights(tmp_path / f"{name}.weights.h5")
        assert np.array_equal(target.get_weights()[0], TABLE + ord(name))


def test_lora_works_as_in_keras():
    theirs, mine = both()
    for layer in (theirs, mine):
        layer.enable_lora(2)
        layer.lora_embeddings_a.assign(np.ones((5, 2)))
        layer.lora_embeddings_b.assign(np.full((2, 3), 0.5))
    assert np.array_equal(outputs(mine, IDS), TABLE[IDS] + 1)
    assert np.array_equal(outputs(theirs, IDS), TABLE[IDS] + 1)
    assert len(mine.trainable_variables) == 2


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("whole_model", [False, True])
def test_is_quantized_as_in_keras(mode, whole_model):
    found = []
    for layer in both(name="words"):
        ids = keras.Input((3,), dtype="int32")
        model = keras.Model(ids, layer(ids))
        if whole_model:
            model.quantize(mode, filters="words")
        else:
            layer.quantize(mode)
        assert layer.dtype_policy.quantization_mode == mode
        found.append(outputs(layer, IDS))
    assert np.array_equal(*found)
    assert np.allclose(found[0], TABLE[IDS], atol=1.0)


def test_a_subclass_is_not_quantized_unasked():
    class Mine(Embedding):
        pass

    layer = Mine(5, 3)
    layer.build()
    with pytest.raises(NotImplementedError, match="Mine"):
        layer.quantize("int8")


@pytest.mark.backend("tensorflow", reason="only TensorFlow has ragged tensors")
def test_takes_ragged_ids():
    import tensorflow as tf

    theirs, mine = both()
    ids = tf.ragged.constant([[[0, 4], [2]], [[-1]]], dtype="int32")
    found = mine(ids)
    assert isinstance(found, tf.RaggedTensor)
    assert found.to_list() == theirs(ids).to_list()
    assert found.to_list()[0][0] == [[0, 1, 2], [12, 13, 14]]


@pytest.mark.backend("tensorflow", reason="only TensorFlow's layer takes sparse ids")
def test_takes_sparse_ids():
    import tensorflow as tf

    theirs, mine = both()
    ids = tf.sparse.from_dense(np.array([[0, 4, 2], [2, 0, 0]]))
    assert np.array_equal(outputs(mine, ids), outputs(theirs, ids))


@pytest.mark.backend("tensorflow", reason="only there Keras reads the whole table")
def test_a_traced_step_reads_and_writes_rows_only():
    import tensorflow as tf

    def reads(layer):
        step = tf.function(lambda ids: layer(ids)).get_concrete_function(
            tf.TensorSpec((2, 3), "int32")
        )
        return {operation.type for operation in step.graph.get_operations()}

    theirs, mine = both()
    assert "ReadVariableOp" in reads(theirs)
    assert "ReadVariableOp" not in reads(mine)
    assert "ResourceGather" in reads(mine)


@pytest.mark.backend("jax", "tensorflow", reason="PyTorch compiles by another way")
def test_is_compiled():
    model = keras.Sequential([keras.Input((3,), dtype="int32"), both()[1]])
    model.compile(jit_compile=True)
    assert np.array_equal(model.predict(IDS, verbose=0), TABLE[IDS])


LOAD = """
import sys
import keras, numpy as np
import keras_tricks.layers.embedding

model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[2], model.predict(np.load(sys.argv[3]), verbose=0))
"""


def test_is_saved_and_loaded_in_a_fresh_process(tmp_path):
    layer = Embedding(5, 3, weights=TABLE, mask_zero=True)
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), layer, keras.layers.LSTM(2)]
    )
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "ids.npy", IDS)
    names = ("model.keras", "found.npy", "ids.npy")
    paths = [str(tmp_path / name) for name in names]
    subprocess.run([sys.executable, "-c", LOAD, *paths], check=True)
    assert np.allclose(np.load(paths[1]), model.predict(IDS, verbose=0), atol=1e-6)


def test_says_which_argument_is_wrong_and_what_came():
    with pytest.raises(ValueError, match=r"`input_dim` must be .* input_dim=0"):
        Embedding(0, 3)
