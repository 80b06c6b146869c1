import math

import keras
import numpy as np
import pytest
from keras import ops

import keras_tricks as kt
from keras_tricks.optimizers import _swats
from keras_tricks.optimizers import swats as module
from keras_tricks.optimizers.swats import SWATS

NEVER = 1e-300  # A tolerance that nothing meets.


def array(tensor):
    return np.array(ops.convert_to_numpy(getattr(tensor, "value", tensor)))


def variables(*values, dtype="float32"):
    return [keras.Variable(np.array(v), dtype=dtype) for v in values]


def apply(optimizer, gradients):
    optimizer.apply(
        [None if g is None else ops.convert_to_tensor(g) for g in gradients]
    )


def walk(optimizer, weights, gradients, steps, dtype="float32"):
    """Applies the same gradients again and again: the weights after each step."""
    held = variables(*weights, dtype=dtype)
    optimizer.build(held)
    path = []
    for _ in range(steps):
        apply(optimizer, [np.array(g, dtype) for g in gradients])
        path.append([array(v) for v in held])
    return path


# --- The paper ------------------------------------------------------------------------


class Reference:
    """Algorithm 1 of the paper in float64, on all parameters as one vector.

    Beside it only what the class documents: the relative tolerance, rates that change,
    and decoupled weight decay.
    """

    def __init__(self, weight, tolerance, beta_1=0.9, beta_2=0.999, decay=0.0):
        self.w = np.array(weight, "float64")
        self.m = self.a = self.v = np.zeros_like(self.w)
        self.lam = 0.0
        self.rate = self.base = self.switched_at = None
        self.settings = (tolerance, beta_1, beta_2, decay)
        self.k = 0
        self.gaps = []

    def step(self, g, rate):
        tolerance, b1, b2, decay = self.settings
        self.k += 1
        self.w = self.w * (1 - decay * rate)
        if self.switched_at:
            self.v = b1 * self.v + g
            self.w = self.w - (1 - b1) * self.rate * (rate / self.base) * self.v
            return
        self.m = b1 * self.m + (1 - b1) * g
        self.a = b2 * self.a + (1 - b2) * g * g
        correction = math.sqrt(1 - b2**self.k) / (1 - b1**self.k)
        p = -rate * correction * self.m / (np.sqrt(self.a) + 1e-9)
        self.w = self.w + p
        if p @ g == 0:
            return
        gamma = (p @ p) / -(p @ g)
        self.lam = b2 * self.lam + (1 - b2) * gamma
        corrected = self.lam / (1 - b2**self.k)
        gap = abs(corrected - gamma) / abs(corrected)
        self.gaps.append(gap)
        if self.k > 1 and gap < tolerance and corrected > 0:
            self.switched_at, self.rate, self.base = self.k, corrected, rate


SHAPES = [(3, 2), (2,), (4,)]
START = [np.linspace(-1, 1, int(np.prod(s))).reshape(s) for s in SHAPES]
CURVATURE = np.concatenate([np.linspace(0.5, 4, 6), [1.0, 2.0], np.linspace(3, 1, 4)])


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts])


def split(vector):
    sizes = np.cumsum([int(np.prod(s)) for s in SHAPES])[:-1]
    return [p.reshape(s) for p, s in zip(np.split(vector, sizes), SHAPES, strict=True)]


def compare(rate, seed, steps=200, tolerance=0.01, **arguments):
    """Follows a noisy quadratic with both: the reference and the optimizer."""
    decay = arguments.get("weight_decay", 0.0)
    reference = Reference(flat(START), tolerance, decay=decay)
    optimizer = SWATS(rate, tolerance=tolerance, **arguments)
    held = variables(*START)
    optimizer.build(held)
    noise = np.random.default_rng(seed).normal(scale=0.5, size=(steps, len(CURVATURE)))
    rates = kt.schedules.preview(rate, steps)
    for step in range(steps):
        # Both see the same gradients, those of the reference.
        gradient = CURVATURE * reference.w + noise[step]
        reference.step(gradient, float(rates[step]))
        apply(optimizer, [g.astype("float32") for g in split(gradient)])
        assert optimizer.switched_at == reference.switched_at
    np.testing.assert_allclose(
        flat(map(array, held)), reference.w, rtol=1e-4, atol=1e-5
    )
    return reference, optimizer


HALVING = keras.optimizers.schedules.ExponentialDecay(0.02, 50, 0.5)


@pytest.mark.parametrize(
    ("rate", "seed", "arguments"),
    [(0.01, 4, {}), (0.01, 10, {"weight_decay": 0.5}), (HALVING, 5, {})],
    ids=["plain", "weight decay", "schedule"],
)
def test_follows_the_paper_through_the_switch(rate, seed, arguments):
    reference, optimizer = compare(rate, seed, **arguments)
    assert 10 < reference.switched_at < 150
    # The decision was no matter of rounding.
    assert min(abs(gap - 0.01) for gap in reference.gaps) > 1e-4
    assert optimizer.sgd_learning_rate == pytest.approx(reference.rate, rel=1e-4)


@pytest.mark.parametrize("gradient", [[2.0, 2.0], [1.0, -3.0], [0.01, 5.0]])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.99), (0.0, 0.9)])
def test_a_constant_gradient_switches_at_the_second_step(gradient, betas):
    # p = -rate sign(g): gamma = rate^2 n / (rate sum|g|), the same in both steps.
    optimizer = SWATS(0.1, *betas, epsilon=0.0, tolerance=1e-5)
    path = walk(optimizer, [[0.0, 0.0]], [gradient], 4)
    gamma = 0.1 * 2 / np.abs(gradient).sum()
    assert optimizer.switched_at == 2
    assert optimizer.sgd_learning_rate == pytest.approx(gamma, rel=1e-5)
    # Two steps of Adam, then v = g and v = (beta_1 + 1) g.
    g, sgd = np.array(gradient), (1 - betas[0]) * gamma
    two = -0.2 * np.sign(g)
    np.testing.assert_allclose(path[1][0], two, rtol=1e-5)
    np.testing.assert_allclose(path[2][0], two - sgd * g, rtol=1e-5)
    last = two - sgd * g - sgd * (betas[0] + 1) * g
    np.testing.assert_allclose(path[3][0], last, rtol=1e-5)


def test_one_rate_is_found_for_all_variables_together():
    optimizer = SWATS(0.1, epsilon=0.0)
    walk(optimizer, [[0.0], [[0.0, 0.0]]], [[6.0], [[2.0, 1.0]]], 2)
    assert optimizer.sgd_learning_rate == pytest.approx(0.1 * 3 / 9, rel=1e-5)


def test_is_adam_before_the_switch():
    random = np.random.default_rng(0)
    adam, ours = keras.optimizers.Adam(0.02, epsilon=1e-9), SWATS(0.02, tolerance=NEVER)
    held = [variables(*START), variables(*START)]
    for optimizer, own in zip((adam, ours), held, strict=True):
        optimizer.build(own)
    for _ in range(50):
        gradients = [random.normal(size=s).astype("float32") for s in SHAPES]
        apply(adam, gradients)
        apply(ours, gradients)
    assert ours.switched_at is ours.sgd_learning_rate is None
    for first, second in zip(*held, strict=True):
        np.testing.assert_allclose(array(first), array(second), rtol=1e-5, atol=1e-6)


def test_a_rate_set_after_the_switch_scales_sgd():
    optimizer, held = SWATS(0.1, epsilon=0.0, beta_1=0.0), variables([0.0])
    optimizer.build(held)
    for _ in range(3):
        apply(optimizer, [np.array([2.0], "float32")])
    # gamma is 0.05: steps of 0.1, 0.1 and, of SGD, 0.05 x 2.
    assert array(held[0]).item() == pytest.approx(-0.3, rel=1e-5)
    optimizer.learning_rate = 0.05
    apply(optimizer, [np.array([2.0], "float32")])
    assert array(held[0]).item() == pytest.approx(-0.35, rel=1e-5)
    assert optimizer.sgd_learning_rate == pytest.approx(0.05, rel=1e-5)


# --- When it must not switch ----------------------------------------------------------


def after(squares, products, estimate, number=3.0):
    """The rule's state after a step, for beta_2 = 0.5."""
    rule = _swats.Rule(0.9, 0.5, 1e-9, 0.1)
    numbers = {"estimate": estimate, "sgd_rate": 0.0, "rate_at_switch": 1.0}
    state = _swats.State(
        phase=ops.convert_to_tensor(0, "int32"),
        switch_step=ops.convert_to_tensor(0, "int32"),
        **{name: ops.convert_to_tensor(v, "float32") for name, v in numbers.items()},
    )
    given = [
        ops.convert_to_tensor(v, "float32") for v in (number, 0.1, squares, products)
    ]
    return rule.following(state, *given)


@pytest.mark.parametrize(
    ("squares", "products", "estimate", "number", "phase", "following"),
    [
        # gamma is 2; the mean 1.75 / (1 - 1/8) is 2 before, and so it is after.
        (2.0, -1.0, 1.75, 3.0, _swats.FIRST_SGD, 1.875),
        # The same at the first step.
        (2.0, -1.0, 0.0, 1.0, _swats.ADAM, 1.0),
        # The mean is too far away: 0.5 x 2 / 0.875.
        (2.0, -1.0, 0.0, 3.0, _swats.ADAM, 1.0),
        # As near, but SGD would have to climb.
        (2.0, 1.0, -1.75, 3.0, _swats.ADAM, -1.875),
        # Steps that say nothing change nothing.
        (2.0, 0.0, 1.75, 3.0, _swats.ADAM, 1.75),
        (0.0, 0.0, 1.75, 3.0, _swats.ADAM, 1.75),
        (math.inf, -1.0, 1.75, 3.0, _swats.ADAM, 1.75),
        (math.nan, math.nan, 1.75, 3.0, _swats.ADAM, 1.75),
        (2.0, math.nan, 1.75, 3.0, _swats.ADAM, 1.75),
    ],
)
def test_the_rule(squares, products, estimate, number, phase, following):
    state = after(squares, products, estimate, number)
    assert int(array(state.phase)) == phase
    assert float(array(state.estimate)) == pytest.approx(following)
    switched = phase == _swats.FIRST_SGD
    assert int(array(state.switch_step)) == (3 if switched else 0)
    rate = 1.875 / 0.875 if switched else 0.0
    assert float(array(state.sgd_rate)) == pytest.approx(rate)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_does_not_switch(bad):
    optimizer, held = SWATS(0.1, epsilon=0.0), variables([0.0, 0.0])
    optimizer.build(held)
    for gradient in ([2.0, 2.0], [2.0, bad], [2.0, bad]):
        apply(optimizer, [np.array(gradient, "float32")])
    assert optimizer.switched_at is None


# --- What every Keras optimizer has ---------------------------------------------------


def test_clipping_comes_before_the_estimate():
    optimizer = SWATS(0.1, epsilon=0.0, global_clipnorm=1.0)
    walk(optimizer, [[0.0], [0.0]], [[3.0], [4.0]], 2)
    assert optimizer.sgd_learning_rate == pytest.approx(0.1 * 2 / 1.4, rel=1e-5)


def test_accumulated_gradients_are_one_step():
    optimizer = SWATS(0.1, epsilon=0.0, gradient_accumulation_steps=2)
    path = walk(optimizer, [[0.0]], [[2.0]], 6)
    assert optimizer.switched_at == 2
    assert optimizer.sgd_learning_rate == pytest.approx(0.05, rel=1e-5)
    positions = [weights[0].item() for weights in path]
    assert positions == pytest.approx([0, -0.1, -0.1, -0.2, -0.2, -0.21], rel=1e-5)


def test_the_average_of_the_weights_goes_on_through_the_switch():
    optimizer = SWATS(0.1, epsilon=0.0, use_ema=True, ema_momentum=0.5)
    held = variables([0.0])
    optimizer.build(held)
    for _ in range(3):
        apply(optimizer, [np.array([2.0], "float32")])
    optimizer.finalize_variable_values(held)
    # The weights were -0.1, -0.2 and -0.21; the average begins with the first.
    average = 0.5 * (0.5 * -0.1 + 0.5 * -0.2) + 0.5 * -0.21
    assert array(held[0]).item() == pytest.approx(average, rel=1e-5)


def test_a_variable_without_gradient_stays_and_does_not_count():
    optimizer, held = SWATS(0.1, epsilon=0.0), variables([0.0], [7.0, 7.0])
    optimizer.build(held)
    for _ in range(3):
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            apply(optimizer, [np.array([2.0], "float32"), None])
    assert optimizer.sgd_learning_rate == pytest.approx(0.05, rel=1e-5)
    assert array(held[1]).tolist() == [7.0, 7.0]
    assert array(held[0]).item() == pytest.approx(-0.21, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_numbers_are_trained_with_long_moments(dtype):
    # The squares of these gradients are zero in float16.
    optimizer = SWATS(0.5, epsilon=1e-9, tolerance=1e-3)
    path = walk(optimizer, [[0.0, 0.0]], [[2.0**-14, 2.0**-14]], 3, dtype)
    assert optimizer.switched_at == 2
    assert optimizer.sgd_learning_rate == pytest.approx(0.5 * 2**14, rel=1e-3)
    kinds = {keras.backend.standardize_dtype(v.dtype) for v in optimizer.variables}
    assert kinds <= {"float32", "int32", "int64"}
    steps = [weights[0].astype("float32")[0] for weights in path]
    # SGD's first step is 0.1 gamma g, which is 0.05.
    assert steps == pytest.approx([-0.5, -1.0, -1.05], rel=1e-2)


@pytest.mark.backend("torch", "tensorflow", reason="JAX has no float64 by default")
def test_double_precision_resolves_the_tolerance_of_the_paper():
    optimizer = SWATS(0.1, epsilon=0.0, tolerance=1e-9)
    walk(optimizer, [[0.0]], [[2.0]], 3, "float64")
    assert optimizer.switched_at == 2
    assert optimizer.sgd_learning_rate == pytest.approx(0.05, rel=1e-7)


# --- In a model -----------------------------------------------------------------------

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(32, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True) + RANDOM.normal(size=(32, 1)).astype("float32")
FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}


def build(optimizer, **compile_arguments):
    keras.utils.set_random_seed(3)
    hidden = keras.layers.Dense(6, activation="tanh")
    model = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(1)])
    model.compile(optimizer, "mse", **compile_arguments)
    # The same on all backends, so that the switch is.
    random = np.random.default_rng(1)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    return model


def assert_close(first, second, rtol=1e-6):
    for old, new in zip(first, second, strict=True):
        np.testing.assert_allclose(array(old), array(new), rtol=rtol, atol=1e-7)


def test_is_the_same_compiled_and_eager():
    compiled, eager = (
        build(SWATS(tolerance=0.05)),
        build(SWATS(tolerance=0.05), run_eagerly=True),
    )
    for model in (compiled, eager):
        model.fit(X, Y, epochs=5, **FIT)
    assert 2 <= compiled.optimizer.switched_at < 20
    assert compiled.optimizer.switched_at == eager.optimizer.switched_at
    assert_close(compiled.get_weights(), eager.get_weights(), 1e-4)


@pytest.mark.parametrize("tolerance", [0.05, NEVER], ids=["after", "before"])
def test_a_saved_training_goes_on_as_if_it_had_not_stopped(tmp_path, tolerance):
    whole = build(SWATS(tolerance=tolerance))
    whole.fit(X, Y, epochs=6, **FIT)
    half = build(SWATS(tolerance=tolerance))
    half.fit(X, Y, epochs=4, **FIT)
    half.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.switched_at == half.optimizer.switched_at
    assert loaded.optimizer.sgd_learning_rate == half.optimizer.sgd_learning_rate
    assert (half.optimizer.switched_at is None) == (tolerance == NEVER)
    loaded.fit(X, Y, epochs=2, **FIT)
    assert_close(loaded.get_weights(), whole.get_weights())
    assert_close(loaded.optimizer.variables, whole.optimizer.variables)


@pytest.mark.backend(
    "jax", "tensorflow", reason="PyTorch runs eagerly: there is nothing to trace again"
)
def test_the_switch_needs_no_new_trace():
    traces = []

    def loss(y_true, y_pred):
        traces.append(1)
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    model = build("sgd")
    model.compile(SWATS(tolerance=0.05), loss)
    model.fit(X, Y, steps_per_epoch=1, **FIT)
    before = len(traces)
    model.fit(X, Y, epochs=6, **FIT)
    assert model.optimizer.switched_at
    assert len(traces) == before


def test_frozen_layers_stay():
    model = build("sgd")
    model.layers[0].trainable = False
    model.compile(SWATS(tolerance=0.05), "mse")
    before = model.layers[0].get_weights()
    model.fit(X, Y, epochs=5, **FIT)
    assert model.optimizer.switched_at
    assert_close(before, model.layers[0].get_weights(), 0)
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


def test_loss_scaling_is_no_obstacle():
    plain = build(SWATS(tolerance=0.05))
    scaled = build(keras.optimizers.LossScaleOptimizer(SWATS(tolerance=0.05)))
    for model in (plain, scaled):
        model.fit(X, Y, epochs=4, **FIT)
    inner = scaled.optimizer.inner_optimizer
    assert inner.switched_at == plain.optimizer.switched_at
    assert_close(scaled.get_weights(), plain.get_weights(), 1e-4)


def test_an_embedding_is_trained_as_the_product_with_one_hot_vectors_is():
    # TensorFlow's gradient lists a word once for each time that the batch has it.
    table = RANDOM.normal(size=(5, 3)).astype("float32")
    ids = np.array([[0, 0, 1], [1, 0, 3]])

    def train(first, x):
        model = keras.Sequential([first, keras.layers.GlobalAveragePooling1D()])
        model.build(x.shape)
        model.set_weights([table])
        model.compile(SWATS(0.01, tolerance=NEVER), "mse")
        model.fit(x, np.zeros((2, 3)), epochs=5, **FIT)
        return model.get_weights()

    one_hot = np.eye(5, dtype="float32")[ids]
    dense = train(keras.layers.Dense(3, use_bias=False), one_hot)
    assert_close(train(keras.layers.Embedding(5, 3), ids), dense, 1e-5)


def test_an_optimizer_that_wraps_it_may_change_the_gradients():
    class Halved(SWATS):
        def _backend_update_step(self, grads, trainable_variables, learning_rate):
            grads = [g * 0.5 for g in grads]
            super()._backend_update_step(grads, trainable_variables, learning_rate)

    optimizer = Halved(0.1, epsilon=0.0)
    walk(optimizer, [[0.0]], [[4.0]], 2)
    assert optimizer.sgd_learning_rate == pytest.approx(0.05, rel=1e-5)


def test_says_that_it_must_see_all_variables():
    assert SWATS.needs_all_variables_at_once is True


# --- Arguments ------------------------------------------------------------------------


def test_the_config_has_all_arguments():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer = SWATS(schedule, 0.8, 0.99, 1e-8, 1e-3, "mine", weight_decay=0.1)
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, SWATS)
    assert again.get_config() == optimizer.get_config()
    names = ("beta_1", "beta_2", "epsilon", "tolerance", "name", "weight_decay")
    given = [again.get_config()[name] for name in names]
    assert given == [0.8, 0.99, 1e-8, 1e-3, "mine", 0.1]


BAD = [
    (
        {"beta_1": 1.0},
        ValueError,
        r"`beta_1` must be a number in \[0, 1\). .*beta_1=1.0",
    ),
    ({"beta_2": -0.1}, ValueError, r"`beta_2` must be .*beta_2=-0.1"),
    ({"beta_1": "x"}, TypeError, r"`beta_1` must be .*beta_1='x'"),
    ({"epsilon": -1}, ValueError, r"`epsilon` must be a number of at least 0.*=-1"),
    ({"tolerance": 0}, ValueError, r"`tolerance` must be a number in \(0, 1\).*=0"),
    ({"tolerance": None}, TypeError, r"`tolerance` must be .*tolerance=None"),
]


@pytest.mark.parametrize(("bad", "error", "text"), BAD)
def test_says_which_argument_is_wrong(bad, error, text):
    with pytest.raises(error, match=text):
        SWATS(**bad)


def test_refuses_replicas_with_a_gradient_each(monkeypatch):
    monkeypatch.setattr(module._backend, "replicas", lambda: 2)
    text = r"SWATS must see the gradient of the whole batch.*2 replicas; use keras"
    with pytest.raises(ValueError, match=text):
        SWATS().build(variables([0.0]))


def test_before_it_is_built_nothing_has_switched():
    optimizer = SWATS()
    assert optimizer.switched_at is optimizer.sgd_learning_rate is None
