"""An ensemble goes through one `.keras` file, into another process, and comes back."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_tricks.ensembles import Ensemble

NUMBERS = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
LABELS = np.arange(12) % 3


def dense(units, activation, seed, name=None):
    start = keras.initializers.GlorotUniform(seed)
    return keras.layers.Dense(units, activation, kernel_initializer=start, name=name)


def sequential(seed, activation="softmax", units=3):
    return keras.Sequential([keras.Input((4,)), dense(units, activation, seed)])


def functional(seed, activation="softmax", units=3):
    inputs = keras.Input((4,), name="numbers")
    hidden = dense(5, "relu", seed, "hidden")(inputs)
    hidden = keras.layers.BatchNormalization(name="norm")(hidden)
    outputs = dense(units, activation, seed + 1, "head")(hidden)
    return keras.Model(inputs, outputs, name="net")


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, backbone=None, units=3, **kwargs):
        super().__init__(**kwargs)
        self.backbone = backbone or functional(7, "relu", 5)
        self.head = dense(units, "softmax", 3)
        self.units = units

    def call(self, inputs):
        return self.head(self.backbone(inputs))

    def get_config(self):
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {**super().get_config(), "backbone": backbone, "units": self.units}

    @classmethod
    def from_config(cls, config):
        backbone = keras.saving.deserialize_keras_object(config.pop("backbone"))
        return cls(backbone, **config)


@keras.saving.register_keras_serializable("tests")
def greatest(predictions, weights=None):
    return keras.ops.max(keras.ops.stack(list(predictions)), axis=0)


def subclassed(backbone=None):
    model = Subclassed(backbone)
    model(NUMBERS)
    return model


def snapshots():
    model = functional(1)
    copy = keras.models.clone_model(model)
    copy.set_weights([weight + 0.5 for weight in model.get_weights()])
    return Ensemble([model, copy])


def member_twice():
    a, b = sequential(1), functional(2)
    return Ensemble([Ensemble([a, b], weights=[1, 3]), a, b, a], "vote")


def nested_twice():
    inner = Ensemble([sequential(1), sequential(2)])
    return Ensemble([inner, Ensemble([inner, sequential(3)], "geometric"), inner])


def shared_backbone():
    backbone = functional(1, "relu", 5)
    return Ensemble(
        [keras.Sequential([backbone, dense(3, "softmax", s)]) for s in (2, 3)]
    )


def shared_layers():
    hidden, inputs = dense(5, "relu", 1), keras.Input((4,))
    features = hidden(inputs)
    twice = keras.layers.Add()([features, hidden(keras.layers.ReLU()(inputs))])
    heads = [dense(3, "softmax", seed) for seed in (2, 3)]
    return Ensemble(
        [
            keras.Model(inputs, heads[0](features)),
            keras.Model(inputs, heads[1](twice)),
            keras.Sequential([keras.Input((4,)), hidden, heads[0]]),
        ]
    )


def member_inside_another():
    inner = sequential(1)
    around = keras.Sequential([keras.Input((4,)), inner, dense(3, "softmax", 2)])
    return Ensemble([around, inner])


def shared_by_subclassed():
    backbone = functional(1, "relu", 5)
    models = [subclassed(backbone), subclassed(backbone)]
    head = keras.Sequential([backbone, dense(3, "softmax", 9)])
    return Ensemble([*models, head], outputs="probabilities")


@keras.saving.register_keras_serializable("tests")
class Around(keras.layers.Layer):
    """A layer that holds another one as an attribute."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, shape):
        self.shift = self.add_weight(shape=(1,))

    def call(self, inputs):
        return self.inner(inputs) + self.shift

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner}

    @classmethod
    def from_config(cls, config):
        inner = keras.saving.deserialize_keras_object(config.pop("inner"))
        return cls(inner, **config)


def shared_inside(wrap, shared):
    """Two models with wrappers of their own around one layer."""
    inputs = keras.Input((2, 4))
    models = []
    for seed in (2, 3):
        features = keras.layers.Flatten()(wrap(shared)(inputs))
        models.append(keras.Model(inputs, dense(3, "softmax", seed)(features)))
    return Ensemble(models)


def shared_by_an_ensemble_inside():
    a, b = sequential(1), sequential(2)
    inputs = keras.Input((4,))
    outputs = keras.layers.Identity()(Ensemble([a, b])(inputs))
    return Ensemble([a, keras.Model(inputs, outputs)])


def dictionary():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    both = keras.layers.Concatenate()([a, b])
    models = [
        keras.Model({"a": a, "b": b}, dense(3, "softmax", 1)(both)),
        keras.Model([a, b], dense(3, "softmax", 2)(both)),
        keras.Model(b, dense(3, "softmax", 3)(b)),
    ]
    return Ensemble(models)


def two_inputs():
    a, b = keras.Input((4,)), keras.Input((4,))
    both = keras.layers.Concatenate()([a, b])
    return Ensemble([keras.Model([a, b], dense(3, "softmax", s)(both)) for s in (1, 2)])


def found_from_the_loss():
    model = keras.Sequential([keras.Input((4,)), dense(3, None, 1)])
    model.add(keras.layers.Rescaling(2.0))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    model.fit(NUMBERS, LABELS, verbose=0)
    return Ensemble([model, sequential(2)])


def fitted():
    ensemble = Ensemble(
        [sequential(seed, "sigmoid", 1) for seed in (1, 2)], classes=["no", "yes"]
    )
    y = np.where(NUMBERS[:, 0] > 0.3, "yes", "no")
    ensemble.fit_weights(NUMBERS, y)
    ensemble.calibrate(NUMBERS, y)
    ensemble.fit_threshold(NUMBERS, y, "f1")
    return ensemble


def fitted_several():
    ensemble = Ensemble([sequential(seed, "sigmoid") for seed in (1, 2)])
    y = (NUMBERS[:, :3] > 0.3).astype(int)
    ensemble.fit_weights(NUMBERS, y)
    ensemble.fit_threshold(NUMBERS, y, "f1")
    return ensemble


def trained():
    ensemble = shared_layers()
    # Its momentum is a state, too.
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    ensemble.compile(optimizer, "sparse_categorical_crossentropy")
    ensemble.fit(NUMBERS, LABELS, verbose=0)
    return ensemble


def mixed_precision():
    layer = keras.layers.Dense(3, "softmax", dtype="mixed_bfloat16")
    return Ensemble([keras.Sequential([keras.Input((4,)), layer]), sequential(1)])


CASES = {
    "snapshots": snapshots,
    "member_twice": member_twice,
    "nested_twice": nested_twice,
    "shared_backbone": shared_backbone,
    "shared_layers": shared_layers,
    "member_inside_another": member_inside_another,
    "shared_by_subclassed": shared_by_subclassed,
    "shared_time_distributed": lambda: shared_inside(
        keras.layers.TimeDistributed, dense(5, "relu", 1)
    ),
    "shared_cell": lambda: shared_inside(
        lambda cell: keras.layers.RNN(cell, unroll=True), keras.layers.SimpleRNNCell(3)
    ),
    "shared_attribute": lambda: shared_inside(Around, dense(5, "relu", 1)),
    "shared_by_an_ensemble_inside": shared_by_an_ensemble_inside,
    "subclassed": lambda: Ensemble(
        [subclassed(), sequential(1)], outputs=["probabilities", "auto"]
    ),
    "dictionary": dictionary,
    "two_inputs": two_inputs,
    "found_from_the_loss": found_from_the_loss,
    "median": lambda: Ensemble([sequential(s, None, 1) for s in range(3)], "median"),
    "class_orders": lambda: Ensemble(
        [sequential(1), sequential(2, None, 2)], classes=[["c", "a", "b"], ["a", "c"]]
    ),
    "code": lambda: Ensemble(
        [sequential(1, "sigmoid", 1), sequential(2), sequential(3, None, 1)],
        np.array([[0, 0, 1], [1, 2, 1], [1, 1, 0]]),
    ),
    "own_fusion": lambda: Ensemble([sequential(1), sequential(2)], greatest),
    "multilabel": lambda: Ensemble(
        [sequential(1, None), sequential(2, "sigmoid")],
        outputs=["multilabel logits", "probabilities"],
    ),
    "fitted": fitted,
    "fitted_several": fitted_several,
    "trained": trained,
    "mixed_precision": mixed_precision,
}


@pytest.fixture(autouse=True, scope="module")
def _eagerly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "run_eagerly", True)
        yield


def inputs_of(name):
    if name == "dictionary":
        return {"a": NUMBERS, "b": NUMBERS[::-1]}
    if name in ("shared_time_distributed", "shared_cell", "shared_attribute"):
        return NUMBERS.reshape(6, 2, 4)
    return [NUMBERS, NUMBERS[::-1]] if name == "two_inputs" else NUMBERS


def answers(ensemble, name):
    """What must be the same here and in another process."""
    found = {"answer": keras.ops.convert_to_numpy(ensemble(inputs_of(name)))}
    found |= {"weights": ensemble.member_weights, "count": len(ensemble.weights)}
    found["trainable"] = len(ensemble.trainable_weights)
    if name.startswith("fitted"):
        found |= {"threshold": ensemble.threshold, "t": ensemble.temperature}
        found["labels"] = ensemble.decide(NUMBERS)
    if name == "trained":
        # The optimizer goes on from its own state, and shared layers stay shared.
        ensemble.fit(NUMBERS, LABELS, shuffle=False, verbose=0)
        found["after"] = keras.ops.convert_to_numpy(ensemble(NUMBERS))
    return found


def load_all(folder):
    """Runs in a fresh process."""
    keras.Model.run_eagerly = True
    for name in FRESH:
        ensemble = keras.models.load_model(f"{folder}/{name}.keras")
        np.savez(f"{folder}/{name}.npz", **answers(ensemble, name))


LOAD = """
import sys
from ensembles import test_ensemble_saving

test_ensemble_saving.load_all(sys.argv[1])
"""


def assert_same(found, expected):
    assert set(found) == set(expected)
    for key, value in expected.items():
        if found[key].dtype.kind == "U":
            assert found[key].tolist() == value.tolist()
        else:
            np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_the_file_and_the_config_give_the_same_ensemble(name, tmp_path):
    ensemble = CASES[name]()
    ensemble.save(tmp_path / "a.keras")
    expected = {k: np.asarray(v) for k, v in answers(ensemble, name).items()}
    again = keras.models.load_model(tmp_path / "a.keras")
    found = {k: np.asarray(v) for k, v in answers(again, name).items()}
    assert_same(found, expected)
    config = keras.saving.serialize_keras_object(ensemble)
    assert config["registered_name"] == "keras_tricks>Ensemble"
    plain = json.loads(json.dumps({**config, "compile_config": None}))
    again = keras.saving.deserialize_keras_object(plain)
    assert again.get_config() == config["config"]


# Of each kind that a process might not load without having made it.
FRESH = ["shared_by_subclassed", "own_fusion", "fitted", "trained"]


def test_a_fresh_process_gives_the_same_answers(tmp_path):
    # One test for all: the process takes most of the time.
    expected = {}
    for name in FRESH:
        ensemble = CASES[name]()
        ensemble.save(tmp_path / f"{name}.keras")
        expected[name] = answers(ensemble, name)
    path = os.pathsep.join(filter(None, sys.path))
    finished = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", LOAD, tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert finished.returncode == 0, finished.stderr
    for name in FRESH:
        with np.load(tmp_path / f"{name}.npz") as found:
            assert_same(
                dict(found), {k: np.asarray(v) for k, v in expected[name].items()}
            )


def test_a_member_that_appears_twice_is_one_after_loading(tmp_path):
    member_twice().save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    inner, a, b, last = again.models
    assert a is last
    assert inner.models[0] is a
    assert inner.models[1] is b


def test_shared_layers_are_shared_after_loading(tmp_path):
    shared_by_subclassed().save(tmp_path / "a.keras")
    one, other, head = keras.models.load_model(tmp_path / "a.keras").models
    assert one.backbone is other.backbone
    assert head.layers[0] is one.backbone


@keras.saving.register_keras_serializable("tests")
class Listing(Subclassed):
    def __init__(self, backbone, **kwargs):
        super().__init__(functional(8, "relu", 5), **kwargs)
        self.parts = [backbone]

    def call(self, inputs):
        return self.head(self.parts[0](inputs))


def test_a_shared_layer_that_cannot_be_put_back_is_refused(tmp_path):
    backbone = functional(1, "relu", 5)
    listing = Listing(backbone)
    listing(NUMBERS)
    head = keras.Sequential([backbone, dense(3, "softmax", 9)])
    ensemble = Ensemble([head, listing], outputs="probabilities")
    with pytest.raises(ValueError, match=r"`models` must hold the layers .*Listing"):
        ensemble.save(tmp_path / "a.keras")


def test_an_ensemble_inside_a_functional_model_is_saved_with_it(tmp_path):
    inputs = keras.Input((4,))
    outputs = keras.layers.Rescaling(2.0)(member_twice()(inputs))
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    expected = model.predict(NUMBERS, verbose=0)
    np.testing.assert_allclose(again.predict(NUMBERS, verbose=0), expected, rtol=1e-6)


def test_a_frozen_ensemble_is_frozen_after_loading(tmp_path):
    ensemble = snapshots()
    ensemble.trainable = False
    ensemble.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    assert not again.trainable
    assert again.trainable_weights == []


def test_weights_go_through_a_weights_file(tmp_path):
    ensemble, other = member_twice(), member_twice()
    other.set_weights([0.5 * weight for weight in ensemble.get_weights()])
    ensemble.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    for one, two in zip(ensemble.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_is_fitted_goes_with_the_weights(tmp_path):
    for make in (fitted, fitted_several):
        ensemble = make()
        # The config, and so a clone, says nothing of it.
        copy = keras.models.clone_model(ensemble)
        assert (copy.temperature, copy.threshold) == (1.0, None)
        np.testing.assert_allclose(copy.member_weights, 0.5)
        ensemble.save_weights(tmp_path / "a.weights.h5")
        copy.load_weights(tmp_path / "a.weights.h5")
        assert copy.threshold == ensemble.threshold
        assert copy.temperature == ensemble.temperature
        np.testing.assert_array_equal(copy.member_weights, ensemble.member_weights)
        ensemble.threshold = None
        ensemble.save_weights(tmp_path / "b.weights.h5")
        copy.load_weights(tmp_path / "b.weights.h5")
        assert copy.threshold is None


def test_a_function_that_is_not_registered_is_refused(tmp_path):
    ensemble = Ensemble([sequential(1)], lambda predictions, weights: predictions[0])
    with pytest.raises(ValueError, match="`fusion` must be registered to be saved"):
        ensemble.save(tmp_path / "a.keras")


def test_a_loaded_ensemble_selects_although_the_losses_are_gone(tmp_path):
    found_from_the_loss().save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    selected = again.select(NUMBERS, LABELS, seed=0, picks=5, bags=2)
    assert selected.decide(NUMBERS).shape == LABELS.shape
