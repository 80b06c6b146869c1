"""The names of Keras with an underscore that this package leans on.

No public name gives what these give. When Keras changes one, the test of its name
fails first, and says where to look.
"""

import keras
import numpy as np
import pytest
from keras.optimizers import SGD, MultiOptimizer, OptimizerMap

SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
RATES = "see `schedule_of` in keras_tricks/schedules/_rates.py"
GROUPS = "see `_inner` in keras_tricks/schedules/_rates.py"
COMPILED = "see `_note_unbuilt` in keras_tricks/_state.py"
ATTRIBUTES = "see `_ATTRIBUTES` in keras_tricks/_state.py"
CLOCK = "see `_CLOCK` in keras_tricks/callbacks/halve_on_plateau.py"
CONTEXT = "see `borrow_extras` in keras_tricks/_backend/tensorflow.py"
RETRACE = "see `rebuild_train_function` in keras_tricks/_backend"


def has(thing, name, where):
    assert hasattr(thing, name), f"Keras has renamed {name!r}: {where}"
    return getattr(thing, name)


def test_learning_rate_holds_the_schedule_itself():
    held = has(SGD(SCHEDULE), "_learning_rate", RATES)
    assert held is SCHEDULE, f"`_learning_rate` is not the schedule: {RATES}"


def test_learning_rate_holds_a_variable_for_a_float():
    held = has(SGD(0.5), "_learning_rate", RATES)
    assert isinstance(held, keras.Variable), f"`_learning_rate` is no variable: {RATES}"
    assert float(held.value) == 0.5, f"`_learning_rate` is another number: {RATES}"


def test_learning_rate_holds_the_function_itself():
    def rate():
        return 0.1

    held = has(SGD(rate), "_learning_rate", RATES)
    assert held is rate, f"`_learning_rate` is not the function: {RATES}"


def test_learning_rate_follows_the_public_setter():
    optimizer = SGD(SCHEDULE)
    other = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer.learning_rate = other
    held = has(optimizer, "_learning_rate", RATES)
    assert held is other, f"the setter does not set `_learning_rate`: {RATES}"


def model_of_two_groups():
    kernels, biases = SGD(0.4), SGD(0.1)
    optimizer = MultiOptimizer(OptimizerMap(kernels, {".*/bias": biases}))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model, optimizer, kernels, biases


def test_optimizer_map_gives_the_optimizer_of_a_variable():
    model, optimizer, kernels, biases = model_of_two_groups()
    choose = has(optimizer, "_optimizer_map", GROUPS)
    kernel, bias = model.trainable_variables
    told = f"`_optimizer_map` does not map a variable to its optimizer: {GROUPS}"
    assert choose(kernel) is kernels, told
    assert choose(bias) is biases, told


def test_the_indices_of_a_built_multi_optimizer_are_by_key_of_the_variable():
    model, optimizer, kernels, biases = model_of_two_groups()
    optimizer.build(model.trainable_variables)
    indices = has(optimizer, "_var_to_optimizer_idx", GROUPS)
    key = has(optimizer, "_var_key", GROUPS)
    found = [optimizer.optimizers[indices[key(v)]] for v in model.trainable_variables]
    told = f"`_var_to_optimizer_idx` gives other optimizers: {GROUPS}"
    assert found == [kernels, biases], told


@pytest.mark.parametrize("name", ["_compile_loss", "_compile_metrics"])
def test_what_compile_leaves_to_fit_to_build_is_held_by_the_model(name):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    assert name in vars(model), f"Keras has renamed {name!r}: {COMPILED}"
    part = vars(model)[name]
    assert part.built is False, f"`{name}` is built by `compile`: {COMPILED}"
    model.fit(np.zeros((4, 3)), np.zeros((4, 1)), verbose=0)
    assert vars(model)[name] is part, f"`fit` replaces `{name}`: {COMPILED}"
    assert part.built is True, f"`fit` does not build `{name}`: {COMPILED}"


def test_the_tracker_of_a_compiled_loss_has_its_name():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    parts = [vars(model)[name] for name in ("_compile_loss", "_compile_metrics")]
    tracked = ["_tracker" in vars(part) for part in parts]
    assert any(tracked), f"Keras has renamed '_tracker': {COMPILED}"


@pytest.mark.parametrize(
    "name",
    [
        "optimizer",
        "train_function",
        "test_function",
        "predict_function",
        "steps_per_execution",
        "stop_training",
        "history",
    ],
)
def test_what_fit_sets_on_the_model_has_its_name(name):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 3)), np.zeros((4, 1)), verbose=0)
    has(model, name, ATTRIBUTES)
    assert hasattr(model, "train_step"), f"no `train_step`: {ATTRIBUTES}"


def test_the_clock_of_an_optimizer_has_its_names():
    optimizer = SGD(0.1, momentum=0.9)
    optimizer.build([keras.Variable(np.zeros(2))])
    names = [variable.name for variable in optimizer.variables]
    assert names[:2] == ["iteration", "learning_rate"], f"{names}: {CLOCK}"
    assert len(names) == 3, f"{names}: {CLOCK}"


def test_the_train_function_can_be_made_anew():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    make = has(model, "make_train_function", RETRACE)
    make()
    first = model.train_function
    make(force=True)
    assert model.train_function is not first, f"`force` does not make: {RETRACE}"


@pytest.mark.backend("jax", reason="only JAX holds the state of an epoch apart")
def test_the_state_of_jax_can_be_written_back_in_an_epoch():
    where = "see `metrics_result` in keras_tricks/_backend/jax.py"
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            has(self.model, "jax_state_sync", where)()
            seen.append(self.model.get_weights()[0].item())

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((3, 1)), np.zeros((3, 1)), 1, verbose=0, callbacks=[Look()])
    assert len(set(seen)) == 3, f"the weights in an epoch stand still: {where}"


@pytest.mark.backend("tensorflow", reason="only TensorFlow has this context")
def test_the_context_of_tensorflow_holds_seed_and_generator():
    import tensorflow as tf
    from tensorflow.python.eager import context as eager_context

    context = eager_context.context()
    tf.random.set_seed(7)
    assert has(context, "_seed", CONTEXT) == 7, f"another seed: {CONTEXT}"
    generator = has(context, "_rng", CONTEXT)
    state = generator.getstate()
    tf.random.uniform(())
    assert generator.getstate() != state, f"`_rng` is not what is drawn: {CONTEXT}"
    generator.setstate(state)
    assert generator.getstate() == state, f"`_rng` cannot be set back: {CONTEXT}"
