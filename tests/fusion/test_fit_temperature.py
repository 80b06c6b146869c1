import numpy as np
import pytest

from keras_tricks import fusion


def test_three_of_four_right_at_nine_tenths_are_twice_too_sure():
    # 9 : 1 must become 3 : 1, its root.
    predictions = np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]])
    found = fusion.fit_temperature(predictions, [0, 0, 1, 1])
    assert found == pytest.approx(2, rel=1e-5)
    assert fusion.fit_temperature(predictions[:, 1], [0, 0, 1, 1]) == found
    assert fusion.fit_temperature(predictions, np.eye(2)[[0, 0, 1, 1]]) == found


def test_the_temperature_of_sharpened_logits_is_found_again():
    random = np.random.default_rng(0)
    honest = random.dirichlet(np.ones(3), 20_000)
    y = (random.random((20_000, 1)) > honest.cumsum(axis=1)).sum(axis=1)
    sharp = honest**2.5
    sharp /= sharp.sum(axis=1, keepdims=True)
    assert fusion.fit_temperature(sharp, y) == pytest.approx(2.5, rel=0.05)
    assert fusion.fit_temperature(honest, y) == pytest.approx(1, rel=0.05)


def test_where_all_is_right_the_end_of_the_range_is_returned():
    found = fusion.fit_temperature([[0.9, 0.1], [0.2, 0.8]], [0, 1])
    assert found == pytest.approx(0.01, rel=1e-12)
    # Nothing changes: the loss is the same at any temperature.
    assert fusion.fit_temperature(np.eye(3), [0, 1, 2]) == pytest.approx(0.01)


def test_certain_errors_stay_finite():
    predictions = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]], "float32")
    found = fusion.fit_temperature(predictions, [0] * 10)
    # 9 : 1 from the least number of single precision.
    assert found == pytest.approx(
        -np.log(np.finfo("float32").tiny) / np.log(9), rel=1e-3
    )


def test_arguments_must_be_sound():
    with pytest.raises(ValueError, match="must hold no NaN"):
        fusion.fit_temperature([[0.5, np.nan]], [0])
    with pytest.raises(ValueError, match="must be probabilities"):
        fusion.fit_temperature([[-3.0, 4.0]], [0])
    with pytest.raises(ValueError, match=r"only the labels \[0, 1\]"):
        fusion.fit_temperature([[0.5, 0.5]], [2])


def test_labels_may_have_names():
    predictions = np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]])
    y = ["no", "no", "yes", "yes"]
    found = fusion.fit_temperature(predictions, y, classes=["no", "yes"])
    assert found == pytest.approx(2, rel=1e-5)
    # Not in the order of the alphabet.
    turned = predictions[:, ::-1]
    assert fusion.fit_temperature(turned, y, classes=["yes", "no"]) == found
    column = predictions[:, 1]
    assert fusion.fit_temperature(column, y, classes=["no", "yes"]) == found
    with pytest.raises(ValueError, match=r"`classes` must hold 2 labels here"):
        fusion.fit_temperature(column, y, classes=["yes"])
