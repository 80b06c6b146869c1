"""Arguments of optimizers, also of those inside others, and what no config says."""

import pickle

import keras
import numpy as np
import pytest
from sklearn.base import clone

import keras_tricks as kt
from keras_tricks.wrappers import KerasRegressor, _models, _optimizers

X = np.linspace(-1, 1, 8)[:, None].astype("float32")
WRAPPED = {
    "scaled": keras.optimizers.LossScaleOptimizer,
    "layerwise": lambda inner: kt.optimizers.LayerwiseLearningRate(inner, {"d": 0.1}),
    "clipped": kt.optimizers.AutoClip,
    "both": lambda inner: keras.optimizers.LossScaleOptimizer(
        kt.optimizers.AutoClip(inner)
    ),
}


def compiled(optimizer, units=1):
    dense = keras.layers.Dense(units, name="d")
    model = keras.Sequential([keras.Input((1,)), dense])
    jit = keras.backend.backend() == "jax"
    model.compile(optimizer, "mse", jit_compile=jit)
    return model


def decayed(model):
    """Which of the weights the decay moves, by a gradient of zero."""
    variables, optimizer = model.trainable_variables, model.optimizer
    # Outside of a compiled step Keras cannot scale losses on JAX.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    for variable in variables:
        variable.assign(np.ones(variable.shape))
    optimizer.apply([keras.ops.zeros(v.shape) for v in variables], variables)
    return [float(np.mean(keras.ops.convert_to_numpy(v))) < 1 for v in variables]


def adamw(**excluded):
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(**excluded)
    return optimizer


@pytest.mark.parametrize("name", WRAPPED)
def test_arguments_reach_the_optimizer_inside(name):
    given = WRAPPED[name](keras.optimizers.Adam(1e-3))
    rate = keras.optimizers.schedules.CosineDecay(0.25, 10)
    for value, found in ((0.25, 0.25), (np.float64(0.5), 0.5), (rate, 0.25)):
        arguments = {"learning_rate": value, "beta_1": 0.5}
        made = _optimizers.made_optimizer(given, arguments)
        assert type(made) is type(given)
        assert float(made.learning_rate) == found
        assert getattr(made, "inner_optimizer", made).beta_1 == 0.5
    with pytest.raises(
        ValueError, match=r"`optimizer__bta_1` must be .*mean 'optimizer__beta_1'\?"
    ):
        _optimizers.made_optimizer(given, {"bta_1": 1})


def test_the_rate_of_a_model_in_mixed_precision_can_be_set():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(keras.optimizers.SGD(0.5))
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        made = KerasRegressor(model, optimizer__learning_rate=0.25)
        made = made.fit(X, X[:, 0]).model_.optimizer
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(made, keras.optimizers.LossScaleOptimizer)
    assert float(made.learning_rate) == 0.25


def of_build(estimator):
    """The model that a fit begins with."""
    own = (estimator.build, estimator._of_build(), {}, estimator.optimizer)
    return _models.make(*own, estimator._of_optimizer(), estimator.loss)


@pytest.mark.parametrize("arguments", [{}, {"optimizer__learning_rate": 0.25}])
def test_what_is_excluded_from_weight_decay_stays_so(arguments):
    # The bias, by its name or as the variable that it is.
    by_name = compiled(adamw(var_names=["bias"]))
    one = compiled("sgd")
    optimizer = adamw(var_list=[one.layers[0].bias])
    one.compile(optimizer, "mse")
    scaled = keras.optimizers.LossScaleOptimizer(adamw(var_names=["bias"]))
    made = [
        KerasRegressor(by_name, **arguments),
        KerasRegressor(one, **arguments),
        KerasRegressor(compiled("sgd"), optimizer=adamw(var_names=["bias"])),
        KerasRegressor(lambda: compiled(adamw(var_names=["bias"])), **arguments),
        KerasRegressor(compiled(scaled), **arguments),
    ]
    for estimator in made:
        assert decayed(of_build(estimator)) == [True, False]
        assert decayed(of_build(clone(estimator))) == [True, False]


def test_what_is_excluded_from_weight_decay_is_pickled():
    one = compiled("sgd")
    one.compile(adamw(var_list=[one.layers[0].bias]), "mse")
    by_name = compiled("sgd")
    given = KerasRegressor(by_name, optimizer=adamw(var_names=["bias"]))
    for estimator in (KerasRegressor(one), given):
        again = pickle.loads(pickle.dumps(estimator))
        assert decayed(of_build(again)) == [True, False]
    fitted = KerasRegressor(one).fit(X, X[:, 0])
    model = pickle.loads(pickle.dumps(fitted)).model_
    # By what moves a gradient of zero nobody could tell: it has momentum.
    found = [model.optimizer._use_weight_decay(v) for v in model.trainable_variables]
    assert found == [True, False]


def test_variables_of_another_model_cannot_be_excluded():
    optimizer = adamw(var_list=[compiled("sgd").layers[0].bias])
    made = KerasRegressor(compiled("sgd"), optimizer=optimizer)
    with pytest.raises(ValueError, match=r"by name to be copied. .*var_names=\["):
        made.fit(X, X[:, 0])
    with pytest.raises(ValueError, match="AdamW with a `var_list`"):
        pickle.dumps(made)
