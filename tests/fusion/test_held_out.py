"""What all functions that learn from held-out data refuse."""

import numpy as np
import pytest

from keras_tricks import fusion

FITS = {
    "linear": lambda p, y: fusion.fit_linear_weights([p, p], y),
    "squared": lambda p, y: fusion.fit_linear_weights([p, p], y, "squared_error"),
    "called": lambda p, y: fusion.fit_linear_weights([p, p], y, lambda y, fused: 0.0),
    "accuracy": lambda p, y: fusion.greedy_selection([p, p], y, "accuracy"),
    "greedy": lambda p, y: fusion.greedy_selection([p, p], y, "squared_error"),
    "temperature": fusion.fit_temperature,
    "threshold": lambda p, y: fusion.fit_threshold(p, y, "f1"),
}
NAMED = [name for name in FITS if name != "called"]


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_no_samples(name, shape):
    with pytest.raises(ValueError, match="`predictions` must hold at least one sample"):
        FITS[name](np.empty(shape), [])


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_answers_that_are_not_known(name, number):
    with pytest.raises(ValueError, match=rf"`y` must be finite.* {number} in row 1"):
        FITS[name](np.array([0.5, 0.25, 0.75]), [0.0, number, 1.0])


@pytest.mark.parametrize("name", FITS)
def test_infinite_predictions(name):
    with pytest.raises(
        ValueError, match=r"`predictions` must be finite.* member 0, row 1"
    ):
        FITS[name](np.array([0.5, -np.inf, 0.75]), [0.0, 0.0, 1.0])


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("y", [None, 1])
def test_no_answers(name, y):
    with pytest.raises(TypeError, match=rf"one true answer per sample.*y={y}"):
        FITS[name](np.array([0.5, 0.25, 0.75]), y)
