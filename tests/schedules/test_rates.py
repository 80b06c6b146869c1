import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.schedules import Scaled, _rates

SGD = keras.optimizers.SGD
ExponentialDecay = keras.optimizers.schedules.ExponentialDecay


class Foreign(keras.optimizers.schedules.LearningRateSchedule):
    """Not registered, and it takes one Python number at a time."""

    def __call__(self, step):
        return keras.ops.where(keras.ops.equal(step, 3), 0.7, 0.2)

    def get_config(self):
        return {}


def by_map():
    return keras.optimizers.OptimizerMap(SGD(0.4), {".*/bias": SGD(0.1)})


def by_function():
    """Makes a new optimizer at every call, as the example in Keras's manual does."""
    return lambda variable: SGD(0.1 if "bias" in variable.path else 0.4)


def multi(groups=by_map):
    return keras.optimizers.MultiOptimizer(groups())


def mean_prediction(y, prediction):
    return prediction


def model_of(optimizer, build=False):
    """Its gradients are 1: every step moves each weight by minus its rate."""
    dense = keras.layers.Dense(1, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(optimizer, mean_prediction)
    if build:
        optimizer.build(model.trainable_variables)
    return model


def moves(model, steps=1):
    """What each of the steps moves kernel and bias by, shape (steps, 2)."""
    data = np.ones((1, 1), "float32")
    weights = [model.get_weights()]
    for _ in range(steps):
        model.fit(data, data, verbose=0)
        weights.append(model.get_weights())
    flat = [[w.item() for w in pair] for pair in weights]
    return -np.diff(flat, axis=0)


# --- groups -------------------------------------------------------------------------


def test_a_plain_optimizer_is_its_own_group():
    optimizer = SGD(0.5)
    assert _rates.groups(optimizer) == [optimizer]


def test_loss_scaling_has_the_group_inside():
    inner = SGD(0.5)
    assert _rates.groups(keras.optimizers.LossScaleOptimizer(inner)) == [inner]


def test_each_inner_optimizer_is_a_group():
    kernels, biases = SGD(0.4), SGD(0.1)
    optimizers = keras.optimizers.OptimizerMap(kernels, {".*/bias": biases})
    found = _rates.groups(keras.optimizers.MultiOptimizer(optimizers))
    assert set(map(id, found)) == {id(kernels), id(biases)}
    assert len(found) == 2


def test_a_function_has_no_groups_before_it_is_built():
    optimizer = multi(by_function)
    assert _rates.groups(optimizer) == []
    model_of(optimizer, build=True)
    assert [float(g.learning_rate) for g in _rates.groups(optimizer)] == (
        pytest.approx([0.4, 0.1])
    )


# --- peak, highest, schedule_of -----------------------------------------------------

WARM = kt.schedules.Warmup(kt.schedules.CosineRestarts(0.3, 10), 5)
PEAKS = [
    # optimizer, the highest rate now, the highest rate ever
    (lambda: SGD(0.25), 0.25, 0.25),
    (lambda: SGD(ExponentialDecay(0.1, 10, 0.5)), 0.1, 0.1),
    (lambda: SGD(WARM), 0.0, 0.3),
    (lambda: SGD(Scaled(WARM, 0.5)), 0.0, 0.15),
    (lambda: SGD(Foreign()), 0.2, 0.7),
    (lambda: keras.optimizers.LossScaleOptimizer(SGD(0.25)), 0.25, 0.25),
    (lambda: keras.optimizers.LossScaleOptimizer(SGD(WARM)), 0.0, 0.3),
    (multi, 0.4, 0.4),
]


@pytest.mark.parametrize(("make", "now", "ever"), PEAKS)
def test_the_highest_rate_now_and_ever(make, now, ever):
    assert _rates.highest(make()) == pytest.approx(now, rel=1e-6)
    assert _rates.peak(make()) == pytest.approx(ever, rel=1e-6)


def test_a_peak_after_many_steps_is_found_to_one_percent():
    triangle = kt.schedules.SlantedTriangular(0.5, 200_000)
    assert _rates.peak(SGD(triangle)) == pytest.approx(0.5, rel=0.01)


def test_a_schedule_is_given_as_the_object_itself():
    schedule = Foreign()
    assert _rates.schedule_of(SGD(schedule)) is schedule
    assert _rates.schedule_of(SGD(0.1)) is None


@pytest.mark.parametrize("function", [_rates.schedule_of, _rates.peak, _rates.read])
def test_a_rate_that_is_a_function_is_refused(function):
    text = (
        r"`optimizer.learning_rate` must be a float or a LearningRateSchedule.*"
        r"Received: learning_rate=<function.*; turn the function into a subclass of "
        r"keras.optimizers.schedules.LearningRateSchedule"
    )
    with pytest.raises(TypeError, match=text):
        function(SGD(lambda: 0.1))


# --- read, multiply, write ----------------------------------------------------------

READ = [
    (lambda: SGD(0.25), [{"learning_rate": 0.25}]),
    (lambda: SGD(WARM), [{"factor": 1.0}]),
    (lambda: SGD(Scaled(WARM, 0.5)), [{"factor": 0.5}]),
    (lambda: SGD(Foreign()), [{"factor": 1.0}]),
    (
        lambda: keras.optimizers.LossScaleOptimizer(SGD(0.25)),
        [{"learning_rate": 0.25}],
    ),
]


@pytest.mark.parametrize(("make", "state"), READ)
def test_reads_plain_numbers(make, state):
    assert _rates.read(make()) == state


def test_reads_every_group():
    rates = sorted(entry["learning_rate"] for entry in _rates.read(multi()))
    assert rates == pytest.approx([0.1, 0.4])


def test_multiplies_every_group_and_leaves_the_state_alone():
    state = [{"learning_rate": 0.4}, {"factor": 0.5}]
    assert _rates.multiply(state, 0.5) == [{"learning_rate": 0.2}, {"factor": 0.25}]
    assert state == [{"learning_rate": 0.4}, {"factor": 0.5}]


@pytest.mark.parametrize("fitted", [True, False], ids=["fitted", "fresh"])
@pytest.mark.parametrize(
    ("make", "before", "after"),
    [
        (lambda: SGD(0.5), [0.5, 0.5], [0.25, 0.25]),
        # Step k of the decay has the rate 0.5^k.
        (lambda: SGD(ExponentialDecay(1.0, 1, 0.5)), [1.0, 1.0], None),
        (lambda: SGD(Scaled(ExponentialDecay(1.0, 1, 0.5), 0.1)), [0.1, 0.1], None),
        (lambda: SGD(Foreign()), [0.2, 0.2], [0.1, 0.1]),
        (
            lambda: keras.optimizers.LossScaleOptimizer(SGD(0.5), initial_scale=4.0),
            [0.5, 0.5],
            [0.25, 0.25],
        ),
        (multi, [0.4, 0.1], [0.2, 0.05]),
        (lambda: multi(by_function), [0.4, 0.1], [0.2, 0.05]),
    ],
    ids=["float", "schedule", "scaled", "foreign", "loss scale", "map", "function"],
)
def test_what_is_written_reaches_the_training_step(make, before, after, fitted):
    model = model_of(make(), build=True)
    if fitted:
        assert moves(model)[0] == pytest.approx(before, rel=1e-5)
    if after is None:
        after = [rate * (0.25 if fitted else 0.5) for rate in before]
    state = _rates.multiply(_rates.read(model.optimizer), 0.5)
    _rates.write(model, state)
    assert _rates.read(model.optimizer) == [
        pytest.approx(entry, rel=1e-6) for entry in state
    ]
    assert moves(model)[0] == pytest.approx(after, rel=1e-5)


@pytest.mark.parametrize("make", [lambda: SGD(Foreign()), lambda: SGD(0.5)])
def test_what_was_read_can_be_written_back(make):
    model = model_of(make())
    state = _rates.read(model.optimizer)
    before = moves(model)
    _rates.write(model, _rates.multiply(state, 0.5))
    assert moves(model) == pytest.approx(0.5 * before, rel=1e-5)
    _rates.write(model, state)
    assert moves(model)[0] == pytest.approx(before[0] * [1.0, 1.0], rel=1e-5)


def test_writing_does_not_nest():
    schedule = Foreign()
    model = model_of(SGD(schedule))
    for _ in range(3):
        halved = _rates.multiply(_rates.read(model.optimizer), 0.5)
        _rates.write(model, halved)
    assert _rates.schedule_of(model.optimizer).schedule is schedule
    assert _rates.schedule_of(model.optimizer).factor == 0.125


def test_writing_what_is_there_changes_nothing():
    model = model_of(SGD(WARM))
    moves(model)
    function = model.train_function
    _rates.write(model, _rates.read(model.optimizer))
    assert _rates.schedule_of(model.optimizer) is WARM
    assert model.train_function is function


def test_a_state_of_other_groups_is_refused():
    with pytest.raises(ValueError, match="argument"):
        _rates.write(model_of(multi()), [{"learning_rate": 0.1}])


def test_writing_leaves_no_train_step_on_the_model():
    model = model_of(SGD(WARM))
    moves(model)
    _rates.write(model, [{"factor": 0.5}])
    assert "train_step" not in vars(model)


# --- set_peak -----------------------------------------------------------------------


@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
@pytest.mark.parametrize("groups", [by_map, by_function])
def test_the_highest_group_gets_the_peak_and_the_ratio_stays(groups, built):
    model = model_of(multi(groups), build=built)
    _rates.set_peak(model, 0.8)
    assert moves(model)[0] == pytest.approx([0.8, 0.2], rel=1e-5)


def test_a_schedule_is_scaled_to_the_peak():
    # Rates 0.2, 0.2, 0.2, 0.7, 0.2 with the peak 0.7.
    model = model_of(SGD(Foreign()))
    _rates.set_peak(model, 1.4)
    expected = np.array([0.4, 0.4, 0.4, 1.4, 0.4])
    assert moves(model, 5)[:, 0] == pytest.approx(expected, rel=1e-5)


def test_a_group_without_variables_does_not_count():
    default, every = SGD(4.0), SGD(0.4)
    optimizers = keras.optimizers.OptimizerMap(default, {".*": every})
    model = model_of(keras.optimizers.MultiOptimizer(optimizers), build=True)
    _rates.set_peak(model, 0.8)
    assert moves(model)[0] == pytest.approx([0.8, 0.8], rel=1e-5)


def test_a_rate_of_zero_can_be_raised():
    model = model_of(SGD(0.0))
    _rates.set_peak(model, 0.8)
    assert moves(model)[0] == pytest.approx([0.8, 0.8], rel=1e-5)


# --- with_schedule ------------------------------------------------------------------

LINE = keras.optimizers.schedules.PolynomialDecay(1.0, 4, end_learning_rate=0.0)


def copied(optimizer, build=False):
    """A model of the same weights that follows LINE: 1, 0.75, 0.5, 0.25."""
    model = model_of(optimizer, build=build)
    variables = model.trainable_variables
    model.optimizer = _rates.with_schedule(optimizer, LINE, variables)
    assert model.optimizer is not optimizer
    assert model.optimizer.built
    return model


@pytest.mark.parametrize(
    ("make", "ratio"),
    [
        (lambda: SGD(0.5), 1.0),
        (lambda: SGD(WARM), 1.0),
        (lambda: SGD(Foreign()), 1.0),
        (lambda: SGD(Scaled(WARM, 0.1)), 1.0),
        (lambda: keras.optimizers.LossScaleOptimizer(SGD(), initial_scale=4.0), 1.0),
        (multi, 0.25),
        (lambda: multi(by_function), 0.25),
    ],
)
@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
def test_the_copy_follows_the_schedule(make, ratio, built):
    model = copied(make(), built)
    line = np.array([1.0, 0.75, 0.5])
    expected = np.stack([line, ratio * line], axis=1)
    np.testing.assert_allclose(moves(model, 3), expected, rtol=1e-5, atol=1e-6)


def test_the_original_keeps_its_rate_and_its_slots():
    optimizer = SGD(0.5, momentum=0.9)
    model = copied(optimizer, build=True)
    moves(model, 2)
    assert float(optimizer.learning_rate) == 0.5
    slots = [keras.ops.convert_to_numpy(v.value) for v in optimizer.variables]
    assert int(optimizer.iterations) == 0
    assert not any(np.any(slot) for slot in slots[2:])


def test_the_copy_has_the_other_arguments_of_the_original():
    optimizer = keras.optimizers.AdamW(
        0.1, weight_decay=0.3, beta_1=0.8, clipnorm=0.7, gradient_accumulation_steps=3
    )
    made = _rates.with_schedule(optimizer, LINE, [keras.Variable([1.0])])
    assert type(made) is type(optimizer)
    assert (made.weight_decay, made.beta_1, made.clipnorm) == (0.3, 0.8, 0.7)
    assert made.gradient_accumulation_steps == 3


def test_the_copy_of_loss_scaling_starts_with_the_same_scale():
    optimizer = keras.optimizers.LossScaleOptimizer(
        SGD(), initial_scale=8.0, dynamic_growth_steps=3
    )
    made = _rates.with_schedule(optimizer, LINE, [keras.Variable([1.0])])
    assert (made.initial_scale, made.dynamic_growth_steps) == (8.0, 3)


def test_a_copy_leaves_out_of_decay_what_the_original_leaves_out():
    kernel, bias = keras.Variable(np.ones(3)), keras.Variable(np.ones(2))
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=1.0)
    optimizer.exclude_from_weight_decay([kernel])
    copy = _rates.with_schedule(
        optimizer, kt.schedules.Scaled(0.5, 0.2), [kernel, bias]
    )
    copy.apply([keras.ops.zeros(3), keras.ops.zeros(2)], [kernel, bias])
    assert keras.ops.convert_to_numpy(kernel.value).tolist() == [1.0] * 3
    # 1 - rate * decay = 1 - 0.5 * 0.2 * 1.0
    assert keras.ops.convert_to_numpy(bias.value).tolist() == pytest.approx([0.9] * 2)
