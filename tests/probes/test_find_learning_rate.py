import copy

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.probes import find_learning_rate

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 6)).astype("float32")
Y = (X[:, 0] + X[:, 1] > 0).astype("int32")
SHORT = {"max_learning_rate": 1.0, "growth": 1.6, "verbose": 0}


def classifier(optimizer="sgd", **compile_arguments):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=["accuracy"], **compile_arguments)
    return model


def values(model):
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    return {
        id(v): np.array(keras.ops.convert_to_numpy(v.value), copy=True)
        for v in variables
    }


def everything(model):
    return {
        "values": values(model),
        "optimizer": model.optimizer,
        "schedule": kt.schedules._rates.read(model.optimizer),
        "functions": (model.train_function, model.test_function),
        "own": {name for name in vars(model) if not name.startswith("_")},
        "trainable": [layer.trainable for layer in model.layers],
        "stop_training": model.stop_training,
        "history": vars(model).get("history"),
        "numpy": copy.deepcopy(np.random.get_state()[1:3]),
    }


def assert_same(before, after):
    # `fit` builds metrics that were not built: they have no earlier value.
    new = after.pop("values")
    for variable, old in before.pop("values").items():
        np.testing.assert_array_equal(old, new[variable])
    numpy_before, numpy_after = before.pop("numpy"), after.pop("numpy")
    np.testing.assert_array_equal(numpy_before[0], numpy_after[0])
    assert numpy_before[1] == numpy_after[1]
    assert before == after


def multi_optimizer():
    sgd = keras.optimizers.SGD
    biases = keras.optimizers.OptimizerMap(sgd(0.4), {".*/bias": sgd(0.1)})
    return keras.optimizers.MultiOptimizer(biases)


OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(),
    "schedule": lambda: keras.optimizers.Adam(kt.schedules.CosineRestarts(0.01, 7)),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
    "multi": multi_optimizer,
    "multi by function": lambda: keras.optimizers.MultiOptimizer(
        lambda variable: keras.optimizers.SGD(0.1 if "bias" in variable.path else 0.4)
    ),
    "accumulation": lambda: keras.optimizers.SGD(gradient_accumulation_steps=2),
    "ema": lambda: keras.optimizers.SGD(use_ema=True, ema_overwrite_frequency=2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("trained", [True, False], ids=["trained", "fresh"])
def test_the_model_is_bit_for_bit_as_before(name, trained):
    model = classifier(OPTIMIZERS[name]())
    if trained:
        model.evaluate(X, Y, verbose=0)
        model.fit(X, Y, verbose=0)
    before = everything(model)
    curve = find_learning_rate(model, X, Y, **SHORT)
    assert len(curve.losses) > 20
    assert_same(before, everything(model))


def test_it_trains_in_between():
    # A probe that gave everything back but moved nothing would pass the tests above.
    model = classifier(keras.optimizers.SGD(1e-9))
    model.fit(X, Y, verbose=0)
    curve = find_learning_rate(model, X, Y, min_learning_rate=0.01, verbose=0)
    assert curve.smoothed.min() < 0.8 * curve.losses[0]


def test_rates_are_geometric_and_end_at_the_highest():
    curve = find_learning_rate(classifier(), X, Y, max_learning_rate=1e-6, verbose=0)
    # 1e-7 * 1.05^k <= 1e-6 for k = 0..47
    np.testing.assert_allclose(curve.learning_rates, 1e-7 * 1.05 ** np.arange(48))
    curve = find_learning_rate(
        classifier(), X, Y, min_learning_rate=0.001, max_learning_rate=0.1, growth=10.0
    )
    np.testing.assert_allclose(curve.learning_rates, [0.001, 0.01, 0.1])


def test_the_default_test_plans_378_steps():
    # On inputs this small no rate up to 10 diverges.
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(), "mse")
    curve = find_learning_rate(model, 1e-3 * X, 1 + 0.0 * Y, stop_at=1e9, verbose=0)
    assert len(curve.learning_rates) == 378
    assert curve.learning_rates[-1] == pytest.approx(1e-7 * 1.05**377)


def test_max_steps_ends_the_test_early():
    curve = find_learning_rate(classifier(), X, Y, max_steps=12, verbose=0)
    np.testing.assert_allclose(curve.learning_rates, 1e-7 * 1.05 ** np.arange(12))
    assert curve.ended == "the highest rate was reached"


def test_losses_and_rates_are_those_of_sgd_by_hand():
    # One weight, one sample per batch, loss (w x - y)^2: every step can be followed.
    x = np.array([[1.0], [2.0], [-1.0]], "float32")
    y = np.array([[2.0], [1.0], [0.5]], "float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(), "mse")
    model.set_weights([np.array([[0.3]], "float32")])
    data = [(x[i : i + 1], y[i : i + 1]) for i in range(3)]

    class InOrder(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return data[index]

        @property
        def num_batches(self):
            return None  # endless, so that Keras does not shuffle it

    weight, losses = 0.3, []
    rates = 0.001 * 1.5 ** np.arange(3)
    for rate, (sample, target) in zip(rates, data, strict=True):
        error = weight * sample.item() - target.item()
        losses.append(error**2)
        weight -= rate * 2 * error * sample.item()
    curve = find_learning_rate(
        model, InOrder(), min_learning_rate=0.001, growth=1.5, max_steps=3, verbose=0
    )
    np.testing.assert_allclose(curve.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(curve.learning_rates, rates)


def test_groups_keep_their_ratio():
    # Loss -2w - 2b on x = 1: both gradients are -2, so each step shows each rate.
    def steps(optimizer):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(optimizer, lambda y_true, y_pred: -2.0 * y_pred)
        model.set_weights([np.zeros((1, 1)), np.zeros(1)])
        curve = find_learning_rate(
            model, np.ones((4, 1)), np.ones((4, 1)), max_steps=3, growth=2.0, verbose=0,
            min_learning_rate=0.5, max_learning_rate=8.0, batch_size=4, stop_at=100.0,
        )  # fmt: skip
        return curve.losses

    # Moves of 2 * rate for the kernel and a quarter of it for the bias, rates .5, 1:
    # w + b = 0, 1.25, 3.75; the loss is -2 (w + b).
    np.testing.assert_allclose(steps(multi_optimizer()), [0.0, -2.5, -7.5], rtol=1e-6)
    by_function = OPTIMIZERS["multi by function"]()
    np.testing.assert_allclose(steps(by_function), [0.0, -2.5, -7.5], rtol=1e-6)


def test_accumulated_batches_make_one_point():
    model = classifier(keras.optimizers.SGD(gradient_accumulation_steps=3))
    curve = find_learning_rate(model, X, Y, max_steps=5, verbose=0)
    np.testing.assert_allclose(curve.learning_rates, 1e-7 * 1.05 ** np.arange(5))
    assert len(curve.losses) == 5


def test_updates_skipped_by_loss_scaling_are_made_up_for():
    # A scale of 1e38 overflows the gradients until it was halved often enough.
    inner = keras.optimizers.SGD()
    scaled = keras.optimizers.LossScaleOptimizer(inner, initial_scale=1e38)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile(scaled, "mse")
    curve = find_learning_rate(model, 100 * X, 100 * Y, max_steps=30, verbose=0)
    np.testing.assert_allclose(curve.learning_rates, 1e-7 * 1.05 ** np.arange(30))


def test_a_schedule_is_not_followed_during_the_test():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1e-9, 1e-9])
    model = classifier(keras.optimizers.SGD(schedule))
    curve = find_learning_rate(model, X, Y, min_learning_rate=0.01, verbose=0)
    assert curve.smoothed.min() < 0.8 * curve.losses[0]


def test_a_seed_repeats_the_test():
    model = classifier()
    first, second = (
        find_learning_rate(model, X, Y, seed=np.int64(7), max_steps=20, verbose=0)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.losses, second.losses)
    other = find_learning_rate(model, X, Y, seed=8, max_steps=20, verbose=0)
    assert not np.array_equal(first.losses, other.losses)


def test_repeats_are_averaged():
    model = classifier()
    single = [
        find_learning_rate(model, X, Y, seed=seed, max_steps=20, verbose=0).losses
        for seed in (3, 4)
    ]
    both = find_learning_rate(model, X, Y, seed=3, repeats=2, max_steps=20, verbose=0)
    np.testing.assert_allclose(both.losses, np.mean(single, axis=0), rtol=1e-5)


def test_a_seeded_training_is_the_same_after_a_test():
    def weights(test_first):
        keras.utils.set_random_seed(5)
        model = classifier(keras.optimizers.SGD(0.1))
        if test_first:
            find_learning_rate(model, X, Y, seed=1, **SHORT)
        model.fit(X, Y, epochs=2, verbose=0)
        return model.get_weights()

    for old, new in zip(weights(False), weights(True), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.backend(
    "jax", "tensorflow", reason="PyTorch runs eagerly: there is nothing to trace again"
)
def test_a_fit_that_follows_is_not_traced_again():
    traces = []

    def loss(y_true, y_pred):
        traces.append(1)
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    model.compile("adam", loss)
    model.fit(X, Y, verbose=0, batch_size=30)
    find_learning_rate(model, X, Y, batch_size=30, **SHORT)
    before = len(traces)
    model.fit(X, Y, verbose=0, batch_size=30)
    assert len(traces) == before


class Broken(keras.utils.PyDataset):
    """Fails at the third batch, or lets the first step fail by its shape."""

    def __init__(self, error, first_step=False):
        super().__init__()
        self.error = error
        self.first_step = first_step

    def __len__(self):
        return 5

    def __getitem__(self, index):
        if index == 2 and not self.first_step:
            raise self.error
        width = 5 if self.first_step else 6
        return X[:8, :width], Y[:8]


@pytest.mark.parametrize("trained", [True, False], ids=["trained", "fresh"])
@pytest.mark.parametrize(
    "data",
    [
        Broken(OSError("disk gone")),
        Broken(KeyboardInterrupt()),
        Broken(None, first_step=True),
    ],
    ids=["pipeline", "interrupt", "first step"],
)
def test_the_model_is_as_before_after_a_failure(data, trained):
    model = classifier(keras.optimizers.Adam())
    if trained:
        model.fit(X, Y, verbose=0)
    before = everything(model)
    with pytest.raises(BaseException):  # noqa: B017, PT011  (each backend its own)
        find_learning_rate(model, data, verbose=0)
    assert_same(before, everything(model))
    history = model.fit(X, Y, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_the_model_is_as_before_after_divergence():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(), "mse")
    before = everything(model)
    curve = find_learning_rate(
        model, 1e3 * X, Y, max_learning_rate=1e9, growth=2.0, stop_at=1e30, verbose=0
    )
    assert curve.ended == "the loss was no longer finite"
    assert np.isfinite(curve.losses).all()
    assert len(curve.losses) == len(curve.learning_rates) == len(curve.smoothed)
    assert_same(before, everything(model))


def test_it_stops_when_the_loss_rose_too_far():
    model = classifier(keras.optimizers.SGD())
    curve = find_learning_rate(model, X, Y, max_learning_rate=1e6, verbose=0)
    assert curve.ended == "the smoothed loss rose above 4 x its best"
    assert curve.smoothed[-1] > 4 * curve.smoothed.min() > curve.smoothed[-2]


def test_an_unbuilt_model_is_built_but_not_trained():
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [keras.layers.Dense(4, kernel_initializer="zeros"), keras.layers.Dense(2)]
    )
    optimizer = keras.optimizers.Adam()
    model.compile(optimizer, "mse")
    curve = find_learning_rate(model, X, np.eye(2)[Y], **SHORT)
    assert len(curve.losses) > 20
    assert model.optimizer is optimizer
    assert not optimizer.built
    assert not model.layers[0].get_weights()[0].any()
    model.fit(X, np.eye(2)[Y], verbose=0)
    assert model.layers[0].get_weights()[1].any()


class Tracker(keras.Model):
    """A subclassed model with a loss and a metric of its own."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.extra = keras.metrics.Mean(name="extra")

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **_):
        self.extra.update_state(keras.ops.mean(keras.ops.abs(y_pred)))
        return keras.ops.mean(keras.ops.square(y_pred))


def test_a_subclassed_model_with_its_own_loss_needs_no_targets():
    model = Tracker()
    model.compile("sgd")
    curve = find_learning_rate(model, X, verbose=0)
    assert curve.verdict == "clear"


def test_eager_models_are_tested_too():
    model = classifier(run_eagerly=True)
    before = everything(model)
    curve = find_learning_rate(model, X, Y, max_steps=10, verbose=0)
    assert len(curve.losses) == 10
    assert_same(before, everything(model))


@pytest.mark.backend(
    "jax", "tensorflow", reason="PyTorch allows one step per execution only"
)
def test_several_steps_per_execution_are_told_apart():
    model = classifier(steps_per_execution=4)
    curve = find_learning_rate(model, X, Y, max_steps=10, verbose=0)
    assert len(curve.losses) == 10
    assert model.steps_per_execution == 4


def batches(count):
    for start in range(count):
        yield X[start : start + 8], Y[start : start + 8]


class Set(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[8 * index : 8 * index + 8], Y[8 * index : 8 * index + 8]


def tf_dataset():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)


def tf_endless():
    return tf_dataset().repeat()


def torch_loader():
    import torch

    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)


NEEDS_TF = pytest.mark.needs("tensorflow")
NEEDS_TORCH = pytest.mark.needs("torch")
SOURCES = [
    pytest.param(lambda: (X, Y), id="arrays"),
    pytest.param(lambda: (keras.ops.convert_to_tensor(X), Y), id="tensors"),
    pytest.param(lambda: (Set(), None), id="PyDataset"),
    pytest.param(lambda: (batches(100), None), id="generator"),
    pytest.param(lambda: (tf_dataset(), None), id="tf.data", marks=NEEDS_TF),
    pytest.param(lambda: (tf_endless(), None), id="endless", marks=NEEDS_TF),
    pytest.param(lambda: (torch_loader(), None), id="DataLoader", marks=NEEDS_TORCH),
]


@pytest.mark.parametrize("source", SOURCES)
def test_all_that_fit_takes_is_taken_and_repeated(source):
    x, y = source()
    curve = find_learning_rate(classifier(), x, y, max_steps=40, verbose=0)
    assert len(curve.losses) == 40


def test_dicts_of_inputs_and_weights_are_passed_on():
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    model = keras.Model({"a": a, "b": b}, keras.layers.Dense(2)(a + b))
    model.compile("sgd", "mse")
    weights = np.zeros(len(X))
    inputs, targets = {"a": X, "b": X}, np.eye(2)[Y]
    curve = find_learning_rate(
        model, inputs, targets, sample_weight=weights, max_steps=3, verbose=0
    )
    assert not curve.losses.any()
    model = classifier()
    none = {0: 0.0, 1: 0.0}
    curve = find_learning_rate(model, X, Y, class_weight=none, max_steps=3, verbose=0)
    assert not curve.losses.any()


def test_a_generator_that_ends_ends_the_test():
    curve = find_learning_rate(classifier(), batches(30), verbose=0)
    assert len(curve.losses) == 30
    assert curve.ended == "the data ended"


def test_the_bar_is_shown_unless_it_is_not_wanted(capsys):
    find_learning_rate(classifier(), X, Y, max_steps=70)
    assert "70/70" in capsys.readouterr().out
    find_learning_rate(classifier(), X, Y, max_steps=70, verbose=0)
    assert capsys.readouterr().out == ""


def test_random_labels_with_rates_too_low_are_inconclusive():
    labels = np.random.default_rng(1).integers(0, 2, len(X))
    curve = find_learning_rate(classifier(), X, labels, max_learning_rate=1e-5)
    assert curve.verdict == "inconclusive"


def test_a_constant_loss_is_inconclusive():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile("sgd", lambda y_true, y_pred: 0.0 * y_pred + 3.0)
    curve = find_learning_rate(model, X, Y, verbose=0)
    assert curve.verdict == "inconclusive"
    assert len(curve.losses) == 378


def test_a_frozen_model_is_inconclusive():
    model = classifier()
    model.trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = values(model)
    curve = find_learning_rate(model, X, Y, verbose=0)
    assert curve.verdict == "inconclusive"
    assert curve.suggestion is None
    for variable, value in values(model).items():
        np.testing.assert_array_equal(value, before.get(variable, 0.0))


def test_a_generator_gives_its_first_batch_also_to_an_unbuilt_model():
    model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    curve = find_learning_rate(model, batches(10), verbose=0)
    assert len(curve.losses) == 10


class Forgetful(keras.optimizers.SGD):
    """Takes an argument that its config does not give back."""

    def __init__(self, learning_rate=0.01, extra=1.0, **arguments):
        super().__init__(learning_rate, **arguments)
        self.extra = extra


class OwnName(keras.optimizers.SGD):
    def __init__(self, lr=0.01, name=None):
        super().__init__(lr, name=name)


@pytest.mark.parametrize(
    ("optimizer", "text"),
    [
        (lambda: Forgetful(extra=100.0), "a copy that has lost extra; let its"),
        (lambda: OwnName(), "TypeError.*; let its `get_config` return all its arg"),
    ],
)
def test_an_optimizer_that_cannot_be_copied_is_refused(optimizer, text):
    model = classifier(optimizer())
    before = everything(model)
    with pytest.raises(ValueError, match=f"`model.optimizer` must be one .*{text}"):
        find_learning_rate(model, X, Y, verbose=0)
    assert_same(before, everything(model))


class Bare(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule as users write it, without a config."""

    def __call__(self, step):
        return 0.01


def test_a_schedule_without_a_config_is_no_hindrance():
    curve = find_learning_rate(
        classifier(keras.optimizers.SGD(Bare())), X, Y, max_steps=3, verbose=0
    )
    assert len(curve.losses) == 3


def test_a_group_that_stands_still_goes_on_standing_still():
    sgd = keras.optimizers.SGD
    frozen = keras.optimizers.OptimizerMap(sgd(0.1), {".*/bias": sgd(0.0)})
    model = classifier(keras.optimizers.MultiOptimizer(frozen))
    curve = find_learning_rate(model, X, Y, max_steps=3, verbose=0)
    assert len(curve.losses) == 3


class OwnStep(keras.Sequential):
    """Keeps its loss under a name of its own, as custom training steps do."""

    def __init__(self, layers):
        super().__init__(layers)
        self.mine = keras.metrics.Mean(name="my_loss")

    @property
    def metrics(self):
        return [self.mine]

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.mine.update_state(keras.ops.mean(keras.ops.square(y_pred - y)))
        return {"loss": self.mine.result()}

    def train_step(self, *arguments):
        return super().train_step(*arguments)


class Pair(OwnStep):
    """A training step that uses a second optimizer of its own."""

    def __init__(self, layers):
        super().__init__(layers)
        self.second = keras.optimizers.Adam()

    def train_step(self, *arguments):
        self.second.iterations.assign_add(1)
        return super().train_step(*arguments)


@pytest.mark.backend(
    "tensorflow", "torch", reason="a step on JAX cannot write to a second optimizer"
)
def test_a_second_optimizer_is_given_back_too():
    model = Pair([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(), "mse")
    targets = Y[:, None].astype("float32")
    find_learning_rate(model, X[:, :1], targets, max_steps=4, verbose=0)
    assert int(model.second.iterations.numpy()) == 0


def test_unseeded_draws_go_on_as_if_there_had_been_no_test():
    def draw(test_first):
        keras.utils.set_random_seed(9)
        model = classifier()
        if test_first:
            find_learning_rate(model, X, Y, seed=1, **SHORT)
        return np.array(keras.ops.convert_to_numpy(keras.random.normal((3,))))

    np.testing.assert_array_equal(draw(True), draw(False))


class Empty(keras.utils.PyDataset):
    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)


class Targetless(Set):
    def __getitem__(self, index):
        return (X[:8],)


BAD = [
    ({"x": Empty(), "y": None}, ValueError, "`x` must yield .* an empty Empty; look"),
    ({"x": Targetless(), "y": None}, ValueError, "`y` must hold .* that yields"),
    ({"x": np.float32(3.0)}, ValueError, r"`x` and `y` must be arrays with one row"),
    ({"y": Y[:5]}, ValueError, r"`x` and `y` must be .* \[\(120, 6\), \(5,\)\]"),
    ({"x": batches(9), "y": None, "repeats": 2}, ValueError, "`repeats` must be 1 w"),
    ({"x": batches(0), "y": None}, ValueError, "must yield at least one batch"),
    ({"min_learning_rate": 0.0}, ValueError, "`min_learning_rate` must be a positive"),
    ({"max_learning_rate": -1.0}, ValueError, "`max_learning_rate` must be a positive"),
    ({"min_learning_rate": "low"}, TypeError, "`min_learning_rate` must be a positive"),
    (
        {"min_learning_rate": 1.0, "max_learning_rate": 0.1},
        ValueError,
        "`min_learning_rate` must be below `max_learning_rate`.* leave a range",
    ),
    ({"growth": 1.0}, ValueError, "`growth` must be .*Received: growth=1.0"),
    ({"smoothing": 1.0}, ValueError, "`smoothing` must be .*Received: smoothing=1.0"),
    ({"stop_at": 1.0}, ValueError, "`stop_at` must be .*Received: stop_at=1.0"),
    ({"max_steps": 2.5}, TypeError, "`max_steps` must be a positive integer"),
    ({"max_steps": 0}, ValueError, "`max_steps` must be a positive integer"),
    ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer"),
    ({"repeats": 0}, ValueError, "`repeats` must be a positive integer"),
    ({"verbose": "atuo"}, ValueError, "Did you mean 'auto'"),
    ({"seed": 1.5}, TypeError, "`seed` must be an integer"),
    ({"y": None}, ValueError, "`y` must hold the targets.* Received: y=None"),
    ({"x": None}, ValueError, "`x` must be the training data.* Received: x=None"),
    ({"x": X[:0], "y": Y[:0]}, ValueError, "`x` must hold at least one sample"),
]


@pytest.mark.parametrize(("bad", "error", "text"), BAD)
def test_bad_input_is_named_and_changes_nothing(bad, error, text):
    model = classifier()
    before = everything(model)
    with pytest.raises(error, match=text):
        find_learning_rate(model, **{"x": X, "y": Y, "verbose": 0, **bad})
    assert_same(before, everything(model))


def test_a_model_must_be_compiled():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"`model` must be compiled .* model.compile"):
        find_learning_rate(model, X, Y)
    with pytest.raises(TypeError, match=r"`model` must be a compiled keras.Model"):
        find_learning_rate("model", X, Y)


def test_a_rate_that_is_a_function_is_refused():
    model = classifier(keras.optimizers.SGD(lambda: 0.1))
    with pytest.raises(TypeError, match="must be a float or a LearningRateSchedule"):
        find_learning_rate(model, X, Y)


def test_a_loss_that_is_nan_from_the_start_is_an_error():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="at least one batch with a finite loss"):
        find_learning_rate(model, np.nan * X, Y, verbose=0)


class Silent(keras.Sequential):
    def train_step(self, *arguments):
        result = super().train_step(*arguments)
        return ({}, result[1]) if isinstance(result, tuple) else {}


def test_a_train_step_without_a_loss_is_named():
    model = Silent([keras.Input((6,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"`model.train_step` must return a dict"):
        find_learning_rate(model, X, np.eye(2)[Y], verbose=0)


def test_a_custom_step_gives_the_loss_of_the_batch_not_of_the_epoch():
    model = OwnStep([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(), "mse")
    model.set_weights([np.zeros((1, 1))])
    x, y = np.ones((4, 1)), np.array([[1.0], [2.0], [3.0], [4.0]])
    curve = find_learning_rate(
        model, x, y, batch_size=1, max_steps=4, min_learning_rate=1e-12, stop_at=100.0
    )
    # The weight stays 0 at such rates, so the losses are the squares of the targets.
    np.testing.assert_allclose(np.sort(curve.losses), [1, 4, 9, 16], rtol=1e-5)
