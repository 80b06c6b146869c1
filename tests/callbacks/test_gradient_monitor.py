import keras
import numpy as np
import pytest
from keras import layers

import keras_tricks as kt
from keras_tricks.callbacks import GradientMonitor

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")
RATE = 0.05


def model_of(optimizer, nested=False):
    keras.utils.set_random_seed(2)
    head = layers.Dense(1, use_bias=False, name="head")
    body = [layers.Dense(4, activation="tanh", name="low")]
    if nested:
        body = [keras.Sequential([keras.Input((3,)), *body], name="backbone")]
    model = keras.Sequential([keras.Input((3,)), *(body if nested else []), head])
    model.compile(optimizer, "mse")
    return model


def fit(model, *callbacks, epochs=1, batch_size=8, y=Y):
    return model.fit(
        X,
        y,
        batch_size=batch_size,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    ).history


def by_hand(weight, steps, per_update=1):
    """Norms and ratios of SGD on mean squared error, with gradients in closed form."""
    weight = weight.astype("float64")
    norms, ratios, gradients = [], [], []
    for start in range(0, 8 * steps, 8):
        x, y = X[start : start + 8], Y[start : start + 8]
        gradients.append(2 / 8 * x.T @ (x @ weight - y))
        if len(gradients) == per_update:
            gradient = np.mean(gradients, axis=0)
            norms.append(np.linalg.norm(gradient))
            ratios.append(RATE * norms[-1] / np.linalg.norm(weight))
            weight = weight - RATE * gradient
            gradients = []
    return norms, ratios


def start(model):
    return keras.ops.convert_to_numpy(model.trainable_variables[0].value).copy()


def test_norms_and_ratios_are_those_of_the_closed_form():
    model = model_of(keras.optimizers.SGD(RATE))
    norms, ratios = by_hand(start(model), 5)
    monitor = GradientMonitor()
    history = fit(model, monitor)
    np.testing.assert_allclose(monitor.norms, norms, rtol=1e-4)
    np.testing.assert_allclose(monitor.update_ratios[0], ratios[0], rtol=1e-3)
    assert np.isnan(monitor.update_ratios[1:]).all()
    assert monitor.steps.tolist() == [1, 2, 3, 4, 5]
    assert history["gradient_norm"] == pytest.approx([np.mean(norms)], rel=1e-4)
    assert history["gradient_norm_max"] == pytest.approx([max(norms)], rel=1e-4)
    assert history["gradient_norm/head"] == pytest.approx([np.mean(norms)], rel=1e-4)
    assert history["update_ratio/head"] == pytest.approx([ratios[0]], rel=1e-3)
    assert history["nonfinite_gradients"] == [0.0]
    assert "clip_rate" not in history


def test_under_accumulation_the_gradient_is_the_mean_of_an_update():
    model = model_of(keras.optimizers.SGD(RATE, gradient_accumulation_steps=2))
    norms, ratios = by_hand(start(model), 4, per_update=2)
    monitor = GradientMonitor()
    fit(model, monitor)
    np.testing.assert_allclose(monitor.norms, norms, rtol=1e-4)
    np.testing.assert_allclose(monitor.update_ratios[0], ratios[0], rtol=1e-3)


def test_under_loss_scaling_the_gradient_is_unscaled():
    inner = keras.optimizers.SGD(RATE)
    model = model_of(keras.optimizers.LossScaleOptimizer(inner, initial_scale=64.0))
    norms, _ = by_hand(start(model), 5)
    monitor = GradientMonitor()
    fit(model, monitor)
    np.testing.assert_allclose(monitor.norms, norms, rtol=1e-4)


@pytest.mark.parametrize("clip", ["global_clipnorm", "clipnorm", "clipvalue"])
def test_the_clip_rate_is_the_share_of_norms_above_the_threshold(clip):
    free = GradientMonitor()
    fit(model_of(keras.optimizers.SGD(0.0)), free)
    limit = float(np.median(free.norms))
    clipped = GradientMonitor()
    # The largest element is below the norm of its vector.
    limit = limit if clip != "clipvalue" else 1e-6
    history = fit(model_of(keras.optimizers.SGD(0.0, **{clip: limit})), clipped)
    expected = np.mean(free.norms > limit)
    assert history["clip_rate"] == pytest.approx([expected])
    np.testing.assert_allclose(clipped.norms, free.norms, rtol=1e-5)


def test_the_clip_rate_of_auto_clip_goes_by_its_history():
    optimizer = kt.optimizers.AutoClip(keras.optimizers.SGD(0.0), percentile=50)
    monitor = GradientMonitor()
    history = fit(model_of(optimizer), monitor)
    norms = monitor.norms
    above = [norms[i] > np.percentile(norms[: i + 1], 50) * 1.00002 for i in range(5)]
    assert history["clip_rate"] == pytest.approx([np.mean(above)])


def test_gradients_that_are_not_finite_are_counted_and_left_out_of_means():
    y = Y.copy()
    y[9] = np.nan
    optimizer = kt.optimizers.AutoClip(keras.optimizers.SGD(RATE), percentile=100)
    monitor = GradientMonitor()
    history = fit(model_of(optimizer), monitor, y=y)
    assert history["nonfinite_gradients"] == [1.0]
    assert np.isfinite(history["gradient_norm"]).all()
    assert np.isnan(monitor.norms[1])


def test_a_monitored_training_is_the_plain_one():
    plain = model_of(keras.optimizers.Adam(RATE), nested=True)
    expected = fit(plain, epochs=2)["loss"]
    model = model_of(keras.optimizers.Adam(RATE), nested=True)
    one, two = GradientMonitor(per_layer=False), GradientMonitor(every=2)
    history = fit(model, one, two, epochs=2)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(two.norms, one.norms[[0, 2, 4, 6, 8]], rtol=1e-5)
    assert two.steps.tolist() == [1, 3, 5, 7, 9]
    assert {"gradient_norm/backbone/low", "gradient_norm/head"} <= set(history)
    count = len(plain.optimizer.variables)
    assert len(model.optimizer.variables) == count
    for hooked in (model, model.optimizer):
        assert not {"apply", "stateless_apply", "train_step"} & set(vars(hooked))


def test_frozen_layers_are_left_out_and_stay_frozen():
    model = model_of(keras.optimizers.SGD(RATE), nested=True)
    before = start(model)
    monitor = GradientMonitor()
    unfreeze = kt.callbacks.GradualUnfreezing(["backbone", "head"])
    low = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: low.append(start(model))
    )
    history = fit(model, monitor, unfreeze, look, epochs=2)
    np.testing.assert_array_equal(low[0], before)
    assert np.abs(low[1] - before).max() > 0
    assert len(history["gradient_norm/backbone/low"]) == 1
    assert len(history["gradient_norm/head"]) == 2
    head = monitor.norms[:5].mean()
    assert history["gradient_norm/head"][0] == pytest.approx(head, rel=1e-5)


def test_a_layerwise_rate_shows_in_the_ratios():
    optimizer = kt.optimizers.LayerwiseLearningRate(
        keras.optimizers.SGD(RATE), {"backbone": 0.0}
    )
    history = fit(model_of(optimizer, nested=True), GradientMonitor())
    assert history["update_ratio/backbone/low"] == [0.0]
    assert history["update_ratio/head"][0] > 0


def test_several_optimizers_are_seen_as_one():
    groups = {".*bias": keras.optimizers.SGD(RATE)}
    several = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD(RATE), groups)
    )
    expected, found = GradientMonitor(), GradientMonitor()
    fit(model_of(keras.optimizers.SGD(RATE), nested=True), expected)
    fit(model_of(several, nested=True), found)
    np.testing.assert_allclose(found.norms, expected.norms, rtol=1e-4)


@pytest.mark.backend("jax", "tensorflow", reason="PyTorch refuses several steps")
def test_of_several_steps_in_a_call_the_last_is_seen():
    model = model_of(keras.optimizers.SGD(RATE))
    norms, _ = by_hand(start(model), 4)
    model.compile(keras.optimizers.SGD(RATE), "mse", steps_per_execution=2)
    monitor = GradientMonitor()
    model.fit(X[:32], Y[:32], 8, shuffle=False, verbose=0, callbacks=[monitor])
    np.testing.assert_allclose(monitor.norms, norms[1::2], rtol=1e-4)
    assert monitor.steps.tolist() == [2, 4]


def test_it_works_eagerly_and_after_compiling_again():
    model = model_of(keras.optimizers.SGD(RATE))
    norms, _ = by_hand(start(model), 5)
    weights = model.get_weights()
    monitor = GradientMonitor()
    for arguments in ({"run_eagerly": True}, {"run_eagerly": False}):
        model.set_weights(weights)
        model.compile(keras.optimizers.SGD(RATE), "mse", **arguments)
        fit(model, monitor)
        np.testing.assert_allclose(monitor.norms, norms, rtol=1e-4)


def test_a_failed_fit_leaves_nothing_behind_but_the_norms():
    class Fail(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 3:
                raise RuntimeError("out of power")

    model = model_of(keras.optimizers.SGD(RATE))
    monitor = GradientMonitor()
    with pytest.raises(RuntimeError, match="out of power"):
        fit(model, monitor, Fail())
    assert len(monitor.norms) == 3
    history = fit(model)
    assert set(history) == {"loss"}
    assert len(monitor.norms) == 3
    assert not {"apply", "stateless_apply"} & set(vars(model.optimizer))


def test_the_suggestion_is_a_percentile_of_finite_norms():
    monitor = GradientMonitor()
    fit(model_of(keras.optimizers.SGD(RATE)), monitor, epochs=5)
    expected = np.percentile(monitor.norms, 90)
    assert monitor.suggest_global_clipnorm() == pytest.approx(expected)
    assert monitor.suggest_global_clipnorm(50) < expected
    with pytest.raises(
        ValueError, match=r"`percentile` must be a number in \[0, 100\]"
    ):
        monitor.suggest_global_clipnorm(101)


def test_a_suggestion_needs_enough_norms_that_are_not_zero():
    monitor = GradientMonitor()
    with pytest.raises(ValueError, match=r"at least 20 updates .* Received: 0 of 0"):
        monitor.suggest_global_clipnorm()
    model = model_of(keras.optimizers.SGD(RATE))
    model.set_weights([np.zeros((3, 1))])
    fit(model, monitor, epochs=4, y=0 * Y)
    with pytest.raises(ValueError, match="a norm of 0 at percentile 90"):
        monitor.suggest_global_clipnorm()


@pytest.mark.needs("matplotlib")
def test_plots():
    from matplotlib import figure

    monitor = GradientMonitor()
    with pytest.raises(ValueError, match=r"updates that were seen\. Received: none"):
        monitor.plot()
    fit(model_of(keras.optimizers.SGD(RATE, global_clipnorm=1.0)), monitor, epochs=2)
    for kind in ("norm", "layers", "ratios"):
        ax = monitor.plot(figure.Figure().subplots(), kind)
        labels = [line.get_label() for line in ax.lines]
        assert ("head" in labels) == (kind != "norm")
    with pytest.raises(ValueError, match=r"`kind` must be one of .* Did you mean"):
        monitor.plot(kind="norms")


def test_refusals():
    with pytest.raises(ValueError, match="`every` must be a positive integer"):
        GradientMonitor(every=0)
    with pytest.raises(TypeError, match="`per_layer` must be True or False"):
        GradientMonitor(per_layer=1)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    monitor = GradientMonitor()
    monitor.set_model(model)
    with pytest.raises(ValueError, match="must be compiled with an optimizer"):
        monitor.on_train_begin()


def test_it_says_when_it_saw_nothing():
    monitor = GradientMonitor()
    monitor.set_model(model_of(keras.optimizers.SGD(RATE)))
    monitor.on_train_begin()
    with pytest.warns(kt.NoEffectWarning, match="GradientMonitor saw no update"):
        monitor.on_train_end()


@pytest.mark.backend("torch", "tensorflow", reason="JAX itself needs a dict")
def test_a_training_step_without_logs_is_refused():
    class Own(keras.Sequential):
        def train_step(self, data):
            super().train_step(data)
            return []

    model = Own([keras.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match="must return a dict of logs"):
        fit(model, GradientMonitor())
