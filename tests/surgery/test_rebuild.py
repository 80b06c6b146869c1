"""A copy has all that the old model has, and shares nothing with it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_tricks import _patterns
from keras_tricks.surgery import _rebuild

RNG = np.random.default_rng(0)


def host(variables):
    return [np.array(ops.convert_to_numpy(v.value)) for v in variables]


def copied(model, **kwargs):
    return _rebuild.rebuild(_rebuild.check(model), **kwargs).finish()


def by_path(model, value=lambda v: np.array(ops.convert_to_numpy(v.value))):
    """Keyed on the layers' names: Keras gives variables other paths in a copy."""
    found = {
        f"{owners[0]}/{variable.name}": value(variable)
        for variable, owners in _patterns.variable_paths(model)
    }
    assert len(found) == len(model.variables)
    return found


def same_arrays(one, other):
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name], other[name]) for name in one)


def everything(model):
    slots = model.optimizer.variables if model.compiled else []
    return [*model.variables, *slots, *model.metrics_variables]


def state(model):
    flags = [(v.trainable, v.path) for v in model.variables]
    nodes = [len(o._inbound_nodes) for o in getattr(model, "operations", [])]
    return host(everything(model)), flags, [la.name for la in model.layers], nodes


def same_state(one, other):
    equal = all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True))
    return equal and one[1:] == other[1:]


def branched(rate=0.2):
    """Nested, shared, masked, with an operation, two inputs and two outputs."""
    ids, extra = keras.Input((None,), name="ids"), keras.Input((4,), name="extra")
    words = layers.Embedding(9, 6, mask_zero=True, name="words")(ids)
    read = layers.Bidirectional(layers.SimpleRNN(3), name="read")(words)
    block = [layers.Dense(6), layers.BatchNormalization(), layers.ReLU()]
    block = keras.Sequential(block, name="block")
    inner = keras.Input((6,))
    twice = keras.Model(inner, layers.Dense(6, "tanh", name="in")(inner), name="twice")
    z = layers.Concatenate(name="both")([block(extra), read])
    z = layers.Dense(6, name="join")(z)
    z = twice(twice(z)) + ops.relu(z)
    z = layers.Dropout(rate, name="drop")(z)
    outputs = [layers.Dense(3, "softmax", name="kind")(z), layers.Dense(1, name="n")(z)]
    return keras.Model({"ids": ids, "extra": extra}, outputs, name="net")


X = {"ids": RNG.integers(0, 9, (8, 5)), "extra": RNG.normal(size=(8, 4))}
Y = [RNG.integers(0, 3, 8), RNG.normal(size=(8, 1))]


def trained(optimizer="adam", rate=0.2):
    model = branched(rate)
    model.compile(
        optimizer,
        loss=["sparse_categorical_crossentropy", keras.losses.Huber(0.5)],
        loss_weights=[1.0, 0.25],
        metrics=[["accuracy"], [keras.metrics.RootMeanSquaredError(name="rmse")]],
    )
    model.fit(X, Y, batch_size=4, verbose=0)
    return model


@pytest.fixture(scope="module", name="old")
def old_model():
    keras.utils.set_random_seed(1)
    return trained()


def test_a_copy_computes_the_same_and_the_old_model_is_untouched(old, tmp_path):
    model = old
    before = state(model)
    expected = [ops.convert_to_numpy(y) for y in model(X)]
    new = copied(model)
    for one, other in zip(expected, new(X), strict=True):
        assert np.array_equal(one, ops.convert_to_numpy(other))
    assert same_state(state(model), before)
    assert same_arrays(by_path(model), by_path(new))
    shared = {id(v) for v in everything(model)} & {id(v) for v in everything(new)}
    assert not shared
    new.fit(X, Y, batch_size=4, verbose=0)
    assert same_state(state(model), before)
    new.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")
    for one, other in zip(new.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_a_copy_has_the_names_classes_inputs_and_outputs():
    model = branched()
    new = copied(model)
    assert type(new) is type(model)
    assert new.name == "net"
    assert [o.name for o in new.operations] == [o.name for o in model.operations]
    assert set(new.input) == {"ids", "extra"}
    assert new.output_names == model.output_names
    assert isinstance(new.get_layer("block"), keras.Sequential)
    names = [layer.name for layer in model.get_layer("block").layers]
    assert [layer.name for layer in new.get_layer("block").layers] == names


def test_a_copy_is_compiled_alike_and_trains_on_alike():
    model = trained(keras.optimizers.Adam(0.01, clipnorm=1.0), rate=0.0)
    model.optimizer.learning_rate = 0.003
    new = copied(model)
    assert new.optimizer.get_config() == model.optimizer.get_config()
    assert float(new.optimizer.learning_rate) == float(model.optimizer.learning_rate)
    assert int(new.optimizer.iterations) == 2
    results = [
        m.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
        for m in (model, new)
    ]
    assert results[0].keys() == results[1].keys() >= {"loss", "n_rmse", "kind_accuracy"}
    for name in results[0]:
        np.testing.assert_allclose(results[0][name], results[1][name], rtol=1e-5)
    # Adam moves by the rate where a gradient is rounding noise around zero.
    ours, theirs = by_path(model), by_path(new)
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-4, atol=2e-3)


def test_the_settings_of_compile_come_over_as_they_are_now():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    new = copied(model)
    assert new.run_eagerly is True
    assert new.jit_compile is False
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    model.steps_per_execution = 3
    new = copied(model)
    assert new.steps_per_execution == 3
    assert new.jit_compile == model.jit_compile
    assert new.get_compile_config()["weighted_metrics"] == ["mae"]


def test_a_model_that_is_not_compiled_stays_so():
    assert not copied(branched()).compiled


def test_a_sequential_model_stays_one_also_without_an_input():
    model = keras.Sequential([layers.Dense(3), layers.Dense(1)], name="plain")
    model(np.zeros((2, 4)))
    new = copied(model)
    assert type(new) is keras.Sequential
    assert (new.name, len(new.layers)) == ("plain", 2)
    assert same_arrays(by_path(model), by_path(new))


def test_flags_of_layers_and_weights_come_over():
    model = branched()
    model.get_layer("block").trainable = False
    model.get_layer("block").layers[1].trainable = True
    model.get_layer("read").trainable = False
    model.get_layer("join").bias.trainable = False
    new = copied(model)
    flags = by_path(model, lambda variable: variable.trainable)
    assert by_path(new, lambda variable: variable.trainable) == flags
    trained = {id(v) for v in model.trainable_variables}
    expected = by_path(model, lambda variable: id(variable) in trained)
    trained = {id(v) for v in new.trainable_variables}
    assert by_path(new, lambda variable: id(variable) in trained) == expected
    assert new.get_layer("block").trainable is False
    assert new.get_layer("block").layers[1].trainable is True


def test_seeds_of_dropout_come_over():
    model = keras.Sequential([keras.Input((50,)), layers.Dropout(0.5, seed=3)])
    model(np.ones((1, 50)), training=True)
    new = copied(model)
    drawn = [
        ops.convert_to_numpy(m(np.ones((1, 50)), training=True)) for m in (model, new)
    ]
    assert np.array_equal(*drawn)


def test_dtype_policies_come_over():
    inputs = keras.Input((4,))
    hidden = layers.Dense(3, dtype="mixed_bfloat16", name="half")(inputs)
    model = keras.Model(inputs, layers.Dense(1, dtype="float32")(hidden))
    new = copied(model)
    policies = [layer.dtype_policy.name for layer in model.layers]
    assert [layer.dtype_policy.name for layer in new.layers] == policies


def test_statistics_of_a_normalization_come_over():
    norm = layers.Normalization(name="norm")
    norm.adapt(np.array([[1.0], [3.0], [5.0]]))
    model = keras.Sequential([keras.Input((1,)), norm, layers.Dense(2)])
    x = np.array([[7.0]])
    new = copied(model)
    ours, theirs = (ops.convert_to_numpy(m(x)) for m in (model, new))
    assert np.array_equal(ours, theirs)
    np.testing.assert_allclose(
        ops.convert_to_numpy(new.get_layer("norm")(x)),
        [[4 / np.sqrt(8 / 3)]],
        rtol=1e-5,
    )


@pytest.mark.backend("tensorflow", reason="strings are TensorFlow's")
def test_a_vocabulary_that_was_adapted_comes_over():
    words = layers.StringLookup(name="words")
    words.adapt(["b", "b", "a"])
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, layers.Embedding(3, 2)(words(inputs)))
    new = copied(model)
    assert new.get_layer("words").get_vocabulary() == ["[UNK]", "b", "a"]


def test_a_lambda_keeps_its_function_and_the_names_that_it_uses():
    model = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: np.pi * x)])
    out = ops.convert_to_numpy(copied(model)(np.ones((1, 2))))
    np.testing.assert_allclose(out, np.pi, rtol=1e-6)


class Halve(layers.Layer):
    """Known to nobody but this file."""

    def __init__(self, parts=2, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def compute_output_shape(self, shape):
        return shape

    def call(self, inputs):
        return inputs * self.scale / self.parts

    def get_config(self):
        return {**super().get_config(), "parts": self.parts}


def test_a_layer_that_is_not_registered_can_be_copied():
    inputs = keras.Input((2, 3))
    model = keras.Model(inputs, layers.TimeDistributed(Halve(4, name="halve"))(inputs))
    out = ops.convert_to_numpy(copied(model)(np.ones((1, 2, 3))))
    np.testing.assert_allclose(out, 0.25)


class WithStep(keras.Model):
    """A Functional model with a training step of its own."""

    def train_step(self, *args, **kwargs):
        return super().train_step(*args, **kwargs)


def test_a_subclass_that_is_made_of_inputs_and_outputs_keeps_its_class():
    inputs = keras.Input((2,))
    model = WithStep(inputs, layers.Dense(1)(inputs), name="mine")
    model.compile("sgd", "mse")
    new = copied(model)
    assert type(new) is type(model)
    assert new.name == "mine"
    new.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0)


def double(y_true, y_pred):
    return 2 * ops.mean(ops.square(y_true - y_pred), axis=-1)


def test_a_loss_that_is_not_registered_is_shared():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", double, metrics=[keras.metrics.MeanMetricWrapper(double)])
    x, y = np.ones((4, 2)), np.zeros((4, 1))
    ours, theirs = (m.evaluate(x, y, verbose=0) for m in (model, copied(model)))
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True),
        lambda: keras.optimizers.Nadam(gradient_accumulation_steps=2),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.RMSprop(0.1)),
        lambda: keras.optimizers.Adafactor(0.1),
        lambda: keras.optimizers.Muon(0.1),
    ],
    ids=["ema", "accumulation", "loss-scale", "adafactor", "muon"],
)
def test_all_state_of_an_optimizer_comes_over(optimizer):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(1)])
    model.compile(optimizer(), "mse")
    x = RNG.normal(size=(12, 3))
    model.fit(x, x.sum(1, keepdims=True), batch_size=4, verbose=0)
    new = copied(model)
    assert type(new.optimizer) is type(model.optimizer)
    ours, theirs = host(model.optimizer.variables), host(new.optimizer.variables)
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one, other)
    new.fit(x, x.sum(1, keepdims=True), batch_size=4, verbose=0)


class Slots(keras.optimizers.SGD):
    """Keeps a slot for each variable in a dict, as no optimizer of Keras does."""

    def build(self, variables):
        super().build(variables)
        names = [variable.name for variable in variables]
        new = [self.add_variable((), "ones", name=f"slot_{name}") for name in names]
        self.slots = dict(zip(names, new, strict=True))


def test_slots_that_nobody_can_assign_are_told_of():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile(Slots(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    model.optimizer.slots["bias"].assign(3.0)
    same = copied(model).optimizer
    assert float(same.slots["bias"]) == 3.0
    result = _rebuild.rebuild(model)
    result.model.layers[0].kernel.trainable = False
    with pytest.warns(UserWarning, match=r"Slots starts with slots at zero: it keeps "):
        result.finish()


def test_arguments_of_calls_come_over():
    class Times(layers.Layer):
        def call(self, inputs, factor=1.0, shift=0.0):
            return inputs * factor + shift

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Times()(inputs, factor=3.0, shift=0.5))
    out = ops.convert_to_numpy(copied(model)(np.ones((1, 2))))
    np.testing.assert_allclose(out, 3.5)


def test_a_schedule_and_the_count_of_steps_come_over():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(schedule), "mse")
    model.fit(np.zeros((4, 3)), np.zeros((4, 1)), batch_size=1, verbose=0)
    assert float(copied(model).optimizer.learning_rate) == pytest.approx(0.025)


def test_a_subclassed_model_is_refused_with_what_would_be_needed():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    model = Net()
    with pytest.raises(ValueError, match=r"`model` must be built\. Received: model"):
        _rebuild.check(model)
    model(np.zeros((1, 2)))
    with pytest.raises(
        ValueError,
        match=r"`model` must be a Sequential or Functional model\. Received: model "
        r"'net.*' of the class Net; what its `call` does cannot be read; call the same "
        r"layers on a keras\.Input and give keras\.Model\(inputs, outputs\)",
    ):
        _rebuild.check(model)


def test_a_subclass_with_other_arguments_is_refused_with_the_way_out():
    class Net(keras.Model):
        def __init__(self, units):
            inputs = keras.Input((2,))
            super().__init__(inputs, layers.Dense(units)(inputs))

    model = Net(3)
    with pytest.raises(
        ValueError, match=r"Net\.__init__ takes other arguments .* give "
    ):
        _rebuild.check(model)
    plain = keras.Model(model.inputs, model.outputs)
    assert len(copied(plain).weights) == 2


def test_a_sequential_model_without_a_graph_is_refused():
    class Pair(layers.Layer):
        def call(self, inputs):
            return inputs["a"]

    model = keras.Sequential([Pair()])
    model({"a": np.zeros((1, 2))})
    with pytest.raises(ValueError, match=r"begin it with keras\.Input\(shape\)"):
        _rebuild.check(model)


def test_something_else_than_a_model_is_refused():
    with pytest.raises(TypeError, match=r"`model` must be a built keras\.Model"):
        _rebuild.check(layers.Dense(1))


def test_a_layer_without_a_config_is_refused_by_name():
    class Odd(layers.Layer):
        def __init__(self, thing, **kwargs):
            super().__init__(**kwargs)
            self.thing = thing

        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((2,)), Odd(object(), name="odd")])
    with pytest.raises(
        ValueError,
        match=r"(?s)`model` must have layers that can be copied\. Received: the layer "
        r"'odd' of the class Odd, which cannot .*; give the class a `get_config`",
    ):
        copied(model)


def test_a_layer_whose_copy_has_other_weights_is_refused():
    class Forgets(layers.Dense):
        def get_config(self):
            return {**super().get_config(), "units": 2}

    model = keras.Sequential([keras.Input((2,)), Forgets(3, name="odd")])
    with pytest.raises(
        ValueError, match=r"'odd' of the class Forgets, with weights of shapes "
    ):
        copied(model)


def test_weights_beside_the_graph_are_refused():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.extra = layers.Dense(3, name="extra")
    model.extra.build((None, 2))
    with pytest.raises(
        ValueError,
        match=r"`model` must hold its weights in the layers of its graph.*extra",
    ):
        copied(model)


def test_a_weight_in_two_layers_is_refused():
    class Tied(layers.Layer):
        def __init__(self, tied=None, **kwargs):
            super().__init__(**kwargs)
            self.tied = tied

        def build(self, shape):
            self.scale = self.tied
            if self.tied is None:
                self.scale = self.add_weight(shape=(2,))

        def call(self, inputs):
            return inputs * self.scale

        def get_config(self):
            return {"name": self.name}

    inputs = keras.Input((2,))
    one = Tied(name="one")
    hidden = one(inputs)
    model = keras.Model(inputs, Tied(one.scale, name="two")(hidden))
    with pytest.raises(ValueError, match=r"must not have one weight in several layers"):
        copied(model)


def test_a_metric_that_cannot_be_copied_is_refused():
    class Odd(keras.metrics.Mean):
        def __init__(self, thing):
            super().__init__(name="odd")

        def update_state(self, y_true, y_pred, sample_weight=None):
            return super().update_state(y_pred)

    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[Odd(1)])
    with pytest.raises(
        ValueError,
        match=r"(?s)`model` must be compiled with what can be copied.*a metric ",
    ):
        copied(model)


def test_a_model_with_a_compile_of_its_own_is_left_to_the_user():
    class Mine(keras.Model):
        def compile(self, extra, **kwargs):
            super().compile(**kwargs)

    inputs = keras.Input((2,))
    model = Mine(inputs, layers.Dense(1)(inputs))
    model.compile(3, optimizer="sgd", loss="mse")
    with pytest.warns(
        UserWarning, match=r"not compiled: Mine has a `compile` of its own"
    ):
        assert not copied(model).compiled


def test_a_model_that_says_how_to_compile_it_is_asked():
    class Mine(keras.Model):
        def compile(self, extra, **kwargs):
            super().compile(**kwargs)
            self.extra = extra

        def get_compile_config(self):
            return {"extra": self.extra}

        def compile_from_config(self, config):
            self.compile(config["extra"], optimizer="sgd", loss="mse")

    inputs = keras.Input((2,))
    model = Mine(inputs, layers.Dense(1)(inputs))
    model.compile(3, optimizer="sgd", loss="mse")
    new = copied(model)
    assert new.compiled
    assert new.extra == 3


def test_a_model_inside_that_is_no_plain_graph_is_copied_as_a_layer():
    class Block(keras.Model):
        def __init__(self, units, **kwargs):
            inputs = keras.Input((3,))
            super().__init__(inputs, layers.Dense(units, name="d")(inputs), **kwargs)
            self.units = units

        def get_config(self):
            return {"units": self.units, "name": self.name}

    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1)(Block(4, name="block")(inputs)))
    model.get_layer("block").trainable = False
    new = copied(model)
    assert type(new.get_layer("block")) is Block
    assert new.get_layer("block").get_layer("d").trainable is False
    ours, theirs = (ops.convert_to_numpy(m(np.ones((1, 3)))) for m in (model, new))
    assert np.array_equal(ours, theirs)


@pytest.mark.slow
def test_a_pre_trained_backbone_with_a_head_is_copied():
    make = keras.applications.MobileNetV2
    backbone = make(
        alpha=0.35, weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    backbone.trainable = False
    inputs = keras.Input((32, 32, 3))
    x = layers.GlobalAveragePooling2D()(backbone(inputs, training=False))
    model = keras.Model(inputs, layers.Dense(3)(x))
    new = copied(model)
    inner = new.get_layer(backbone.name)
    names = [operation.name for operation in backbone.operations]
    assert [operation.name for operation in inner.operations] == names
    assert same_arrays(by_path(model), by_path(new))
    assert len(new.trainable_variables) == 2


def bent(x):
    return ops.tanh(x) * 2


class Small(keras.regularizers.Regularizer):
    def __call__(self, x):
        return 0.1 * ops.sum(ops.abs(x))

    def get_config(self):
        return {}


def test_functions_and_objects_that_nobody_registered_come_along():
    def local(x):
        return bent(x)

    inner = [
        layers.Dense(3, bent, kernel_regularizer=Small(), name="a"),
        layers.Dense(3, local, name="b"),
    ]
    model = keras.Sequential([keras.Input((4,)), *inner])
    new = copied(model)
    x = RNG.normal(size=(2, 4))
    assert np.array_equal(*(ops.convert_to_numpy(m(x)) for m in (model, new)))
    losses = (ops.convert_to_numpy(m.losses[0]) for m in (model, new))
    assert np.array_equal(*losses)


def test_the_states_of_a_stateful_layer_come_along():
    gru = layers.GRU(3, stateful=True, name="g")
    model = keras.Sequential([keras.Input(batch_shape=(2, 3, 4)), gru])
    x = RNG.normal(size=(2, 3, 4)).astype("float32")
    model(x)
    new = copied(model)
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(m(x)) for m in (model, new)), rtol=1e-6
    )


def test_optimizers_that_a_function_gives_cannot_be_copied():
    one, other = keras.optimizers.SGD(), keras.optimizers.Adam()
    pick = keras.optimizers.MultiOptimizer(lambda v: one if "a/" in v.path else other)
    names = [layers.Dense(1, name=name) for name in "ab"]
    model = keras.Sequential([keras.Input((4,)), *names])
    model.compile(pick, "mse")
    with pytest.raises(ValueError, match=r"MultiOptimizer that asks a function, which"):
        copied(model)
