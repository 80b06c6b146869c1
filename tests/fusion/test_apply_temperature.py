import numpy as np
import pytest

from keras_tricks import fusion

LOGITS = np.random.default_rng(0).normal(size=(20, 4)) * 5


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.3, 1, 2.5])
def test_it_divides_the_logits(temperature):
    found = fusion.apply_temperature(softmax(LOGITS), temperature)
    np.testing.assert_allclose(found, softmax(LOGITS / temperature), rtol=1e-10)


@pytest.mark.parametrize("shape", [(20,), (20, 1)])
def test_one_column_is_a_sigmoid(shape):
    logits = LOGITS[:, 0].reshape(shape)
    found = fusion.apply_temperature(1 / (1 + np.exp(-logits)), 2.0)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits / 2)), rtol=1e-10)


def test_certain_predictions_stay_finite():
    for predictions in ([[0.0, 1.0]], [0.0, 1.0], [[0.0, 0.5, 0.5]]):
        for temperature in (0.01, 1.0, 3.0):
            found = fusion.apply_temperature(
                np.array(predictions, "float32"), temperature
            )
            assert found.dtype == "float32"
            np.testing.assert_allclose(found, predictions, atol=1e-12)


def test_arguments_must_be_sound():
    with pytest.raises(ValueError, match="`temperature` must be a positive number"):
        fusion.apply_temperature([[0.5, 0.5]], 0)
    with pytest.raises(ValueError, match="must hold no NaN"):
        fusion.apply_temperature([[0.5, np.nan]], 1)
    with pytest.raises(ValueError, match="must be probabilities"):
        fusion.apply_temperature([[-3.0, 4.0]], 1)
