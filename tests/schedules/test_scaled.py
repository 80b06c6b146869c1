import keras
import pytest

from keras_tricks.schedules import Scaled, Warmup, preview, scaled

COSINE = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=10)


def test_multiplies_every_rate():
    assert preview(Scaled(COSINE, 0.5), 20) == pytest.approx(0.5 * preview(COSINE, 20))


def test_multiplies_a_float():
    assert preview(Scaled(0.4, 0.5), 3) == pytest.approx([0.2] * 3)


def test_scaling_again_does_not_nest():
    twice = scaled(scaled(COSINE, 0.5), 0.5)
    assert twice.schedule is COSINE
    assert twice.factor == 0.25


def test_scaling_a_float_gives_a_float():
    assert scaled(0.4, 0.5) == 0.2


def test_scaling_leaves_the_original_alone():
    first = scaled(Warmup(0.1, 4), 0.5)
    scaled(first, 0.5)
    assert first.factor == 0.5


@pytest.mark.parametrize("scale", [Scaled, scaled])
@pytest.mark.parametrize(
    ("schedule", "factor", "error", "text"),
    [
        ("x", 0.5, TypeError, "`schedule` must be .* Received: schedule='x'"),
        (-1.0, 0.5, ValueError, "`schedule` must be .* Received: schedule=-1.0"),
        (COSINE, 0, ValueError, "`factor` must be a positive number. Rec.*factor=0"),
        (COSINE, None, TypeError, "`factor` must be a positive number. Rec.*=None"),
    ],
)
def test_says_which_argument_is_wrong(scale, schedule, factor, error, text):
    with pytest.raises(error, match=text):
        scale(schedule, factor)
