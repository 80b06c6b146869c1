import keras
import numpy as np
import pytest
from keras import layers, ops, optimizers

from keras_tricks.optimizers import AutoClip, LayerwiseLearningRate, _units

X = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
Y = X[:, :1].astype("float32")


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(4, activation="tanh", name="low"),
            layers.Dense(1, name="head"),
        ]
    )


def trained(optimizer, epochs=1, **fit):
    model = network()
    model.compile(optimizer, "mse")
    model.fit(X, Y, 8, epochs=epochs, shuffle=False, verbose=0, **fit)
    return model


def values(variables):
    return [np.array(ops.convert_to_numpy(v.value)) for v in variables]


def steps_of(optimizer, gradients):
    weight = keras.Variable([0.0])
    taken, before = [], 0.0
    for gradient in gradients:
        optimizer.apply([ops.array([float(gradient)])], [weight])
        now = float(ops.convert_to_numpy(weight.value)[0])
        taken.append(before - now)
        before = now
    return taken


@pytest.mark.parametrize("q", [0, 10, 37.5, 100])
@pytest.mark.parametrize("window", [1, 4, 50])
def test_each_step_is_clipped_to_the_percentile_of_the_last_norms(q, window):
    norms = np.random.default_rng(5).exponential(size=12)
    optimizer = AutoClip(optimizers.SGD(1.0), percentile=q, window=window)
    expected = [
        min(norm, np.percentile(norms[max(0, i - window + 1) : i + 1], q))
        for i, norm in enumerate(norms)
    ]
    np.testing.assert_allclose(steps_of(optimizer, norms), expected, rtol=1e-4)


def test_the_percentile_of_the_paper():
    optimizer = AutoClip(optimizers.SGD(1.0), percentile=10)
    assert steps_of(optimizer, range(1, 11))[-1] == pytest.approx(1.9, rel=1e-4)


def test_all_gradients_are_scaled_by_one_number():
    optimizer = AutoClip(optimizers.SGD(1.0), percentile=0)
    weights = [keras.Variable([0.0]), keras.Variable([[0.0]])]
    optimizer.apply([ops.array([1.0]), ops.array([[0.0]])], weights)
    optimizer.apply([ops.array([3.0]), ops.array([[4.0]])], weights)
    first, second = values(weights)
    assert first[0] == pytest.approx(-1.6, rel=1e-5)
    assert second[0, 0] == pytest.approx(-0.8, rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(bad):
    optimizer = AutoClip(optimizers.AdamW(0.1, weight_decay=0.1))
    weights = [keras.Variable([1.0]), keras.Variable([2.0])]
    assert optimizer.skipped_updates == 0
    optimizer.apply([ops.array([1.0])] * 2, weights)
    state = [v for v in optimizer.variables if v.name != "skipped_updates"]
    before = values([*weights, *state])
    optimizer.apply([ops.array([1.0]), ops.array([bad])], weights)
    assert optimizer.skipped_updates == 1
    for one, other in zip(values([*weights, *state]), before, strict=True):
        assert np.array_equal(one, other)
    optimizer.apply([ops.array([1.0])] * 2, weights)
    assert optimizer.skipped_updates == 1
    assert np.isfinite(values(weights)).all()


def test_a_batch_that_is_not_finite_in_fit_is_left_out():
    poisoned = X.copy()
    poisoned[8:16] = np.nan
    model = network()
    model.compile(AutoClip(optimizers.SGD(0.1)), "mse")
    model.fit(poisoned, Y, 8, shuffle=False, verbose=0)
    assert model.optimizer.skipped_updates == 1
    good = np.r_[0:8, 16:64]
    expected = network()
    expected.compile(AutoClip(optimizers.SGD(0.1)), "mse")
    expected.fit(X[good], Y[good], 8, shuffle=False, verbose=0)
    for one, other in zip(values(model.weights), values(expected.weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 2}])
def test_at_percentile_100_of_falling_norms_it_is_the_plain_optimizer(settings):
    # The highest norm so far is never below the newest: nothing is clipped.
    plain = trained(optimizers.Adam(0.01, **settings), 2)
    clipped = trained(AutoClip(optimizers.Adam(0.01, **settings), 100), 2)
    for one, other in zip(values(clipped.weights), values(plain.weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_adaptive_clipping_holds_each_unit_to_a_share_of_its_weights():
    optimizer = AutoClip(optimizers.SGD(1.0), mode="adaptive", clipping=0.1)
    kernel = keras.Variable([[3.0, 0.0], [4.0, 0.0]])
    bias = keras.Variable([0.6, 0.8])
    gradients = [[[6.0, 1.0], [8.0, 0.0]], [0.03, 0.04]]
    before = values([kernel, bias])
    optimizer.apply([ops.array(g) for g in gradients], [kernel, bias])
    moved = [b - a for a, b in zip(values([kernel, bias]), before, strict=True)]
    # Unit 0: norm 10, weights 5, limit 0.5. Unit 1: weights 0 count as 1e-3.
    np.testing.assert_allclose(moved[0], [[0.3, 1e-4], [0.4, 0.0]], rtol=1e-4)
    # A vector is one unit: norm 0.05 is below 0.1 of 1.
    np.testing.assert_allclose(moved[1], [0.03, 0.04], rtol=1e-4)


def test_adaptive_clipping_leaves_excluded_layers_alone(tmp_path):
    model = network()
    clip = {"mode": "adaptive", "clipping": 1e-6, "exclude": "head"}
    layerwise = LayerwiseLearningRate(optimizers.SGD(0.1), {"low": 0.5})
    model.compile(AutoClip(layerwise, **clip), "mse")
    before = values(model.trainable_variables)
    model.fit(X, Y, 64, verbose=0)
    after = values(model.trainable_variables)
    moved = [abs(b - a).max() for a, b in zip(before, after, strict=True)]
    assert max(moved[:-2]) < 1e-6
    assert min(moved[-2:]) > 1e-3
    # Under another name, the layer that was left out is still left out.
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.current_multipliers == [0.5, 0.5, 1.0, 1.0]
    for one in (model, again):
        one.fit(X, Y, 64, verbose=0)
    for one, other in zip(values(again.weights), values(model.weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_an_excluded_layer_that_is_not_there_is_named():
    model = network()
    clip = AutoClip(optimizers.SGD(0.1), mode="adaptive", exclude=["lwo"])
    model.compile(clip, "mse")
    with pytest.raises(ValueError, match=r"`exclude` must name .*Did you mean 'low'"):
        clip.build(model.trainable_variables)


def units(layer, shape):
    """The shape of the norms of the gradient of each weight of a layer."""
    inputs = keras.Input(shape)
    outputs = layer(
        *[inputs] * (2 if isinstance(layer, layers.MultiHeadAttention) else 1)
    )
    model = keras.Model(inputs, outputs)
    found = _units.axes(model.trainable_variables, model)
    return {
        "/".join(v.path.split("/")[-2:]): np.sum(
            np.ones(v.shape), axis=axes, keepdims=True
        ).shape
        for v, axes in zip(model.trainable_variables, found, strict=True)
    }


def test_a_unit_is_what_makes_one_number_of_the_output():
    assert units(layers.Dense(3, name="a"), (5,)) == {
        "a/kernel": (1, 3),
        "a/bias": (1,),
    }
    image = (8, 8, 4)
    found = units(layers.Conv2D(3, 2, name="a"), image)
    assert found["a/kernel"] == (1, 1, 1, 3)
    found = units(layers.DepthwiseConv2D(2, depth_multiplier=2, name="a"), image)
    assert found["a/kernel"] == (1, 1, 4, 2)
    found = units(layers.SeparableConv2D(3, 2, name="a"), image)
    assert found["a/depthwise_kernel"] == (1, 1, 4, 1)
    assert found["a/pointwise_kernel"] == (1, 1, 1, 3)
    found = units(layers.Conv2DTranspose(3, 2, name="a"), image)
    assert found["a/kernel"] == (1, 1, 3, 1)
    found = units(layers.MultiHeadAttention(2, 3, name="a"), (6, 5))
    assert found["query/kernel"] == (1, 2, 3)
    assert found["query/bias"] == (1, 1)
    assert found["attention_output/kernel"] == (1, 1, 5)


def test_a_norm_beyond_half_precision_is_finite():
    weight = keras.Variable(np.zeros(10_000), dtype="float16")
    optimizer = AutoClip(optimizers.SGD(1.0), 100)
    optimizer.apply([ops.full((10_000,), 1000.0, "float16")], [weight])
    assert optimizer.skipped_updates == 0
    adaptive = AutoClip(optimizers.SGD(1.0), mode="adaptive", clipping=1.0, epsilon=1.0)
    adaptive.apply([ops.full((10_000,), 1000.0, "float16")], [weight])
    # Weights of -1000: norm 1e5; then a gradient of the same norm is not clipped.
    assert values([weight])[0].astype(float) == pytest.approx(-2000.0, rel=1e-2)


def test_excluded_patterns_may_come_from_a_generator():
    exclude = (name for name in ["head"])
    clip = AutoClip(optimizers.SGD(0.1), mode="adaptive", exclude=exclude)
    assert clip.get_config()["exclude"] == ["head"]
    model = network()
    model.compile(clip, "mse")
    clip.build(model.trainable_variables)
    assert clip.get_config()["resolved"]["multipliers"] == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("outside", [True, False])
def test_clipping_comes_before_the_layerwise_scaling(outside):
    patterns = {"one": 0.5}
    if outside:
        optimizer = AutoClip(LayerwiseLearningRate(optimizers.SGD(1.0), patterns), 0)
    else:
        optimizer = LayerwiseLearningRate(AutoClip(optimizers.SGD(1.0), 0), patterns)
    with keras.name_scope("one"):
        first = keras.Variable([0.0], name="kernel")
    with keras.name_scope("two"):
        second = keras.Variable([0.0], name="kernel")
    optimizer.apply([ops.array([0.6]), ops.array([0.8])], [first, second])
    optimizer.apply([ops.array([3.0]), ops.array([4.0])], [first, second])
    assert values([first])[0][0] == pytest.approx(-0.5 * (0.6 + 0.6), rel=1e-5)
    assert values([second])[0][0] == pytest.approx(-(0.8 + 0.8), rel=1e-5)


@pytest.mark.parametrize("mode", ["percentile", "adaptive"])
def test_saved_and_loaded_it_trains_as_if_uninterrupted(mode, tmp_path):
    make = LayerwiseLearningRate(optimizers.Adam(0.01), {"low": 0.5})
    model = trained(AutoClip(make, 20, window=6, mode=mode))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again.optimizer, AutoClip)
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for one in (model, again):
        one.fit(X, Y, 8, shuffle=False, verbose=0)
    state = [*model.variables, *model.optimizer.variables]
    loaded = [*again.variables, *again.optimizer.variables]
    for one, other in zip(values(loaded), values(state), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_loss_scaling_goes_around_it():
    scaled = optimizers.LossScaleOptimizer(AutoClip(optimizers.SGD(0.05), 50), 8.0)
    plain = trained(AutoClip(optimizers.SGD(0.05), 50))
    for one, other in zip(
        values(trained(scaled).weights), values(plain.weights), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            {"percentile": 101},
            ValueError,
            r"`percentile` must be a number in \[0, 100\]",
        ),
        ({"window": 0}, ValueError, "`window` must be a positive integer"),
        ({"window": 2.5}, TypeError, "`window` must be a positive integer"),
        ({"mode": "adaptiv"}, ValueError, "Did you mean 'adaptive'"),
        ({"clipping": 0}, ValueError, "`clipping` must be a positive number"),
        ({"epsilon": -1.0}, ValueError, "`epsilon` must be a positive number"),
        ({"exclude": "a"}, ValueError, r"`exclude` must be None with .*exclude='a'"),
        (
            {"mode": "adaptive", "exclude": ["("]},
            ValueError,
            r"`exclude` must name layers by regular expressions. Received: '\('",
        ),
    ],
)
def test_says_which_argument_is_wrong(arguments, error, text):
    with pytest.raises(error, match=text):
        AutoClip(optimizers.SGD(), **arguments)


def test_an_optimizer_that_clips_is_refused():
    with pytest.raises(ValueError, match=r"Received: clipnorm=1\.0; leave it out"):
        AutoClip(optimizers.SGD(clipnorm=1.0))
