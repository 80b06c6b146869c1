import time

import keras
import pytest

from keras_tricks import lint

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.slow  # JAX needs ten seconds to build it.
def test_resnet50_is_checked_in_less_than_a_second():
    model = keras.applications.ResNet50(weights=None)
    model.compile("adamw", "sparse_categorical_crossentropy")
    start = time.perf_counter()
    lint.check(model)
    # It takes 0.03 to 0.08 s on an idle machine.
    assert time.perf_counter() - start < 1.0
