"""The tools of scikit-learn around a Keras model."""

import keras
import numpy as np
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_tricks.wrappers import KerasClassifier

RNG = np.random.default_rng(0)
Y = np.repeat(["left", "right"], 24)
X = RNG.normal(0, 0.3, (48, 2)) + np.where(Y == "left", -1, 1)[:, None]
CV = StratifiedKFold(2)


def build(units=4):
    layers = [keras.layers.Dense(units, "tanh"), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential(layers)
    # XLA takes longer than the training; JAX has no other way.
    jit = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy", jit_compile=jit)
    return model


def network(**settings):
    settings = {"epochs": 5, "batch_size": 24, "random_state": 0} | settings
    return KerasClassifier(build, **settings)


def test_pipeline():
    pipeline = make_pipeline(StandardScaler(), network()).fit(1000 * X + 500, Y)
    assert pipeline.score(1000 * X + 500, Y) == 1
    assert pipeline.predict_proba(X).shape == (48, 2)


@pytest.mark.needs("pandas")
def test_set_output():
    pipeline = make_pipeline(StandardScaler(), network(epochs=1))
    pipeline.set_output(transform="pandas").fit(X, Y)
    assert pipeline[-1].feature_names_in_.tolist() == ["x0", "x1"]
    assert pipeline.predict(X).shape == (48,)


def test_grid_search():
    grid = {"units": [4], "optimizer__learning_rate": [0.0, 0.1]}
    search = GridSearchCV(network(), grid, cv=CV, scoring="neg_log_loss").fit(X, Y)
    assert search.best_params_["optimizer__learning_rate"] == 0.1
    assert search.best_estimator_.units == search.best_params_["units"]
    assert search.best_estimator_.score(X, Y) == 1
    pipeline = make_pipeline(StandardScaler(), network())
    assert pipeline.get_params()["kerasclassifier__build__units"] == 4
    pipeline.set_params(kerasclassifier__build__units=3)
    assert pipeline.fit(X, Y)[-1].model_.layers[0].units == 3


def test_cross_val_predict():
    found = cross_val_predict(network(), X, Y, cv=CV, method="predict_proba")
    assert found.shape == (48, 2)
    assert ((found[:, 1] > 0.5) == (Y == "right")).all()


def test_calibration():
    calibrated = CalibratedClassifierCV(network(), cv=CV).fit(X, Y)
    assert calibrated.score(X, Y) == 1


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_voting(voting):
    members = [("network", network()), ("line", LogisticRegression())]
    assert VotingClassifier(members, voting=voting).fit(X, Y).score(X, Y) == 1


def test_stacking():
    members = [("network", network()), ("line", LogisticRegression())]
    assert StackingClassifier(members, cv=CV).fit(X, Y).score(X, Y) == 1


def test_metadata_routing():
    # Every second label of the right half is wrong, and has no weight.
    turned = np.where(np.arange(48) % 2, Y, "left")
    weights = np.where(turned == Y, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = network(epochs=20).set_fit_request(sample_weight=True)
        routed.set_score_request(sample_weight=False)
        scores = cross_val_score(
            routed, X, turned, cv=CV, params={"sample_weight": weights}
        )
    # All the wrong labels, 12 of 24 rows, are in the second fold.
    assert scores.tolist() == [1.0, 0.5]
