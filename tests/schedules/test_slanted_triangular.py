"""Reference: the formula of ULMFiT, in float64 NumPy."""

import numpy as np
import pytest

from keras_tricks.schedules import SlantedTriangular, preview


def test_gives_the_numbers_of_the_paper():
    schedule = SlantedTriangular(0.01, 1000, warmup_fraction=0.1, initial_ratio=32)
    rates = [float(schedule(step)) for step in (0, 50, 100, 550, 1000)]
    expected = [0.0003125, 0.00515625, 0.01, 0.00515625, 0.0003125]
    assert rates == pytest.approx(expected, abs=1e-9)


def test_equals_the_paper_for_a_million_steps():
    total, fraction, ratio = 1_000_000, 0.1, 32
    t = np.arange(total + 1, dtype="float64")
    cut = np.floor(total * fraction)
    p = np.where(t < cut, t / cut, 1 - (t - cut) / (cut * (1 / fraction - 1)))
    expected = 0.01 * (1 + p * (ratio - 1)) / ratio
    rates = preview(SlantedTriangular(0.01, total), total + 1)
    assert np.abs(rates - expected).max() < 1e-6 * 0.01


@pytest.mark.parametrize("total", [2, 5, 9, 15, 19])
def test_never_falls_below_the_lowest_rate_where_the_paper_does(total):
    rates = preview(SlantedTriangular(0.32, total), 3 * total)
    assert rates[0] == pytest.approx(0.01)
    assert rates[1] == pytest.approx(0.32)
    assert rates[total:] == pytest.approx(0.01)
    assert rates.min() == pytest.approx(0.01)


def test_way_up_is_as_long_as_typed_though_the_float_product_is_smaller():
    rates = preview(SlantedTriangular(0.1, 100, warmup_fraction=0.29), 100)
    assert np.argmax(rates) == 29


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"maximal_learning_rate": 0}, ValueError, "Received: maximal_learning_rate=0"),
        ({"total_steps": 1}, ValueError, "an integer from 2 to .*total_steps=1"),
        ({"warmup_fraction": 1.0}, ValueError, r"in \(0, 1\). Received: warmup_frac"),
        ({"initial_ratio": 1}, ValueError, r"in \(1, inf\). Received: initial_ratio=1"),
    ],
)
def test_says_which_argument_is_wrong_and_what_came(arguments, error, text):
    good = {"maximal_learning_rate": 0.1, "total_steps": 100}
    with pytest.raises(error, match=f"`{next(iter(arguments))}` must be .*{text}"):
        SlantedTriangular(**{**good, **arguments})
