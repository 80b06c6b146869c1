import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks._errors import NoEffectWarning
from keras_tricks.ensembles.soup import soup

ONES = np.ones((4, 1), "float32")


def line(slope):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[slope]])])
    return model


def slope(model):
    return model.get_weights()[0].item()


def lines(*slopes):
    return [line(value) for value in slopes]


def test_keeps_a_model_where_the_average_scores_strictly_better():
    # Target 10, best first: 8 (error 4), 13 (9), 6 (16), 20 (100).
    # 8 and 13 make 10.5 (0.25): kept. With 6: 9 (1): no. With 20: 13.67: no.
    models = lines(6.0, 20.0, 8.0, 13.0)
    new, table = soup(models, ONES, 10 * ONES, "squared_error", report=True)
    assert slope(new) == 10.5
    assert [tuple(row) for row in table] == [
        (2, -4.0, -4.0, True),
        (3, -9.0, -0.25, True),
        (0, -16.0, -1.0, False),
        (1, -100.0, pytest.approx(-((41 / 3 - 10) ** 2), rel=1e-5), False),
    ]
    text = str(table).splitlines()
    assert text[0] == "2 of 4 models, squared_error -0.25; the best one alone -4"
    assert text[1].split() == ["model", "score", "soup_score", "kept"]
    assert [slope(model) for model in models] == [6.0, 20.0, 8.0, 13.0]


def test_a_later_model_is_averaged_with_all_that_were_kept():
    # Target 2.
    models = lines(5.0, -2.0, 6.5, 3.5)
    # 3.5 (2.25) first; 5: 4.25, no; -2: .75 (1.5625), kept; 6.5: 8/3 (.444), kept.
    new, table = soup(models, ONES, 2 * ONES, squared, report=True)
    assert slope(new) == pytest.approx(8 / 3, rel=1e-6)
    assert [row.model for row in table if row.kept] == [3, 1, 2]


def squared(y, predictions):
    return -float(np.mean((y - predictions) ** 2))


def test_equal_scores_go_in_the_order_given():
    new, table = soup(lines(7.0, 3.0, 1.0), ONES, 2 * ONES, squared, report=True)
    assert [row.model for row in table] == [1, 2, 0]
    assert slope(new) == 2.0


def test_a_tie_is_not_kept():
    with pytest.warns(NoEffectWarning):
        soup(lines(2.0, 2.0), ONES, 1.5 * ONES, squared)
    models = lines(0.5, 1.5, 1.0)
    with pytest.warns(NoEffectWarning):
        _, table = soup(models, ONES, ONES, squared, report=True)
    assert [row.kept for row in table] == [True, False, False]


def test_the_result_is_never_worse_than_the_best_model():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5)).astype("float32")
    truth = rng.normal(size=(5, 3))
    y = (x @ truth).argmax(axis=1)
    noisy = [truth + rng.normal(0, 0.5, truth.shape) for _ in range(5)]
    models = [classifier(kernel, "softmax") for kernel in noisy]
    new, table = soup(models, x, y, report=True)
    last = [row.soup_score for row in table if row.kept][-1]
    assert accuracy(new, x, y) == pytest.approx(last)
    assert last > max(row.score for row in table)
    # Greedy, worked anew in NumPy.
    scores = [np.mean((x @ kernel).argmax(axis=1) == y) for kernel in noisy]
    kept, score = [], 0.0
    for index in np.argsort(-np.array(scores), kind="stable"):
        mean = np.mean([noisy[i] for i in [*kept, index]], axis=0)
        if (trial := np.mean((x @ mean).argmax(axis=1) == y)) > score:
            kept, score = [*kept, index], trial
    assert [row.model for row in table if row.kept] == kept


def accuracy(model, x, y):
    return float(np.mean(model.predict(x, verbose=0).argmax(axis=1) == y))


def test_the_average_of_equal_models_is_themselves_and_warns():
    models = lines(0.1, 0.1, 0.1)
    with pytest.warns(NoEffectWarning, match=r"soup has no effect: no .* models\[0\]"):
        new = soup(models, ONES, ONES, "squared_error")
    assert slope(new) == np.float32(0.1)
    assert slope(soup(models, ONES, ONES, squared, mode="uniform")) == np.float32(0.1)


def test_uniform_averages_all():
    new, table = soup(
        lines(1.0, 2.0, 9.0), ONES, ONES, squared, mode="uniform", report=True
    )
    assert slope(new) == 4.0
    assert [tuple(row) for row in table] == [
        (0, 0.0, -9.0, True),
        (1, -1.0, -9.0, True),
        (2, -64.0, -9.0, True),
    ]


def classifier(kernel, activation, compile_with=None):
    dense = layers.Dense(len(kernel[0]), activation=activation, use_bias=False)
    model = keras.Sequential([keras.Input((len(kernel),)), dense])
    model.set_weights([np.array(kernel, "float32")])
    if compile_with is not None:
        model.compile("sgd", compile_with)
    return model


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_column_counts_as_class_one_above_the_half_or_above_zero(activation):
    loss = keras.losses.BinaryCrossentropy(from_logits=activation is None)
    models = [classifier(k, activation, loss) for k in ([[1], [-2]], [[-2], [1]])]
    x = np.array([[1, 0], [0, 1], [0.3, 0.4], [1, 1]], "float32")
    # The first says 1, 0, 0, 0; the second 0, 1, 0, 0; both together 0, 0, 0, 0.
    y = np.array([[0], [0], [0], [0]])
    new, table = soup(models, x, y, report=True)
    assert [row.score for row in table] == [0.75, 0.75]
    assert [row.soup_score for row in table] == [0.75, 1.0]
    np.testing.assert_array_equal(new.get_weights()[0], [[-0.5], [-0.5]])


def test_log_loss_is_that_of_the_probabilities():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    kernels = np.log([[[0.5, 0.5]], [[0.25, 0.75]]])
    models = [classifier(kernel, None, loss) for kernel in kernels]
    _, table = soup(models, ONES, np.zeros(4), "log_loss", mode="uniform", report=True)
    expected = np.log([0.5, 0.25])
    np.testing.assert_allclose([row.score for row in table], expected, rtol=1e-5)


def rich(rate=0.5):
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="relu")])
    hidden = layers.BatchNormalization()(inner(inputs))
    outputs = layers.Dense(1)(layers.Dropout(rate)(hidden))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


DATA = np.random.default_rng(1).normal(size=(32, 4)).astype("float32")


def test_moments_are_averaged_and_counters_and_seeds_are_not():
    models = [rich(0.5), rich(0.1)]
    rng = np.random.default_rng(2)
    for model in models:
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(4)
        for variable in model.variables:
            if keras.backend.is_float_dtype(variable.dtype):
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    before = [[held(v) for v in model.variables] for model in models]
    new, table = soup(models, DATA, DATA[:, :1], squared, mode="uniform", report=True)
    first = next(iter(table)).model
    for mine, *pair in zip(new.variables, *before, strict=True):
        if keras.backend.is_float_dtype(mine.dtype):
            expected = np.mean(np.array(pair, "float64"), axis=0)
            np.testing.assert_allclose(held(mine), expected, rtol=1e-6, atol=1e-8)
        else:
            np.testing.assert_array_equal(held(mine), pair[first])
    for model, values in zip(models, before, strict=True):
        for variable, value in zip(model.variables, values, strict=True):
            np.testing.assert_array_equal(held(variable), value)
    # Compiled like the best one, and it trains.
    assert int(new.optimizer.iterations) == 4
    assert new.optimizer is not models[first].optimizer
    assert set(new.train_on_batch(DATA, DATA[:, :1], return_dict=True)) == {
        "loss",
        "mae",
    }
    assert int(new.optimizer.iterations) == 5


def held(variable):
    return keras.ops.convert_to_numpy(variable.value)


def test_recalibrated_moments_are_those_of_the_data():
    def normed(weight):
        stack = [
            layers.Dense(1, use_bias=False),
            layers.BatchNormalization(epsilon=0.0),
        ]
        model = keras.Sequential([keras.Input((1,)), *stack])
        model.set_weights([np.array([[weight]]), *np.array([[1], [0], [0], [1]])])
        return model

    data = np.array([[0.0], [2.0], [4.0], [6.0]], "float32")
    models = [normed(1.0), normed(3.0)]
    new = soup(models, data, data, squared, mode="uniform", recalibrate=data)
    kernel, _, _, mean, variance = new.get_weights()
    # 2 x: 0, 4, 8, 12, with mean 6 and variance 20.
    assert kernel.item() == 2.0
    np.testing.assert_allclose([mean[0], variance[0]], [6.0, 20.0], rtol=1e-6)
    # A model alone keeps its own.
    with pytest.warns(NoEffectWarning):
        alone = soup([normed(1.0)] * 2, data, data, squared, recalibrate=data)
    np.testing.assert_array_equal(alone.get_weights()[3], [0.0])


@keras.saving.register_keras_serializable("soup_test")
class Subclassed(keras.Model):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = layers.Dense(units)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_subclassed_models_are_averaged_too():
    models = [Subclassed(), Subclassed()]
    for model, weight in zip(models, (1.0, 3.0), strict=True):
        model(DATA)
        model.set_weights([np.full((4, 2), weight), np.full(2, weight)])
    models[0].compile("sgd", "mse")
    new = soup(models, DATA, DATA[:, :2], squared, mode="uniform")
    assert type(new) is Subclassed
    for weight in new.get_weights():
        np.testing.assert_array_equal(weight, np.full(weight.shape, 2.0))


class Unnamed(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 1), initializer="ones")

    def call(self, x):
        return x @ self.kernel


def test_weights_without_a_name_are_no_difference():
    models = [keras.Sequential([keras.Input((4,)), Unnamed()]) for _ in range(2)]
    models[1].set_weights([np.full((4, 1), 3.0)])
    new = soup(models, DATA, DATA[:, :1], squared, mode="uniform")
    np.testing.assert_array_equal(new.get_weights()[0], np.full((4, 1), 2.0))


@keras.saving.register_keras_serializable("soup_test")
class Normalizing(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.Normalization()
        self.dense = layers.Dense(1, use_bias=False, kernel_initializer="ones")

    def call(self, x):
        return self.dense(self.norm(x))


@pytest.mark.parametrize("kind", ["sequential", "subclassed"])
def test_what_a_normalization_works_out_follows_its_moments(kind):
    models = []
    for low, high in ((0.0, 2.0), (4.0, 12.0)):
        model = Normalizing()
        if kind == "sequential":
            stack = [model.norm, model.dense]
            model.norm.adapt(np.array([[low], [high]]))
            model = keras.Sequential([keras.Input((1,)), *stack])
        else:
            model.norm.adapt(np.array([[low], [high]]))
            model(ONES)
        models.append(model)
    # Means 1 and 8, variances 1 and 16: (x - 4.5) / sqrt(8.5).
    new, table = soup(models, ONES, ONES, first, mode="uniform", report=True)
    expected = -3.5 / np.sqrt(8.5)
    assert new.predict(ONES, verbose=0)[0, 0] == pytest.approx(expected, rel=1e-5)
    # The best alone gives (1 - 1) / 1, the other one (1 - 8) / 4.
    scores = [number for row in table for number in (row.model, row.score)]
    assert scores == [0, pytest.approx(0.0, abs=1e-6), 1, pytest.approx(-1.75)]
    assert table.rows[0].soup_score == pytest.approx(expected, rel=1e-5)


def first(y, predictions):
    return float(predictions[0, 0])


def test_states_of_recurrent_layers_are_zero_for_each_score_and_stay():
    x = np.ones((2, 1, 1), "float32")
    models = []
    for weight in (0.5, 0.25):
        inputs = keras.Input(batch_shape=(2, 1, 1))
        layer = layers.SimpleRNN(1, activation="linear", stateful=True)
        models.append(keras.Model(inputs, layer(inputs)))
        # The answer is x w, and the state before.
        weights = np.array([[weight]]), np.array([[1.0]]), np.array([0.0])
        models[-1].set_weights(weights)
        layer.states[0].assign([[7.0], [7.0]])
    options = {"batch_size": 2, "mode": "uniform", "report": True}
    _, table = soup(models, x, x, first, **options)
    expected = [(0, 0.5, 0.375, True), (1, 0.25, 0.375, True)]
    assert [tuple(row) for row in table] == expected
    for model in models:
        np.testing.assert_array_equal(held(model.layers[-1].states[0]), [[7], [7]])


def test_running_averages_begin_at_the_weights_of_the_soup():
    models = lines(0.0, 2.0)
    for model in models:
        model.compile(keras.optimizers.SGD(0.0, use_ema=True), "mse")
        model.optimizer.build(model.trainable_variables)
    new = soup(models, ONES, ONES, squared, mode="uniform")
    assert slope(new) == 1.0
    # At the end of a training they are written over the weights.
    new.fit(ONES, ONES, verbose=0)
    assert slope(new) == 1.0


@keras.saving.register_keras_serializable("soup_test")
class Forgetful(layers.Layer):
    """Its configuration does not say all."""

    factor = 1.0

    def call(self, x):
        return x * self.factor


def test_a_model_whose_copy_answers_otherwise_is_refused():
    models = [
        keras.Sequential([keras.Input((1,)), layers.Dense(1), Forgetful()])
        for _ in range(2)
    ]
    models[0].layers[1].factor = 2.0
    message = r"models that can be copied. Received: models\[0\] .* answers differently"
    with pytest.raises(ValueError, match=message):
        soup(models, ONES, ONES, squared)


def test_the_first_difference_is_named():
    def dense(*units, activation=None):
        stack = [layers.Dense(n, activation=activation, name=f"d{n}") for n in units]
        return keras.Sequential([keras.Input((4,)), *stack])

    y = DATA[:, :1]
    with pytest.raises(
        ValueError,
        match=r"models\[0\] with the layer 'd3', .*kernel \("
        r"4, 3\).*, and models\[1\] with 'd5', Dense kernel \(4, 5\)",
    ):
        soup([dense(3, 1), dense(5, 1)], DATA, y, squared)
    with pytest.raises(ValueError, match=r"models\[2\] with one more layer, 'd2'"):
        soup([dense(1), dense(1), dense(1, 2)], DATA, y, squared)
    with pytest.raises(ValueError, match=r"models\[0\] with one more layer, 'd2'"):
        soup([dense(1, 2), dense(1)], DATA, y, squared)
    models = [dense(3, activation="tanh"), dense(3, activation="relu")]
    message = r"models\[1\], which answer .* 'd3' has activation='tanh' in the one, and"
    with pytest.raises(ValueError, match=message):
        soup(models, DATA, y, squared)


def wired(sign):
    inputs = keras.Input((4,))
    hidden = layers.Dense(4)(inputs)
    pair = [hidden, inputs][::sign]
    return keras.Model(inputs, layers.Subtract()(pair))


def test_another_wiring_is_refused():
    message = r"models\[1\], which answer .* its layers are connected in another way"
    with pytest.raises(ValueError, match=message):
        soup([wired(1), wired(-1)], DATA, DATA, squared)


def test_a_score_that_is_no_number_is_refused():
    models = lines(1.0, float("nan"))
    with pytest.raises(ValueError, match=r"Received: NaN for models\[1\]; leave out"):
        soup(models, ONES, ONES, "squared_error")


def test_says_which_argument_is_wrong():
    two = lines(1.0, 2.0)
    with pytest.raises(TypeError, match="`models` must be a list of built"):
        soup(two[0], ONES, ONES)
    with pytest.raises(TypeError, match=r"`models` must be a list .* 'b' in it"):
        soup([two[0], "b"], ONES, ONES)
    with pytest.raises(ValueError, match=r"`models` must be at least two.*Received: 1"):
        soup(two[:1], ONES, ONES)
    unbuilt = keras.Sequential([layers.Dense(1)])
    with pytest.raises(ValueError, match=r"`models` must be built. .*models\[1\]"):
        soup([two[0], unbuilt], ONES, ONES)
    with pytest.raises(ValueError, match=r"`mode` must be one of .* mean 'uniform'"):
        soup(two, ONES, ONES, mode="unifrom")
    with pytest.raises(ValueError, match=r"`metric` must be one of .* mean 'accuracy'"):
        soup(two, ONES, ONES, "acuracy")
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        soup(two, ONES, ONES, batch_size=0)
    with pytest.raises(TypeError, match="`x` must be an array, or a list or dict"):
        soup(two, iter([ONES]), ONES)
    with pytest.raises(ValueError, match=r"`y` must have one entry .* here 4. .* 3"):
        soup(two, ONES, ONES[:3], "squared_error")
    compiled = [classifier([[1.0]], None, "mse") for _ in range(2)]
    message = "`metric` must be a function where it cannot be found"
    with pytest.raises(ValueError, match=message):
        soup(compiled, ONES, ONES, "log_loss")
    inputs = keras.Input((1,))
    several = [keras.Model(inputs, [inputs * 1, layers.Dense(1)(inputs)])] * 2
    with pytest.raises(ValueError, match=r"`metric` must be a function .* several"):
        soup(several, ONES, ONES, "squared_error")
    with pytest.raises(TypeError, match=r"`metric` must be .* one that returned None"):
        soup(two, ONES, ONES, lambda y, predictions: None)
    adapted = lines(1.0, 2.0)
    adapted[1].layers[0].enable_lora(1)
    with pytest.raises(ValueError, match=r"models\[1\], whose layer .* has LoRA weig"):
        soup(adapted, ONES, ONES)
    quantized = lines(1.0, 2.0)
    quantized[1].layers[0].quantize("int8")
    with pytest.raises(ValueError, match=r"models\[1\], whose layer .* is quantized"):
        soup(quantized, ONES, ONES)
