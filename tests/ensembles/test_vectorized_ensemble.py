import os
import subprocess
import sys
from functools import partial

import keras
import lone_models as lone
import numpy as np
import pytest

from keras_tricks import _backend
from keras_tricks.ensembles import VectorizedEnsemble, _vectorized_strategy

layers, optimizers = keras.layers, keras.optimizers
X, Y = lone.VECTORS, lone.LABELS
BUILD = lone.compiled(lone.dense, lambda: optimizers.Adam(1e-2), metrics=["accuracy"])


def ensemble(members=2, build=BUILD, **kwargs):
    return VectorizedEnsemble(
        build, members, **{"seeds": range(1, members + 1), "strategy": "vmap", **kwargs}
    )


def fit(many, epochs=2, **kwargs):
    return many.fit(X, Y, epochs=epochs, **{"batch_size": 16, "verbose": 0, **kwargs})


@pytest.fixture(scope="module")
def trained():
    """Three members after two epochs; not to be changed."""
    keras.utils.set_random_seed(1)
    many = ensemble(3)
    fit(many, validation_data=(X, Y))
    return many


def test_members_of_unequal_size_have_their_own_clock():
    many = ensemble()
    fit(many, rows=[np.arange(40), np.arange(16)], epochs=3)
    names = [variable.name for variable in many._core.optimizer.variables]
    assert many._core.slots[names.index("iteration")].tolist() == [9, 3]
    assert int(many.optimizer.iterations) == 9


def test_losses_and_metrics_are_those_of_models_trained_alone():
    rows, others = lone.ROWS, [np.arange(40, 50), np.arange(10)]
    weight = np.linspace(0.0, 2.0, 50)
    given = {"metrics": ["accuracy"], "weighted_metrics": ["accuracy"]}
    build = lone.compiled(lone.dense, lambda: optimizers.SGD(0.5), **given)
    many = ensemble(build=build)
    starts = [many.member(k).get_weights() for k in range(2)]
    model = many.member(0)
    classes = {0: 2.0, 1: 1.0, 2: 0.5}
    # Keras takes one of them alone. The weights of classes are for the training.
    both = weight * np.array([2.0, 1.0, 0.5])[Y]
    history = fit(
        many,
        1,
        rows=rows,
        validation_rows=others,
        shuffle=False,
        sample_weight=weight,
        class_weight=classes,
    ).history
    for k, start in enumerate(starts):
        model.set_weights(start)
        alone = model.fit(
            X[rows[k]],
            Y[rows[k]],
            sample_weight=both[rows[k]],
            batch_size=16,
            shuffle=False,
            verbose=0,
            validation_data=(X[others[k]], Y[others[k]], weight[others[k]]),
        ).history
        # The loss, and both accuracies, in training and in validation.
        assert len(alone) == 6
        for name, values in alone.items():
            found = history[f"member_{name}"][0][k]
            assert found == pytest.approx(values[0], abs=1e-5), name
        assert lone.distance(model, many, k) < 1e-6
    assert not np.allclose(history["accuracy"], history["weighted_accuracy"])
    for name in ("loss", "val_accuracy"):
        assert history[name][0] == pytest.approx(history[f"member_{name}"][0].mean())


def branched(listed):
    """Two inputs and two outputs, by name or in a list."""
    inputs = {name: keras.Input((4,), name=name) for name in ("a", "b")}
    both = layers.Concatenate()(list(inputs.values()))
    outputs = {
        "kind": layers.Dense(3, activation="softmax", name="kind")(both),
        "size": layers.Dense(1, name="size")(both),
    }
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    parts = [inputs, outputs, losses, {"kind": 1.0, "size": 0.5}]
    parts += [{"kind": ["accuracy"], "size": ["mae"]}, {"kind": [], "size": ["mae"]}]
    if listed:
        parts = [list(part.values()) for part in parts]
    model = keras.Model(*parts[:2])
    loss, shares, metrics, weighted = parts[2:]
    model.compile(
        optimizers.SGD(0.1),
        loss,
        loss_weights=shares,
        metrics=metrics,
        weighted_metrics=weighted,
    )
    return model


def test_several_inputs_and_outputs_are_as_alone():
    x, y = {"a": X, "b": X[:, ::-1]}, {"kind": Y, "size": X[:, :1]}
    weight = np.linspace(0.0, 2.0, 50)
    given = {"sample_weight": weight, "batch_size": 25, "verbose": 0, "shuffle": False}
    named, listed = (ensemble(build=partial(branched, one)) for one in (False, True))
    alone = named.member(1)
    logs = named.fit(x, y, **given).history
    expected = alone.fit(x, y, **given).history
    assert lone.distance(alone, named, 1) < 1e-6
    # Keras tells of every output's loss, too.
    for name in ("loss", "kind_accuracy", "size_mae", "size_weighted_mae"):
        found = logs[f"member_{name}"][0][1]
        assert found == pytest.approx(expected[name][0], abs=1e-5), name
    predicted, own = named.predict(x, verbose=0), alone.predict(x, verbose=0)
    for name, answers in own.items():
        assert np.allclose(predicted[name][:, 1], answers, atol=1e-5)
    others = listed.fit(list(x.values()), list(y.values()), **given).history
    assert list(others) == list(logs)
    assert np.allclose(
        others["member_size_weighted_mae"], logs["member_size_weighted_mae"]
    )
    both = listed.predict(list(x.values()), verbose=0)
    for ours, theirs in zip(both, predicted.values(), strict=True):
        assert np.allclose(ours, theirs, atol=1e-5)


def test_predictions_are_those_of_the_members(trained):
    found = trained.predict(X, verbose=0)
    assert found.shape == (50, 3, 3)
    for k, model in enumerate(trained.members()):
        assert model.compiled
        answers = keras.ops.convert_to_numpy(model(X))
        assert np.allclose(answers, found[:, k], atol=1e-6)
    called = keras.ops.convert_to_numpy(trained(X))
    assert np.allclose(called, found, atol=1e-6)


def test_an_ensemble_of_all_members_answers_as_their_predictions_fused(trained):
    fusion = pytest.importorskip("keras_tricks.fusion")
    predictions = trained.predict(X, verbose=0)
    for name, function in (
        ("probabilities", fusion.mean_probability),
        ("vote", fusion.majority_vote),
    ):
        together = trained.ensemble(name)
        assert len(together.models) == 3
        fused = function(predictions, members_axis=1)
        assert np.allclose(together.predict(X, verbose=0), fused, atol=1e-6), name


def test_build_is_called_with_the_seed_and_the_member_if_it_asks():
    calls = []

    def by_both(seed, *, member):
        calls.append((seed, member))
        return BUILD()

    many = VectorizedEnsemble(by_both, 3, seeds=[5, 6, 7])
    assert calls == [(5, 0), (6, 1), (7, 2)]
    many.member(2)
    assert calls.pop() == (7, 2)
    calls.clear()

    def by_seed(seed=0):
        calls.append(seed)
        return BUILD()

    many = VectorizedEnsemble(by_seed, 3, seeds=[5, 6, 7])
    assert calls == [5]
    many.member(1)
    assert calls == [5, 6]


def test_one_member_is_enough():
    many = ensemble(1, strategy="auto")
    fit(many)
    assert many.predict(X[:2], verbose=0).shape == (2, 1, 3)


def test_initial_weights_follow_the_initializers_and_the_seed_alone():
    def build():
        hidden = layers.Dense(100, kernel_initializer="he_normal", name="hidden")
        return lone.net(hidden, shape=(200,))

    many = VectorizedEnsemble(build, 3, seeds=[5, 6, 7])
    other = VectorizedEnsemble(build, 1, seeds=[6])
    kernels = lone.host(many.trainable_variables[0])
    # He et al. 2015: a variance of 2 / fan_in.
    assert kernels.std(axis=(1, 2)) == pytest.approx([0.1] * 3, rel=0.03)
    assert not np.allclose(kernels[0], kernels[1])
    assert np.array_equal(kernels[1], lone.host(other.trainable_variables[0])[0])


def test_a_builder_that_changes_weights_is_called_for_every_member():
    def build():
        model = lone.dense()
        model.layers[0].kernel.assign(model.layers[0].kernel * 100.0)
        return model

    kernels = lone.host(VectorizedEnsemble(build, 3).trainable_variables[0])
    assert (kernels.std(axis=(1, 2)) > 20).all()
    assert not np.allclose(kernels[0], kernels[1])


def test_every_member_drops_units_of_its_own():
    def build():
        hidden = layers.Dense(20, activation="relu")
        model = lone.net(hidden, layers.Dropout(0.5), shape=(4,))
        model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        return model

    many = ensemble(4, build)
    for variable in many.trainable_variables:
        first = lone.host(variable)[:1]
        variable.assign(np.repeat(first, 4, axis=0))
    fit(many, 1, shuffle=False)
    kernels = lone.host(many.trainable_variables[0])
    pairs = [(a, b) for a in range(4) for b in range(a)]
    assert not any(np.allclose(kernels[a], kernels[b]) for a, b in pairs)


def test_goes_on_after_loading_as_if_nothing_was(trained, tmp_path):
    half = ensemble(3)
    fit(half, 1)
    half.save(tmp_path / "many.keras")
    loaded = keras.models.load_model(tmp_path / "many.keras")
    fit(loaded, 2, initial_epoch=1)
    for a, b in zip(trained.get_weights(), loaded.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_members_in_chunks_are_the_same(trained):
    chunked = ensemble(3, members_per_chunk=2)
    found = fit(chunked).history["member_loss"]
    assert np.allclose(trained.history.history["member_loss"], found, atol=1e-6)
    for a, b in zip(trained.get_weights(), chunked.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_auto_measures_every_way_in_training_and_ends_in_the_same_place(monkeypatch):
    # So that a try of another way is always worth its while.
    monkeypatch.setattr(_vectorized_strategy, "_WORTH", 0.0)
    monkeypatch.setattr(_vectorized_strategy, "_HOPELESS", np.inf)
    monkeypatch.setattr(_backend, "STEP_OVERHEAD", 0.0)
    many, plain = ensemble(strategy="auto"), ensemble()
    losses = [fit(one, 4).history["member_loss"] for one in (many, plain)]
    (report,) = many.strategy_report
    measured = report["measured"]
    assert report["asked"] == "auto"
    assert set(measured) == {"vmap", "sequential"}
    assert report["failed"] == {}
    times = {name: one["seconds_per_step"] for name, one in measured.items()}
    assert min(times.values()) > 0
    assert report["chosen"] == min(times, key=times.get)
    assert report["reason"] == "the fastest of those measured"
    assert np.allclose(*losses, atol=1e-6)
    for a, b in zip(many.get_weights(), plain.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-6)


class Recorder(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.losses, self.weights = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])
        self.weights.append(self.model.get_weights()[0])


def test_a_callback_hears_of_every_batch_and_sees_its_weights(trained):
    watched, recorder = ensemble(3), Recorder()
    fit(watched, callbacks=[recorder])
    assert len(recorder.losses) == 8
    losses = trained.history.history["loss"]
    assert recorder.losses[3::4] == pytest.approx(losses, abs=1e-6)
    assert not np.allclose(recorder.weights[0], recorder.weights[1])
    for a, b in zip(trained.get_weights(), watched.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_a_scheduler_sets_the_rate_of_every_member():
    build = lone.compiled(lone.dense, lambda: optimizers.SGD(0.1))
    many = ensemble(build=build, learning_rates=[0.2, 0.4])
    before = many.get_weights()
    stop = keras.callbacks.LearningRateScheduler(lambda epoch: 0.0)
    fit(many, 1, callbacks=[stop])
    for a, b in zip(before, many.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_every_member_stops_by_itself_at_its_best():
    # The first member's rate makes it worse at every step, the second's hardly moves.
    build = lone.compiled(lone.dense, lambda: optimizers.SGD(0.1))
    many = ensemble(build=build, learning_rates=[-0.0, 0.05])
    stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    before = [weight[0] for weight in many.get_weights()]
    history = fit(
        many,
        6,
        validation_rows=[np.arange(10), np.arange(50)],
        early_stopping=stop,
    ).history
    assert many.best_epochs[0] == 0
    assert many.stopped_epochs[0] == 2
    values = np.stack(history["member_val_loss"])
    assert many.best_epochs[1] == values[:, 1].argmin()
    assert np.array_equal(
        many.scores("val_loss"), values[many.best_epochs, np.arange(2)]
    )
    for a, b in zip(before, many.get_weights(), strict=True):
        assert np.array_equal(a, b[0])


def test_training_stops_when_all_members_have():
    build = lone.compiled(lone.dense, lambda: optimizers.SGD(0.0))
    many = ensemble(build=build)
    stop = keras.callbacks.EarlyStopping("loss", patience=1)
    history = fit(many, 9, early_stopping=stop).history
    assert len(history["loss"]) <= 4


def test_the_best_member_is_the_one_of_the_history(trained):
    best = int(trained.history.history["member_val_loss"][-1].argmin())
    for mine, all_of_them in zip(
        trained.best().trainable_variables, trained.trainable_variables, strict=True
    ):
        assert np.array_equal(lone.host(mine), lone.host(all_of_them)[best])
    with pytest.raises(ValueError, match=r"`metric` must be one .*metric='val_los'"):
        trained.best("val_los")


def test_evaluates_every_member_on_its_rows(trained):
    rows = [np.arange(10), np.arange(20, 45), np.arange(3)]
    logs = trained.evaluate(X, Y, rows=rows, verbose=0, return_dict=True)
    predictions = trained.predict(X, verbose=0)
    for k, own in enumerate(rows):
        right = predictions[own, k, Y[own]]
        accuracy = (predictions[own, k].argmax(axis=1) == Y[own]).mean()
        loss = trained.member_logs["loss"][k]
        assert loss == pytest.approx(-np.log(right).mean(), abs=1e-5)
        assert trained.member_logs["accuracy"][k] == pytest.approx(accuracy)
    assert logs["loss"] == pytest.approx(trained.member_logs["loss"].mean())


DEVICES = """
import sys, keras, jax, lone_models as lone, numpy as np
from keras_tricks.ensembles import VectorizedEnsemble
assert len(jax.local_devices()) == 4
build = lone.compiled(lone.dense, lambda: keras.optimizers.Adam(1e-2))
members = int(sys.argv[1])
many = VectorizedEnsemble(build, members, seeds=range(members), strategy="vmap")
alone = many.members()[3]
rows = [np.arange(48)] * members
many.fit(lone.VECTORS, lone.LABELS, rows=rows, batch_size=16, epochs=2, verbose=0)
lone.train_alone(alone, 3, lone.VECTORS, lone.LABELS, rows, 2, seeds=range(members))
print(lone.distance(alone, many, 3), many.strategy_report[0]["devices"])
"""


@pytest.mark.backend("jax", reason="the others use one device")
@pytest.mark.parametrize(("members", "used"), [(8, "4"), (6, "3"), (5, "1")])
def test_members_are_spread_over_as_many_devices_as_divide_them(members, used):
    folder = os.path.dirname(lone.__file__)
    done = subprocess.run(
        [sys.executable, "-c", DEVICES, str(members)],
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
            "PYTHONPATH": os.pathsep.join([folder, *sys.path]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    distance, devices = done.stdout.split()
    assert float(distance) < 1e-6
    assert devices == used
