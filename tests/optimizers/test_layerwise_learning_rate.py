import copy
import io
import json
import pickle
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers, optimizers

import keras_tricks as kt
from keras_tricks.optimizers import LayerwiseLearningRate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 5)).astype("float32")
Y = (X[:, :1] - X[:, 1:2] ** 2).astype("float32")
BATCH = 8

PLAIN = {
    "sgd": lambda **k: optimizers.SGD(0.05, **k),
    "momentum": lambda **k: optimizers.SGD(0.05, momentum=0.9, **k),
    "nesterov": lambda **k: optimizers.SGD(0.05, momentum=0.9, nesterov=True, **k),
    "adam": lambda **k: optimizers.Adam(0.01, **k),
    "amsgrad": lambda **k: optimizers.Adam(0.01, amsgrad=True, **k),
    "adamw": lambda **k: optimizers.AdamW(0.01, weight_decay=0.1, **k),
    "adamax": lambda **k: optimizers.Adamax(0.01, **k),
    "adadelta": lambda **k: optimizers.Adadelta(1.0, **k),
    "rmsprop": lambda **k: optimizers.RMSprop(0.01, momentum=0.5, centered=True, **k),
    "nadam": lambda **k: optimizers.Nadam(0.01, **k),
    "adagrad": lambda **k: optimizers.Adagrad(0.05, **k),
    "lion": lambda **k: optimizers.Lion(0.003, **k),
    "adafactor": lambda **k: optimizers.Adafactor(0.01, **k),
    "lamb": lambda **k: optimizers.Lamb(0.01, **k),
    "muon": lambda **k: optimizers.Muon(0.01, adam_weight_decay=0.1, **k),
    "ftrl": lambda **k: optimizers.Ftrl(0.05, **k),
    "schedule_free": lambda **k: optimizers.ScheduleFreeAdamW(0.01, **k),
}


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(4, activation="tanh", name="low"),
            layers.Dense(4, activation="tanh", name="high"),
            layers.Dense(1, name="head"),
        ]
    )


def trained(optimizer, epochs=1, model=None, **fit):
    model = model or network()
    model.compile(optimizer, "mse")
    fit = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **fit}
    model.fit(X, Y, epochs=epochs, **fit)
    return model


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def assert_same(found, expected, atol=1e-6):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=atol)


@pytest.mark.parametrize("name", PLAIN)
def test_with_all_multipliers_one_it_is_the_plain_optimizer(name):
    plain = trained(PLAIN[name](), epochs=13)
    layerwise = trained(LayerwiseLearningRate(PLAIN[name](), {"low": 1.0}), epochs=13)
    assert_same(values(layerwise.weights), values(plain.weights))
    slots = plain.optimizer.variables
    assert_same(values(layerwise.optimizer.variables[: len(slots)]), values(slots))


@pytest.mark.parametrize("name", PLAIN)
def test_a_multiplier_of_zero_freezes_weights_and_slots_and_nothing_else(name):
    expected = network()
    expected.get_layer("low").trainable = False
    plain = PLAIN[name]()
    # Before `fit`: what some optimizers assign in `build` is lost inside a tf.function.
    plain.build(expected.trainable_variables)
    trained(plain, 1, expected)

    model = network()
    optimizer = LayerwiseLearningRate(PLAIN[name](), {"low": 0})
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    slots = [slot for own in vars(optimizer)["_slots"][:2] for slot in own]
    frozen = [*model.get_layer("low").weights, *slots]
    before = values(frozen)
    model.fit(X, Y, batch_size=BATCH, shuffle=False, verbose=0)
    for one, other in zip(values(frozen), before, strict=True):
        assert np.array_equal(one, other)
    assert_same(values(model.weights), values(expected.weights))


SCALED = ["sgd", "momentum", "nesterov", "adam", "adamw", "nadam", "lion", "lamb"]


@pytest.mark.parametrize("name", SCALED)
def test_each_layer_has_the_rate_of_an_optimizer_of_its_own(name):
    rates = {"low": 0.1, "high": 0.5, "head": 1.0}
    layerwise = trained(LayerwiseLearningRate(PLAIN[name](), rates), 2)

    expected = network()
    own = {}
    for layer, multiplier in rates.items():
        own[layer] = PLAIN[name]()
        own[layer].learning_rate = float(own[layer].learning_rate) * multiplier
    expected.compile(
        optimizers.MultiOptimizer(lambda v: own[v.path.split("/")[-2]]), "mse"
    )
    expected.fit(X, Y, batch_size=BATCH, shuffle=False, verbose=0, epochs=2)
    assert_same(values(layerwise.weights), values(expected.weights))


def test_decoupled_weight_decay_is_scaled_with_the_rate():
    decay = optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer = LayerwiseLearningRate(decay, {"a": 0.2})
    with keras.name_scope("a"):
        a = keras.Variable([1.0], name="kernel")
    with keras.name_scope("b"):
        b = keras.Variable([1.0], name="kernel")
    for _ in range(3):
        optimizer.apply([keras.ops.zeros(1)] * 2, [a, b])
    # Loshchilov and Hutter: theta (1 - rate * decay) ** steps without a gradient.
    found = values([a, b])
    assert found[0] == pytest.approx((1 - 0.02 * 0.5) ** 3, rel=1e-6)
    assert found[1] == pytest.approx((1 - 0.1 * 0.5) ** 3, rel=1e-6)


def variables_of(*sizes):
    made = []
    for index, size in enumerate(sizes):
        with keras.name_scope(f"layer{index}"):
            made.append(keras.Variable(np.ones(size, "float32"), name="kernel"))
    return made


def moved(variables):
    return [1.0 - value for value in values(variables)]


def test_all_gradients_share_one_clip_by_global_norm_before_the_scaling():
    optimizer = LayerwiseLearningRate(
        optimizers.SGD(1.0, global_clipnorm=1.0), {"layer0": 0.5}
    )
    a, b = variables_of(1, 1)
    optimizer.apply([keras.ops.array([3.0]), keras.ops.array([4.0])], [a, b])
    steps = moved([a, b])
    assert steps[0][0] == pytest.approx(0.5 * 3 / 5, rel=1e-6)
    assert steps[1][0] == pytest.approx(4 / 5, rel=1e-6)


def test_a_frozen_gradient_does_not_count_in_the_global_norm():
    optimizer = LayerwiseLearningRate(
        optimizers.SGD(1.0, global_clipnorm=1.0), {"layer0": 0.0}
    )
    a, b = variables_of(1, 1)
    optimizer.apply([keras.ops.array([np.nan]), keras.ops.array([4.0])], [a, b])
    steps = moved([a, b])
    assert steps[0][0] == 0.0
    assert steps[1][0] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("name", ["momentum", "adamw", "nadam", "lamb"])
@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
        {"global_clipnorm": 0.1},
        {"clipnorm": 0.1, "use_ema": True},
    ],
    ids=["accumulation", "average", "global clip", "clip"],
)
def test_settings_of_the_optimizer_work_as_on_the_plain_one(name, settings):
    plain = trained(PLAIN[name](**settings), 2)
    layerwise = trained(LayerwiseLearningRate(PLAIN[name](**settings), {"low": 1}), 2)
    assert_same(values(layerwise.weights), values(plain.weights))


def test_constraints_and_averages_leave_frozen_weights_alone():
    keras.utils.set_random_seed(3)
    constraint = keras.constraints.UnitNorm()
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(4, kernel_constraint=constraint, name="low"),
            layers.Dense(1, kernel_constraint=constraint, name="head"),
        ]
    )
    average = optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=2)
    before = values(model.get_layer("low").weights)
    head = values(model.get_layer("head").weights)[0]
    trained(LayerwiseLearningRate(average, {"low": 0}), 2, model)
    for one, other in zip(values(model.get_layer("low").weights), before, strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(values(model.get_layer("head").weights)[0], head)


class SetAt(keras.callbacks.Callback):
    """Calls `set_multiplier` before given batches."""

    def __init__(self, plan):
        super().__init__()
        self.plan = plan

    def on_train_batch_begin(self, batch, logs=None):
        for pattern, value in self.plan.get(batch, {}).items():
            self.model.optimizer.set_multiplier(pattern, value)


class Traces:
    """A loss that counts how often it is traced."""

    def __init__(self):
        self.count = 0

    def __call__(self, y_true, y_pred):
        self.count += 1
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def test_multipliers_change_between_batches_of_one_fit():
    model = network()
    optimizer = LayerwiseLearningRate(optimizers.SGD(0.05, momentum=0.9), {"low": 1.0})
    model.compile(optimizer, "mse")
    plan = {3: {"low": 0.0}, 5: {"low": 0.5, "head": 0.25}}
    fit = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    model.fit(X, Y, callbacks=[SetAt(plan)], **fit)

    by_hand = network()
    by_hand.compile(LayerwiseLearningRate(optimizers.SGD(0.05, momentum=0.9)), "mse")
    by_hand.optimizer.build(by_hand.trainable_variables)
    for batch in range(len(X) // BATCH):
        for pattern, value in plan.get(batch, {}).items():
            by_hand.optimizer.set_multiplier(pattern, value)
        rows = slice(batch * BATCH, (batch + 1) * BATCH)
        by_hand.train_on_batch(X[rows], Y[rows])
    assert_same(values(model.weights), values(by_hand.weights))
    assert model.optimizer.current_multipliers == [0.5, 0.5, 1, 1, 0.25, 0.25]
    assert optimizer.multipliers == {"low": 0.5}


@pytest.mark.backend("jax", "tensorflow", reason="PyTorch runs eagerly")
def test_a_changed_multiplier_does_not_trace_the_step_again():
    model, traces = network(), Traces()
    model.compile(LayerwiseLearningRate(optimizers.Adam(), {"low": 1.0}), traces)
    fit = {"batch_size": BATCH, "verbose": 0}
    model.fit(X, Y, steps_per_epoch=2, **fit)
    before = traces.count
    model.fit(
        X, Y, epochs=2, callbacks=[SetAt({1: {"low": 0.0}, 4: {"low": 1}})], **fit
    )
    assert traces.count == before


def test_the_shared_rate_is_read_and_set_and_the_ratios_stay():
    optimizer = LayerwiseLearningRate(optimizers.SGD(1.0), {"layer0": 0.5})
    a, b = variables_of(1, 1)
    optimizer.build([a, b])
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == 1.0
    optimizer.learning_rate = 0.1
    optimizer.apply([keras.ops.ones(1)] * 2, [a, b])
    steps = moved([a, b])
    assert steps[0][0] == pytest.approx(0.05, rel=1e-5)
    assert steps[1][0] == pytest.approx(0.1, rel=1e-5)


def test_a_schedule_is_scaled_at_every_step():
    schedule = optimizers.schedules.ExponentialDecay(0.4, 1, 0.5)
    optimizer = LayerwiseLearningRate(optimizers.SGD(schedule), {"layer0": 0.5})
    a, b = variables_of(1, 1)
    for _ in range(2):
        optimizer.apply([keras.ops.ones(1)] * 2, [a, b])
    steps = moved([a, b])
    assert steps[0][0] == pytest.approx(0.5 * (0.4 + 0.2), rel=1e-5)
    assert steps[1][0] == pytest.approx(0.4 + 0.2, rel=1e-5)


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)),
        keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=100),
        kt.callbacks.HalveOnPlateau("loss", patience=1, min_delta=100.0),
    ],
    ids=["scheduler", "reduce", "halve"],
)
def test_callbacks_that_set_the_rate_set_the_shared_one(callback):
    model = network()
    model.compile(LayerwiseLearningRate(optimizers.SGD(0.1), {"low": 0.5}), "mse")
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[callback]).history
    assert history["learning_rate"][0] == pytest.approx(0.1)
    assert history["learning_rate"][-1] < 0.06
    assert model.optimizer.current_multipliers == [0.5, 0.5, 1, 1, 1, 1]


def test_the_range_test_runs_with_the_multipliers():
    model = network()
    optimizer = LayerwiseLearningRate(optimizers.SGD(0.1), {".*": 0})
    model.compile(optimizer, "mse")
    still = kt.probes.find_learning_rate(model, X, Y, growth=1.3, verbose=0)
    plain = network()
    plain.compile(optimizers.SGD(0.1), "mse")
    moved = kt.probes.find_learning_rate(plain, X, Y, growth=1.3, verbose=0)
    assert model.optimizer is optimizer
    # Frozen weights cannot diverge, so only that test goes through all its rates.
    assert len(still.losses) > len(moved.losses)


def test_loss_scaling_goes_around_it():
    scaled = optimizers.LossScaleOptimizer(
        LayerwiseLearningRate(optimizers.SGD(0.05), {"low": 0.5}), initial_scale=8.0
    )
    plain = LayerwiseLearningRate(optimizers.SGD(0.05), {"low": 0.5})
    assert_same(values(trained(scaled).weights), values(trained(plain).weights), 1e-5)


def test_it_is_still_the_optimizer_that_it_extends():
    optimizer = LayerwiseLearningRate(optimizers.AdamW(1e-3), {"low": 0.5})
    assert isinstance(optimizer, LayerwiseLearningRate)
    assert isinstance(optimizer, optimizers.AdamW)
    assert type(optimizer).__name__ == "LayerwiseLearningRate"


def test_by_type_covers_layers_that_no_pattern_names():
    keras.utils.set_random_seed(3)
    inner = keras.Sequential([layers.Dense(2, name="dense"), layers.PReLU()], name="in")
    model = keras.Sequential(
        [
            keras.Input((6, 1)),
            layers.Conv1D(2, 3, name="conv"),
            layers.Bidirectional(layers.LSTM(2), name="both"),
            inner,
            layers.Dense(1, name="head"),
        ]
    )
    optimizer = LayerwiseLearningRate(
        optimizers.SGD(),
        {"head": 7},
        default=5,
        by_type={
            layers.Conv1D: 0.1,
            "Bidirectional": 0.2,
            "Dense": 0.4,
        },
    )
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    conv, both, dense, prelu, head = [0.1] * 2, [0.2] * 6, [0.4] * 2, [5.0], [7.0] * 2
    expected = [*conv, *both, *dense, *prelu, *head]
    assert optimizer.current_multipliers == pytest.approx(expected)


def nested_functional():
    keras.utils.set_random_seed(3)
    low = keras.Input((5,))
    backbone = keras.Model(low, layers.Dense(4, name="low")(low), name="backbone")
    inputs = keras.Input((5,))
    outputs = layers.Dense(1, name="head")(backbone(inputs))
    return keras.Model(inputs, outputs, name="net")


@keras.saving.register_keras_serializable("keras_tricks_tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.backbone = layers.Dense(4)
        self.head = layers.Dense(1)

    def call(self, inputs):
        return self.head(self.backbone(inputs))


def test_a_nested_model_is_named_though_the_paths_of_its_variables_are_not():
    model = nested_functional()
    assert "backbone" not in model.trainable_variables[0].path
    optimizer = LayerwiseLearningRate(optimizers.SGD(), {"backbone": 0.1})
    model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    assert optimizer.current_multipliers == pytest.approx([0.1, 0.1, 1, 1])


LOAD = """
import sys, keras, numpy as np
import keras_tricks as kt
from keras import layers

@keras.saving.register_keras_serializable("keras_tricks_tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.backbone = layers.Dense(4)
        self.head = layers.Dense(1)

    def call(self, inputs):
        return self.head(self.backbone(inputs))

data = np.load(sys.argv[1] + "/data.npz")
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{sys.argv[1]}/{name}.keras")
    model.fit(data["x"], data["y"], batch_size=8, shuffle=False, verbose=0, epochs=2)
    print(name, model.optimizer.current_multipliers)
    state = [*model.variables, *model.optimizer.variables]
    arrays = [keras.ops.convert_to_numpy(v.value) for v in state]
    np.savez(f"{sys.argv[1]}/{name}.npz", *arrays)
"""


def test_resumed_in_a_fresh_process_it_trains_as_if_uninterrupted(tmp_path):
    sequential = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4, name="backbone"), layers.Dense(1)]
    )
    subclassed = Subclassed()
    subclassed(X)
    models = {"a": sequential, "b": nested_functional(), "c": subclassed}
    # The automatic names of a subclassed model are others in a new process.
    pattern = {"c": subclassed.backbone.name}
    expected = {}
    for name, model in models.items():
        optimizer = LayerwiseLearningRate(
            optimizers.AdamW(0.01), {pattern.get(name, "backbone"): 0.3}
        )
        model.compile(optimizer, "mse")
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
        optimizer.set_multiplier(pattern.get(name, "backbone"), 0.7)
        model.save(tmp_path / f"{name}.keras")
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0, epochs=2)
        expected[name] = values([*model.variables, *optimizer.variables])
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    command = [sys.executable, "-c", LOAD, tmp_path, *models]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in models:
        with np.load(tmp_path / f"{name}.npz") as file:
            assert_same([file[key] for key in file.files], expected[name])
    assert output.count("[0.699999988079071, 0.699999988079071, 1.0, 1.0]") == 3


def test_a_config_without_a_model_keeps_the_patterns():
    optimizer = LayerwiseLearningRate(
        optimizers.AdamW(optimizers.schedules.CosineDecay(0.1, 9), weight_decay=0.2),
        {"low": 0.5},
        default=0.9,
        by_type={layers.Conv2D: 0.1},
    )
    config = keras.saving.serialize_keras_object(optimizer)
    assert config["registered_name"] == "keras_tricks>LayerwiseLearningRate"
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert again.get_config() == optimizer.get_config()
    assert again.weight_decay == 0.2
    assert again.multipliers == {"low": 0.5}
    assert again.by_type == {"Conv2D": 0.1}


def test_the_multipliers_of_another_model_are_found_anew():
    first = trained(LayerwiseLearningRate(optimizers.SGD(0.1), {"low": 0.5}))
    config = keras.saving.serialize_keras_object(first.optimizer)
    other = keras.Sequential(
        [keras.Input((5,)), layers.Dense(7, name="first"), layers.Dense(1, name="low")]
    )
    again = keras.saving.deserialize_keras_object(config)
    trained(again, model=other)
    assert again.current_multipliers == [1.0, 1.0, 0.5, 0.5]


def test_the_multipliers_of_a_model_of_equal_shapes_are_found_anew():
    config = trained(
        LayerwiseLearningRate(optimizers.SGD(0.1), {"b": 0.5}), model=of("abc")
    )
    config = keras.saving.serialize_keras_object(config.optimizer)
    again = keras.saving.deserialize_keras_object(config)
    trained(again, model=of("cba"))
    assert again.current_multipliers == [1.0, 1.0, 0.5, 0.5, 1.0, 1.0]
    unknown = keras.saving.deserialize_keras_object(config)
    assert "'b', which matches none of x, y, z" in fit_error(unknown, of("xyz"))


def test_an_edited_config_is_obeyed():
    model = trained(
        LayerwiseLearningRate(optimizers.SGD(0.1), {"b": 0.5}), model=of("abc")
    )
    config = {**model.optimizer.get_config(), "multipliers": {"c": 0.25}}
    again = LayerwiseLearningRate.from_config(config)
    trained(again, model=of("abc"))
    assert again.current_multipliers == [1.0, 1.0, 1.0, 1.0, 0.25, 0.25]


def of(names):
    shape = [keras.Input((5,)), *(layers.Dense(5, name=name) for name in names)]
    return keras.Sequential(shape)


def test_a_loop_of_ones_own_may_name_the_layers_of_an_outer_model():
    inner = keras.Sequential(
        [keras.Input((5,)), layers.Dense(1, name="low")], name="inner"
    )
    inputs = keras.Input((5,))
    outer = keras.Model(inputs, keras.ops.tanh(inner(inputs)))
    for pattern in ("inner/low", "low"):
        optimizer = LayerwiseLearningRate(optimizers.SGD(0.1), {pattern: 0.5})
        optimizer.build(outer.trainable_variables)
        assert optimizer.current_multipliers == [0.5, 0.5]


@pytest.mark.parametrize("stacked", [False, True])
def test_it_can_be_pickled_as_other_optimizers_can(stacked):
    optimizer = LayerwiseLearningRate(optimizers.Adam(0.01), {"low": 0.5})
    if stacked:
        optimizer = kt.optimizers.AutoClip(optimizer, 20)
    for again in (pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer)):
        assert type(again) is type(optimizer)
        assert again.get_config() == optimizer.get_config()
        trained(again)
        assert again.variables[0] is not optimizer.variables[0]


def arrays_in(path):
    with zipfile.ZipFile(path) as archive:
        file = io.BytesIO(archive.read("model.weights.h5"))
    found = []
    with h5py.File(file) as stored:
        stored.visititems(
            lambda name, item: found.append(name) if hasattr(item, "shape") else None
        )
    return found


def test_its_state_is_saved_once(tmp_path):
    path = tmp_path / "model.keras"
    trained(optimizers.Adam(0.01)).save(path)
    plain = arrays_in(path)
    trained(LayerwiseLearningRate(optimizers.Adam(0.01), {"low": 0.5})).save(path)
    # The multipliers are one variable more.
    assert len(arrays_in(path)) == len(plain) + 1


def test_a_frozen_layer_that_a_pattern_names_is_told():
    model = network()
    model.get_layer("low").trainable = False
    model.compile(LayerwiseLearningRate(optimizers.SGD(), {"low": 0.1}), "mse")
    told = (
        "LayerwiseLearningRate has no effect on 'low': the layers that it names have no"
    )
    with pytest.warns(kt.NoEffectWarning, match=told):
        model.fit(X, Y, verbose=0)


def test_the_inner_optimizer_sends_to_the_outer_one():
    inner = LayerwiseLearningRate(optimizers.SGD(), {"low": 0.5})
    kt.optimizers.AutoClip(inner)
    told = r"must be asked of the outer optimizer. .*part of a AutoClip; call it on"
    with pytest.raises(ValueError, match="`set_multiplier` " + told):
        inner.set_multiplier("low", 0.1)
    with pytest.raises(ValueError, match="`current_multipliers` " + told):
        _ = inner.current_multipliers


@pytest.mark.backend("tensorflow", reason="only TensorFlow has such strategies")
@pytest.mark.parametrize("make", [LayerwiseLearningRate, kt.optimizers.AutoClip])
def test_a_strategy_is_refused(make):
    tf = pytest.importorskip("tensorflow")
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        model = network()
        model.compile(make(optimizers.SGD()), "mse")
    with pytest.raises(
        ValueError, match=r"works on one device only\. Received: a step"
    ):
        model.fit(X, Y, verbose=0)


def test_an_error_in_the_first_step_is_the_users_own():
    class Broken(keras.Sequential):
        def compute_loss(self, *args, **kwargs):
            raise RuntimeError("mine")

    model = Broken([keras.Input((5,)), layers.Dense(1, name="low")])
    model.compile(LayerwiseLearningRate(optimizers.SGD(), {"low": 0.5}), "mse")
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, Y, verbose=0)


def test_a_loop_of_ones_own_trains_with_it():
    optimizer = LayerwiseLearningRate(optimizers.SGD(0.5), {"low": 0})
    model = network()
    optimizer.build(model.trainable_variables)
    before = values(model.trainable_variables)
    gradients = [keras.ops.ones(v.shape) for v in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    steps = [
        b - a for a, b in zip(values(model.trainable_variables), before, strict=True)
    ]
    for step, expected in zip(steps, [0, 0, 0.5, 0.5, 0.5, 0.5], strict=True):
        np.testing.assert_allclose(step, expected, atol=1e-6)


def test_an_exclusion_from_weight_decay_survives_the_extension():
    inner = optimizers.SGD(1.0, weight_decay=0.5)
    inner.exclude_from_weight_decay(var_names=["bias"])
    optimizer = LayerwiseLearningRate(inner, {})
    with keras.name_scope("a"):
        kernel = keras.Variable([1.0], name="kernel")
        bias = keras.Variable([1.0], name="bias")
    optimizer.apply([keras.ops.zeros(1)] * 2, [kernel, bias])
    assert values([kernel, bias]) == [pytest.approx(0.5), 1.0]


def fit_error(optimizer, model=None):
    model = model or network()
    model.compile(optimizer, "mse")
    before = values(model.weights)
    with pytest.raises(ValueError, match="must") as caught:
        model.fit(X, Y, verbose=0)
    assert_same(values(model.weights), before, atol=0)
    return str(caught.value)


def test_a_pattern_that_matches_nothing_is_an_error_that_guesses():
    message = fit_error(LayerwiseLearningRate(optimizers.SGD(), {"hihg": 0.1}))
    assert "'hihg', which matches none of low, high, head" in message
    assert "Did you mean 'high'?" in message


def test_two_patterns_that_disagree_are_an_error():
    patterns = {"h.*": 0.1, "head": 0.2}
    message = fit_error(LayerwiseLearningRate(optimizers.SGD(), patterns))
    assert "'h.*': 0.1 and 'head': 0.2, which both cover 'head'" in message


def test_a_class_that_no_layer_has_is_an_error_that_guesses():
    optimizer = LayerwiseLearningRate(optimizers.SGD(), {}, by_type={"Dens": 0.1})
    assert "'Dens', which none of Dense" in fit_error(optimizer)


def test_a_shared_layer_with_two_values_is_an_error():
    shared = layers.Dense(5, name="shared")
    one = keras.Sequential([keras.Input((5,)), shared], name="one")
    two = keras.Sequential([keras.Input((5,)), shared], name="two")
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layers.Dense(1)(two(one(inputs))))
    optimizer = LayerwiseLearningRate(optimizers.SGD(), {"one": 0.1, "two": 0.2})
    assert "must give a shared layer one value" in fit_error(optimizer, model)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            ({"a": -1},),
            ValueError,
            r"`multipliers\['a'\]` must be a number of at least 0",
        ),
        (({"a": "1"},), TypeError, r"`multipliers\['a'\]` must be a number"),
        ((["a"],), TypeError, "`multipliers` must be a dict of multipliers, or None"),
        (({1: 1.0},), TypeError, "`multipliers` must name layers by regular"),
        (({"a(": 1.0},), ValueError, "which is none .*; escape special characters"),
        (({}, -1.0), ValueError, "`default` must be a number of at least 0"),
        (({}, 1.0, {3: 1.0}), TypeError, "`by_type` must have layer classes"),
        (({}, 1.0, [3]), TypeError, "`by_type` must be a dict of multipliers"),
    ],
)
def test_says_which_argument_is_wrong(arguments, error, text):
    with pytest.raises(error, match=text):
        LayerwiseLearningRate(optimizers.SGD(), *arguments)


def used():
    optimizer = optimizers.SGD()
    LayerwiseLearningRate(optimizer, {})
    return optimizer


def built():
    optimizer = optimizers.SGD()
    optimizer.build(variables_of(1))
    return optimizer


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: optimizers.LossScaleOptimizer(optimizers.SGD()),
            r"put it outside: LossScaleOptimizer\(LayerwiseLearningRate\(\.\.\.\)\)",
        ),
        (
            lambda: optimizers.MultiOptimizer(lambda v: optimizers.SGD()),
            "must be one optimizer",
        ),
        (lambda: LayerwiseLearningRate(optimizers.SGD()), "put all into one"),
        (used, "which is part of a LayerwiseLearningRate; make another"),
        (built, "which is built on a model; make another"),
    ],
)
def test_says_why_an_optimizer_cannot_be_extended(make, text):
    with pytest.raises(ValueError, match=text):
        LayerwiseLearningRate(make(), {})


def test_a_thing_that_is_no_optimizer_is_a_type_error():
    with pytest.raises(TypeError, match="`optimizer` must be a Keras optimizer"):
        LayerwiseLearningRate("adam", {})


def test_an_optimizer_that_hides_its_slots_is_refused():
    class Hiding(optimizers.SGD):
        def build(self, variables):
            super().build(variables)
            self.by_name = {"slot": self.add_variable_from_reference(variables[0], "s")}

    with pytest.raises(
        ValueError, match=r"must keep its slots in lists .* keeps \['layer0_kernel_s'\]"
    ):
        LayerwiseLearningRate(Hiding(), {}).build(variables_of(2))


def test_an_optimizer_with_one_step_for_all_variables_is_refused():
    class Whole(optimizers.SGD):
        needs_all_variables_at_once = True

    with pytest.raises(ValueError, match="Received: Whole, whose step is one for all"):
        LayerwiseLearningRate(Whole(), {})


def test_set_multiplier_says_what_is_wrong():
    optimizer = LayerwiseLearningRate(optimizers.SGD(), {"low": 0.5})
    with pytest.raises(ValueError, match=r"must be one of \['low'\] before"):
        optimizer.set_multiplier("high", 1.0)
    with pytest.raises(ValueError, match="current_multipliers` are known once"):
        _ = optimizer.current_multipliers
    optimizer.set_multiplier("low", 0.25)
    model = trained(optimizer)
    assert optimizer.current_multipliers[:3] == [0.25, 0.25, 1.0]
    with pytest.raises(ValueError, match="Did you mean 'low'"):
        optimizer.set_multiplier("lwo", 1.0)
    with pytest.raises(ValueError, match="`value` must be a number of at least 0"):
        optimizer.set_multiplier("low", -1.0)
    assert model.optimizer.current_multipliers[:3] == [0.25, 0.25, 1.0]


@pytest.mark.parametrize(
    "resolved",
    [3, {"multipliers": [1.0], "places": []}, {"multipliers": [-1.0], "places": [""]}],
)
def test_a_damaged_config_is_refused(resolved):
    config = LayerwiseLearningRate(optimizers.SGD(), {}).get_config()
    with pytest.raises(ValueError, match="`resolved` must be what"):
        LayerwiseLearningRate.from_config({**config, "resolved": resolved})
