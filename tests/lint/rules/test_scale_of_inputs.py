"""What KT402 takes for a table, a sequence or an image that is not scaled."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks import lint

pytestmark = pytest.mark.usefixtures("undrawn")

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(200, 4)).astype("float32")
STEPS = RANDOM.normal(size=(50, 6, 3)).astype("float32")
IMAGES = RANDOM.uniform(size=(20, 8, 8, 3)).astype("float32")


def severities(x, *held, shape=None):
    model = keras.Sequential([keras.Input(shape or np.shape(x)[1:]), *held])
    return [one.severity for one in lint.check(model, x).filter(code="KT402")]


def dense():
    return layers.Dense(3)


def convolution():
    return layers.Conv2D(3, 3)


@pytest.mark.parametrize("x", [TABLE + 9, TABLE * 0.1 + 9, TABLE * 1e-3])
def test_columns_far_from_the_origin_or_tiny_are_told(x):
    assert severities(x, dense()) == ["warning"]


@pytest.mark.parametrize("x", [TABLE, TABLE + 3, TABLE * 0.1, TABLE * [1, 5, 0.2, 1]])
def test_columns_about_as_they_should_be_are_left_alone(x):
    assert severities(x, dense()) == []


def digits():
    """Digits of 784 pixels: dark borders, and a faint pixel here and there."""
    pixels = np.zeros((500, 28, 28), "float32")
    pixels[:, 4:24, 4:24] = RANDOM.uniform(size=(500, 20, 20)) ** 2
    for row, column in RANDOM.integers(0, 4, (12, 2)):
        pixels[RANDOM.integers(0, 500, 2), row, column] = 1 / 255, 2 / 255
    return pixels


def test_the_faint_pixels_at_the_border_of_digits_are_left_alone():
    assert severities(digits().reshape(500, 784), dense()) == []
    # As many libraries centre and scale them, all pixels alike.
    alike = (digits().reshape(500, 784) - 0.13) / 0.31
    assert severities(alike, dense()) == []
    assert severities(digits(), layers.Flatten(), dense()) == []
    assert severities(digits()[..., None], convolution()) == []


def test_digits_divided_twice_are_told():
    twice = digits() / 255
    assert severities(twice.reshape(500, 784), dense()) == ["warning"]
    assert severities(twice[..., None], convolution()) == ["warning"]
    rescaling = layers.Rescaling(1 / 255)
    assert severities(digits()[..., None], rescaling, convolution()) == ["warning"]
    assert severities(digits()[..., None] * 255, rescaling, convolution()) == []


def test_images_hardly_different_from_each_other_are_told():
    assert severities(IMAGES * 0.1 + 0.9, convolution()) == ["warning"]
    # In 0 to 1 what is made for 0 to 255.
    centring = layers.Rescaling(1 / 127.5, offset=-1.0)
    assert severities(IMAGES, centring, convolution()) == ["warning"]
    assert severities(IMAGES * 255, centring, convolution()) == []


def test_a_rescaling_of_each_channel_is_left_alone():
    each = layers.Rescaling([1e-3, 1.0, 1.0])
    assert severities(IMAGES * 255, each, convolution()) == []


@pytest.mark.parametrize(
    ("factor", "offset"),
    [([1, 1000, 1], 0), ([1, 1, 1], [0, 0, 15]), (1e-4, 0)],
)
def test_columns_of_sequences_are_looked_at_one_by_one(factor, offset):
    assert severities(STEPS, layers.GRU(3)) == []
    assert severities(STEPS * factor + offset, layers.GRU(3)) == ["warning"]


@pytest.mark.parametrize("scale", [1, 1000])
def test_inputs_are_followed_through_a_concatenation(scale):
    inputs = [keras.Input((4,)), keras.Input((4,))]
    merged = layers.Concatenate()(inputs)
    model = keras.Model(inputs, layers.Dense(1)(merged))
    report = lint.check(model, [TABLE * scale, TABLE]).filter(code="KT402")
    assert [one.message[:5] for one in report] == ["x[0]:"] * (scale > 1)


def test_inputs_that_come_in_two_scales_are_left_alone():
    inputs = keras.Input((4,))
    both = [inputs, layers.Rescaling(1e-3)(inputs)]
    model = keras.Model(inputs, layers.Dense(1)(layers.Concatenate()(both)))
    assert list(lint.check(model, TABLE * 1000).filter(code="KT402")) == []
