import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks.callbacks import ActivationMonitor
from keras_tricks.callbacks._activation_look import look

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 4)).astype("float32")
Y = X[:, :1]


def network():
    """Two of six rectifiers are dead; the tanh before the output is saturated."""
    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, name="dense"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
        ],
        name="backbone",
    )
    model = keras.Sequential(
        [
            keras.Input((4,)),
            inner,
            layers.Dropout(0.5),
            layers.Dense(5, "tanh", name="squash"),
            layers.Dense(1, "sigmoid", name="head"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    # Scaling by 0 and moving down by 1.
    gamma, beta = (variable for variable in inner.get_layer("norm").weights[:2])
    gamma.assign([1, 0, 1, 1, 0, 1])
    beta.assign([0, -1, 0, 0, -1, 0])
    squash = model.get_layer("squash")
    squash.bias.assign([50.0] * 5)
    model.get_layer("head").bias.assign([100.0])
    return model


def outputs(model, *names):
    """Each layer's answers, by calling one after the other."""
    answers, x = {}, X
    backbone = model.get_layer("backbone")
    for layer in [*backbone.layers, *map(model.get_layer, ("squash", "head"))]:
        x = layer(x, training=False) if layer.name == "norm" else layer(x)
        answers[layer.name] = keras.ops.convert_to_numpy(x)
    return [answers[name] for name in names]


def test_shares_means_and_spreads_are_those_of_the_answers():
    model = network()
    seen = look(model, X)
    paths = ["backbone/dense", "backbone/norm", "backbone/relu", "squash", "head"]
    assert list(seen) == paths
    dense, relu, squash = outputs(model, "dense", "relu", "squash")
    for path, answer in zip(
        ["backbone/dense", "backbone/relu", "squash"],
        [dense, relu, squash],
        strict=True,
    ):
        assert seen[path].mean == pytest.approx(answer.mean(), abs=1e-5)
        assert seen[path].std == pytest.approx(answer.std(), abs=1e-5)
    assert seen["backbone/relu"].dead == pytest.approx(2 / 6)
    assert seen["squash"].saturated == 1.0
    assert seen["backbone/dense"].dead is None
    assert seen["backbone/dense"].saturated is None
    assert seen["head"].saturated == 1.0
    assert [s.is_output for s in seen.values()] == [False] * 4 + [True]


def test_the_logs_have_hidden_layers_and_the_history_each_layer():
    model = network()
    monitor = ActivationMonitor(X, every=2)
    history = model.fit(X, Y, epochs=4, verbose=0, callbacks=[monitor]).history
    assert history["saturated_units"] == [1.0, 1.0]
    assert history["dead_relus"] == pytest.approx([2 / 6] * 2)
    assert history["saturated/head"] == [1.0, 1.0]
    assert history["dead/backbone/relu"] == pytest.approx([2 / 6] * 2)
    assert {"activation_mean/squash", "activation_std/squash"} <= set(history)
    assert monitor.epochs == [0, 2, 4]
    (finding, *_) = monitor.findings
    assert "100% of its pre-activations are beyond 4 (saturated)" in finding
    assert not any("head" in f and "saturated" in f for f in monitor.findings)
    assert "backbone/relu" in monitor.summary()
    model.fit(X, Y, verbose=0, callbacks=[monitor])
    assert monitor.epochs == [0, 1, 2][: len(monitor.epochs)]


class Restless(keras.layers.Layer):
    """Counts its calls and adds a loss, whatever it is told."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.noise = keras.random.SeedGenerator(3)

    def call(self, x):
        self.count.assign_add(1.0)
        self.add_loss(keras.ops.mean(x))
        return x + keras.random.normal(keras.ops.shape(x), seed=self.noise)


def test_no_state_of_the_model_changes():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            Restless(),
            layers.BatchNormalization(),
            layers.Dense(3, "relu", activity_regularizer="l2"),
            layers.Dropout(0.5),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    variables = [*model.variables, *model.optimizer.variables]
    before = [keras.ops.convert_to_numpy(v.value).copy() for v in variables]
    losses = len(model.losses)
    hooks = [set(vars(layer)) for layer in model.layers]
    flags = [v.trainable for v in variables]
    look(model, X)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(variable.value), value, variable.path
        )
    # Any call forgets those of the one before.
    assert len(model.losses) <= losses
    assert [set(vars(layer)) for layer in model.layers] == hooks
    assert [v.trainable for v in variables] == flags


def test_a_training_with_the_monitor_is_the_plain_one():
    losses = []
    for callbacks in ([], [ActivationMonitor(X)]):
        model = network()
        model.compile(keras.optimizers.SGD(0.1), "mse")
        fit = model.fit(X, Y, epochs=2, verbose=0, callbacks=callbacks)
        losses.append(fit.history["loss"])
    np.testing.assert_array_equal(*losses)


def test_channels_loops_lists_and_half_precision():
    image = keras.Input((4, 4, 2), name="image")
    words = keras.Input((5, 3), name="words")
    shift = keras.initializers.Constant(-100.0)
    pixels = layers.Conv2D(3, 2, activation="relu", bias_initializer=shift, name="c")
    one = layers.GlobalAveragePooling2D()(pixels(image))
    two = layers.Bidirectional(layers.LSTM(2), name="both")(words)
    three = layers.TimeDistributed(layers.Dense(2, "tanh"), name="each")(words)
    three = layers.Flatten()(three)
    joined = layers.Concatenate()([one, two, three])
    model = keras.Model([image, words], layers.Dense(1, dtype="float16")(joined))
    x = [RANDOM.normal(size=(3, 4, 4, 2)), RANDOM.normal(size=(3, 5, 3))]
    seen = look(model, x)
    assert seen["c"].dead == 1.0
    assert {"both/forward_lstm", "both/backward_lstm", "each"} <= set(seen)
    assert all(one.finite for one in seen.values())


def test_it_waits_for_a_model_that_is_not_built():
    model = keras.Sequential([layers.Dense(2, "relu"), layers.Dense(1)])
    model.compile("sgd", "mse")
    monitor = ActivationMonitor(X)
    model.fit(X, Y, verbose=0, callbacks=[monitor])
    assert monitor.epochs[-1] == 1


def test_what_is_wrong_is_said_in_plain_words():
    model = network()
    model.get_layer("squash").kernel.assign(np.full((6, 5), np.nan))
    monitor = ActivationMonitor(X)
    monitor.set_model(model)
    assert monitor.findings == []
    assert monitor.summary() == "ActivationMonitor has not looked yet."
    monitor.on_epoch_end(0)
    assert "squash: answers are not finite." in monitor.findings[0]
    relu = model.get_layer("backbone").get_layer("norm")
    relu.weights[0].assign(np.zeros(6))
    relu.weights[1].assign(-np.ones(6))
    model.get_layer("squash").kernel.assign(np.zeros((6, 5)))
    model.get_layer("head").bias.assign([0.0])
    model.get_layer("backbone").get_layer("dense").kernel.assign(np.full((4, 6), 1e5))
    monitor.on_epoch_end(1)
    text = "\n".join(monitor.findings)
    assert "backbone/dense: its answers are huge" in text
    assert "backbone/relu: 100% of its units answer 0 to every sample" in text
    assert "squash: its answers hardly differ" in text


@pytest.mark.needs("matplotlib")
def test_the_heat_map_has_a_row_per_layer_and_a_column_per_look():
    from matplotlib import figure

    monitor = ActivationMonitor(X)
    with pytest.raises(ValueError, match="needs a look at the model"):
        monitor.plot()
    network().fit(X, Y, epochs=2, verbose=0, callbacks=[monitor])
    for kind, rows in (("trouble", 3), ("mean", 5), ("std", 5)):
        ax = monitor.plot(figure.Figure().subplots(), kind)
        assert ax.images[0].get_array().shape == (rows, 3)
    with pytest.raises(ValueError, match="`kind` must be one of"):
        monitor.plot(kind="max")


def test_refusals():
    with pytest.raises(TypeError, match="`x` must be samples as arrays"):
        ActivationMonitor("x")
    with pytest.raises(ValueError, match="`x` must hold at least one sample"):
        ActivationMonitor(X[:0])
    with pytest.raises(ValueError, match="`every` must be one of 'epoch'"):
        ActivationMonitor(X, every="batch")
    with pytest.raises(ValueError, match="`every` must be a positive integer"):
        ActivationMonitor(X, every=0)
