import inspect

import keras
import pytest

from keras_tricks.schedules import Scaled, Warmup, scale_adam


def test_four_times_the_batch_gives_the_numbers_of_the_paper():
    settings = scale_adam(1e-3, 128, 32)
    expected = {
        "learning_rate": 2e-3,
        "beta_1": 0.6,
        "beta_2": 0.996,
        "epsilon": 5e-8,
    }
    assert settings == pytest.approx(expected)


def test_scaling_by_two_and_by_three_is_scaling_by_six():
    by_two = scale_adam(1e-3, 64, 32)
    assert scale_adam(**by_two, batch_size=192, base_batch_size=64) == pytest.approx(
        scale_adam(1e-3, 192, 32)
    )


def test_scaling_there_and_back_changes_nothing():
    there = scale_adam(1e-3, 8, 32)
    back = scale_adam(**there, batch_size=32, base_batch_size=8)
    keras_defaults = inspect.signature(keras.optimizers.Adam).parameters
    expected = {name: keras_defaults[name].default for name in back}
    assert back == pytest.approx(expected)


def test_adam_takes_the_settings():
    optimizer = keras.optimizers.Adam(**scale_adam(1e-3, 128, 32))
    assert optimizer.beta_1 == pytest.approx(0.6)


def test_schedule_is_scaled_as_a_whole():
    assert isinstance(scale_adam(Warmup(0.1, 4), 8, 2)["learning_rate"], Scaled)


@pytest.mark.parametrize("batch_size", [320, 640])
def test_batch_too_large_for_the_first_beta_is_an_error_with_a_remedy(batch_size):
    text = (
        r"`batch_size` must be less than 10 times `base_batch_size` for beta_1=0.9: .*"
        r"would forget all earlier batches.* Use a smaller batch, or a larger beta_1"
    )
    with pytest.raises(ValueError, match=text):
        scale_adam(1e-3, batch_size, 32)


def test_batch_too_large_for_the_second_beta_is_an_error_too():
    with pytest.raises(ValueError, match=r"less than 2 times .* for beta_2=0.5"):
        scale_adam(1e-3, 64, 32, beta_2=0.5)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"learning_rate": 0}, ValueError, "Received: learning_rate=0"),
        ({"batch_size": 1.5}, TypeError, "Received: batch_size=1.5"),
        ({"base_batch_size": -1}, ValueError, "Received: base_batch_size=-1"),
        ({"beta_1": 1.0}, ValueError, r"in \(0, 1\). Received: beta_1=1.0"),
        ({"beta_2": "x"}, TypeError, r"in \(0, 1\). Received: beta_2='x'"),
        ({"epsilon": 0}, ValueError, "Received: epsilon=0"),
    ],
)
def test_says_which_argument_is_wrong_and_what_came(arguments, error, text):
    good = {"learning_rate": 0.1, "batch_size": 64, "base_batch_size": 32}
    with pytest.raises(error, match=f"`{next(iter(arguments))}` must be .*{text}"):
        scale_adam(**{**good, **arguments})
