import functools
import random

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks._errors import NoEffectWarning
from keras_tricks.ensembles import _random
from keras_tricks.ensembles.train_members import train_members

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)).astype("float32")
Y = RNG.normal(size=(24, 1)).astype("float32")
SEEDED = {"kernel_initializer": keras.initializers.HeNormal(seed=3)}


def network(*inner, learning_rate=0.0, top=None, **options):
    # A rate of zero shows the weights as they were drawn.
    model = keras.Sequential([keras.Input((4,)), *inner, top or layers.Dense(1)])
    model.compile(keras.optimizers.SGD(learning_rate), "mse", **options)
    return model


def trained(build, members=2, **arguments):
    arguments = {"seeds": 1, "epochs": 1, "batch_size": 8, "verbose": 0} | arguments
    return train_members(build, members, X, Y, **arguments)


def drawn(*inner, **arguments):
    """Members in which one step at a rate of zero leaves the weights as drawn."""

    def build():
        return network(*(make() for make in inner), run_eagerly=True)

    arguments = {"seeds": 1, "verbose": 0} | arguments
    return train_members(build, 2, X[:8], Y[:8], **arguments)


def values(model):
    return [keras.ops.convert_to_numpy(v.value) for v in model.variables]


def kernels(models, position=0):
    return [model.get_weights()[position] for model in models]


SHARED = keras.initializers.RandomNormal()
GENERATOR = keras.random.SeedGenerator(5)


def dense(initializer):
    return lambda: layers.Dense(5, kernel_initializer=initializer(), use_bias=False)


class Scaled(keras.initializers.Initializer):
    """Holds another one, and says so in the way that Keras's guide shows."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, shape, dtype=None):
        return 2 * self.inner(shape, dtype=dtype)

    def get_config(self):
        return {"inner": keras.saving.serialize_keras_object(self.inner)}


class Silent(keras.initializers.Initializer):
    def __init__(self, seed):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        return keras.random.normal(shape, dtype=dtype, seed=self.seed)


def from_numpy(shape, dtype=None):
    return np.random.normal(size=shape)


class Free(layers.Layer):
    """Makes its weight without `add_weight`."""

    def build(self, shape):
        initializer = keras.initializers.HeNormal(seed=3)
        self.kernel = keras.Variable(initializer, shape=(shape[-1], 5))

    def call(self, x):
        return x @ self.kernel


class Plain(layers.Layer):
    def build(self, shape):
        self.one = self.add_weight(shape=(shape[-1], 5))
        self.two = self.add_weight(shape=(shape[-1], 5), initializer="he_normal")

    def call(self, x):
        return x @ (self.one + self.two)


INNER = keras.initializers.HeNormal(seed=3)
KINDS = {
    "seeded": dense(lambda: keras.initializers.HeNormal(seed=3)),
    "shared": dense(lambda: SHARED),
    "generator": dense(lambda: keras.initializers.Orthogonal(seed=GENERATOR)),
    "named": dense(lambda: "he_normal"),
    "nested": dense(lambda: Scaled(INNER)),
    "listed": dense(lambda: Scaled(Scaled(INNER))),
    "silent": dense(lambda: Silent(3)),
    "partial": dense(lambda: functools.partial(keras.random.normal, seed=3)),
    "numpy": dense(lambda: from_numpy),
    "free": Free,
    "plain": Plain,
}


def chained(seed=None):
    """A layer of each kind, each on the inputs."""
    inputs = keras.Input((4,))
    made = {name: make() for name, make in KINDS.items()}
    outputs = layers.Add()([layer(inputs) for layer in made.values()])
    model = keras.Model(inputs, layers.Dense(1)(outputs))
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    model.made = list(made.items())
    return model


def kernels_of(model):
    return {
        (name, place): keras.ops.convert_to_numpy(v.value)
        for name, layer in model.made
        for place, v in enumerate(layer.weights)
    }


@pytest.mark.parametrize("reset", [False, True], ids=["", "build sets the seed"])
def test_initial_weights_differ_whatever_the_initializer_carries(reset):
    def build():
        if reset:
            keras.utils.set_random_seed(0)
        return chained()

    def run():
        one, two = train_members(build, 2, X[:8], Y[:8], seeds=1, verbose=0)
        return kernels_of(one), kernels_of(two)

    one, two = run()
    again = run()
    assert len(one) == len(KINDS) + 1
    for name in one:
        assert not np.any(one[name] == two[name]), name
        np.testing.assert_array_equal(again[0][name], one[name], err_msg=str(name))
        np.testing.assert_array_equal(again[1][name], two[name], err_msg=str(name))
    # Each has its own, though many carry the same seed.
    flat = [value.tobytes() for value in one.values()]
    assert len(set(flat)) == len(flat)


def seeded(shape, dtype=None):
    return keras.random.normal(shape, dtype=dtype, seed=3)


WARNING = r"no effect on 1 weights, '.*mine/kernel' first: the members draw the same"


def own(units=5):
    return layers.Dense(units, kernel_initializer=seeded, name="mine")


def test_warns_where_a_function_holds_its_seed():
    with pytest.warns(NoEffectWarning, match=WARNING) as caught:
        train_members(
            lambda: network(own(), run_eagerly=True), 3, X[:8], Y[:8], verbose=0
        )
    assert len([w for w in caught if w.category is NoEffectWarning]) == 1


@pytest.mark.backend("jax", "torch", reason="TensorFlow builds within the first step")
def test_warns_of_a_model_that_fit_builds():
    def build():
        model = keras.Sequential([own(), layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
        return model

    with pytest.warns(NoEffectWarning, match=WARNING):
        trained(build)


def test_does_not_warn_of_weights_that_shall_be_the_same():
    table = RNG.normal(size=(4, 4)).astype("float32")

    def build():
        return network(
            layers.Dense(4, kernel_initializer="identity"),
            layers.Reshape((1, 4)),
            # A function of Keras's makes its bias: zeros and ones.
            layers.RNN(layers.LSTMCell(4), unroll=True),
            layers.Dense(4, kernel_initializer=keras.initializers.Constant(table)),
            layers.Dense(
                4, kernel_initializer=lambda shape, dtype=None: np.ones(shape)
            ),
            run_eagerly=True,
        )

    for model in train_members(build, 2, X[:8], Y[:8], seeds=1, verbose=0):
        np.testing.assert_array_equal(model.get_weights()[5], table)


def test_a_fresh_draw_has_the_variance_of_the_users_initializer():
    def layer():
        initializer = keras.initializers.RandomNormal(mean=2.0, stddev=0.1, seed=1)
        return layers.Dense(2000, kernel_initializer=initializer)

    for kernel in kernels(drawn(layer)):
        # 8000 draws: five standard errors are 0.006 and 0.004.
        assert abs(kernel.mean() - 2.0) < 0.006
        assert abs(kernel.std() - 0.1) < 0.004


def test_weights_masks_and_members_have_keys_of_their_own():
    # A weight and a mask of one key would be drawn from the same numbers.
    seen = []

    class Looking(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            state = self.model.layers[1].seed_generator.state
            seen.append(int(keras.ops.convert_to_numpy(state.value)[0]))

    class Noting(keras.initializers.Initializer):
        def __init__(self, seed=None):
            self.seed = seed

        def __call__(self, shape, dtype=None):
            seen.append(self.seed)
            return keras.ops.ones(shape, dtype)

    def build(seed):
        seen.append(seed)
        kernel = layers.Dense(5, kernel_initializer=Noting(), use_bias=False)
        return network(kernel, layers.Dropout(0.5), run_eagerly=True)

    train_members(
        build, 2, X[:8], Y[:8], seeds=1, verbose=0, callbacks=lambda: Looking()
    )
    assert len(seen) == len(set(seen)) == 6
    domains = (_random.WEIGHTS, _random.GENERATORS, _random.MEMBERS, _random.ORDER)
    keys = [_random.derived(s, d, n) for s in (0, 1) for d in domains for n in range(9)]
    assert len(set(keys)) == len(keys)


def test_two_layers_that_share_a_seed_get_weights_of_their_own():
    layer = functools.partial(layers.Dense, 4, **SEEDED)
    first, _, second, *_ = drawn(layer, layer)[0].get_weights()
    assert not np.any(first == second)


def test_clones_of_one_model_differ():
    base = network(layers.Dense(4, **SEEDED))

    def build():
        model = keras.models.clone_model(base)
        model.compile(keras.optimizers.SGD(0.0), "mse")
        return model

    one, two = kernels(trained(build))
    assert not np.any(one == two)


def test_a_model_that_fit_builds_differs_too():
    def build():
        model = keras.Sequential([layers.Dense(4, **SEEDED), layers.Dense(1, **SEEDED)])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        return model

    one, two = trained(build)
    for position in (0, 2):
        a, b = kernels([one, two], position)
        assert not np.any(a == b)


def test_weights_that_come_from_elsewhere_stay():
    given = RNG.normal(size=(4, 4)).astype("float32")

    def build():
        constant = keras.initializers.Constant(0.25)
        loaded = layers.Dense(4, **SEEDED)
        model = network(layers.Dense(4, kernel_initializer=constant), loaded)
        loaded.set_weights([given, np.ones(4)])
        return model

    for model in trained(build):
        constant, _, kernel, bias, *_ = model.get_weights()
        np.testing.assert_array_equal(constant, np.full((4, 4), 0.25))
        np.testing.assert_array_equal(kernel, given)
        np.testing.assert_array_equal(bias, np.ones(4))


def test_only_the_order_of_the_data_differs():
    def build():
        top = layers.Dense(1, kernel_initializer="zeros")
        return network(learning_rate=0.1, top=top)

    one, two = kernels(trained(build))
    assert not np.array_equal(one, two)
    one, two = kernels(trained(build, shuffle=False))
    np.testing.assert_array_equal(one, two)


def test_build_may_seed_the_global_numbers():
    def build():
        keras.utils.set_random_seed(0)
        top = layers.Dense(1, kernel_initializer="zeros")
        return network(learning_rate=0.1, top=top)

    one, two = kernels(trained(build))
    assert not np.array_equal(one, two)


def test_only_the_masks_of_seeded_dropout_differ():
    def build():
        top = layers.Dense(1, kernel_initializer="zeros")
        return network(layers.Dropout(0.5, seed=3), learning_rate=0.1, top=top)

    one, two = kernels(trained(build, shuffle=False))
    assert not np.array_equal(one, two)


def everything(seed=None):
    return network(
        layers.Dense(8, "relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.5),
        layers.Dropout(0.2, seed=3),
        learning_rate=0.1,
    )


def test_the_same_seeds_give_the_same_members_bit_for_bit():
    runs = [trained(everything, len(seeds), seeds=seeds) for seeds in ([4, 9], [9])]
    # A member depends on its own seed, not on those before it.
    (_, one), (other,) = runs
    assert one is not other
    for a, b in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.history.history == other.history.history


def test_without_seeds_set_random_seed_decides():
    found = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        found.append(kernels(drawn(lambda: layers.Dense(8), seeds=None))[0])
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_global_random_numbers_are_given_back():
    def numbers_of():
        keras.utils.set_random_seed(7)
        yield
        yield random.random(), np.random.rand()
        # The order that `fit` makes, and the weights of new layers.
        model = network(layers.Dense(3), learning_rate=0.1)
        model.fit(X, Y, batch_size=8, verbose=0)
        yield model.get_weights()

    plain, probed = numbers_of(), numbers_of()
    next(plain)
    expected = list(plain)
    next(probed)
    before = keras.Variable.__init__
    drawn(lambda: layers.Dropout(0.5, seed=3))
    assert keras.Variable.__init__ is before
    numbers, weights = list(probed)
    assert numbers == expected[0]
    for one, other in zip(weights, expected[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_build_and_callbacks_are_called_with_what_they_accept():
    seen, made = [], []

    def build(member, seed, units=3):
        seen.append((member, seed))
        return network(layers.Dense(units))

    def callbacks(member):
        made.append(keras.callbacks.EarlyStopping("loss"))
        assert member == len(made) - 1
        return made[-1]

    models = trained(build, seeds=np.array([5, 6]), callbacks=callbacks)
    assert seen == [(0, 5), (1, 6)]
    assert [callback.model for callback in made] == models


def test_histories_come_with_the_models():
    models = trained(lambda: network(), epochs=3, validation_data=(X, Y))
    for model in models:
        history = model.history.history
        assert len(history["loss"]) == len(history["val_loss"]) == 3
        assert model.optimizer.iterations == 9
        # No compiled step is left, and the models work.
        assert model.train_function is model.test_function is None
        assert model.predict(X, verbose=0).shape == (24, 1)
    models[0].fit(X, Y, verbose=0)
    assert models[0].optimizer.iterations == 10


def test_the_hook_is_taken_off_after_an_exception():
    before, state = keras.Variable.__init__, random.getstate()

    def build():
        layers.Dense(3).build((2, 2))
        raise KeyError("stop")

    with pytest.raises(KeyError):
        trained(build)
    assert keras.Variable.__init__ is before
    assert random.getstate() == state


def test_a_model_or_a_layer_that_comes_twice_is_refused():
    model = network(layers.Dense(2))
    with pytest.raises(ValueError, match="`build` must return a new model at each"):
        trained(lambda: model)
    shared = layers.Dense(4, name="body")
    with pytest.raises(ValueError, match=r"one that has '.*kernel' of an earlier"):
        trained(lambda: network(shared))
    late = layers.Dense(4)

    def unbuilt():
        model = keras.Sequential([late, layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    with pytest.raises(ValueError, match="make all layers inside `build`"):
        trained(unbuilt)


def test_an_optimizer_or_a_metric_that_comes_twice_is_refused():
    optimizer = keras.optimizers.Adam(0.01)
    metric = keras.metrics.MeanSquaredError("mine")

    def build(optimizer="sgd", metrics=None):
        model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
        model.compile(optimizer, "mse", metrics=metrics, run_eagerly=True)
        return model

    message = r"an optimizer of its own. Received: one with the Adam of another model"
    with pytest.raises(ValueError, match=message):
        trained(lambda: build(optimizer))
    # Nor one that another model has trained with before.
    with pytest.raises(ValueError, match=message):
        trained(lambda: build(optimizer), members=1)
    with pytest.raises(
        ValueError, match=r"metrics of its own. .* metric 'mine' of an e"
    ):
        trained(lambda: build(metrics=[metric]))


def test_an_optimizer_that_comes_with_its_model_is_taken():
    def build():
        model = network(run_eagerly=True)
        model.optimizer.build(model.trainable_variables)
        return model

    assert len(trained(build)) == 2


def test_says_which_argument_is_wrong():
    with pytest.raises(ValueError, match="`members` must be a positive integer"):
        trained(everything, members=0)
    with pytest.raises(ValueError, match="`seeds` must be an integer from 0 to"):
        trained(everything, seeds=-1)
    with pytest.raises(TypeError, match="`seeds` must be an integer from 0 to"):
        trained(everything, seeds="a")
    with pytest.raises(ValueError, match="`seeds` must hold a seed for each of 2 memb"):
        trained(everything, seeds=[1, 1])
    with pytest.raises(ValueError, match="`seeds` must hold a seed for each of 2 memb"):
        trained(everything, seeds=[1])
    with pytest.raises(TypeError, match="`x` must be what can be read several times"):
        train_members(everything, 2, iter([(X, Y)]))
    generator = ((X, Y) for _ in range(2))
    with pytest.raises(TypeError, match="`validation_data` must be what can be read"):
        trained(everything, validation_data=generator)
    with pytest.raises(TypeError, match="`callbacks` must be a list of callbacks"):
        trained(everything, callbacks="early")
    with pytest.raises(TypeError, match="asks for `units`"):
        trained(lambda units: None)
    with pytest.raises(TypeError, match="`build` must return a compiled"):
        trained(lambda: None)
