import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import Adam

from keras_tricks._errors import NoEffectWarning
from keras_tricks.layers.embedding import Embedding
from keras_tricks.optimizers.lazy_adam import LazyAdam

ROWS, WIDTH, BATCH, LENGTH = 7, 3, 4, 2
LAYERS = pytest.mark.parametrize("layer", [keras.layers.Embedding, Embedding])


def weighted_sum(weights, outputs):
    """A loss whose gradient is known: the weights, divided by the batch size."""
    return ops.sum(weights * outputs, axis=(1, 2))


def start(rows=ROWS):
    return np.random.default_rng(3).normal(size=(rows, WIDTH)).astype("float32")


def table_model(optimizer, layer=Embedding, **compile_arguments):
    table = layer(ROWS, WIDTH, weights=start(), name="words")
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), table])
    model.compile(optimizer, weighted_sum, **compile_arguments)
    return model


def batches(steps, absent=(), seed=0):
    """Random ids with duplicates, never those of `absent`, and their gradients."""
    random = np.random.default_rng(seed)
    present = [row for row in range(ROWS) if row not in absent]
    for _ in range(steps):
        ids = random.choice(present[: random.integers(2, 6)], size=(BATCH, LENGTH))
        yield ids.astype("int32"), random.normal(size=(BATCH, LENGTH, WIDTH))


def train(model, data):
    for ids, weights in data:
        model.train_on_batch(ids, weights.astype("float32"))


def array(variable):
    return ops.convert_to_numpy(variable.value)


def state(model):
    """The table, and its slots by name."""
    optimizer = model.optimizer
    found = {"weight": array(model.trainable_variables[0])}
    names = {"momentum": "_momentums", "velocity": "_velocities"}
    if optimizer.amsgrad:
        names["velocity_hat"] = "_velocity_hats"
    for name, attribute in names.items():
        found[name] = array(getattr(optimizer, attribute)[0])
    return found


class Reference:
    """Lazy Adam in NumPy, a row at a time, in double precision."""

    def __init__(self, table, rate, amsgrad=False, decay=0.0, fading=False):
        self.weight = table.astype("float64")
        self.momentum = np.zeros_like(self.weight)
        self.velocity = np.zeros_like(self.weight)
        self.velocity_hat = np.zeros_like(self.weight)
        self.rate, self.amsgrad, self.decay, self.fading = rate, amsgrad, decay, fading
        self.step = 0

    def train(self, data):
        for ids, weights in data:
            self.step += 1
            gradients = {}
            for row, gradient in zip(
                ids.ravel(), weights.reshape(-1, WIDTH), strict=True
            ):
                gradients[row] = gradients.get(row, 0) + gradient / BATCH
            for row in range(len(self.weight)):
                if row in gradients:
                    self.move(row, gradients[row])
                elif self.fading:
                    self.momentum[row] *= 0.9
                    self.velocity[row] *= 0.999

    def move(self, row, gradient):
        self.momentum[row] = 0.9 * self.momentum[row] + 0.1 * gradient
        self.velocity[row] = 0.999 * self.velocity[row] + 0.001 * gradient**2
        self.velocity_hat[row] = np.maximum(self.velocity_hat[row], self.velocity[row])
        second = self.velocity_hat[row] if self.amsgrad else self.velocity[row]
        mean = self.momentum[row] / (1 - 0.9**self.step)
        root = np.sqrt(second / (1 - 0.999**self.step))
        self.weight[row] -= self.rate * self.decay * self.weight[row]
        self.weight[row] -= self.rate * mean / root


@LAYERS
@pytest.mark.parametrize("amsgrad", [False, True])
def test_absent_rows_are_bit_identical(layer, amsgrad):
    optimizer = LazyAdam(0.1, amsgrad=amsgrad, weight_decay=0.1)
    model = table_model(optimizer, layer)
    train(model, batches(6))
    before = state(model)
    assert all(np.any(before[name][1]) for name in before), "row 1 has moments"
    train(model, batches(6, absent=(1, 4), seed=1))
    after = state(model)
    for name in before:
        assert np.array_equal(before[name][[1, 4]], after[name][[1, 4]]), name
        assert not np.array_equal(before[name][2], after[name][2]), name


@LAYERS
@pytest.mark.parametrize("fading", [False, True])
@pytest.mark.parametrize(("amsgrad", "decay"), [(False, None), (True, 0.2)])
def test_equals_adam_written_row_by_row(layer, fading, amsgrad, decay):
    optimizer = LazyAdam(
        0.05,
        amsgrad=amsgrad,
        weight_decay=decay,
        epsilon=1e-12,
        skipped_steps="decay" if fading else "global",
    )
    model = table_model(optimizer, layer)
    train(model, batches(12))
    reference = Reference(start(), 0.05, amsgrad, decay or 0.0, fading)
    reference.train(batches(12))
    assert np.allclose(state(model)["weight"], reference.weight, atol=2e-6)


@pytest.mark.backend("jax", "tensorflow", reason="PyTorch has one way to run a step")
@pytest.mark.parametrize("way", [{"jit_compile": True}, {"run_eagerly": True}])
@pytest.mark.parametrize("skipped", ["global", "decay"])
def test_is_the_same_however_the_step_is_run(way, skipped):
    model = table_model(LazyAdam(0.05, skipped_steps=skipped), **way)
    train(model, batches(5))
    other = table_model(LazyAdam(0.05, skipped_steps=skipped), jit_compile=False)
    train(other, batches(5))
    for name, value in state(model).items():
        assert np.allclose(value, state(other)[name], atol=1e-6), name


@LAYERS
def test_with_all_rows_in_each_batch_it_is_adam_on_one_hot_vectors(layer):
    random = np.random.default_rng(0)
    lazy = table_model(LazyAdam(0.02), layer)
    dense = keras.layers.Dense(WIDTH, use_bias=False)
    adam = keras.Sequential([keras.Input((LENGTH, ROWS)), dense])
    dense.set_weights([start()])
    adam.compile(Adam(0.02), weighted_sum)
    for _ in range(20):
        ids = random.permutation([*range(ROWS), 2]).reshape(BATCH, LENGTH)
        weights = random.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
        lazy.train_on_batch(ids, weights)
        adam.train_on_batch(np.eye(ROWS, dtype="float32")[ids], weights)
    for name, value in state(lazy).items():
        assert np.allclose(value, state(adam)[name], atol=1e-6), name


def test_the_first_touch_at_step_ten_moves_4_84e_4():
    model = table_model(LazyAdam(1e-3))
    others = np.array([[0, 1], [2, 3], [0, 1], [2, 3]])
    ones = np.ones((BATCH, LENGTH, WIDTH), "float32")
    for _ in range(9):
        model.train_on_batch(others, ones)
    assert np.array_equal(state(model)["weight"][5], start()[5])
    model.train_on_batch(np.full((BATCH, LENGTH), 5), ones)
    moved = start()[5] - state(model)["weight"][5]
    assert moved == pytest.approx(4.84e-4, rel=1e-3)


def test_an_id_that_is_often_in_the_batch_takes_one_step_of_the_rate():
    model = table_model(LazyAdam(0.01))
    ids = np.full((BATCH, LENGTH), 5)
    model.train_on_batch(ids, np.ones((BATCH, LENGTH, WIDTH), "float32"))
    moved = start()[5] - state(model)["weight"][5]
    assert moved == pytest.approx(0.01, rel=1e-4)


# Row 5 eight times with a gradient of 3 / 4 each sums up to 6 in three columns.
@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ({"clipnorm": 1.0}, 1 / np.sqrt(3)),
        ({"global_clipnorm": 1.0}, 1 / np.sqrt(3)),
        ({"clipvalue": 2.0}, 2.0),
        ({"clipnorm": 100.0}, 6.0),
    ],
)
def test_clips_the_sum_of_duplicates(clip, expected):
    model = table_model(LazyAdam(0.01, **clip))
    ids = np.full((BATCH, LENGTH), 5)
    model.train_on_batch(ids, np.full((BATCH, LENGTH, WIDTH), 3.0, "float32"))
    momentum = state(model)["momentum"]
    assert momentum[5] == pytest.approx(0.1 * expected, rel=1e-5)
    assert not np.any(np.delete(momentum, 5, axis=0))


def two_layers(optimizer, layer=Embedding):
    table = layer(ROWS, WIDTH, weights=start(), name="words")
    initializer = keras.initializers.GlorotUniform(seed=0)
    head = keras.layers.Dense(WIDTH, kernel_initializer=initializer, name="head")
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), table, head])
    model.compile(optimizer, weighted_sum)
    return model


def numbers(model):
    return [array(variable) for variable in model.trainable_variables]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"amsgrad": True}, {"weight_decay": 0.1}, {"global_clipnorm": 0.1}],
    ids=str,
)
def test_other_variables_are_plain_adam(arguments):
    lazy = two_layers(LazyAdam(0.1, **arguments))
    adam = two_layers(Adam(0.1, **arguments))
    # All rows, once each: then the table moves as under Adam, too.
    ids = np.array([[0, 1], [2, 3], [4, 5], [6, 6]])
    for _, weights in batches(3):
        weights[3, 1] = 0.0
        train(lazy, [(ids, weights)])
        train(adam, [(ids, weights)])
    for mine, theirs in zip(numbers(lazy), numbers(adam), strict=True):
        assert np.allclose(mine, theirs, atol=1e-5)


def test_has_the_class_that_keras_gives_its_own_adam():
    # On PyTorch that is the fused one.
    assert isinstance(LazyAdam(), type(Adam()))


@pytest.mark.backend("torch", reason="only PyTorch has fused updates")
def test_other_variables_go_through_the_fused_update():
    seen = []

    class Watched(LazyAdam):
        def _parallel_update_step(self, grads, variables, learning_rate):
            seen.append([variable.name for variable in variables])
            super()._parallel_update_step(grads, variables, learning_rate)

    train(two_layers(Watched(0.1)), batches(2))
    assert seen == [["kernel", "bias"]] * 2


def test_weight_decay_shrinks_the_rows_of_the_batch_only():
    model = two_layers(LazyAdam(0.5, weight_decay=0.1))
    kernel = numbers(model)[1]
    # A gradient of zero would count as absent on JAX and PyTorch.
    tiny = np.full((BATCH, LENGTH, WIDTH), 1e-30, "float32")
    train(model, [(np.full((BATCH, LENGTH), 2), tiny)])
    table, new_kernel, _ = numbers(model)
    expected = start()
    expected[2] *= 1 - 0.5 * 0.1
    assert np.allclose(table, expected, atol=1e-6)
    assert np.allclose(new_kernel, kernel * (1 - 0.5 * 0.1), atol=1e-6)


@pytest.mark.parametrize("excluded", [["embeddings"], ["kernel", "bias"]])
def test_what_is_excluded_does_not_decay(excluded):
    optimizer = LazyAdam(0.5, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=excluded)
    model = two_layers(optimizer)
    before = numbers(model)
    tiny = np.full((BATCH, LENGTH, WIDTH), 1e-30, "float32")
    train(model, [(np.full((BATCH, LENGTH), 2), tiny)])
    table, kernel, _ = numbers(model)
    decayed = [not np.allclose(table, before[0]), not np.allclose(kernel, before[1])]
    assert decayed == ["embeddings" not in excluded, "kernel" not in excluded]


@pytest.mark.parametrize(
    "make",
    [
        lambda: LazyAdam(0.1, loss_scale_factor=64.0),
        lambda: keras.optimizers.LossScaleOptimizer(LazyAdam(0.1), initial_scale=64.0),
    ],
    ids=["loss_scale_factor", "LossScaleOptimizer"],
)
def test_a_loss_scale_changes_nothing(make):
    scaled, plain = two_layers(make()), two_layers(LazyAdam(0.1))
    train(scaled, batches(4))
    train(plain, batches(4))
    for mine, theirs in zip(numbers(scaled), numbers(plain), strict=True):
        assert np.allclose(mine, theirs, atol=1e-5)


def test_a_step_that_overflows_moves_no_row():
    model = two_layers(keras.optimizers.LossScaleOptimizer(LazyAdam(0.1)))
    train(model, batches(1))
    before = numbers(model)
    train(model, [(np.zeros((BATCH, LENGTH)), np.full((BATCH, LENGTH, WIDTH), np.inf))])
    for now, then in zip(numbers(model), before, strict=True):
        assert np.array_equal(now, then)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_works_in_lower_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = two_layers(LazyAdam(0.1, skipped_steps="decay"))
    finally:
        keras.config.set_dtype_policy("float32")
    before = [ops.convert_to_numpy(ops.cast(v, "float32")) for v in model.variables]
    train(model, batches(3, absent=(0, 1)))
    after = [ops.convert_to_numpy(ops.cast(v, "float32")) for v in model.variables]
    assert np.array_equal(before[0][:2], after[0][:2])
    assert not np.array_equal(before[0], after[0])
    assert np.isfinite(after[0]).all()


def test_follows_a_schedule():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.0])
    model = table_model(LazyAdam(schedule))
    train(model, batches(2))
    after_two = state(model)["weight"]
    assert not np.allclose(after_two, start())
    train(model, batches(3, seed=4))
    assert np.array_equal(state(model)["weight"], after_two)


def test_two_tables_and_one_used_twice():
    first = keras.Input((LENGTH,), dtype="int32")
    second = keras.Input((LENGTH,), dtype="int32")
    shared, own = Embedding(ROWS, WIDTH), Embedding(5, WIDTH)
    total = keras.layers.Add()([shared(first), shared(second), own(first)])
    model = keras.Model([first, second], total)
    model.compile(LazyAdam(0.1), weighted_sum)
    before = numbers(model)
    ones = np.ones((1, LENGTH, WIDTH), "float32")
    model.train_on_batch([np.array([[1, 2]]), np.array([[2, 6]])], ones)
    for now, then, rows in zip(
        numbers(model), before, [[1, 2, 6], [1, 2]], strict=True
    ):
        moved = np.any(now != then, axis=1)
        assert np.flatnonzero(moved).tolist() == rows
        assert (then - now)[rows] == pytest.approx(0.1, rel=1e-4)


class Grouped(LazyAdam):
    """Updates each variable in a call of its own, at half the rate."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            super()._backend_update_step([gradient], [variable], learning_rate * 0.5)


@pytest.mark.parametrize("skipped", ["global", "decay"])
def test_one_step_may_be_made_in_several_calls(skipped):
    grouped = two_layers(Grouped(0.2, skipped_steps=skipped))
    whole = two_layers(LazyAdam(0.1, skipped_steps=skipped))
    train(grouped, batches(5))
    train(whole, batches(5))
    for mine, theirs in zip(numbers(grouped), numbers(whole), strict=True):
        assert np.allclose(mine, theirs, atol=1e-6)


def test_slots_run_parallel_to_the_variables():
    optimizer = LazyAdam(0.1, skipped_steps="decay")
    model = two_layers(optimizer)
    optimizer.build(model.trainable_variables)
    table, head, bias = optimizer._last_steps
    assert tuple(table.shape) == (ROWS,)
    assert (head, bias) == (None, None)
    train(model, [(np.full((BATCH, LENGTH), 2), np.ones((BATCH, LENGTH, WIDTH)))])
    assert array(table).tolist() == [0, 0, 1, 0, 0, 0, 0]


class Lookup(keras.layers.Layer):
    """A table of the user's own."""

    def build(self, shape):
        self.table = self.add_weight((ROWS, WIDTH), name="codebook")

    def call(self, ids):
        return ops.take(self.table, ids, axis=0)


@pytest.mark.parametrize("skipped", ["global", "decay"])
def test_a_table_of_another_name_can_be_listed(skipped):
    optimizer = LazyAdam(0.1, skipped_steps=skipped, table_names=["codebook"])
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), Lookup()])
    model.compile(optimizer, weighted_sum)
    train(model, batches(3))
    before = state(model)
    train(model, batches(3, absent=(1,), seed=1))
    for name, value in state(model).items():
        assert np.array_equal(value[1], before[name][1])


@pytest.mark.backend("tensorflow", reason="only TensorFlow's gradients know of rows")
def test_tensorflow_knows_a_table_by_its_gradient():
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), Lookup()])
    model.compile(LazyAdam(0.1, weight_decay=0.1), weighted_sum)
    train(model, batches(3))
    before = state(model)
    train(model, batches(3, absent=(1,), seed=1))
    for name, value in state(model).items():
        assert np.array_equal(value[1], before[name][1])


@pytest.mark.backend("tensorflow", reason="only TensorFlow has variables of its own")
def test_trains_a_table_that_is_no_variable_of_keras():
    import tensorflow as tf

    table = tf.Variable(start(), name="net/embeddings")
    optimizer = LazyAdam(0.1, skipped_steps="decay", weight_decay=0.0)

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, ids))
        gradients = tape.gradient(loss, [table])
        optimizer.apply_gradients(zip(gradients, [table], strict=True))

    step(tf.constant([1, 2, 2]))
    expected = start()
    expected[[1, 2]] -= 0.1
    assert np.allclose(table.numpy(), expected, atol=1e-5)


@pytest.mark.backend("tensorflow", reason="only TensorFlow's gradients know of rows")
def test_skipped_steps_are_counted_for_listed_tables_only():
    model = keras.Sequential([keras.Input((LENGTH,), dtype="int32"), Lookup()])
    model.compile(LazyAdam(0.1, skipped_steps="decay"), weighted_sum, run_eagerly=True)
    told = r"`table_names` must list every table .* Received: .*add 'codebook'"
    with pytest.raises(ValueError, match=told):
        train(model, batches(1))


def tied_model(optimizer):
    ids = keras.Input((LENGTH,), dtype="int32")
    layer = keras.layers.ReversibleEmbedding(ROWS, WIDTH)
    model = keras.Model(ids, layer(layer(ids), reverse=True))
    model.compile(optimizer, "mse")
    return model


def test_says_when_the_gradient_of_a_table_is_dense():
    model = tied_model(LazyAdam(0.1))
    y = np.ones((BATCH, LENGTH, ROWS))
    told = "dense gradient for the table 'embeddings': weights tied to an output"
    with pytest.warns(NoEffectWarning, match=told):
        model.train_on_batch(np.zeros((BATCH, LENGTH)), y)
    model.train_on_batch(np.zeros((BATCH, LENGTH)), y)


def test_says_when_there_is_no_table():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(LazyAdam(0.1), "mse")
    with pytest.warns(NoEffectWarning, match="LazyAdam found no embedding among"):
        model.train_on_batch(np.ones((1, 2)), np.ones((1, 1)))
    model.train_on_batch(np.ones((1, 2)), np.ones((1, 1)))


@pytest.mark.parametrize("kind", ["regularizer", "constraint"])
def test_refuses_what_acts_on_all_rows(kind):
    given = {"regularizer": "l2", "constraint": "non_neg"}[kind]
    layer = Embedding(ROWS, WIDTH, **{f"embeddings_{kind}": given})
    layer.build()
    told = rf"`embeddings_{kind}` must be None .* Received: 'embeddings' with"
    with pytest.raises(ValueError, match=told):
        LazyAdam().build(layer.trainable_variables)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"use_ema": True}, ValueError, "`use_ema` must be False: .*use_ema=True"),
        (
            {"gradient_accumulation_steps": 2},
            ValueError,
            "`gradient_accumulation_steps` must be None: .*accumulation_steps=2",
        ),
        (
            {"skipped_steps": "decays"},
            ValueError,
            "`skipped_steps` must be one of 'global', 'decay'.*mean 'decay'",
        ),
        (
            {"table_names": "embeddings"},
            TypeError,
            "`table_names` must be a list or tuple of strings. Received: table_names=",
        ),
        ({"beta_1": 1.0}, ValueError, "`beta_1` must be .* Received: beta_1=1.0"),
        ({"beta_2": -0.1}, ValueError, "`beta_2` must be .* Received: beta_2=-0.1"),
        ({"epsilon": -1.0}, ValueError, "`epsilon` must be .* Received: epsilon=-1.0"),
    ],
)
def test_says_which_argument_is_wrong_and_what_came(arguments, error, told):
    with pytest.raises(error, match=told):
        LazyAdam(**arguments)


def test_takes_the_arguments_of_adam_in_the_same_order():
    settings = (0.1, 0.8, 0.99, 1e-5, True, 0.2, 1.0)
    theirs = {**Adam(*settings).get_config(), "name": "lazy_adam"}
    mine = LazyAdam(*settings).get_config()
    assert mine == {**theirs, "skipped_steps": "global", "table_names": ["embeddings"]}


RESUME = """
import json, sys
import keras, numpy as np
import keras_tricks.layers.embedding, keras_tricks.optimizers.lazy_adam

data = np.load(sys.argv[2])
model = keras.models.load_model(sys.argv[1], custom_objects={"weighted_sum": (
    lambda w, p: keras.ops.sum(w * p, axis=(1, 2)))})
for ids, weights in zip(data["ids"], data["weights"]):
    model.train_on_batch(ids, weights)
kept = [*model.trainable_variables, *model.optimizer.variables]
np.savez(sys.argv[3], *[keras.ops.convert_to_numpy(v.value) for v in kept])
"""


def test_training_resumed_in_a_fresh_process_equals_uninterrupted(tmp_path):
    model = two_layers(LazyAdam(0.05, amsgrad=True, skipped_steps="decay"))
    train(model, batches(5))
    model.save(tmp_path / "model.keras")
    rest = list(batches(5, seed=1))
    ids = np.stack([ids for ids, _ in rest])
    weights = np.stack([weights for _, weights in rest]).astype("float32")
    np.savez(tmp_path / "data.npz", ids=ids, weights=weights)
    train(model, rest)
    names = ("model.keras", "data.npz", "result.npz")
    paths = [str(tmp_path / name) for name in names]
    subprocess.run([sys.executable, "-c", RESUME, *paths], check=True)
    found = list(np.load(paths[-1]).values())
    kept = [*model.trainable_variables, *model.optimizer.variables]
    assert len(found) == len(kept)
    for mine, variable in zip(found, kept, strict=True):
        assert np.allclose(mine, array(variable), atol=1e-6), variable.path


def test_the_config_holds_all_that_was_given():
    optimizer = LazyAdam(0.1, skipped_steps="decay", table_names=["codebook"])
    config = keras.saving.serialize_keras_object(optimizer)
    assert config["registered_name"] == "keras_tricks>LazyAdam"
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert again.get_config() == optimizer.get_config()
