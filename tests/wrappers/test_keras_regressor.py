import keras
import numpy as np
import pytest

from keras_tricks.wrappers import KerasRegressor

X = np.linspace(-1, 1, 20)[:, None]


def linear(meta, rate=0.5):
    model = keras.Sequential([keras.layers.Dense(meta["n_outputs_"])])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def test_several_outputs_are_learned_in_the_form_of_y():
    y = np.hstack([3 * X + 1, -X])
    made = KerasRegressor(linear, epochs=60, batch_size=20).fit(X, y)
    np.testing.assert_allclose(made.predict(X), y, atol=1e-3)
    assert made.score(X, y) > 0.999
    assert made.n_outputs_ == 2
    assert made.target_type_ == "continuous-multioutput"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_have_the_form_of_y(dtype):
    y = (2 * X).astype(dtype)
    made = KerasRegressor(linear).fit(X, y)
    assert made.predict(X).shape == (20, 1)
    assert made.predict(X).dtype == dtype
    assert made.fit(X, y[:, 0]).predict(X[:3]).shape == (3,)
    with pytest.raises(ValueError, match=r"shape \(rows,\), as in the first fit"):
        made.partial_fit(X, y)


def test_a_column_is_not_spread_over_several_units():
    made = KerasRegressor(lambda: linear({"n_outputs_": 3}))
    with pytest.raises(ValueError, match=r"each column of `y`, 1. Received: 3 units"):
        made.fit(X, X[:, 0])


def test_weighted_rows_are_worth_as_much_as_repeated_ones():
    y = np.array([0.0, 1.0, 5.0])
    x, weights = np.ones((3, 1)), np.array([3.0, 0.0, 1.0])
    made = KerasRegressor(linear, epochs=100, rate=0.1).fit(x, y, sample_weight=weights)
    # The weighted mean, 5 / 4.
    np.testing.assert_allclose(made.predict([[1.0]]), 1.25, rtol=1e-4)


def test_outputs_of_more_axes_are_refused():
    def build():
        model = keras.Sequential([keras.layers.Reshape((1, 1))])
        model.compile("sgd", "mse")
        return model

    with pytest.raises(ValueError, match=r"shape \(rows, units\). Received: one with"):
        KerasRegressor(build).fit(X, X[:, 0])
