import copy
import os
import pickle
import subprocess
import sys

import joblib
import keras
import numpy as np
import pytest

from keras_tricks.wrappers import KerasClassifier, KerasRegressor

X = np.random.default_rng(0).normal(size=(24, 3))
Y = np.where(X[:, 0] > 0, "up", "down")

WORKERS = """
import os
import keras, numpy as np
import keras_tricks as kt
from keras_tricks.wrappers import KerasClassifier
from sklearn.model_selection import cross_validate

# As if the backend had been chosen in the settings of this process alone.
def build(meta, units=4):
    outputs = keras.layers.Dense(meta["n_classes_"], "softmax")
    model = keras.Sequential([keras.layers.Dense(units, "relu"), outputs])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model

def score(estimator, x, y):
    import keras
    backends = ["tensorflow", "jax", "torch"]
    return {
        "backend": backends.index(keras.backend.backend()),
        "own": backends.index(os.environ["EXPECTED"]),
        "score": float(estimator.predict_proba(x)[0, 0]),
        "pid": os.getpid(),
    }

if __name__ == "__main__":
    x = np.random.default_rng(0).normal(size=(24, 3))
    y = np.where(x[:, 0] > 0, "up", "down")
    estimator = KerasClassifier(build, batch_size=8, random_state=0)
    both = [
        cross_validate(
            estimator, x, y, cv=2, n_jobs=jobs, scoring=score, return_estimator=True
        )
        for jobs in (1, 2)
    ]
    serial, parallel = both
    assert (parallel["test_backend"] == parallel["test_own"]).all(), parallel
    assert os.getpid() not in parallel["test_pid"]
    assert (serial["test_score"] == parallel["test_score"]).all(), both
    for one, other in zip(serial["estimator"], parallel["estimator"], strict=True):
        assert (one.predict_proba(x) == other.predict_proba(x)).all()
    print("as expected")
"""


@pytest.fixture(scope="module")
def fitted():
    return KerasClassifier(units=4, epochs=2, random_state=0).fit(X, Y)


def test_a_fitted_estimator_survives_pickle_and_joblib(fitted, tmp_path):
    expected = fitted.predict_proba(X)
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    for again in (
        pickle.loads(pickle.dumps(fitted)),
        joblib.load(tmp_path / "fitted.joblib", mmap_mode="r"),
        copy.deepcopy(fitted),
    ):
        assert (again.predict_proba(X) == expected).all()
        assert again.get_params() == fitted.get_params()
        assert again.history_ == fitted.history_
        assert again.classes_.tolist() == ["down", "up"]
    assert (fitted.predict_proba(X) == expected).all()


def test_training_goes_on_after_a_pickle():
    # One batch: what Keras draws when it builds its metrics moves the shuffling.
    one = KerasClassifier(random_state=0).partial_fit(X, Y)
    other = pickle.loads(pickle.dumps(one))
    for estimator in (one, other):
        estimator.partial_fit(X, Y)
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-6)


def test_no_keras_object_is_in_the_state(fitted):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    settings = {"optimizer": keras.optimizers.SGD(0.5), "loss": keras.losses.Huber()}
    made = KerasRegressor(model, **settings)
    for state in (made.__getstate__(), fitted.__getstate__()):
        for value in state.values():
            assert not type(value).__module__.startswith("keras.")
    again = pickle.loads(pickle.dumps(made))
    assert again.build.count_params() == 4
    assert float(again.optimizer.learning_rate) == 0.5
    assert isinstance(again.loss, keras.losses.Huber)


class Doubling(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), -1)


class OwnOptimizer(keras.optimizers.SGD):
    pass


def own_metric(y_true, y_pred):
    return keras.ops.mean(y_pred, -1)


def own_activation(inputs):
    return 2 * inputs


def of_own_parts(loss=None):
    dense = keras.layers.Dense(1, own_activation)
    model = keras.Sequential([keras.Input((3,)), Doubling(), dense])
    model.compile(OwnOptimizer(0.1), loss or OwnLoss(), metrics=[own_metric])
    return model


def test_classes_of_ones_own_are_found_again():
    made = KerasRegressor(of_own_parts, random_state=0).fit(X, X[:, 0])
    again = pickle.loads(pickle.dumps(made))
    assert (again.predict(X) == made.predict(X)).all()
    assert isinstance(again.model_.layers[0], Doubling)
    assert isinstance(again.model_.optimizer, OwnOptimizer)
    made = KerasRegressor(of_own_parts(), loss=OwnLoss(), optimizer=OwnOptimizer(0.5))
    again = pickle.loads(pickle.dumps(made))
    assert isinstance(again.build.layers[0], Doubling)
    assert isinstance(again.loss, OwnLoss)
    assert isinstance(again.optimizer, OwnOptimizer)


def test_a_function_that_could_not_be_found_again_is_refused_by_name():
    def local_loss(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), -1)

    made = KerasRegressor(of_own_parts(local_loss))
    with pytest.raises((AttributeError, pickle.PicklingError), match="local_loss"):
        pickle.dumps(made)


def test_a_model_that_was_never_trained_is_pickled_without_a_warning():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    again = pickle.loads(pickle.dumps(KerasRegressor(model)))
    assert isinstance(again.build.optimizer, keras.optimizers.Adam)


@pytest.mark.slow
def test_two_workers_run_the_same_backend_and_agree_with_one(tmp_path):
    script = tmp_path / "workers.py"
    script.write_text(
        "import os\n"
        "import keras\n"
        "os.environ['EXPECTED'] = keras.backend.backend()\n"
        "if __name__ == '__main__':\n"
        "    os.environ.pop('KERAS_BACKEND')\n" + WORKERS
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": os.environ["KERAS_BACKEND"]},
        check=False,
    )
    assert done.stdout.endswith("as expected\n"), done.stderr
