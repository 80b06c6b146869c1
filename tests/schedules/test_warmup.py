import keras
import numpy as np
import pytest

from keras_tricks.schedules import CosineRestarts, Warmup, preview

COSINE = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=100)


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in steps])


def test_rises_in_equal_steps():
    assert np.allclose(rates(Warmup(0.4, 4), range(4)), [0.0, 0.1, 0.2, 0.3])


def test_starts_at_the_initial_rate():
    assert np.allclose(
        rates(Warmup(0.4, 4, 0.2), range(5)), [0.2, 0.25, 0.3, 0.35, 0.4]
    )


def test_inner_schedule_starts_at_its_own_step_zero():
    after = rates(Warmup(COSINE, 10), range(10, 40))
    assert np.allclose(after, rates(COSINE, range(30)), atol=1e-8)


def test_inner_schedule_keeps_every_restart_of_a_million_steps():
    inner = CosineRestarts(0.3, 10)
    expected = np.concatenate([0.3 * np.arange(123) / 123, preview(inner, 999_877)])
    error = np.abs(preview(Warmup(inner, 123), 1_000_000) - expected)
    assert error.max() < 1e-6 * 0.3


def test_inner_schedule_never_sees_a_negative_step():
    class Root(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return keras.ops.sqrt(keras.ops.cast(step, "float32")) + 1.0

    assert np.allclose(rates(Warmup(Root(), 4), (0, 2, 4, 8)), [0.0, 0.5, 1.0, 3.0])


@pytest.mark.parametrize("schedule", ["0.1", None, True, lambda step: 0.1])
def test_wants_a_number_or_a_schedule(schedule):
    text = "`schedule` must be a positive number or a LearningRateSchedule. Received: "
    with pytest.raises(TypeError, match=text):
        Warmup(schedule, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"schedule": 0.0}, ValueError, "LearningRateSchedule. Received: schedule=0.0"),
        ({"warmup_steps": 0}, ValueError, "Received: warmup_steps=0"),
        ({"warmup_steps": 4.0}, TypeError, "Received: warmup_steps=4.0"),
        (
            {"initial_learning_rate": -0.1},
            ValueError,
            "a number of at least 0. Received: initial_learning_rate=-0.1",
        ),
        (
            {"initial_learning_rate": "0"},
            TypeError,
            "a number of at least 0. Received: initial_learning_rate='0'",
        ),
        (
            {"initial_learning_rate": 0.1},
            ValueError,
            "below `schedule`, 0.1. Received: initial_learning_rate=0.1",
        ),
    ],
)
def test_says_which_argument_is_wrong_and_what_came(arguments, error, text):
    good = {"schedule": 0.1, "warmup_steps": 4}
    with pytest.raises(error, match=f"`{next(iter(arguments))}` must be .*{text}"):
        Warmup(**{**good, **arguments})
