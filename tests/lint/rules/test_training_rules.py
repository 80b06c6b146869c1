"""Rules on loss, optimizer, schedule and callbacks."""

import keras
import numpy as np
import pytest
from contracts import recipes
from keras import layers
from keras.optimizers import SGD, Adam, AdamW

import keras_tricks as kt
from keras_tricks import lint
from keras_tricks.lint import _traits
from keras_tricks.lint._rules import seed

pytestmark = pytest.mark.usefixtures("undrawn")

X = np.random.default_rng(0).normal(size=(100, 4)).astype("float32")
COSINE = keras.optimizers.schedules.CosineDecay


def found(code, model, *args, **options):
    return list(lint.check(model, *args, **options).filter(code=code))


def model_of(*held, optimizer="adam", loss="mse", width=4):
    model = keras.Sequential([keras.Input((width,)), *held])
    model.compile(optimizer, loss)
    return model


def dense(optimizer="adam", loss="mse", **options):
    return model_of(
        layers.Dense(3, name="a", **options), optimizer=optimizer, loss=loss
    )


# KT211, KT212 -------------------------------------------------------------------------


ADAPTIVE = [
    Adam(),
    keras.optimizers.Nadam(),
    keras.optimizers.RMSprop(),
    kt.optimizers.LazyAdam(),
    kt.optimizers.SWATS(),
]


@pytest.mark.parametrize("optimizer", ADAPTIVE)
def test_l2_with_adam_is_told(optimizer):
    (finding,) = found("KT211", dense(optimizer, kernel_regularizer="l2"))
    name = type(optimizer).__name__
    assert finding.message.startswith(f"L2 regularizers with {name}: decoupled")
    assert (finding.severity, finding.layers) == ("warning", ("a",))
    assert "1711.05101" in finding.source


def test_l2_without_adam_is_left_alone():
    assert found("KT211", dense(SGD(0.1), kernel_regularizer="l2")) == []
    assert found("KT211", dense(Adam(), kernel_regularizer="l1")) == []
    frozen = layers.Dense(3, kernel_regularizer="l2", trainable=False)
    assert found("KT211", model_of(frozen, layers.Dense(1))) == []


def test_l2_beside_decoupled_decay_is_told_once():
    model = dense(AdamW(weight_decay=0.1), kernel_regularizer="l2")
    (finding,) = found("KT212", model)
    assert finding.message == "L2 regularizers, and weight_decay=0.1 as well."
    assert found("KT211", model) == []
    assert found("KT212", dense(AdamW())) == []
    assert found("KT212", dense(Adam(), kernel_regularizer="l2")) == []


# KT213, KT214 -------------------------------------------------------------------------


def test_decay_on_biases_and_scales_is_worth_a_thought():
    model = model_of(layers.Dense(3), layers.BatchNormalization(), optimizer=AdamW())
    (finding,) = found("KT213", model)
    # A kernel; a bias, a scale and a shift.
    assert finding.message == (
        "3 of 4 decayed weights are biases, scales or embeddings."
    )
    assert (finding.severity, finding.safe) == ("info", True)


def test_decay_that_leaves_biases_out_is_left_alone():
    model = dense(AdamW())
    model.compile(kt.optimizers.no_decay(AdamW(), model), "mse")
    assert found("KT213", model) == found("KT214", model) == []
    excluding = AdamW()
    excluding.exclude_from_weight_decay(var_names=["bias"])
    assert found("KT213", dense(excluding)) == []
    listed = dense(AdamW())
    listed.optimizer.exclude_from_weight_decay(var_list=[listed.layers[0].bias])
    assert found("KT213", listed) == []
    assert found("KT213", dense(Adam())) == []


def test_exclusions_that_saving_forgets_are_told():
    optimizer = AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    (finding,) = found("KT214", dense(optimizer))
    assert (finding.severity, finding.safe) == ("warning", True)
    assert found("KT214", dense(AdamW())) == []
    idle = SGD(0.1)
    idle.exclude_from_weight_decay(var_names=["bias"])
    assert found("KT214", dense(idle)) == []


# KT301 to KT304 -----------------------------------------------------------------------

LOGITS = keras.losses.CategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize(
    ("held", "loss"),
    [
        ([layers.Dense(3, "softmax", name="a")], LOGITS),
        ([layers.Dense(3), layers.Softmax(name="a")], LOGITS),
        ([layers.Dense(3, "softmax", name="a"), layers.Reshape((3,))], LOGITS),
        (
            [layers.Dense(1, "sigmoid", name="a")],
            keras.losses.BinaryFocalCrossentropy(from_logits=True),
        ),
    ],
)
def test_probabilities_under_a_loss_of_logits_are_an_error(held, loss):
    (finding,) = found("KT301", model_of(*held, loss=loss))
    assert (finding.severity, finding.layers) == ("error", ("a",))
    assert finding.fix == f"keras.losses.{type(loss).__name__}(from_logits=False)"


@pytest.mark.parametrize(
    "loss",
    [
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
        keras.losses.categorical_crossentropy,
        keras.losses.CategoricalCrossentropy(),
        "CategoricalCrossentropy",
    ],
)
def test_logits_under_a_loss_of_probabilities_are_an_error(loss):
    (finding,) = found("KT302", dense(loss=loss))
    assert (finding.severity, finding.layers) == ("error", ("a",))
    assert finding.fix.endswith("ategoricalCrossentropy(from_logits=True)")


def test_a_hidden_activation_at_the_end_is_no_probability():
    model = model_of(layers.Dense(3, "tanh"), loss="binary_crossentropy")
    (finding,) = found("KT302", model)
    assert finding.message == "The output is tanh, but the loss expects probabilities."
    assert not finding.safe


def own_loss(y_true, y_pred):
    return keras.losses.categorical_crossentropy(y_true, y_pred, from_logits=True)


@pytest.mark.parametrize(
    ("held", "loss"),
    [
        ([layers.Dense(3)], LOGITS),
        ([layers.Dense(3, "softmax")], "categorical_crossentropy"),
        ([layers.Dense(1, "sigmoid")], "binary_crossentropy"),
        ([layers.Dense(3, "softmax")], own_loss),
        ([layers.Dense(3)], own_loss),
        ([layers.Dense(3)], "mse"),
        (
            [layers.Dense(3), layers.Lambda(keras.ops.softmax)],
            "categorical_crossentropy",
        ),
    ],
)
def test_what_agrees_or_is_unknown_is_left_alone(held, loss):
    report = lint.check(model_of(*held, loss=loss)).filter(code="KT30")
    assert list(report) == []


def two_heads(loss):
    inputs = keras.Input((4,))
    one = layers.Dense(3, name="one")(inputs)
    two = layers.Dense(2, "softmax", name="two")(inputs)
    model = keras.Model(inputs, [one, two])
    model.compile("adam", loss)
    return model


@pytest.mark.parametrize(
    "loss",
    [
        [LOGITS, LOGITS],
        {"two": LOGITS, "one": "mse"},
        [None, LOGITS],
    ],
)
def test_each_output_is_compared_with_its_own_loss(loss):
    (finding,) = found("KT301", two_heads(loss))
    assert finding.layers == ("two",)


def test_a_head_inside_a_model_is_found():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a")], name="in")
    outputs = inner(inputs := keras.Input((4,)))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "categorical_crossentropy")
    assert found("KT302", model)[0].layers == ("in/a",)


def test_a_softmax_of_one_unit_is_an_error():
    (finding,) = found("KT303", model_of(layers.Dense(1, "softmax", name="a")))
    assert (finding.severity, finding.layers) == ("error", ("a",))
    assert found("KT303", model_of(layers.Dense(1, "sigmoid"))) == []
    assert found("KT303", model_of(layers.Dense(2, "softmax"))) == []


@pytest.mark.parametrize(
    ("units", "severity", "fix"),
    [(3, "warning", '"softmax"'), (1, "error", '"binary_crossentropy"')],
)
def test_sigmoids_under_a_loss_for_exclusive_classes_are_told(units, severity, fix):
    losses = keras.losses
    for loss in ("sparse_categorical_crossentropy", losses.CategoricalCrossentropy()):
        model = model_of(layers.Dense(units, "sigmoid", name="out"), loss=loss)
        (finding,) = found("KT305", model)
        assert (finding.severity, finding.layers) == (severity, ("out",))
        assert fix in finding.fix


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("sigmoid", "binary_crossentropy"),
        ("softmax", "categorical_crossentropy"),
        ("sigmoid", keras.losses.CategoricalCrossentropy(from_logits=True)),
        ("sigmoid", "categorical_hinge"),
    ],
)
def test_sigmoids_elsewhere_are_left_to_other_rules(activation, loss):
    model = model_of(layers.Dense(3, activation), loss=loss)
    assert found("KT305", model) == []


def test_a_summed_loss_is_told():
    loss = keras.losses.MeanSquaredError(reduction="sum")
    (finding,) = found("KT304", dense(loss=loss))
    assert (finding.severity, finding.layers) == ("warning", ("a",))
    assert found("KT304", dense(loss=keras.losses.MeanSquaredError())) == []
    assert found("KT304", dense(loss="mse")) == []


# KT310 to KT313 -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            Adam(0.1),
            "A learning rate of 0.1 is very high for Adam; 0.001 is a good start.",
        ),
        (AdamW(1e-8), "A learning rate of 1e-08 is very low for AdamW"),
        (SGD(10.0), "A learning rate of 10 is very high for SGD"),
        (
            keras.optimizers.Adadelta(),
            "A learning rate of 0.001 is very low for Adadelta",
        ),
        (Adam(COSINE(1.0, 100)), "A learning rate of 1 is very high for Adam"),
        (
            kt.optimizers.LazyAdam(0.1),
            "A learning rate of 0.1 is very high for LazyAdam",
        ),
    ],
)
def test_a_rate_far_from_the_usual_is_told(optimizer, message):
    (finding,) = found("KT310", dense(optimizer))
    assert finding.severity == "warning"
    assert finding.message.startswith(message)
    assert "find_learning_rate" in finding.fix


def test_a_rate_of_zero_is_an_error():
    (finding,) = found("KT310", dense(SGD(0.0)))
    assert finding.severity == "error"


class Own(keras.optimizers.Optimizer):
    pass


@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(1e-2),
        Adam(1e-5),
        SGD(1.0),
        keras.optimizers.Lion(1e-4),
        keras.optimizers.Adadelta(1.0),
        Adam(COSINE(1e-3, 100)),
        keras.optimizers.LossScaleOptimizer(Adam(1e-3)),
        kt.optimizers.SWATS(1e-3),
        Own(50.0),
        SGD(lambda: 1e9),
    ],
)
def test_a_usual_or_unknown_rate_is_left_alone(optimizer):
    assert found("KT310", dense(optimizer)) == []


def test_a_rate_that_a_scheduler_sets_from_the_start_does_not_count():
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3)
    plateau = keras.callbacks.ReduceLROnPlateau()
    for rate in (0.0, 9.0):
        for callback, count in ((scheduler, 0), (plateau, 1)):
            findings = found("KT310", dense(Adam(rate)), callbacks=[callback])
            assert len(findings) == count


def test_a_large_batch_with_the_default_rate_is_worth_a_thought():
    (finding,) = found("KT311", dense(SGD()), batch_size=256)
    assert finding.severity == "info"
    assert finding.fix == (
        'kt.schedules.scale_learning_rate(0.01, 256, 32, rule="linear")'
    )
    assert 'rule="sqrt"' in found("KT311", dense(Adam()), batch_size=256)[0].fix
    assert found("KT311", dense(SGD()), batch_size=255) == []
    assert found("KT311", dense(SGD(0.08)), batch_size=256) == []
    assert found("KT311", dense(SGD())) == []


class SetsRate(keras.callbacks.Callback):
    lint_traits = {"sets_learning_rate": True}  # noqa: RUF012


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.ReduceLROnPlateau(),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate),
        SetsRate(),
    ],
)
def test_a_schedule_beside_a_callback_that_sets_the_rate_is_an_error(callback):
    (finding,) = found("KT312", dense(Adam(COSINE(1e-3, 9))), callbacks=[callback])
    assert finding.severity == "error"
    assert finding.message.startswith(type(callback).__name__)
    assert found("KT312", dense(Adam(1e-3)), callbacks=[callback]) == []


def test_a_schedule_beside_other_callbacks_is_left_alone():
    callbacks = [keras.callbacks.EarlyStopping(), kt.callbacks.HalveOnPlateau()]
    model = dense(Adam(COSINE(1e-3, 9)))
    assert found("KT312", model, callbacks=callbacks) == []


@pytest.mark.parametrize(
    ("schedule", "severity"),
    [
        # 100 rows by 10 in 4 epochs are 40 steps.
        (COSINE(1e-3, 19), "warning"),
        (COSINE(1e-3, 20), None),
        (COSINE(1e-3, 80), None),
        (COSINE(1e-3, 81), "info"),
        (keras.optimizers.schedules.PolynomialDecay(1e-3, 19), "warning"),
        (kt.schedules.OneCycle(1e-3, 19), "warning"),
        (kt.schedules.Warmup(COSINE(1e-3, 15), 4), "warning"),
        (kt.schedules.Warmup(COSINE(1e-3, 15), 5), None),
        (kt.schedules.Scaled(COSINE(1e-3, 19), 0.5), "warning"),
        (keras.optimizers.schedules.ExponentialDecay(1e-3, 5, 0.9), None),
    ],
)
def test_a_schedule_is_compared_with_the_steps_of_the_training(schedule, severity):
    model = dense(Adam(schedule))
    findings = found("KT313", model, X, X[:, :3], batch_size=10, epochs=4)
    assert [one.severity for one in findings] == ([severity] if severity else [])
    assert found("KT313", model, X, X[:, :3], batch_size=10) == [], "epochs unknown"


# KT320 --------------------------------------------------------------------------------


class Clips(keras.callbacks.Callback):
    lint_traits = {"clips_gradients": True}  # noqa: RUF012


def recurrent(optimizer, **options):
    model = keras.Sequential(
        [keras.Input((3, 2)), layers.LSTM(32, name="a", **options)]
    )
    model.compile(optimizer, "mse")
    return model


def test_a_recurrent_model_without_clipping_is_told():
    (finding,) = found("KT320", recurrent(Adam(1e-3)))
    assert (finding.severity, finding.layers) == ("warning", ("a",))
    assert "global_clipnorm=5.0" in finding.fix
    maps = layers.ConvLSTM2D(2, 3, name="maps")
    model = keras.Sequential([keras.Input((3, 8, 8, 1)), maps, layers.Flatten()])
    model.compile("adam", "mse")
    assert found("KT320", model)[0].layers == ("maps",)


@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(global_clipnorm=5.0),
        Adam(clipnorm=1.0),
        SGD(0.1, clipvalue=0.5),
        kt.optimizers.AutoClip(Adam()),
        keras.optimizers.LossScaleOptimizer(Adam(clipnorm=1.0)),
    ],
)
def test_a_recurrent_model_with_clipping_is_left_alone(optimizer):
    assert found("KT320", recurrent(optimizer)) == []


def test_clipping_elsewhere_or_nothing_to_clip_is_left_alone():
    assert found("KT320", recurrent(Adam()), callbacks=[Clips()]) == []
    assert found("KT320", dense(Adam())) == []
    frozen = keras.Sequential(
        [keras.Input((3, 2)), layers.LSTM(32, trainable=False), layers.Dense(1)]
    )
    frozen.compile(Adam(), "mse")
    assert found("KT320", frozen) == []


# KT330 to KT332 -----------------------------------------------------------------------


def test_a_batch_larger_than_the_data_is_told():
    (finding,) = found("KT330", dense(), X, batch_size=101)
    assert finding.severity == "warning"
    assert found("KT330", dense(), X, batch_size=100) == []
    assert [one.severity for one in found("KT330", dense(), X[:31])] == ["info"]


def normalized(**options):
    return model_of(
        layers.Dense(3),
        layers.BatchNormalization(name="norm", **options),
        layers.Dense(1),
    )


def test_batch_normalization_with_tiny_batches_is_told():
    (finding,) = found("KT331", normalized(), batch_size=7)
    assert (finding.severity, finding.layers) == ("warning", ("norm",))
    assert found("KT331", normalized(), batch_size=8) == []
    assert found("KT331", normalized(trainable=False), batch_size=2) == []
    together = normalized()
    # Keras takes it as an argument on TensorFlow only.
    together.layers[1].synchronized = True
    assert found("KT331", together, batch_size=2) == []
    assert found("KT331", dense(), batch_size=2) == []


def test_a_last_batch_of_one_row_is_worth_a_thought():
    (finding,) = found("KT331", normalized(), X, batch_size=11)
    assert finding.severity == "info"
    assert found("KT331", normalized(), X, batch_size=12) == []


class Averages(keras.callbacks.Callback):
    lint_traits = {"averages_weights": True}  # noqa: RUF012


class Refreshes(Averages):
    lint_traits = {  # noqa: RUF012
        "averages_weights": True,
        "refreshes_batch_norm": True,
    }


def test_averaged_weights_need_other_statistics():
    (finding,) = found("KT332", normalized(), callbacks=[Averages()])
    assert (finding.severity, finding.layers) == ("warning", ("norm",))
    assert found("KT332", normalized(), callbacks=[Refreshes()]) == []
    assert found("KT332", dense(), callbacks=[Averages()]) == []


def test_a_moving_average_is_worth_a_thought():
    model = normalized()
    model.compile(Adam(use_ema=True), "mse")
    assert [one.severity for one in found("KT332", model)] == ["info"]
    swap = [keras.callbacks.SwapEMAWeights()]
    assert [one.severity for one in found("KT332", model, callbacks=swap)] == ["info"]


# KT340 to KT343 -----------------------------------------------------------------------


def test_a_frozen_model_has_nothing_to_train():
    model = dense()
    model.trainable = False
    (finding,) = found("KT340", model)
    assert finding.severity == "error"
    assert found("KT340", dense()) == []
    assert found("KT340", model_of(layers.ReLU())) == []
    # It is learned by `adapt`.
    assert found("KT340", model_of(layers.Normalization())) == []


def test_freezing_after_compile_is_an_error_once_the_optimizer_is_built():
    model = model_of(layers.Dense(3, name="a"), layers.Dense(1, name="b"))
    model.layers[0].trainable = False
    assert found("KT341", model) == []
    model.optimizer.build(model.trainable_variables)
    assert found("KT341", model) == []
    model.layers[0].trainable = True
    (finding,) = found("KT341", model)
    assert (finding.severity, finding.layers) == ("error", ("a",))
    assert finding.message == "2 weights were frozen or unfrozen after `compile`."


def test_a_pattern_of_our_callback_that_names_no_layer_is_an_error():
    # The path of weights that the model itself holds is empty.
    for groups, count in (([["typo"], ["a"]], 1), (["a"], 0), (["|none", "a"], 0)):
        callback = kt.callbacks.GradualUnfreezing(groups)
        findings = found("KT342", dense(), callbacks=[callback])
        assert [one.message for one in findings] == [
            "GradualUnfreezing: 'typo' names no layer."
        ] * count


def test_our_callbacks_declare_only_traits_that_the_linter_knows():
    known = {
        "averages_weights",
        "clips_gradients",
        "patterns",
        "refreshes_batch_norm",
        "sets_learning_rate",
        "starts_learning_rate",
    }
    declared = set()
    for name in kt.callbacks.__all__:
        callback = recipes.RECIPES[f"callbacks.{name}"].make()
        declared |= set(getattr(callback, "lint_traits", {}))
    assert {"patterns", "averages_weights"} <= declared <= known
    for trait in known:
        assert f'"{trait}"' in lint.check.__doc__
        assert f'"{trait}"' in _traits.__doc__


def test_an_average_needs_no_other_statistics_where_the_callback_refreshes_them():
    model = model_of(layers.Dense(2), layers.BatchNormalization(), layers.Dense(1))
    for data, count in ((None, 1), (X, 0)):
        average = kt.callbacks.StochasticWeightAverage(0, recalibrate=data)
        assert len(found("KT332", model, callbacks=[average])) == count


class Patterned(keras.callbacks.Callback):
    lint_traits = {"patterns": "groups"}  # noqa: RUF012

    def __init__(self, groups):
        super().__init__()
        self.groups = groups


def test_patterns_of_callbacks_and_optimizers_that_name_no_layer_are_errors():
    (finding,) = found("KT342", dense(), callbacks=[Patterned(["a", ["b"]])])
    assert finding.severity == "error"
    assert finding.message == "Patterned: 'b' names no layer."
    assert found("KT342", dense(), callbacks=[Patterned(["a", [".*"]])]) == []
    layerwise = kt.optimizers.LayerwiseLearningRate
    assert len(found("KT342", dense(layerwise(Adam(), {"b": 0.1})))) == 1
    assert found("KT342", dense(layerwise(Adam(), {"a": 0.1}))) == []


def test_a_map_of_optimizers_that_matches_no_variable_is_an_error():
    many, one = keras.optimizers.MultiOptimizer, keras.optimizers.OptimizerMap
    (finding,) = found("KT342", dense(many(one(Adam(), {"b/.*": SGD(0.1)}))))
    assert "'b/.*' matches the path of no variable" in finding.message
    assert found("KT342", dense(many(one(Adam(), {".*bias": SGD(0.1)})))) == []


def test_an_exclusion_that_matches_no_variable_is_told():
    for name, severities in (("beta", ["warning"]), ("bias", [])):
        optimizer = AdamW()
        optimizer.exclude_from_weight_decay(var_names=[name])
        findings = found("KT342", dense(optimizer))
        assert [one.severity for one in findings] == severities


def test_patience_as_long_as_the_training_is_worth_a_thought():
    callbacks = [keras.callbacks.EarlyStopping(patience=10)]
    (finding,) = found("KT343", dense(), epochs=10, callbacks=callbacks)
    assert finding.severity == "info"
    assert found("KT343", dense(), epochs=11, callbacks=callbacks) == []
    assert found("KT343", dense(), callbacks=callbacks) == []


# KT501 --------------------------------------------------------------------------------


def test_an_unset_seed_is_worth_a_thought(monkeypatch):
    assert found("KT501", dense()) == [], "conftest sets one"
    monkeypatch.setattr(seed, "given_seed", lambda: None)
    assert [one.severity for one in found("KT501", dense())] == ["info"]
