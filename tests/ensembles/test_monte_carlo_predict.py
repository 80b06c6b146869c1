import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks._errors import NoEffectWarning
from keras_tricks.ensembles.monte_carlo_predict import monte_carlo_predict

ONES = np.ones((3, 4), "float32")


def summing(*before, units=4):
    """Sums what the layers before give it."""
    top = layers.Dense(1, kernel_initializer="ones")
    return keras.Sequential([keras.Input((units,)), *before, top])


def held(model):
    return [keras.ops.convert_to_numpy(v.value).copy() for v in model.variables]


def assert_as_before(model, before):
    for old, new in zip(before, held(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_mean_and_variance_are_those_of_the_binomial():
    # Four units, each 0 or 2 with equal chance: mean 4, variance 4.
    model = summing(layers.Dropout(0.5))
    x = np.ones((500, 4), "float32")
    mean, variance, passes = monte_carlo_predict(
        model, x, 20, batch_size=500, seed=1, return_samples=True
    )
    assert set(np.unique(passes)) == {0, 2, 4, 6, 8}
    # 10,000 draws: five standard errors are 0.1 of the mean and about 0.25.
    assert abs(mean.mean() - 4) < 0.1
    assert abs(variance.mean() * 20 / 19 - 4) < 0.3
    np.testing.assert_allclose(mean, passes.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(variance, passes.var(axis=0), rtol=1e-5, atol=1e-6)
    for part in (mean, variance):
        assert (part.shape, part.dtype) == ((500, 1), np.float32)


def test_passes_and_rows_have_masks_of_their_own():
    model = keras.Sequential([keras.Input((64,)), layers.Dropout(0.5)])
    x = np.ones((4, 64), "float32")
    *_, passes = monte_carlo_predict(model, x, 3, 1, batch_size=2, return_samples=True)
    assert len(np.unique(passes.reshape(12, 64), axis=0)) == 12


@pytest.mark.parametrize("kind", ["sequential", "functional", "subclassed", "nested"])
def test_every_kind_of_model_drops(kind):
    inner = summing(layers.Dropout(0.5), units=16)
    if kind == "sequential":
        model = inner
    elif kind == "functional":
        inputs = keras.Input((16,))
        model = keras.Model(inputs, layers.Dense(1)(layers.Dropout(0.5)(inputs)))
    elif kind == "subclassed":
        model = Subclassed()
        model(np.ones((1, 16), "float32"))
    else:
        inputs = keras.Input((16,))
        model = keras.Model(inputs, inner(inputs))
    x = np.ones((2, 16), "float32")
    before = held(model)
    _, variance = monte_carlo_predict(model, x, 5, seed=1)
    assert np.all(variance > 0)
    assert_as_before(model, before)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.drop = layers.Dropout(0.5)
        self.top = layers.Dense(1)

    def call(self, x, training=False):
        return self.top(self.drop(x, training=training))


class Halving(layers.Dropout):
    """Takes `training` by position, and drops in a way of its own."""

    def call(self, inputs, training=False):
        return inputs / 2 if training else inputs


def test_the_whole_family_is_on():
    inputs = keras.Input((2, 8))
    family = [
        layers.GaussianDropout(0.5),
        layers.AlphaDropout(0.5),
        layers.TimeDistributed(layers.Dropout(0.5)),
    ]
    outputs = [layer(inputs) for layer in family]
    outputs.append(layers.MultiHeadAttention(2, 4, dropout=0.5)(inputs, inputs))
    outputs.append(layers.Attention(dropout=0.5)([inputs, inputs]))
    model = keras.Model(inputs, outputs)
    x = np.random.default_rng(0).normal(size=(2, 2, 8)).astype("float32")
    before = held(model)
    means, variances = monte_carlo_predict(model, x, 3, 1)
    for mean, variance in zip(means, variances, strict=True):
        assert mean.shape == variance.shape == (2, 2, 8)
        assert variance.max() > 0
    assert_as_before(model, before)


RECURRENT = [
    lambda: layers.SimpleRNN(4, dropout=0.5),
    pytest.param(lambda: layers.GRU(4, recurrent_dropout=0.5), marks=pytest.mark.slow),
    pytest.param(
        lambda: layers.Bidirectional(layers.LSTM(4, dropout=0.5)),
        marks=pytest.mark.slow,
    ),
    pytest.param(
        lambda: layers.RNN(layers.LSTMCell(4, dropout=0.5)), marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize("layer", RECURRENT)
def test_the_recurrent_layers_are_on(layer):
    model = keras.Sequential([keras.Input((3, 4)), layer()])
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    assert monte_carlo_predict(model, x, 3, 1)[1].max() > 0


class Loop(keras.Model):
    """Calls its cell itself, and never makes it forget its masks."""

    def __init__(self):
        super().__init__()
        self.cell = layers.LSTMCell(3, dropout=0.5)
        self.top = layers.Dense(1)

    def call(self, x, training=False):
        states = self.cell.get_initial_state(keras.ops.shape(x)[0])
        for step in range(x.shape[1]):
            output, states = self.cell(x[:, step], states, training=training)
        return self.top(output)


def test_cells_in_a_loop_have_new_masks_each_time_and_leave_none():
    x = np.random.default_rng(0).normal(size=(6, 1, 8)).astype("float32")
    model = Loop()
    model(x)
    model.compile("sgd", "mse")
    # The last batch is smaller.
    *_, passes = monte_carlo_predict(model, x, 3, 1, batch_size=4, return_samples=True)
    assert len(np.unique(passes[:, :, 0], axis=0)) == 3
    assert vars(model.cell).get("_dropout_mask") is None
    assert "call" not in vars(model)
    model.fit(x, x[:, 0, :1], batch_size=6, verbose=0)


class Scaling(layers.Dropout):
    def call(self, inputs, training=False, scale=None):
        return super().call(inputs, training=training) * scale


class Positional(keras.Model):
    def __init__(self):
        super().__init__()
        self.drop = Scaling(0.5)

    def call(self, x, training=False):
        return self.drop(x, None, x * 0 + 100.0)


def test_arguments_after_training_are_kept():
    model = Positional()
    model(ONES)
    *_, passes = monte_carlo_predict(model, ONES, 3, 1, return_samples=True)
    np.testing.assert_allclose(np.unique(passes), [0, 200])


def test_half_precision_is_no_matter_for_small_variances():
    drop = layers.Dropout(0.5, dtype="float16")
    tiny = keras.initializers.Constant(1e-4)
    top = layers.Dense(1, kernel_initializer=tiny, dtype="float16")
    model = keras.Sequential([keras.Input((64,), dtype="float16"), drop, top])
    x = np.ones((3, 64), "float16")
    mean, variance, passes = monte_carlo_predict(model, x, 5, 1, return_samples=True)
    assert mean.dtype == variance.dtype == np.float32
    assert passes.dtype == np.float16
    expected = passes.astype("float64").var(axis=0)
    assert 0 < expected.max() < 1e-6
    np.testing.assert_allclose(variance, expected, rtol=1e-5)


def test_a_subclass_of_dropout_runs_its_own_call():
    mean, variance = monte_carlo_predict(summing(Halving(0.5)), ONES, 3, seed=1)
    np.testing.assert_array_equal(mean, np.full((3, 1), 2))
    np.testing.assert_array_equal(variance, np.zeros((3, 1)))


def test_batch_normalization_and_noise_stay_as_in_predict():
    norm = layers.BatchNormalization(
        epsilon=0.0,
        moving_mean_initializer=keras.initializers.Constant(10.0),
        moving_variance_initializer=keras.initializers.Constant(4.0),
    )
    drop = layers.Dropout(0.5)
    model = keras.Sequential([keras.Input((4,)), norm, layers.GaussianNoise(1.0), drop])
    x = np.full((8, 4), 14, "float32")
    before = held(model)
    # (14 - 10) / 2 = 2, then doubled or dropped.
    *_, passes = monte_carlo_predict(model, x, 5, seed=1, return_samples=True)
    np.testing.assert_allclose(np.unique(passes), [0, 4], rtol=1e-6)
    assert_as_before(model, before)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others():
    model = summing(layers.Dropout(0.5), layers.Dropout(0.2), units=32)
    x = np.ones((5, 32), "float32")
    # The seed comes fourth.
    one, again, other = (monte_carlo_predict(model, x, 2, s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_without_a_seed_set_random_seed_decides():
    model = summing(layers.Dropout(0.5), units=32)
    x = np.ones((5, 32), "float32")
    found = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        found.append(monte_carlo_predict(model, x, 3)[0])
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_two_layers_that_share_a_seed_get_masks_of_their_own():
    inputs = keras.Input((32,))
    pair = [layers.Dropout(0.5, seed=7)(inputs) for _ in range(2)]
    model = keras.Model(inputs, pair)
    x = np.ones((1, 32), "float32")
    (one, two), _ = monte_carlo_predict(model, x, 1, seed=1)
    assert not np.array_equal(one, two)


def test_the_models_own_predict_is_not_disturbed():
    model = summing(layers.Dropout(0.5))
    before = held(model)
    monte_carlo_predict(model, ONES, 2, seed=1)
    # It has not predicted before: what it compiles now must be without Dropout.
    assert model.predict_function is None
    np.testing.assert_array_equal(model.predict(ONES, verbose=0), np.full((3, 1), 4))
    own = model.predict_function
    monte_carlo_predict(model, ONES, 2, seed=1)
    assert model.predict_function is own
    np.testing.assert_array_equal(model.predict(ONES, verbose=0), np.full((3, 1), 4))
    assert_as_before(model, before)
    assert "call" not in vars(model.layers[0])


def test_a_compiled_model_trains_on_as_if_nothing_had_been():
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")

    def trained(between):
        keras.utils.set_random_seed(5)
        model = summing(layers.Dropout(0.5), layers.Dense(4))
        model.compile("adam", "mse")
        model.fit(x, x[:, :1], batch_size=8, verbose=0)
        between(model)
        model.fit(x, x[:, :1], batch_size=8, verbose=0)
        return model.get_weights()

    plain = trained(lambda model: None)
    probed = trained(lambda model: monte_carlo_predict(model, x, 2, seed=1))
    for one, other in zip(plain, probed, strict=True):
        np.testing.assert_array_equal(one, other)


class Interrupted(keras.utils.PyDataset):
    reads = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        self.reads += 1
        if self.reads == 6:
            raise KeyboardInterrupt
        return (ONES,)


def test_the_model_is_given_back_after_an_exception():
    model = summing(layers.Dropout(0.5))
    model.predict(ONES, verbose=0)
    before, own = held(model), model.predict_function
    data, numbers = Interrupted(), np.random.get_state()[1].copy()
    with pytest.raises(KeyboardInterrupt):
        monte_carlo_predict(model, data, 9, 1, batch_size=None)
    # In the third pass, or on the way to it: the data are read ahead.
    assert data.reads >= 6
    assert_as_before(model, before)
    assert model.predict_function is own
    assert "call" not in vars(model.layers[0])
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)
    np.testing.assert_array_equal(model.predict(ONES, verbose=0), np.full((3, 1), 4))


def test_a_stateful_network_starts_each_pass_from_the_same_states():
    inputs = keras.Input(batch_shape=(2, 3, 4))
    recurrent = layers.SimpleRNN(3, stateful=True)
    dropped = layers.Dropout(0.5)(inputs)
    model = keras.Model(inputs, [recurrent(inputs), dropped])
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    before = held(model)
    (still, _), (none, some) = monte_carlo_predict(model, x, 4, batch_size=2, seed=1)
    np.testing.assert_allclose(none, np.zeros((2, 3)), atol=1e-12)
    assert some.max() > 0
    assert_as_before(model, before)
    expected, _ = model.predict(x, batch_size=2, verbose=0)
    np.testing.assert_allclose(still, expected, rtol=1e-6)


@pytest.mark.backend("jax", "tensorflow", reason="PyTorch runs layer by layer")
def test_the_number_of_passes_costs_no_compilation():
    traced = []

    class Counting(layers.Layer):
        def call(self, x):
            traced.append(len(traced))
            return x + 0.0

    model = summing(Counting(), layers.Dropout(0.5))
    counts = []
    for samples in (1, 5):
        traced.clear()
        monte_carlo_predict(model, ONES, samples, seed=1)
        counts.append(len(traced))
    assert counts[0] == counts[1] >= 1


def test_outputs_keep_their_names():
    inputs = keras.Input((4,))
    dropped = layers.Dropout(0.5)(inputs)
    model = keras.Model(inputs, {"a": dropped, "b": inputs * 2})
    mean, variance, passes = monte_carlo_predict(
        model, ONES, 3, seed=1, return_samples=True
    )
    assert set(mean) == set(variance) == set(passes) == {"a", "b"}
    np.testing.assert_array_equal(mean["b"], np.full((3, 4), 2))
    assert passes["a"].shape == (3, 3, 4)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return (np.full((3, 4), index + 1.0, "float32"),)


def test_a_dataset_is_read_again_in_each_pass():
    model = summing(Halving(0.5))
    mean, variance = monte_carlo_predict(model, Batches(), 3, batch_size=None, seed=1)
    np.testing.assert_array_equal(mean[:, 0], [2, 2, 2, 4, 4, 4])
    np.testing.assert_array_equal(variance, np.zeros((6, 1)))


@pytest.mark.parametrize("drop", [[], [layers.Dropout(0.0)], [layers.GaussianNoise(1)]])
def test_warns_where_nothing_drops(drop):
    model = summing(*drop)
    with pytest.warns(NoEffectWarning, match=r"no effect on .* has no active Dropout"):
        mean, variance = monte_carlo_predict(model, ONES, 2)
    np.testing.assert_array_equal(mean, np.full((3, 1), 4))
    np.testing.assert_array_equal(variance, np.zeros((3, 1)))


class OnlyInTraining(Subclassed):
    def call(self, x, training=False):
        return self.top(self.drop(x) if training else x)


def test_warns_where_dropout_is_never_called():
    model = OnlyInTraining()
    model(ONES)
    with pytest.warns(NoEffectWarning, match="calls none of its Dropout layers"):
        monte_carlo_predict(model, ONES, 2)


def test_says_which_argument_is_wrong():
    model = summing(layers.Dropout(0.5))
    with pytest.raises(TypeError, match=r"`model` must be a built keras.Model"):
        monte_carlo_predict("model", ONES)
    with pytest.raises(ValueError, match="`model` must be built"):
        monte_carlo_predict(keras.Sequential([layers.Dense(1)]), ONES)
    with pytest.raises(ValueError, match="`samples` must be a positive integer"):
        monte_carlo_predict(model, ONES, 0)
    with pytest.raises(TypeError, match="`samples` must be a positive integer"):
        monte_carlo_predict(model, ONES, 2.5)
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        monte_carlo_predict(model, ONES, batch_size=0)
    with pytest.raises(ValueError, match="`seed` must be an integer from 0 to"):
        monte_carlo_predict(model, ONES, seed=-1)
    with pytest.raises(TypeError, match="`x` must be what can be read several times"):
        monte_carlo_predict(model, iter([ONES]))
