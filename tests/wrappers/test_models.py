"""What may stand in the place of `build`."""

import json

import keras
import numpy as np
import pytest
from sklearn.base import clone

from keras_tricks.wrappers import KerasClassifier, KerasRegressor

X = np.linspace(-1, 1, 16)[:, None].astype("float32")
Y = 2 * X[:, 0]


def compiled(loss="mse"):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.25), loss, metrics=["mae"])
    return model


def weights_of(model):
    return [np.array(array) for array in model.get_weights()]


def test_a_compiled_model_is_cloned_and_never_changed():
    def own_loss(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    model = compiled(own_loss)
    model.fit(X, Y, verbose=0)
    before, steps = weights_of(model), int(model.optimizer.iterations)
    made = KerasRegressor(model, epochs=3, batch_size=8, random_state=0).fit(X, Y)
    for old, new in zip(before, weights_of(model), strict=True):
        assert (old == new).all()
    assert int(model.optimizer.iterations) == steps
    assert made.model_ is not model
    assert made.model_.loss is own_loss
    assert int(made.model_.optimizer.iterations) == 6
    assert float(made.model_.optimizer.learning_rate) == 0.25
    assert set(made.history_) == {"loss", "mae"}
    # Fresh weights: another seed has others.
    rested = {"optimizer__learning_rate": 0.0, "epochs": 1}
    made.set_params(**rested).fit(X, Y)
    one = weights_of(made.model_)[0]
    other = clone(made).set_params(random_state=1)
    assert other.build is model
    assert (weights_of(other.fit(X, Y).model_)[0] != one).all()


def test_a_configuration_makes_a_new_model_for_each_fit():
    config = keras.saving.serialize_keras_object(compiled())
    noted = json.dumps(config, default=str)
    made = KerasRegressor(config, epochs=30, batch_size=16).fit(X, Y)
    assert made.score(X, Y) > 0.99
    assert json.dumps(config, default=str) == noted
    text = compiled().to_json()
    made = KerasRegressor(text, loss="mae", optimizer__learning_rate=0.5).fit(X, Y)
    assert made.model_.loss == "mae"


def test_a_model_that_is_not_compiled_takes_the_loss_and_adam():
    def build():
        return keras.Sequential([keras.layers.Dense(1)])

    with pytest.raises(ValueError, match="lead to a compiled model where no `loss`"):
        KerasRegressor(build).fit(X, Y)
    made = KerasRegressor(build, loss=keras.losses.Huber).fit(X, Y)
    assert isinstance(made.model_.optimizer, keras.optimizers.Adam)
    assert isinstance(made.model_.loss, keras.losses.Huber)


def test_what_makes_no_model_is_refused():
    with pytest.raises(TypeError, match="`build` must be a function that returns a"):
        KerasRegressor(3).fit(X, Y)
    with pytest.raises(TypeError, match=r"`build` must return a keras\.Model"):
        KerasRegressor(lambda: 3).fit(X, Y)
    with pytest.raises(ValueError, match="a configuration that a model can be made"):
        KerasRegressor("no json").fit(X, Y)
    layer = keras.saving.serialize_keras_object(keras.layers.Dense(1))
    with pytest.raises(TypeError, match=r"the configuration of a keras\.Model"):
        KerasRegressor(layer).fit(X, Y)
    bare = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`build` must be compiled"):
        KerasRegressor(bare).fit(X, Y)


class OwnCompile(keras.Sequential):
    def compile(self, rate=0.1):
        super().compile(keras.optimizers.SGD(rate), "mse")


def test_a_compile_of_its_own_keeps_its_optimizer():
    def build():
        model = OwnCompile([keras.layers.Dense(1)])
        model.compile()
        return model

    KerasRegressor(build).fit(X, Y)
    with pytest.raises(ValueError, match="with a `compile` of its own"):
        KerasRegressor(build, optimizer="adam").fit(X, Y)


def test_the_default_network_fits_its_targets():
    made = KerasClassifier(units=3, random_state=0).fit(X, Y > 0)
    assert made.model_.output_shape == (None, 1)
    assert made.model_.layers[1].units == 3
    assert made.predict(X).dtype == bool
    made.fit(X, np.arange(16) % 3)
    assert made.model_.output_shape == (None, 3)
    assert KerasRegressor().fit(X, np.stack([Y] * 4, 1)).predict(X).shape == (16, 4)


def test_what_is_adapted_or_frozen_is_kept_by_a_clone():
    def trained_before():
        scaled = keras.layers.Normalization()
        scaled.adapt(100 * X + 5)
        frozen = keras.layers.Dense(2)
        frozen.trainable = False
        inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        inner.trainable = False
        last = keras.layers.Dense(1)
        model = keras.Sequential([keras.Input((1,)), scaled, frozen, inner, last])
        model.compile("sgd", "mse")
        return model

    model = trained_before()
    made = KerasRegressor(model, random_state=0).fit(X, Y).model_
    for place in (0, 1, 2):
        old, new = (each.layers[place].get_weights() for each in (model, made))
        assert len(old) > 0
        for one, other in zip(old, new, strict=True):
            np.testing.assert_array_equal(one, other)
    # 100 x + 5, less its mean, by its deviation.
    found = keras.ops.convert_to_numpy(made.layers[0](100 * X + 5))
    np.testing.assert_allclose(found, X / X.std(), rtol=1e-4, atol=1e-5)
    assert (model.layers[3].get_weights()[0] != made.layers[3].get_weights()[0]).any()
