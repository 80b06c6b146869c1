"""scikit-learn's own checks."""

import os
import subprocess
import sys
from dataclasses import dataclass

import keras
import pytest
from sklearn.utils.estimator_checks import (
    check_sample_weight_equivalence_on_dense_data as check_weights,
)
from sklearn.utils.estimator_checks import parametrize_with_checks

from keras_tricks.wrappers import KerasClassifier, KerasRegressor, _mlp

SETTINGS = {"optimizer__learning_rate": 0.1, "random_state": 0}
BOTH = (KerasClassifier, KerasRegressor)
QUICK = {"epochs": 5, "batch_size": 64, "random_state": 0}
# Small models are trained sooner than XLA is done with them; JAX has no other way.
JIT = keras.backend.backend() == "jax"


@dataclass(frozen=True)
class Default:
    """Not a function, whose address would be in the names of the tests."""

    def __call__(self, meta):
        model = _mlp.build(meta)
        model.compile(keras.optimizers.Adam(0.05), model.loss, jit_compile=JIT)
        return model


ESTIMATORS = [estimator(Default(), **QUICK) for estimator in BOTH]
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "repeated rows fall into "
    "other mini-batches, and sums in float32 depend on their order"
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda _: EXPECTED)
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


EXACT = [estimator(epochs=5, batch_size=1000, **SETTINGS) for estimator in BOTH]
ON_TENSORFLOW = pytest.mark.backend(
    "tensorflow", reason="Keras 3.15 divides losses in float32 on PyTorch"
)


@pytest.mark.backend(
    "tensorflow", "torch", reason="JAX has float64 only if it is set from the start"
)
@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(EXACT[0], id="classifier", marks=ON_TENSORFLOW),
        pytest.param(EXACT[1], id="regressor"),
    ],
)
def test_weights_are_exact_in_float64_with_one_batch(estimator):
    # The policy of the layers is fixed when it is first asked for.
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        check_weights(type(estimator).__name__, estimator)
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


@pytest.mark.slow
@pytest.mark.backend("jax", reason="the others need no process of their own")
def test_weights_are_exact_in_float64_on_jax():
    program = (
        "import keras, runpy;"
        "keras.config.set_floatx('float64');"
        "keras.config.set_dtype_policy('float64');"
        f"found = runpy.run_path({__file__!r});"
        "[found['check_weights'](type(e).__name__, e) for e in found['EXACT']]"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
