import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

import keras_tricks as kt
from keras_tricks.optimizers import LayerwiseLearningRate, no_decay


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(7, 3, name="words"),
            layers.Flatten(),
            layers.Dense(4, name="dense"),
            layers.LayerNormalization(name="norm"),
            layers.Dense(1, name="head"),
        ]
    )


def shrunk(optimizer, model):
    """Which variables a step without gradients makes smaller."""
    optimizer.build(model.trainable_variables)
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    variables = model.trainable_variables
    optimizer.apply([ops.zeros(v.shape) for v in variables], variables)
    found = [float(ops.convert_to_numpy(v.value).max()) for v in variables]
    # The front of a path changes when a model is saved and loaded.
    names = ["/".join(v.path.split("/")[-2:]) for v in variables]
    return {name for name, value in zip(names, found, strict=True) if value < 1}


MAKE = {
    "adamw": lambda: optimizers.AdamW(0.1, weight_decay=0.5),
    "sgd": lambda: optimizers.SGD(0.1, weight_decay=0.5),
    "muon": lambda: optimizers.Muon(0.1, weight_decay=0.5, adam_weight_decay=0.5),
}


@pytest.mark.parametrize("name", MAKE)
def test_biases_scales_and_embeddings_are_left_out(name):
    model = network()
    optimizer = no_decay(MAKE[name](), model)
    assert shrunk(optimizer, model) == {"dense/kernel", "head/kernel"}


def test_patterns_leave_out_further_layers():
    model = network()
    optimizer = no_decay(MAKE["adamw"](), model, patterns="head")
    assert shrunk(optimizer, model) == {"dense/kernel"}


def test_all_variables_may_be_left_out():
    model = network()
    optimizer = no_decay(MAKE["adamw"](), model, patterns=[".*"])
    assert shrunk(optimizer, model) == set()


@pytest.mark.parametrize("outside", [True, False])
def test_it_stacks_with_layerwise_rates(outside):
    model, patterns = network(), {"dense": 0.5}
    if outside:
        optimizer = no_decay(LayerwiseLearningRate(MAKE["sgd"](), patterns), model)
    else:
        optimizer = LayerwiseLearningRate(no_decay(MAKE["sgd"](), model), patterns)
    assert shrunk(optimizer, model) == {"dense/kernel", "head/kernel"}
    kernel = ops.convert_to_numpy(model.get_layer("dense").kernel.value)
    np.testing.assert_allclose(kernel, 1 - 0.1 * 0.5 * 0.5, rtol=1e-6)


def test_the_choice_is_saved_with_the_model(tmp_path):
    model = network()
    model.compile(no_decay(MAKE["sgd"](), model), "mse")
    x, y = np.ones((8, 4), "int32"), np.ones((8, 1), "float32")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert shrunk(again.optimizer, again) == {"dense/kernel", "head/kernel"}
    assert again.optimizer.weight_decay == 0.5


def test_another_model_is_refused():
    optimizer = no_decay(MAKE["adamw"](), network())
    with pytest.raises(ValueError, match="`model` of no_decay must be the one"):
        optimizer.build([keras.Variable([1.0])])


def test_an_optimizer_without_decay_is_told():
    with pytest.warns(kt.NoEffectWarning, match="SGD has no `weight_decay`"):
        no_decay(optimizers.SGD(), network())


def test_a_model_without_such_variables_is_told():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, use_bias=False)])
    with pytest.warns(kt.NoEffectWarning, match="no variables to leave out"):
        no_decay(MAKE["sgd"](), model)


def test_says_which_argument_is_wrong():
    with pytest.raises(TypeError, match=r"`model` must be a built keras\.Model"):
        no_decay(MAKE["sgd"](), "model")
    with pytest.raises(ValueError, match="`model` must be built"):
        no_decay(MAKE["sgd"](), keras.Sequential([layers.Dense(1)]))
    with pytest.raises(ValueError, match="Did you mean 'head'"):
        no_decay(MAKE["sgd"](), network(), "haed")


class Tokens(layers.Layer):
    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="cls_token")
        self.places = self.add_weight(shape=(1, 9, shape[-1]), name="pos_embed")
        self.mixing = self.add_weight(shape=(2, 2, shape[-1]), name="mixing")

    def call(self, inputs):
        return inputs + self.token + self.places[:, :2] + ops.sum(self.mixing)


def test_biases_and_scales_of_several_axes_are_left_out():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((2, 4))
    x = Tokens(name="tokens")(inputs)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.PReLU(name="prelu")(x)
    x = layers.EinsumDense("abc,cde->abde", (2, 2, 3), bias_axes="de", name="einsum")(x)
    x = layers.Reshape((2, 6))(x)
    x = layers.GRU(3, name="gru")(x)
    model = keras.Model(inputs, layers.Dense(1, name="head")(x))
    decayed = shrunk(no_decay(MAKE["adamw"](), model), model)
    assert not {name for name in decayed if "bias" in name}
    assert not decayed & {"prelu/alpha", "tokens/cls_token", "tokens/pos_embed"}
    kernels = {"query/kernel", "einsum/kernel", "gru_cell/recurrent_kernel"}
    # A head of one unit is a matrix with one column, and decays.
    assert kernels | {"head/kernel", "tokens/mixing"} <= decayed


def test_a_thing_that_is_no_optimizer_is_a_type_error():
    with pytest.raises(TypeError, match=r"`optimizer` must be a Keras .*'adam'"):
        no_decay("adam", network())
