import time

import keras
import numpy as np
import pytest
from keras.optimizers import schedules
from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks.schedules import CosineRestarts, Scaled, Warmup, preview


class Stairs(LearningRateSchedule):
    """Takes no vector: it asks Python for the truth of a comparison."""

    def __call__(self, step):
        return 0.1 if int(step) < 3 else 0.01


class Mistaken(LearningRateSchedule):
    """Takes a vector, but gives a wrong answer of the right shape."""

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return step - keras.ops.min(step) + keras.ops.max(step)


def test_gives_the_rates_of_the_first_steps():
    rates = preview(Warmup(0.4, 4), 6)
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert rates.dtype == np.float32


def test_float_is_a_constant_rate():
    assert preview(0.1, 3) == pytest.approx([0.1] * 3)


def test_one_step_is_enough():
    assert preview(CosineRestarts(0.1, 10), 1) == pytest.approx([0.1])


def test_schedule_that_takes_no_vector_is_asked_step_by_step():
    expected = [0.1, 0.1, 0.1, 0.01, 0.01]
    assert preview(Stairs(), 5) == pytest.approx(expected)
    assert preview(Scaled(Stairs(), 2.0), 5) == pytest.approx([2 * r for r in expected])


def test_wrong_answer_to_a_vector_is_noticed():
    assert preview(Mistaken(), 5) == pytest.approx([0.0, 1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.CosineDecay(0.1, 30, warmup_target=0.2, warmup_steps=10),
        schedules.PiecewiseConstantDecay([5, 10], [0.1, 0.2, 0.3]),
        schedules.PolynomialDecay(0.1, 10, cycle=True),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_previews_the_schedules_of_keras(schedule):
    expected = [float(schedule(step)) for step in (0, 7, 39)]
    assert preview(schedule, 40)[[0, 7, 39]] == pytest.approx(expected)


def test_million_steps_take_seconds_at_most():
    start = time.perf_counter()
    preview(Warmup(CosineRestarts(0.1, 10, t_mul=1.1), 100), 1_000_000)
    assert time.perf_counter() - start < 10  # about 0.3 s; one by one takes minutes


def test_error_of_the_schedule_itself_is_shown():
    class Broken(LearningRateSchedule):
        def __call__(self, step):
            raise ArithmeticError("broken schedule")

    with pytest.raises(ArithmeticError, match="broken schedule"):
        preview(Broken(), 5)


def test_says_which_argument_is_wrong_and_what_came():
    with pytest.raises(ValueError, match=r"`steps` must be .* Received: steps=0"):
        preview(0.1, 0)
    with pytest.raises(
        TypeError, match=r"`schedule` must be .* Received: schedule='a'"
    ):
        preview("a", 5)
