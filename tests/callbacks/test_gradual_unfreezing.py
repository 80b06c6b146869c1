import keras
import numpy as np
import pytest
from keras import layers
from keras.optimizers import (
    SGD,
    Adam,
    AdamW,
    LossScaleOptimizer,
    MultiOptimizer,
    OptimizerMap,
)

import keras_tricks as kt
from keras_tricks import _backend
from keras_tricks.callbacks import HalveOnPlateau
from keras_tricks.callbacks.gradual_unfreezing import GradualUnfreezing
from keras_tricks.callbacks.switch_optimizer import SwitchOptimizer

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(20, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
GROUPS = [["backbone/low", "backbone/bn"], "backbone/high", "head"]
COMPILED = pytest.mark.backend(
    "jax", "tensorflow", reason="PyTorch runs eagerly: there is nothing to trace"
)


def number(variable):
    return keras.ops.convert_to_numpy(variable.value).copy()


def network():
    keras.utils.set_random_seed(3)
    backbone = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, name="low"),
            layers.BatchNormalization(momentum=0.5, name="bn"),
            layers.Dense(3, activation="tanh", name="high"),
        ],
        name="backbone",
    )
    head = layers.Dense(1, name="head")
    return keras.Sequential([keras.Input((4,)), backbone, head], name="net")


def part(model, path):
    for name in path.split("/"):
        model = model.get_layer(name)
    return model


def fit(model, *callbacks, epochs=3, **arguments):
    return model.fit(
        X,
        Y,
        **{"batch_size": 10, "shuffle": False, "verbose": 0, **arguments},
        epochs=epochs,
        callbacks=list(callbacks),
    ).history["loss"]


def weights(model):
    return [number(variable) for variable in model.variables]


def assert_same(found, expected, atol=1e-6):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


class Spy(keras.callbacks.Callback):
    """Notes which variables of the model and the optimizer each epoch has moved."""

    def on_train_begin(self, logs=None):
        self.moved = []

    def on_epoch_begin(self, epoch, logs=None):
        self.before = self.snapshot()

    def on_epoch_end(self, epoch, logs=None):
        after = self.snapshot()
        pairs = zip(self.before.items(), after.values(), strict=True)
        self.moved.append([name for (name, b), a in pairs if not np.array_equal(a, b)])

    def snapshot(self):
        variables = [*self.model.variables, *self.model.optimizer.variables]
        return {f"{i} {v.path}": number(v) for i, v in enumerate(variables)}

    def epoch(self, index, word):
        return [name for name in self.moved[index] if word in name]


# --- The plan -----------------------------------------------------------------------


class Shift(layers.Layer):
    """Adds a weight of gradient 1."""

    def build(self, input_shape):
        self.shift = self.add_weight(shape=(), initializer="zeros", name="shift")

    def call(self, inputs):
        return inputs + self.shift


def prediction(y, y_pred):
    return y_pred


def shifts(optimizer=None, groups=("a", "b", "c"), epochs=4, **arguments):
    """The way of each shift after one step per epoch."""
    names = [Shift(name=name) for name in "abc"]
    model = keras.Sequential([keras.Input((1,)), *names])
    model.compile(optimizer or SGD(1.0), prediction)
    one = np.ones((1, 1), "float32")
    unfreeze = GradualUnfreezing(list(groups), **arguments)
    model.fit(one, one, epochs=epochs, verbose=0, callbacks=[unfreeze])
    return [-float(number(layer.shift)) for layer in names]


def test_the_last_group_trains_first_and_one_more_each_epoch():
    assert shifts() == [2, 3, 4]


def test_every_is_the_number_of_epochs_between_two_groups():
    assert shifts(every=2, epochs=6) == [2, 4, 6]


def test_a_group_may_be_a_list_of_patterns():
    assert shifts(groups=[["a", "b"], ("c",)]) == [3, 3, 4]


def test_slots_of_unfrozen_layers_are_carried_over():
    # With momentum 0.5 the steps are 1, 1.5, 1.75, 1.875 from each one's first epoch.
    assert shifts(SGD(1.0, momentum=0.5)) == [2.5, 4.25, 6.125]


def test_a_schedule_runs_on():
    halving = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    assert shifts(SGD(halving)) == [0.25 + 0.125, 0.5 + 0.375, 1 + 0.875]


def test_weight_decay_does_not_reach_frozen_weights():
    optimizer = SGD(1.0, weight_decay=0.5)
    # The weight is -1, then -1 x 0.5 - 1, then -1.5 x 0.5 - 1, ...
    assert shifts(optimizer) == [1.5, 1.75, 1.875]


def test_a_global_norm_counts_unfrozen_layers_only():
    found = shifts(SGD(1.0, global_clipnorm=1.0))
    steps = [1, 1 / np.sqrt(2), 1 / np.sqrt(3), 1 / np.sqrt(3)]
    assert found == pytest.approx([sum(steps[2:]), sum(steps[1:]), sum(steps)])


def test_accumulated_gradients_of_a_new_group_start_at_zero():
    found = shifts(SGD(1.0, gradient_accumulation_steps=2), epochs=6, every=2)
    assert found == [1, 2, 3]


def test_a_multi_optimizer_trains_its_unfrozen_groups():
    low, rest = SGD(2.0), SGD(1.0)
    optimizer = MultiOptimizer(OptimizerMap(rest, {".*a/shift": low}))
    assert shifts(optimizer) == [4, 3, 4]


def test_rates_by_layer_compose():
    optimizer = kt.optimizers.LayerwiseLearningRate(SGD(1.0), {"a": 0.25, "b": 0.5})
    assert shifts(optimizer) == [0.5, 1.5, 4]


def test_loss_scaling_composes():
    assert shifts(LossScaleOptimizer(SGD(1.0))) == [2, 3, 4]


def test_a_fit_that_starts_later_has_the_groups_of_its_epoch():
    whole, halves = network(), network()
    for model in (whole, halves):
        model.compile(SGD(0.1, momentum=0.9), "mse")
    fit(whole, GradualUnfreezing(GROUPS), epochs=4)
    fit(halves, GradualUnfreezing(GROUPS), epochs=2)
    fit(halves, GradualUnfreezing(GROUPS), epochs=4, initial_epoch=2)
    assert_same(weights(halves), weights(whole))


def test_a_killed_training_goes_on_with_the_right_groups(tmp_path):
    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def compiled():
        model = network()
        model.compile(SGD(0.1, momentum=0.9), "mse")
        return model

    whole = compiled()
    fit(whole, GradualUnfreezing(GROUPS), epochs=4)

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    killed = compiled()
    with pytest.raises(KeyboardInterrupt):
        fit(killed, GradualUnfreezing(GROUPS), backup(), Kill(), epochs=4)
    resumed = compiled()
    resumed.optimizer.build(resumed.trainable_variables)
    fit(resumed, backup(), GradualUnfreezing(GROUPS), epochs=4)
    assert_same(weights(resumed), weights(whole))


def test_one_callback_serves_two_fits_and_two_models():
    unfreeze = GradualUnfreezing(GROUPS)
    spy = Spy()
    model = network()
    model.compile(SGD(0.1), "mse")
    fit(model, unfreeze, spy)
    for again in (model, network()):
        again.compile(SGD(0.1), "mse")
        fit(again, unfreeze, spy)
        assert not spy.epoch(0, "high")
        assert spy.epoch(1, "high")
        assert not spy.epoch(1, "low")
        assert spy.epoch(2, "low")


def test_a_fit_without_epochs_does_nothing():
    model = network()
    model.compile(SGD(0.1), "mse")
    before = weights(model)
    unfreeze = GradualUnfreezing(GROUPS)
    model.fit(X, Y, epochs=2, initial_epoch=2, verbose=0, callbacks=[unfreeze])
    assert_same(weights(model), before, atol=0)


def test_verbose_says_what_trains(capsys):
    model = network()
    model.compile(SGD(0.1), "mse")
    fit(model, GradualUnfreezing(GROUPS, verbose=1), epochs=4)
    # head 3 + 1, high 5 x 3 + 3, low 4 x 5 + 5, norm 5 + 5.
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: training 1 of 3 groups, 4 of 57 weights.",
        "Epoch 2: training 2 of 3 groups, 22 of 57 weights.",
        "Epoch 3: training 3 of 3 groups, 57 of 57 weights.",
    ]


def test_nothing_is_said_otherwise(capsys):
    shifts()
    assert capsys.readouterr().out == ""


# --- The same as freezing by hand ---------------------------------------------------


def by_hand(optimizer, frozen):
    """A model that Keras itself freezes, as it must be done: before `compile`."""
    model = network()
    for path in frozen:
        part(model, path).trainable = False
    model.compile(optimizer, "mse")
    return model


def test_equals_a_new_compilation_for_each_stage():
    model = network()
    model.compile(SGD(0.1), "mse")
    losses = fit(model, GradualUnfreezing(GROUPS), epochs=4)
    reference, expected = network(), []
    stages = [(["backbone"], 1), (["backbone/low", "backbone/bn"], 1), ([], 2)]
    for frozen, epochs in stages:
        for path in ("backbone", "backbone/low", "backbone/bn"):
            part(reference, path).trainable = True
        for path in frozen:
            part(reference, path).trainable = False
        reference.compile(SGD(0.1), "mse")
        expected += fit(reference, epochs=epochs)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert_same(weights(model), weights(reference))


OPTIMIZERS = {
    "SGD": lambda: SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda: Adam(0.01, amsgrad=True),
    "AdamW": lambda: AdamW(0.01, weight_decay=0.1),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "Nadam": lambda: keras.optimizers.Nadam(0.01),
    "Adamax": lambda: keras.optimizers.Adamax(0.01),
    "Adadelta": lambda: keras.optimizers.Adadelta(1.0),
    "Adagrad": lambda: keras.optimizers.Adagrad(0.05),
    "Lion": lambda: keras.optimizers.Lion(0.01),
    "Adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "Lamb": lambda: keras.optimizers.Lamb(0.01),
    "Muon": lambda: keras.optimizers.Muon(0.01),
    "Ftrl": lambda: keras.optimizers.Ftrl(0.05),
    "ScheduleFreeAdamW": lambda: keras.optimizers.ScheduleFreeAdamW(
        0.01, warmup_steps=0
    ),
    "loss scaling": lambda: LossScaleOptimizer(AdamW(0.01), initial_scale=128.0),
    "accumulation": lambda: Adam(0.01, gradient_accumulation_steps=2),
    "average": lambda: AdamW(0.01, use_ema=True, ema_momentum=0.7),
    "overwriting average": lambda: Adam(
        0.01, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=2
    ),
    "clipping": lambda: Adam(0.01, clipnorm=0.1),
    "global clipping": lambda: SGD(0.05, global_clipnorm=0.1),
    "schedule": lambda: Adam(keras.optimizers.schedules.CosineDecay(0.01, 20)),
    "several": lambda: MultiOptimizer(
        OptimizerMap(AdamW(0.01), {".*bias": SGD(0.05, momentum=0.9)})
    ),
    "by layer": lambda: kt.optimizers.LayerwiseLearningRate(
        AdamW(0.01, use_ema=True, ema_overwrite_frequency=3), {"head": 0.5}
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_frozen_stage_is_as_frozen_by_hand_and_moves_afterwards(name):
    model, spy, seen = network(), Spy(), []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append({v.path: number(v) for v in self.model.variables})

    model.compile(OPTIMIZERS[name](), "mse")
    unfreeze = GradualUnfreezing(["backbone", "head"], every=2)
    losses = fit(model, unfreeze, spy, Look())
    # Bit-identical while frozen: weights, statistics, slots and averages.
    for epoch in range(2):
        assert spy.epoch(epoch, "head")
        assert not spy.epoch(epoch, "backbone")
    for word in ("low", "bn", "high", "head"):
        assert spy.epoch(2, word)
    reference = by_hand(OPTIMIZERS[name](), ["backbone"])
    # As `GradualUnfreezing` does: TensorFlow loses what is assigned in a tf.function.
    reference.optimizer.build(reference.trainable_variables)
    assert losses[:2] == pytest.approx(fit(reference, Look(), epochs=2), rel=1e-5)
    # The snapshots: three epochs of the model, two of the reference.
    for path, value in seen[4].items():
        np.testing.assert_allclose(seen[1][path], value, rtol=0, atol=1e-6)
    # With averages, too, the end of `fit` leaves numbers near those of training.
    for variable in model.trainable_variables:
        assert np.abs(number(variable) - seen[2][variable.path]).max() < 0.5


@pytest.mark.parametrize("name", ["average", "overwriting average", "by layer"])
def test_averages_of_frozen_layers_are_their_weights(name):
    model = network()
    model.compile(OPTIMIZERS[name](), "mse")
    start = weights(part(model, "backbone"))
    fit(model, GradualUnfreezing(["backbone", "head"], every=9), epochs=2)
    assert_same(weights(part(model, "backbone")), start, atol=0)
    head = part(model, "head")
    assert np.abs(number(head.kernel)).max() > 0


def test_swapped_averages_keep_frozen_weights():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            seen.append(number(part(self.model, "backbone/low").kernel))

    model = network()
    model.compile(OPTIMIZERS["average"](), "mse")
    start = number(part(model, "backbone/low").kernel)
    swap = keras.callbacks.SwapEMAWeights()
    unfreeze = GradualUnfreezing(["backbone", "head"], every=9)
    fit(model, unfreeze, swap, Look(), epochs=2, validation_data=(X, Y))
    assert len(seen) == 2
    assert_same(seen, [start] * 2, atol=0)


# --- What changes by itself ---------------------------------------------------------


def test_batch_normalization_of_frozen_layers_runs_in_inference_mode():
    model = network()
    model.compile(SGD(0.0), "mse")
    norm = part(model, "backbone/bn")
    norm.moving_mean.assign([1.0, -1.0, 2.0, 0.0, 0.5])
    expected = model.evaluate(X, Y, verbose=0)
    moving = number(norm.moving_mean)
    losses = fit(model, GradualUnfreezing(GROUPS), epochs=3)
    # A rate of 0: only the statistics of the batch can make another loss.
    assert losses[:2] == pytest.approx([expected] * 2, rel=1e-5)
    assert abs(losses[2] - expected) > 1e-3
    assert np.abs(number(norm.moving_mean) - moving).max() > 1e-3


def test_normalization_inside_a_wrapper_is_in_inference_mode_too():
    bn = layers.BatchNormalization(name="bn")
    each = layers.TimeDistributed(bn, name="each")
    shape = layers.Reshape((2, 2))
    flat, head = layers.Flatten(), layers.Dense(1, name="head")
    model = keras.Sequential([keras.Input((4,)), shape, each, flat, head])
    model.compile(SGD(0.01), "mse")
    fit(model, GradualUnfreezing(["each", "head"]), epochs=1)
    assert_same([number(bn.moving_mean)], [np.zeros(2)], atol=0)
    fit(model, GradualUnfreezing(["each", "head"]), epochs=2)
    assert np.abs(number(bn.moving_mean)).max() > 1e-3


def test_normalization_without_weights_belongs_to_a_group_too():
    norm = layers.BatchNormalization(center=False, scale=False, name="bn")
    body, head = layers.Dense(3, name="body"), layers.Dense(1, name="head")
    model = keras.Sequential([keras.Input((4,)), body, norm, head])
    model.compile(SGD(0.01), "mse")
    with pytest.raises(ValueError, match=r"groups without 'bn'"):
        fit(model, GradualUnfreezing(["body", "head"]))
    fit(model, GradualUnfreezing([["body", "bn"], "head"]), epochs=1)
    assert_same([number(norm.moving_mean)], [np.zeros(3)], atol=0)


def test_spectral_normalization_does_not_move_frozen_kernels():
    body = layers.SpectralNormalization(layers.Dense(3, name="inner"), name="body")
    model = keras.Sequential([keras.Input((4,)), body, layers.Dense(1, name="head")])
    model.compile(SGD(0.01), "mse")
    before = weights(body)
    fit(model, GradualUnfreezing(["body", "head"]), epochs=1)
    assert_same(weights(body), before, atol=0)


class Statistics(layers.Layer):
    """Counts its calls in training, as a normalization of one's own would."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones")
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        if training:
            self.seen.assign(self.seen + 1.0)
        return inputs * self.scale


def test_statistics_of_a_layer_of_ones_own_do_not_move_while_frozen():
    own = Statistics(name="own")
    model = keras.Sequential([keras.Input((4,)), own, layers.Dense(1, name="head")])
    model.compile(SGD(0.01), "mse")
    fit(model, GradualUnfreezing(["own", "head"]), epochs=1)
    assert number(own.seen) == 0
    fit(model, GradualUnfreezing(["own", "head"]), epochs=2)
    assert number(own.seen) == 2


def test_a_normalization_that_is_not_told_of_training_can_be_frozen():
    class Plain(layers.BatchNormalization):
        def call(self, inputs):
            return super().call(inputs, training=False)

    norm = Plain(name="norm")
    model = keras.Sequential([keras.Input((4,)), norm, layers.Dense(1, name="head")])
    model.compile(SGD(0.01), "mse")
    fit(model, GradualUnfreezing(["norm", "head"]), epochs=1)
    assert_same([number(norm.moving_mean)], [np.zeros(4)], atol=0)


@pytest.mark.parametrize("order", [1, -1])
def test_averages_of_an_optimizer_put_in_do_not_reach_frozen_weights(order):
    model = network()
    model.compile(SGD(0.01), "mse")
    before = weights(part(model, "backbone"))
    ema = SGD(0.001, use_ema=True)
    both = [GradualUnfreezing(GROUPS, every=5), SwitchOptimizer(ema, epoch=1)]
    fit(model, *both[::order], epochs=3)
    assert_same(weights(part(model, "backbone")), before, atol=0)


def test_several_replicas_are_refused(monkeypatch):
    monkeypatch.setattr(_backend, "replicas", lambda model: 2)
    model = network()
    model.compile(SGD(0.01), "mse")
    told = "GradualUnfreezing works on one replica only. Received: .* with 2 replicas"
    with pytest.raises(ValueError, match=told):
        fit(model, GradualUnfreezing(GROUPS))


def test_dropout_of_frozen_layers_stays_active():
    body, drop = layers.Dense(3, name="body"), layers.Dropout(0.5, seed=1, name="drop")
    head = layers.Dense(1, name="head")
    model = keras.Sequential([keras.Input((4,)), body, drop, head])
    model.compile(SGD(0.0), "mse")
    expected = model.evaluate(X, Y, verbose=0)
    unfreeze = GradualUnfreezing([["body", "drop"], "head"])
    assert abs(fit(model, unfreeze, epochs=1)[0] - expected) > 1e-3


# --- What is given back -------------------------------------------------------------


def traces_of(model):
    parts = [model, model.optimizer, *model._flatten_layers()]
    names = ("apply", "stateless_apply", "call", "train_step", "make_train_function")
    return [name for name in names for thing in parts if name in vars(thing)]


class Fail(keras.callbacks.Callback):
    def __init__(self, hook, at):
        super().__init__()
        setattr(self, hook, lambda number, logs=None: self.fail(number == at))

    def fail(self, now):
        if now:
            raise RuntimeError("out of power")


HOOKS = [
    ("on_epoch_begin", 1),
    ("on_train_batch_begin", 1),
    ("on_train_batch_end", 1),
    ("on_epoch_end", 0),
]


@pytest.mark.parametrize(("hook", "at"), HOOKS)
def test_after_a_failed_fit_everything_trains(hook, at):
    model, spy = network(), Spy()
    model.compile(SGD(0.05), "mse")
    with pytest.raises(RuntimeError, match=r"out of power"):
        fit(model, GradualUnfreezing(GROUPS), Fail(hook, at), epochs=3)
    assert traces_of(model) == []
    assert all(variable.trainable for variable in model.trainable_variables)
    fit(model, spy, epochs=1)
    for word in ("low", "high", "head", "moving_mean"):
        assert spy.epoch(0, word)


def test_a_step_that_fails_leaves_nothing_behind():
    broken = []

    def loss(y, y_pred):
        if broken:
            raise RuntimeError("broken loss")
        return keras.ops.mean(keras.ops.square(y - y_pred), axis=-1)

    model = network()
    model.compile(SGD(0.05), loss, run_eagerly=True)
    fit(model, epochs=1)
    held = [*model.variables, *model.optimizer.variables]
    before = [number(variable) for variable in held]
    broken.append(True)
    with pytest.raises(RuntimeError, match=r"broken loss"):
        fit(model, GradualUnfreezing(GROUPS))
    broken.clear()
    assert traces_of(model) == []
    # JAX loses the variables of a first step that fails: that is not ours.
    for variable, value in zip(held, before, strict=True):
        variable.assign(value)
    spy = Spy()
    fit(model, spy, epochs=1)
    assert spy.epoch(0, "low")


def test_nothing_of_it_is_on_the_model_between_two_steps():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(traces_of(self.model))
            seen.append([v.path for v in self.model.trainable_variables])

    model = network()
    model.compile(Adam(0.01), "mse")
    expected = [v.path for v in model.trainable_variables]
    fit(model, GradualUnfreezing(GROUPS), Look())
    assert seen == [[], expected] * 3


@pytest.mark.backend("torch", reason="only PyTorch marks what needs a gradient")
def test_parameters_need_their_gradients_again():
    model = network()
    model.compile(Adam(0.01), "mse")
    needing = [v.value.requires_grad for v in model.variables]
    fit(model, GradualUnfreezing(GROUPS, every=9), epochs=1)
    assert [v.value.requires_grad for v in model.variables] == needing
    assert part(model, "backbone/low").kernel.value.grad is None
    assert part(model, "head").kernel.value.grad is not None


def test_layers_frozen_before_stay_frozen():
    model, spy = by_hand(Adam(0.01), ["backbone/low"]), Spy()
    fit(model, GradualUnfreezing(["backbone/(bn|high)", "head"]), spy, epochs=3)
    assert not any(spy.epoch(epoch, "/low/") for epoch in range(3))
    assert not spy.epoch(0, "bn")
    assert spy.epoch(1, "bn")
    assert part(model, "backbone/low").trainable is False


@pytest.mark.parametrize("compiled", [True, False])
def test_a_model_saved_in_the_middle_knows_nothing_of_it(tmp_path, compiled):
    model, spy = network(), Spy()
    model.compile(AdamW(0.01), "mse")
    path = tmp_path / "{epoch}.keras"
    save = keras.callbacks.ModelCheckpoint(path)
    middle = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            middle.append(weights(self.model))

    fit(model, save, GradualUnfreezing(GROUPS), Look())
    loaded = keras.models.load_model(tmp_path / "1.keras", compile=compiled)
    assert_same(weights(loaded), middle[0], atol=0)
    if not compiled:
        return
    # Its slots are those of the head; the others are zeros still.
    assert int(loaded.optimizer.iterations) == 2
    fit(loaded, spy, epochs=1)
    assert spy.epoch(0, "low")
    resumed = keras.models.load_model(tmp_path / "1.keras")
    fit(resumed, GradualUnfreezing(GROUPS), epochs=3, initial_epoch=1)
    assert_same(weights(resumed), weights(model))


# --- Compiled steps -----------------------------------------------------------------


class Traces:
    """A loss that counts how often it is traced."""

    def __init__(self):
        self.count = 0

    def __call__(self, y_true, y_pred):
        self.count += 1
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


@COMPILED
def test_each_stage_costs_one_trace():
    traces, counts = Traces(), []

    class Count(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            counts.append(traces.count)

    model = network()
    model.compile(SGD(0.05), traces)
    model(X)
    for _ in range(2):
        fit(model, GradualUnfreezing(GROUPS, every=2), Count(), epochs=6)
    first = counts[0]
    stage = counts[2] - counts[1]
    # The second `fit` finds the last stage compiled: it is the model's own step.
    per_epoch = [0, stage, 0, stage, 0, stage, 0, stage, 0, 0, 0]
    assert np.diff(counts).tolist() == per_epoch
    assert first >= stage > 0


def test_the_last_stage_is_the_usual_step():
    functions = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            functions.append(self.model.train_function)

    model = network()
    model.compile(SGD(0.05), "mse")
    model.make_train_function()
    own = model.train_function
    fit(model, GradualUnfreezing(GROUPS), Look())
    assert [function is own for function in functions] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("arguments", [{"run_eagerly": True}, {"jit_compile": False}])
def test_steps_that_are_not_compiled(arguments):
    model, spy = network(), Spy()
    model.compile(AdamW(0.01), "mse", **arguments)
    # The last batch is smaller: within a stage the step is traced for it too.
    fit(model, GradualUnfreezing(GROUPS), spy, batch_size=8)
    assert not spy.epoch(0, "high")
    assert not spy.epoch(1, "low")
    assert spy.epoch(2, "low")


@COMPILED
def test_several_steps_in_one_execution():
    model, spy = network(), Spy()
    model.compile(AdamW(0.01), "mse", steps_per_execution=2)
    fit(model, GradualUnfreezing(GROUPS), spy)
    assert not spy.epoch(0, "high")
    assert spy.epoch(1, "high")


class OwnStep(keras.Sequential):
    def train_step(self, *state_and_data):
        return super().train_step(*state_and_data)


def test_a_training_step_of_the_users():
    model, spy = OwnStep(network().layers), Spy()
    model.compile(AdamW(0.01), "mse")
    model(X)
    fit(model, GradualUnfreezing(GROUPS), spy)
    assert not spy.epoch(0, "high")
    assert spy.epoch(2, "low")


def test_a_schedule_that_another_callback_changes_reaches_the_frozen_stage():
    names = [Shift(name=name) for name in "ab"]
    model = keras.Sequential([keras.Input((1,)), *names])
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([100], [1.0, 0.5])
    model.compile(SGD(schedule), prediction)

    class Constant(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["constant"] = 1.0

    one = np.ones((1, 1), "float32")
    halve = HalveOnPlateau("constant", patience=1)
    unfreeze = GradualUnfreezing(["a", "b"], every=3)
    callbacks = [Constant(), halve, unfreeze]
    model.fit(one, one, epochs=4, verbose=0, callbacks=callbacks)
    # The rates of the four epochs are 1, 1, 0.5, 0.25.
    assert [-float(number(layer.shift)) for layer in names] == [0.25, 2.75]


def test_a_rate_set_by_another_callback_reaches_the_frozen_stage():
    set_rate = keras.callbacks.LearningRateScheduler(lambda epoch: 1.0 + epoch)
    names = [Shift(name=name) for name in "ab"]
    model = keras.Sequential([keras.Input((1,)), *names])
    model.compile(SGD(0.1), prediction)
    one = np.ones((1, 1), "float32")
    unfreeze = GradualUnfreezing(["a", "b"], every=2)
    model.fit(one, one, epochs=3, verbose=0, callbacks=[set_rate, unfreeze])
    assert [-float(number(layer.shift)) for layer in names] == [3, 6]


def test_an_optimizer_that_another_callback_puts_in_keeps_layers_frozen():
    model, spy = network(), Spy()
    model.compile(Adam(0.01), "mse")
    switch = SwitchOptimizer(SGD(0.01, momentum=0.9), epoch=1)
    fit(model, GradualUnfreezing(GROUPS), switch, spy)
    assert not spy.epoch(1, "low")
    assert spy.epoch(1, "high")
    assert spy.epoch(2, "low")
    assert isinstance(model.optimizer, SGD)


# --- Groups -------------------------------------------------------------------------


class Tied(keras.Model):
    """The output uses the kernel of the input, and the model holds a weight itself."""

    def __init__(self):
        super().__init__()
        self.embed = layers.Embedding(7, 3, name="embed")
        self.hidden = layers.Dense(3, name="hidden")
        self.out = Reuse(self.embed, name="out")

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.built = True

    def call(self, inputs):
        return self.out(self.hidden(self.embed(inputs))) * self.scale


class Reuse(layers.Layer):
    def __init__(self, embed, **kwargs):
        super().__init__(**kwargs)
        self.embed = embed

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(7,), name="bias")

    def call(self, inputs):
        table = keras.ops.transpose(self.embed.embeddings)
        return keras.ops.matmul(inputs, table) + self.bias


def tied():
    model = Tied()
    ids = np.arange(14).reshape(7, 2) % 7
    model(ids)
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(SGD(0.1), logits)
    return model, ids


def test_a_shared_layer_in_two_groups_is_an_error():
    model, ids = tied()
    unfreeze = GradualUnfreezing([["", "embed"], "hidden", "out"])
    with pytest.raises(
        ValueError,
        match=r"`groups` must put each weight into one group. Received: 'embed' in "
        r"group 1 and 'out/embed' in group 3, which share a weight",
    ):
        model.fit(ids, ids, verbose=0, callbacks=[unfreeze])


def test_a_shared_layer_in_one_group_and_the_models_own_weights():
    model, ids = tied()
    spy = Spy()
    groups = [["", "embed", "out/embed"], "hidden"]
    with pytest.raises(ValueError, match=r"groups without 'out'; add them to a group"):
        model.fit(ids, ids, verbose=0, callbacks=[GradualUnfreezing(groups)])
    groups = [["", "embed", "out"], "hidden"]
    callbacks = [GradualUnfreezing(groups), spy]
    model.fit(ids, ids, epochs=2, verbose=0, callbacks=callbacks)
    assert all("hidden" in n or "iteration" in n for n in spy.moved[0])
    assert spy.epoch(1, "scale")
    assert spy.epoch(1, "embed")


def test_weights_of_the_model_itself_must_be_in_a_group():
    model, ids = tied()
    unfreeze = GradualUnfreezing(["hidden", ["embed", "out"]])
    with pytest.raises(ValueError, match=r"groups without ''; add them to a group"):
        model.fit(ids, ids, verbose=0, callbacks=[unfreeze])


def started(groups, model=None, **arguments):
    model = model or network()
    model.compile(SGD(0.05), "mse")
    before = weights(model)
    try:
        fit(model, GradualUnfreezing(groups, **arguments), epochs=1)
    except ValueError:
        assert_same(weights(model), before, atol=0)
        raise


def test_a_layer_in_no_group_is_an_error():
    told = (
        "`groups` must name every layer that can be trained. Received: groups without "
        "'backbone/low', 'backbone/bn'; add them to a group"
    )
    with pytest.raises(ValueError, match=told):
        started(["backbone/high", "head"])


def test_many_layers_in_no_group_are_not_all_listed():
    dense = [layers.Dense(1, name=f"d{i}") for i in range(7)]
    model = keras.Sequential([keras.Input((4,)), *dense])
    with pytest.raises(ValueError, match=r"'d0', 'd1', 'd2', 'd3', 'd4', ...; add"):
        started(["d6"], model)


def test_a_layer_in_two_groups_is_an_error():
    with pytest.raises(
        ValueError,
        match=r"one group. Received: 'backbone' in group 1 and 'backbone/high' "
        r"in group 2, which both cover 'backbone/high'",
    ):
        started(["backbone", "backbone/high", "head"])


def test_a_pattern_that_names_no_layer_is_an_error():
    with pytest.raises(ValueError, match=r"'backbones', .*Did you mean 'backbone'?"):
        started(["backbones", "head"])


def test_a_group_without_weights_is_told():
    drop = layers.Dropout(0.5, name="drop")
    body, head = layers.Dense(3, name="body"), layers.Dense(1, name="head")
    model = keras.Sequential([keras.Input((4,)), body, drop, head])
    told = (
        r"group 2 of `groups`, \['drop'\], has no effect: it has no trainable weights"
    )
    with pytest.warns(kt.NoEffectWarning, match=told):
        started(["body", "drop", "head"], model)


def test_the_last_group_must_have_weights():
    with pytest.raises(ValueError, match=r"must end with a group to begin with"):
        started(["backbone", "head"], by_hand(SGD(0.1), ["head"]))


@pytest.mark.backend("tensorflow", reason="the others build the model in `fit`")
def test_a_model_that_is_not_built_is_an_error():
    model = keras.Sequential([layers.Dense(1, name="head")])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"needs a built model.*keras.Input"):
        fit(model, GradualUnfreezing(["head"]))


@pytest.mark.parametrize("groups", ["head", None, {"head"}, [1], ["a", ["b", 2]]])
def test_groups_of_the_wrong_type_are_told(groups):
    with pytest.raises(TypeError, match=r"`groups` must"):
        GradualUnfreezing(groups)


@pytest.mark.parametrize("groups", [[], [[]], ["a", []]])
def test_empty_groups_are_told(groups):
    with pytest.raises(ValueError, match=r"from the lowest layers up, none of them"):
        GradualUnfreezing(groups)


def test_a_pattern_in_two_groups_is_told():
    with pytest.raises(ValueError, match=r"each pattern once. Received: 'a' 2 times"):
        GradualUnfreezing(["a", ["b", "a"]])


def test_a_broken_pattern_is_told():
    with pytest.raises(ValueError, match=r"Received: '\(', which is none"):
        GradualUnfreezing(["("])


def test_arguments_out_of_range_are_told():
    with pytest.raises(ValueError, match=r"`every` must be .*Received: every=0"):
        GradualUnfreezing(["a"], every=0)
    with pytest.raises(TypeError, match=r"`every` must be .*Received: every=0.5"):
        GradualUnfreezing(["a"], every=0.5)
    with pytest.raises(ValueError, match=r"`verbose` must be one of 0, 1"):
        GradualUnfreezing(["a"], verbose=2)


def test_arguments_are_kept_as_given():
    groups = ["a", ["b"]]
    unfreeze = GradualUnfreezing(groups, every=2, verbose=1)
    assert unfreeze.groups is groups
    assert (unfreeze.every, unfreeze.verbose) == (2, 1)
