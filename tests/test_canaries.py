"""The names of Keras with an underscore that this package leans on.

No public name gives what these give. When Keras changes one, the test of its name
fails first, and says where to look.
"""

import sys

import keras
import numpy as np
import pytest
from keras.optimizers import SGD, MultiOptimizer, OptimizerMap

from keras_tricks.runs import _fit_watch

SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
RATES = "see `schedule_of` in keras_tricks/schedules/_rates.py"
GROUPS = "see `_inner` in keras_tricks/schedules/_rates.py"
COMPILED = "see `_note_unbuilt` in keras_tricks/_state.py"
ATTRIBUTES = "see `_ATTRIBUTES` in keras_tricks/_state.py"
CLOCK = "see `_CLOCK` in keras_tricks/callbacks/halve_on_plateau.py"
LAZY_ADAM = "see keras_tricks/optimizers/lazy_adam.py"
CONTEXT = "see `borrow_extras` in keras_tricks/_backend/tensorflow.py"
AVERAGES = "see `_averages` in keras_tricks/callbacks/_freezing.py"
EDGES = "see `_Graph` in keras_tricks/optimizers/_depth.py"
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


def test_an_optimizer_averages_its_variables_one_by_one():
    optimizer = SGD(0.1, use_ema=True)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    optimizer.build(model.trainable_variables)
    variables = has(optimizer, "_trainable_variables", AVERAGES)
    averages = has(optimizer, "_model_variables_moving_average", AVERAGES)
    shapes = [tuple(average.shape) for average in averages]
    expected = model.trainable_variables
    assert all(v is w for v, w in zip(variables, expected, strict=True)), AVERAGES
    assert shapes == [(3, 1), (1,)], f"other averages: {AVERAGES}"


def test_a_layer_asks_itself_for_its_call_and_an_optimizer_for_its_apply():
    where = "see `_in_inference` and `_hooked` in keras_tricks/callbacks/_freezing.py"
    seen = []
    dense = keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((3,)), dense])
    model.compile("sgd", "mse", run_eagerly=True)
    for thing, name in ((dense, "call"), (model.optimizer, "apply")):
        inner = getattr(thing, name)

        def hook(*args, inner=inner, name=name, **kwargs):
            seen.append(name)
            return inner(*args, **kwargs)

        vars(thing)[name] = hook
    model.fit(np.zeros((4, 3)), np.zeros((4, 1)), verbose=0)
    assert set(seen) == {"call", "apply"}, f"Keras goes another way: {where}"


def test_a_functional_model_holds_the_edges_of_its_graph():
    inputs = keras.Input((3,))
    first, second = keras.layers.Dense(2), keras.layers.Dense(1)
    model = keras.Model(inputs, second(first(inputs)))
    by_depth = has(model, "_nodes_by_depth", EDGES)
    edges = {
        (parent.operation.name, node.operation.name)
        for nodes in by_depth.values()
        for node in nodes
        for parent in has(node, "parent_nodes", EDGES)
    }
    expected = {(model.layers[0].name, first.name), (first.name, second.name)}
    assert edges == expected, f"other edges: {EDGES}"
    depths = [d for d in by_depth for n in by_depth[d] if n.operation is second]
    assert depths == [0], f"depth is not counted from the output: {EDGES}"


def test_a_layer_holds_the_layers_inside():
    where = "see `children` in keras_tricks/_patterns.py"
    inner = keras.layers.Dense(1)
    outer = keras.layers.TimeDistributed(inner)
    held = has(outer, "_flatten_layers", where)(include_self=False, recursive=False)
    assert held == [inner], f"another list: {where}"


SWITCH = "see `switch` in keras_tricks/callbacks/_switch.py"
BACKUP = "see keras_tricks/callbacks/_backup.py"
SWATS = "see `_backend_update_step` in keras_tricks/optimizers/swats.py"


def test_compile_notes_its_optimizer_where_it_can_be_replaced():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert "_compile_config" in vars(model), f"no '_compile_config': {SWITCH}"
    noted = has(model._compile_config, "config", SWITCH)
    assert noted["optimizer"] is model.optimizer, f"another optimizer: {SWITCH}"
    noted["optimizer"] = keras.optimizers.Adam()
    saved = model.get_compile_config()["optimizer"]["class_name"]
    assert saved == "Adam", f"what is noted is not what is saved: {SWITCH}"
    model.compile("sgd", "mse")
    again = model._compile_config
    assert again.config is not noted, f"`compile` goes on with the old notes: {SWITCH}"


def test_a_backup_says_where_it_goes_on(tmp_path):
    from keras_tricks.callbacks import _backup

    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(_backup.start(tmp_path))

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    for freq, expected in (("epoch", [None] * 3 + [(1, False)] * 3), (2, None)):
        seen.clear()
        callbacks = [keras.callbacks.BackupAndRestore(tmp_path, freq), Look()]
        fit = {"epochs": 2, "verbose": 0, "callbacks": callbacks}
        model.fit(np.ones((3, 1)), np.zeros((3, 1)), 1, **fit)
        if expected is None:
            expected = [None, None, (0, True), (0, True), (1, False), (1, False)]
        assert seen == expected, f"another file, or another content: {BACKUP}"


def test_an_optimizer_updates_all_variables_in_one_call():
    calls = []

    class Look(keras.optimizers.Optimizer):
        def _backend_update_step(self, grads, trainable_variables, learning_rate):
            calls.append([self._get_variable_index(v) for v in trainable_variables])

    optimizer = Look(0.1)
    variables = [keras.Variable(np.zeros(2)), keras.Variable(np.zeros(3))]
    optimizer.build(variables)
    optimizer.apply([keras.ops.ones(2), keras.ops.ones(3)])
    assert calls == [[0, 1]], f"no `_backend_update_step` for all at once: {SWATS}"
    known = has(optimizer, "_overwrite_variable_with_gradient", SWATS)(variables[0])
    assert known is False, f"`_overwrite_variable_with_gradient` has changed: {SWATS}"


def test_adam_without_arguments_has_the_class_of_its_backend():
    kind = type(keras.optimizers.Adam.__new__(keras.optimizers.Adam))
    assert kind is type(keras.optimizers.Adam()), f"not that of an Adam: {LAZY_ADAM}"


def test_adam_keeps_its_slots_in_lists_by_index_of_the_variable():
    optimizer = keras.optimizers.Adam(amsgrad=True)
    variables = [keras.Variable(np.zeros(2)), keras.Variable(np.zeros(3))]
    optimizer.build(variables)
    for name in ("_momentums", "_velocities", "_velocity_hats"):
        shapes = [tuple(slot.shape) for slot in has(optimizer, name, LAZY_ADAM)]
        assert shapes == [(2,), (3,)], f"`{name}` is no such list: {LAZY_ADAM}"
    index = has(optimizer, "_get_variable_index", LAZY_ADAM)
    assert [index(v) for v in variables] == [0, 1], f"another index: {LAZY_ADAM}"
    known = has(optimizer, "_trainable_variables", LAZY_ADAM)
    same = [a is b for a, b in zip(known, variables, strict=True)]
    assert all(same), f"`_trainable_variables` are others: {LAZY_ADAM}"
    with pytest.raises(ValueError, match="Unknown variable"):
        has(optimizer, "_check_variables_are_known", LAZY_ADAM)(
            [keras.Variable(np.zeros(2))]
        )


def test_an_optimizer_clips_then_decays_then_updates():
    calls = []

    class Look(keras.optimizers.Adam):
        def _clip_gradients(self, grads):
            calls.append("clip")
            return super()._clip_gradients(grads)

        def _apply_weight_decay(self, variables):
            calls.append([self._use_weight_decay(v) for v in variables])

    optimizer = Look(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    variables = [keras.Variable(np.zeros(2), name=name) for name in ("a", "bias")]
    optimizer.apply([keras.ops.ones(2), keras.ops.ones(2)], variables)
    assert calls == ["clip", [True, False]], f"called otherwise: {LAZY_ADAM}"


REBUILD = "see `_functional` in keras_tricks/surgery/_rebuild.py"
CALLS = "see keras_tricks/surgery/_calls.py"


def test_a_clone_is_called_in_the_order_of_the_nodes():
    inputs = keras.Input((2,))
    shared, other = keras.layers.Dense(2), keras.layers.Dense(2)
    hidden = shared(inputs)
    model = keras.Model(inputs, keras.layers.Add()([shared(hidden), other(hidden)]))
    by_depth = has(model, "_nodes_by_depth", CALLS)
    nodes = [n for d in sorted(by_depth, reverse=True) for n in by_depth[d]]
    expected = [n.operation.name for n in nodes if not has(n, "is_input", CALLS)]
    names = []

    def call(layer, *args, **kwargs):
        names.append(layer.name)
        return layer(*args, **kwargs)

    keras.models.clone_model(model, call_function=call)
    assert names == expected, f"another order: {REBUILD}"


def test_a_node_holds_the_arguments_and_the_outputs_of_its_call():
    inputs = keras.Input((2,))
    outputs = keras.layers.Dropout(0.1)(inputs, training=False)
    model = keras.Model(inputs, outputs)
    (node,) = has(model, "_nodes_by_depth", CALLS)[0]
    arguments = has(node, "arguments", CALLS)
    assert arguments.args[0] is model.inputs[0], f"another argument: {CALLS}"
    assert arguments.kwargs["training"] is False, f"another argument: {CALLS}"
    assert has(node, "outputs", CALLS)[0] is model.outputs[0], f"others: {CALLS}"


def test_an_initializer_without_a_seed_takes_one_from_random():
    import random

    where = "see `reinitialize` in keras_tricks/surgery/reinitialize.py"
    drawn = []
    for _ in range(2):
        random.seed(3)
        layer = keras.layers.Dense.from_config({"units": 2})
        layer.build((None, 2))
        drawn.append(keras.ops.convert_to_numpy(layer.kernel.value))
    assert np.array_equal(*drawn), f"its seed comes from elsewhere: {where}"


def test_a_seed_generator_names_its_state():
    where = "see `seed_states` in keras_tricks/ensembles/_random.py"
    held = keras.layers.Dropout(0.5).variables
    names = [variable.name for variable in held]
    assert names == ["seed_generator_state"], f"another name: {where}"
    assert tuple(held[0].shape) == (2,), f"it holds something else: {where}"


def test_fit_asks_the_model_itself_for_its_validation():
    where = "see `put` in keras_tricks/callbacks/_validation_guard.py"
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    inner, asked = model.evaluate, []

    def evaluate(*args, **kwargs):
        asked.append("evaluate")
        return inner(*args, **kwargs)

    vars(model)["evaluate"] = evaluate
    data = np.zeros((4, 3)), np.zeros((4, 1))
    model.fit(*data, validation_data=data, verbose=0)
    assert asked == ["evaluate"], f"`fit` validates in another way: {where}"


def test_fit_has_the_local_names_that_a_run_is_followed_by():
    where = "see `_begin` in keras_tricks/runs/_fit_watch.py"
    found = {}

    class Look(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            frame = sys._getframe()
            while frame and not (
                frame.f_code.co_name == "fit"
                and frame.f_locals.get("self") is self.model
            ):
                frame = frame.f_back
            assert frame is not None, f"`fit` is not among the callers: {where}"
            found.update(frame.f_locals)
            found["step"] = self.model.train_function

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.zeros((4, 3)), np.zeros((4, 1))
    model.fit(x, y, verbose=0, callbacks=[Look()])
    assert found["x"] is x, f"it has its arguments under other names: {where}"
    assert isinstance(found["callbacks"], keras.callbacks.CallbackList), where
    missing = set(_fit_watch._ARGUMENTS) - set(found)
    assert not missing, f"`fit` has no {missing}: {where}"
    iterator = found["epoch_iterator"]
    kind = type(iterator)
    assert hasattr(kind, "__next__"), f"it is no iterator: {where}"
    iterator.__class__ = type(kind.__name__, (kind,), {})
    assert callable(found["step"]), f"the step is made later: {where}"


def test_fit_asks_for_its_step_again_in_each_epoch():
    where = "see `hook` in keras_tricks/runs/_fit_watch.py"
    calls = []

    class Wrap(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            own = vars(self.model)
            inner = own.get("train_function")
            assert inner is not None, f"the model holds no step: {where}"

            def counted(*args):
                own["train_function"] = inner
                calls.append(batch)
                return inner(*args)

            own["train_function"] = counted

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = np.zeros((4, 3)), np.zeros((4, 1))
    model.fit(*data, batch_size=2, epochs=2, verbose=0, callbacks=[Wrap()])
    assert calls == [0, 1, 0, 1], f"`fit` keeps its step: {where}"


@pytest.mark.parametrize("several", [True, False])
def test_an_optimizer_counts_its_steps_in_a_variable_of_that_name(several):
    where = "see `made` in keras_tricks/callbacks/_update_watch.py"
    variable = keras.Variable(np.zeros(2, "float32"), name="kernel")
    one = SGD(0.1, gradient_accumulation_steps=2)
    optimizer = MultiOptimizer(OptimizerMap(SGD(0.1), {".*": one})) if several else one
    optimizer.build([variable])
    for _ in range(4):
        optimizer.apply([keras.ops.zeros(2)], [variable])
    counter = next((v for v in optimizer.variables if v.name == "iteration"), None)
    assert counter is not None, f"no variable 'iteration': {where}"
    assert int(keras.ops.convert_to_numpy(counter.value)) == 4, where


def test_a_layer_holds_its_layers_in_a_list():
    # See `_replace` in ensembles/_sharing.py.
    holder = keras.layers.Layer()
    holder.first, holder.second = keras.layers.Dense(1), keras.layers.Dense(1)
    old, second = holder.first, holder.second
    holder.first = new = keras.layers.Dense(2)
    assert list(holder._layers) == [old, second, new]
    holder._layers[:] = [new, second]
    inside = holder._flatten_layers(include_self=False, recursive=False)
    assert list(inside) == [new, second]


def test_a_built_layer_takes_another_layer_when_its_tracker_is_open():
    where = "see `_open` in keras_tricks/ensembles/_sharing.py"
    holder = keras.layers.TimeDistributed(keras.layers.Dense(2))
    holder.build((None, 3, 4))
    tracker = has(holder, "_tracker", where)
    assert has(tracker, "locked", where), f"it is open after the build: {where}"
    new = keras.layers.Dense(2)
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        holder.layer = new
    has(tracker, "unlock", where)()
    holder.layer = new
    has(tracker, "lock", where)()
    assert tracker.locked, f"`lock` does something else: {where}"
    assert holder.layer is new, where


VECTORIZED = "see keras_tricks/ensembles/_vectorized_optimizer.py"
TEMPLATE = "see keras_tricks/ensembles/_vectorized_core.py and vectorized_ensemble.py"


@pytest.mark.parametrize(
    "name",
    ["_backend_update_step", "_apply_weight_decay", "_use_weight_decay", "_var_key"],
)
def test_optimizer_has_the_hooks_that_make_it_pure(name):
    has(keras.optimizers.AdamW(), name, VECTORIZED)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"var_names": ["bias"]}, "_exclude_from_weight_decay_pattern"),
        ({"var_names": ["bias"]}, "_exclude_from_weight_decay"),
    ],
)
def test_optimizer_keeps_what_is_excluded_from_decay(given, name):
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(**given)
    has(optimizer, name, VECTORIZED)


def test_symbolic_build_makes_the_metrics_of_a_compiled_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    build = has(model, "_symbolic_build", TEMPLATE)
    x, y, weight = np.zeros((2, 3)), np.zeros((2, 1)), np.ones(2)
    build(data_batch=(x, y, weight))
    metrics = has(model, "_compile_metrics", TEMPLATE)
    assert metrics.variables, f"no metrics were built: {TEMPLATE}"
    assert callable(metrics.update_state), f"no `update_state`: {TEMPLATE}"
    assert callable(metrics.result), f"no `result`: {TEMPLATE}"


@pytest.mark.parametrize("name", ["_flatten_layers", "_initial_epoch"])
def test_model_has_the_names_that_a_vectorized_ensemble_reads(name):
    has(keras.Sequential([keras.Input((3,))]), name, TEMPLATE)


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("SparseCategoricalAccuracy", "up"), ("AUC", "up"), ("MeanSquaredError", "down")],
)
def test_a_metric_knows_which_direction_is_better(metric, direction):
    where = "see keras_tricks/ensembles/_vectorized_evaluate.py"
    found = has(getattr(keras.metrics, metric)(), "_direction", where)
    assert found == direction, where


def test_nadam_keeps_the_product_of_its_momenta_as_a_variable():
    optimizer = keras.optimizers.Nadam()
    optimizer.build([keras.Variable([1.0])])
    product = has(optimizer, "_u_product", VECTORIZED)
    assert any(product is variable for variable in optimizer.variables), VECTORIZED


def test_a_functional_model_lists_its_operations_and_has_its_name():
    where = "see keras_tricks/ensembles/_vectorized_apart.py"
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs) * 2.0)
    assert type(model).__name__ == "Functional", where
    assert len(has(model, "operations", where)) == 3, where


LINT = "see keras_tricks/lint/_decayed.py"


def test_an_optimizer_notes_what_it_was_told_not_to_decay():
    optimizer = keras.optimizers.AdamW()
    weight, bias = (keras.Variable(np.zeros(2), name=n) for n in ("kernel", "bias"))
    assert not getattr(optimizer, "_exclude_from_weight_decay", None), LINT
    optimizer.exclude_from_weight_decay(var_list=[weight], var_names=["bias"])
    keys = has(optimizer, "_exclude_from_weight_decay", LINT)
    assert has(optimizer, "_var_key", LINT)(weight) in keys, f"other keys: {LINT}"
    pattern = has(optimizer, "_exclude_from_weight_decay_pattern", LINT)
    assert pattern.search(bias.name), f"another pattern: {LINT}"


def test_keras_knows_the_seed_that_it_was_given():
    import sys

    where = "see `given_seed` in keras_tricks/lint/_rules/seed.py"
    keras.utils.set_random_seed(17)
    module = sys.modules[keras.utils.set_random_seed.__module__]
    assert has(module, "get_random_seed", where)() == 17, f"another seed: {where}"


def test_the_rate_of_a_step_is_asked_for_in_one_place():
    where = "see `_scaled` in keras_tricks/callbacks/scale_learning_rate.py"
    optimizer = SGD(0.5)
    has(optimizer, "_get_current_learning_rate", where)
    vars(optimizer)["_get_current_learning_rate"] = lambda: 7.0
    assert optimizer.learning_rate == 7.0, f"`learning_rate` asks another: {where}"


def test_fit_asks_a_dataset_for_its_workers_once_and_before_it_ends_no_epoch():
    where = "see `workers` in keras_tricks/data/multi_scale.py"

    class Noted(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.ones((4, 1)), np.ones((4, 1))

        @property
        def workers(self):
            events.append("workers")
            return 1

        def on_epoch_end(self):
            events.append("end")

    for _ in range(2):
        events = []
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(Noted(), epochs=3, verbose=0)
        assert events == ["workers", "end", "end", "end", "end"], where


def test_an_optimizer_sums_gradients_in_variables_by_index_of_the_weight():
    where = "see `_accumulated` in keras_tricks/callbacks/_gradient_record.py"
    optimizer = SGD(0.1, gradient_accumulation_steps=2)
    weight = keras.Variable(np.zeros(2, "float32"), name="weight")
    optimizer.build([weight])
    optimizer.apply([keras.ops.ones(2)], [weight])
    sums = has(optimizer, "_accumulated_gradients", where)
    index = has(optimizer, "_get_variable_index", where)(weight)
    found = keras.ops.convert_to_numpy(sums[index].value)
    assert found.tolist() == [1.0, 1.0], f"other sums: {where}"
