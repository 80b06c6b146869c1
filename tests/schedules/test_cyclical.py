"""Reference: the paper's own lines, in float64 NumPy."""

import numpy as np
import pytest

from keras_tricks.schedules import Cyclical, preview

MILLION = 1_000_001


def paper(mode, size, gamma):
    t = np.arange(MILLION, dtype="float64")
    cycle = np.floor(1 + t / (2 * size))
    x = np.abs(t / size - 2 * cycle + 1)
    height = np.maximum(0, 1 - x)
    return height * {
        "triangular": 1.0,
        "triangular2": 0.5 ** (cycle - 1),
        "exp_range": np.float64(gamma) ** t,
    }.get(mode)


def test_gives_the_numbers_of_the_paper():
    schedule = Cyclical(0.001, 0.006, 2000, mode="triangular2")
    rates = [float(schedule(step)) for step in range(0, 10_001, 2000)]
    expected = [0.001, 0.006, 0.001, 0.0035, 0.001, 0.00225]
    assert rates == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("mode", "size", "gamma"),
    [
        ("triangular", 2000, 1.0),
        ("triangular", 1, 1.0),
        ("triangular2", 777, 1.0),
        ("exp_range", 2000, 0.99994),
        ("exp_range", 300_000, 0.999999),
    ],
)
def test_equals_the_paper_for_a_million_steps(mode, size, gamma):
    schedule = Cyclical(0.1, 0.6, size, mode, gamma)
    expected = 0.1 + 0.5 * paper(mode, size, gamma)
    error = np.abs(preview(schedule, MILLION) - expected)
    assert error.max() < 1e-6 * 0.6


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"initial_learning_rate": 0}, ValueError, "Received: initial_learning_rate=0"),
        (
            {"initial_learning_rate": 0.2},
            ValueError,
            "below `maximal_learning_rate`, 0.1. Received: initial_learning_rate=0.2",
        ),
        (
            {"maximal_learning_rate": float("nan")},
            ValueError,
            "a positive number. .*nan",
        ),
        ({"step_size": 10.0}, TypeError, "a positive integer. .*step_size=10.0"),
        ({"step_size": -1}, ValueError, "a positive integer. .*step_size=-1"),
        ({"mode": "triangle"}, ValueError, "one of .*Did you mean 'triangular"),
        ({"gamma": 1.1}, ValueError, r"in \(0, 1\]. Received: gamma=1.1"),
    ],
)
def test_says_which_argument_is_wrong_and_what_came(arguments, error, text):
    good = {
        "initial_learning_rate": 0.01,
        "maximal_learning_rate": 0.1,
        "step_size": 10,
    }
    with pytest.raises(error, match=f"`{next(iter(arguments))}` must be .*{text}"):
        Cyclical(**{**good, **arguments})
