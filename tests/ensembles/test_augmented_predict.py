import functools
import random

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks import fusion
from keras_tricks._errors import NoEffectWarning
from keras_tricks.ensembles.augmented_predict import augmented_predict

X = np.log(np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]], "float32"))


def softmax():
    """The classes are the two columns: a mirrored input is a mirrored answer."""
    return keras.Sequential([keras.Input((2,)), layers.Softmax()])


def mirrored(batch):
    return batch[:, ::-1]


def image_model():
    return keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten()])


IMAGES = np.arange(5 * 16, dtype="float32").reshape(5, 4, 4, 1)


def test_probabilities_are_averaged():
    fused = augmented_predict(softmax(), X, [mirrored])
    np.testing.assert_allclose(fused, np.full((3, 2), 0.5), rtol=1e-6)
    assert type(fused) is np.ndarray


def test_weights_come_with_the_function_of_the_fusion():
    weighted = functools.partial(fusion.mean_probability, weights=[3, 1])
    fused = augmented_predict(softmax(), X, [mirrored], fusion=weighted)
    # (3 * .8 + .2) / 4 and so on.
    expected = [[0.65, 0.35], [0.5, 0.5], [0.3, 0.7]]
    np.testing.assert_allclose(fused, expected, rtol=1e-6)


def test_the_original_may_be_left_out():
    fused = augmented_predict(softmax(), X, [mirrored], include_original=False)
    expected = [[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]
    np.testing.assert_allclose(fused, expected, rtol=1e-6)


def test_regression_takes_the_mean_or_the_median():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.set_weights([np.array([[1.0], [2.0]]), np.array([0.5])])
    x = np.array([[1.0, 3.0], [0.0, -1.0]], "float32")

    def plus(amount):
        return lambda batch: batch + amount

    shifts = [plus(1.0), plus(7.0)]
    # 7.5, 10.5, 28.5 and -1.5, 1.5, 19.5.
    for name in ("mean", fusion.mean):
        fused = augmented_predict(model, x, shifts, fusion=name)
        np.testing.assert_allclose(fused, [[15.5], [6.5]], rtol=1e-6)
    fused = augmented_predict(model, x, shifts, fusion="median")
    np.testing.assert_allclose(fused, [[10.5], [1.5]], rtol=1e-6)


def test_a_function_of_ones_own_gets_the_predictions_in_order():
    seen = []
    doubled = functools.partial(np.multiply, 2.0)
    model = keras.Sequential([keras.Input((2,)), layers.Identity()])
    fused = augmented_predict(model, X, [doubled], lambda p: seen.extend(p) or p[1])
    np.testing.assert_array_equal(seen[0], X)
    np.testing.assert_array_equal(fused, 2 * X)


class OnlyInTraining(layers.Layer):
    def call(self, x, training=False):
        return x + 1.0 if training else x


def test_a_layer_is_called_as_in_training():
    fused = augmented_predict(image_model(), IMAGES, [OnlyInTraining()], "mean")
    np.testing.assert_allclose(fused, IMAGES.reshape(5, 16) + 0.5)


def test_draws_follow_the_seed_and_the_layers_are_given_back():
    flip = layers.RandomFlip("horizontal", seed=3)
    noise = keras.Sequential([layers.GaussianNoise(1.0), layers.BatchNormalization()])
    model = image_model()
    noise(IMAGES)
    before = [keras.ops.convert_to_numpy(v.value) for v in state_of(flip, noise)]
    numbers = random.getstate(), np.random.get_state()[1].copy()
    found = [
        augmented_predict(model, IMAGES, [flip, noise, flip], np.stack, seed=seed)
        for seed in (1, 1, 2)
    ]
    after = [keras.ops.convert_to_numpy(v.value) for v in state_of(flip, noise)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert random.getstate() == numbers[0]
    np.testing.assert_array_equal(np.random.get_state()[1], numbers[1])
    one, again, other = found
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one[2], other[2])
    # Each row is the image or its mirror image, and both listings draw anew.
    assert not np.array_equal(one[1], one[3])
    mirror = IMAGES[:, :, ::-1].reshape(5, 16)
    for flipped in (one[1], one[3]):
        same = np.all(flipped == IMAGES.reshape(5, 16), axis=1)
        assert np.all(same | np.all(flipped == mirror, axis=1))


@pytest.mark.backend("torch", reason="the others read no global numbers in `predict`")
def test_the_numbers_of_torch_are_given_back():
    import torch

    keras.utils.set_random_seed(7)
    expected = torch.rand(3)
    keras.utils.set_random_seed(7)
    augmented_predict(softmax(), X, [mirrored], seed=1)
    assert torch.equal(torch.rand(3), expected)


def sigmoids(units):
    return keras.Sequential([keras.Input((units,)), layers.Activation("sigmoid")])


def halved(batch):
    return batch / 2


def test_logits_are_made_probabilities_for_a_fusion_of_them():
    x = np.array([[4.0, 0.0]], "float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(2, kernel_initializer="identity")(inputs))
    model.compile("sgd", loss)
    share = (1 / (1 + np.exp(-4)) + 1 / (1 + np.exp(-2))) / 2
    fused = augmented_predict(model, x, [halved])
    np.testing.assert_allclose(fused, [[share, 1 - share]], rtol=1e-6)
    # A function takes them as they are.
    fused = augmented_predict(model, x, [halved], fusion.mean)
    np.testing.assert_allclose(fused, [[3.0, 0.0]])
    one = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(inputs))
    one.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    # A logit of 0.3 is a probability above a half.
    assert augmented_predict(one, x * 0.075, [halved], "vote") == [[1.0]]


def test_several_sigmoids_go_with_probabilities_only():
    x = np.array([[3.0, 3.0, -3.0]], "float32")
    fused = augmented_predict(sigmoids(3), x, [halved])
    expected = (1 / (1 + np.exp(-x)) + 1 / (1 + np.exp(-x / 2))) / 2
    np.testing.assert_allclose(fused, expected, rtol=1e-6)
    for name in ("geometric", "vote"):
        with pytest.raises(ValueError, match="must be 'probabilities' where every col"):
            augmented_predict(sigmoids(3), x, [halved], name)


def test_what_cannot_be_told_asks_for_a_function():
    message = r"must be a function where .* Received: the model .* cannot be seen"
    with pytest.raises(ValueError, match=message):
        augmented_predict(image_model(), IMAGES, [halved])


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_is_fused_in_single(kind):
    model = keras.Sequential([keras.Input((2,)), layers.Softmax(dtype=kind)])
    fused = augmented_predict(model, X, [mirrored])
    assert fused.dtype == np.float32
    np.testing.assert_allclose(fused, np.full((3, 2), 0.5), atol=0.01)


def state_of(*parts):
    return [v for part in parts for v in part.variables]


def test_functions_that_draw_from_global_numbers_follow_the_seed():
    def jittered(batch):
        return batch + np.random.normal(size=batch.shape).astype("float32")

    model = softmax()
    fused = [augmented_predict(model, X, [jittered], seed=s) for s in (1, 1, 2)]
    np.testing.assert_array_equal(fused[0], fused[1])
    assert not np.array_equal(fused[0], fused[2])
    keras.utils.set_random_seed(1)
    first = augmented_predict(model, X, [jittered])
    second = augmented_predict(model, X, [jittered])
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(augmented_predict(model, X, [jittered]), first)
    assert not np.array_equal(first, second)


def test_seeds_are_given_back_after_an_exception():
    flip = layers.RandomFlip(seed=3)
    before = keras.ops.convert_to_numpy(flip.variables[0].value)

    def failing(batch):
        raise KeyError("stop")

    with pytest.raises(KeyError):
        augmented_predict(image_model(), IMAGES, [flip, failing], "mean", seed=1)
    after = keras.ops.convert_to_numpy(flip.variables[0].value)
    np.testing.assert_array_equal(after, before)


def test_batches_make_no_difference_to_a_fixed_change():
    one, other = (
        augmented_predict(softmax(), X, [mirrored], "geometric", batch_size=size)
        for size in (2, 32)
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)
    np.testing.assert_allclose(one, np.full((3, 2), 0.5), rtol=1e-6)


def test_several_inputs_and_outputs():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = keras.Model({"a": a, "b": b}, {"sum": a + b, "first": a * 1})
    x = {"a": X, "b": 2 * X}

    def swapped(batch):
        return {"a": batch["b"], "b": batch["a"]}

    fused = augmented_predict(model, x, [swapped], "mean")
    np.testing.assert_allclose(fused["sum"], 3 * X, rtol=1e-6)
    np.testing.assert_allclose(fused["first"], 1.5 * X, rtol=1e-6)


def test_warns_where_an_augmentation_changes_nothing():
    with pytest.warns(NoEffectWarning, match=r"augmentations\[1\] has no effect on"):
        augmented_predict(softmax(), X, [mirrored, lambda batch: batch])
    # One image may well be drawn unchanged.
    for seed in range(3):
        flip = layers.RandomFlip("horizontal")
        augmented_predict(image_model(), IMAGES[:1], [flip], "mean", seed=seed)


def test_says_which_argument_is_wrong():
    model = softmax()
    with pytest.raises(TypeError, match=r"`model` must be a built keras.Model"):
        augmented_predict(None, X, [mirrored])
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        augmented_predict(model, X, [mirrored], batch_size=0)
    with pytest.raises(ValueError, match="`seed` must be an integer from 0"):
        augmented_predict(model, X, [mirrored], seed=-2)
    with pytest.raises(TypeError, match="`x` must be an array, or a list or dict"):
        augmented_predict(model, iter([X]), [mirrored])
    with pytest.raises(ValueError, match="`x` must have samples, and all its arrays"):
        augmented_predict(model, X[:0], [mirrored])
    with pytest.raises(ValueError, match="`x` must have samples, and all its arrays"):
        augmented_predict(model, [X, X[:1]], [mirrored])
    with pytest.raises(TypeError, match=r"`augmentations` must be a list.*into a list"):
        augmented_predict(model, X, mirrored)
    with pytest.raises(TypeError, match=r"`augmentations` must be .* 'flip' in it"):
        augmented_predict(model, X, ["flip"])
    with pytest.raises(ValueError, match=r"`augmentations` must .* at least one"):
        augmented_predict(model, X, [])
    with pytest.raises(ValueError, match=r"augmentations\[0\], which makes 1 of 3"):
        augmented_predict(model, X, [lambda batch: batch[:1]])
    with pytest.raises(ValueError, match=r"`fusion` must be one of.* mean 'vote'"):
        augmented_predict(model, X, [mirrored], "votes")
    with pytest.raises(TypeError, match="`fusion` must be the name of a fusion"):
        augmented_predict(model, X, [mirrored], 3)
