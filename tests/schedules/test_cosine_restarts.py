"""Reference: the closed form of SGDR, written here again in float64 NumPy."""

import itertools
import math
from fractions import Fraction

import keras
import numpy as np
import pytest
from keras import ops

from keras_tricks.schedules import CosineRestarts, preview

MILLION = 1_000_001


def restarts_of(steps, first, t_mul):
    """Restart k is at first * (t_mul**k - 1) / (t_mul - 1), an exact fraction."""
    growth = Fraction(str(t_mul))
    found, length = [Fraction(0)], Fraction(first)
    while found[-1] < steps:
        found.append(found[-1] + length)
        # An exact power of 1.001 has more digits than anyone can add up.
        length = (length * growth).limit_denominator(10**30)
    return found


def sgdr(steps, first, t_mul=2.0, m_mul=1.0, alpha=0.0):
    """Rates of a schedule that starts at 1, and the whole steps that are restarts."""
    rates = np.empty(steps)
    restarts = restarts_of(steps, first, t_mul)
    for cycle, (start, end) in enumerate(itertools.pairwise(restarts)):
        inside = np.arange(math.ceil(start), min(math.ceil(end), steps))
        late = float(math.ceil(start) - start)
        way = (inside - math.ceil(start) + late) / float(end - start)
        wave = (1 + np.cos(np.pi * way)) / 2
        rates[inside] = alpha + (1 - alpha) * m_mul**cycle * wave
    exact = [(k, int(r)) for k, r in enumerate(restarts) if r == int(r) and r < steps]
    return rates, exact


def test_restarts_of_the_paper_are_at_10_30_70_and_150():
    schedule = CosineRestarts(0.4, first_decay_steps=10, t_mul=2.0)
    rates = [float(schedule(step)) for step in (0, 10, 30, 70, 150)]
    assert rates == pytest.approx([0.4] * 5, abs=1e-8)


def test_rate_is_half_in_the_middle_of_a_cycle():
    schedule = CosineRestarts(0.4, first_decay_steps=10, t_mul=2.0)
    rates = [float(schedule(step)) for step in (5, 20, 50, 110)]
    assert rates == pytest.approx([0.2] * 4, abs=1e-7)


def test_no_restart_is_missed_where_keras_misses_one():
    schedule = CosineRestarts(1.0, first_decay_steps=10, t_mul=2.0)
    assert float(schedule(81910)) == 1.0


@pytest.mark.parametrize(
    ("first", "t_mul", "m_mul", "alpha"),
    [
        (10, 2.0, 1.0, 0.0),
        (7, 1.1, 0.9, 0.05),
        (3, 1.5, 1.0, 0.0),
        (1, 3.0, 0.5, 0.2),
        (1000, 1.0, 0.99, 0.0),
        (1000, 1.0, 1.001, 0.0),
        (100, 1.001, 1.0, 0.0),
    ],
)
def test_equals_the_closed_form_for_a_million_steps(first, t_mul, m_mul, alpha):
    schedule = CosineRestarts(0.3, first, t_mul, m_mul, alpha)
    expected, restarts = sgdr(MILLION, first, t_mul, m_mul, alpha)
    rates = preview(schedule, MILLION) / 0.3
    assert np.abs(rates - expected).max() < 1e-6 * expected.max()
    assert len(restarts) > 1
    for cycle, step in restarts:
        peak = alpha + (1 - alpha) * m_mul**cycle
        assert rates[step] == pytest.approx(peak, abs=1e-6 * expected.max())


@pytest.mark.parametrize("t_mul", [1.0, 1.1, 1.5, 2.0])
def test_equals_keras_where_keras_is_right(t_mul):
    arguments = (0.1, 100, t_mul, 0.5, 0.1)
    theirs = keras.optimizers.schedules.CosineDecayRestarts(*arguments)
    steps = [0, 1, 50, 99, 101, 250, 299, 301, 650]
    expected = [float(theirs(step)) for step in steps]
    ours = CosineRestarts(*arguments)
    assert [float(ours(step)) for step in steps] == pytest.approx(expected, abs=1e-7)


def test_takes_every_kind_of_step():
    schedule = CosineRestarts(0.4, first_decay_steps=10)
    variable = keras.Variable(20, dtype="int", trainable=False)
    kinds = [20, 20.0, np.int32(20), np.int64(20), np.float64(20), variable]
    kinds += [ops.convert_to_tensor(20), ops.convert_to_tensor(20.0)]
    assert [float(schedule(step)) for step in kinds] == pytest.approx([0.2] * 8)


def test_keeps_the_shape_of_its_steps():
    steps = ops.convert_to_tensor([[0, 10], [20, 30]])
    rates = CosineRestarts(0.4, 10)(steps)
    assert tuple(rates.shape) == (2, 2)
    assert [float(rate) for rate in rates[1]] == pytest.approx([0.2, 0.4])


def test_cycle_longer_than_any_training_is_well_defined():
    schedule = CosineRestarts(0.4, first_decay_steps=10, t_mul=1000)
    assert float(schedule(2_000_000_000)) == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(
    ("first", "t_mul", "steps", "ends"),
    [
        (10, 2.0, 70, [9, 29, 69]),
        (10, 2.0, 71, [9, 29, 69, 70]),
        (10, 2.0, 4, [3]),
        (10, 1.0, 30, [9, 19, 29]),
        (10, 1.0, 35, [9, 19, 29, 34]),
        (10, 1.1, 50, [9, 20, 33, 46, 49]),  # restarts at 10, 21, 33.1, 46.41
        (10, 1.5, 120, [9, 24, 47, 81, 119]),  # restarts at 10, 25, 47.5, 81.25
        (1, 3, 40, [0, 3, 12, 39]),
    ],
)
def test_cycle_ends_are_the_last_steps_of_the_cycles(first, t_mul, steps, ends):
    assert CosineRestarts(0.1, first, t_mul).cycle_ends(steps) == ends


@pytest.mark.parametrize("t_mul", [1.0, 1.1, 1.5, 2.0, 3.0])
def test_a_cycle_end_is_the_step_before_a_restart(t_mul):
    schedule = CosineRestarts(0.1, 10, t_mul)
    rates = preview(schedule, 2000)
    # The rate is down at the end of a cycle, and jumps.
    restarts = [end + 1 for end in schedule.cycle_ends(2000)[:-1]]
    assert np.flatnonzero(np.diff(rates) > 0.05).tolist() == [r - 1 for r in restarts]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"initial_learning_rate": 0.0}, ValueError, "a positive number. Received: in"),
        ({"initial_learning_rate": "x"}, TypeError, "a positive number. Received: in"),
        ({"first_decay_steps": 0}, ValueError, "Received: first_decay_steps=0"),
        ({"first_decay_steps": 1.5}, TypeError, "Received: first_decay_steps=1.5"),
        ({"first_decay_steps": True}, TypeError, "Received: first_decay_steps=True"),
        ({"t_mul": 0.9}, ValueError, r"the cycles shrink .* Received: t_mul=0.9"),
        ({"t_mul": 1.0001}, ValueError, r"in \[1.001, 1000\]. Received: t_mul=1.0001"),
        ({"m_mul": -1}, ValueError, "Received: m_mul=-1"),
        ({"alpha": 1.0}, ValueError, r"in \[0, 1\). Received: alpha=1.0"),
    ],
)
def test_says_which_argument_is_wrong_and_what_came(arguments, error, text):
    good = {"initial_learning_rate": 0.1, "first_decay_steps": 10}
    with pytest.raises(error, match=f"`{next(iter(arguments))}` must be .*{text}"):
        CosineRestarts(**{**good, **arguments})


def test_cycle_ends_wants_a_number_of_steps():
    with pytest.raises(ValueError, match=r"`steps` must be .* Received: steps=0"):
        CosineRestarts(0.1, 10).cycle_ends(0)
