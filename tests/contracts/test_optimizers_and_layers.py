"""What DESIGN promises of optimizers, layers and initializers, by the recipes."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from contracts import recipes

OPTIMIZERS = recipes.of_kind(recipes.Optimizer)
LAYERS = recipes.of_kind(recipes.Layer)
INITIALIZERS = recipes.of_kind(recipes.Initializer)

X = np.random.default_rng(0).integers(0, 7, (40, 3)).astype("int32")
Y = X.sum(axis=1, keepdims=True).astype("float32")

LOAD = """
import sys
import keras, numpy as np
import keras_tricks

data = np.load(sys.argv[1] + "/data.npz")
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{sys.argv[1]}/{name}.keras")
    if name.startswith("optimizers"):
        model.fit(data["x"], data["y"], batch_size=8, shuffle=False, verbose=0)
        state = [*model.variables, *model.optimizer.variables]
        arrays = [keras.ops.convert_to_numpy(v.value) for v in state]
    else:
        arrays = [model.predict(data[name], verbose=0)]
    np.savez(f"{sys.argv[1]}/{name}.npz", *arrays)
"""


def trained(optimizer, loss="mse", **fit):
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(7, 2),
            keras.layers.Flatten(),
            keras.layers.Dense(1, name="dense"),
        ]
    )
    model.compile(optimizer, loss)
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0, **fit)
    return model


def arrays(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def layer_of(name):
    """A layer, or one with the initializer, and inputs for it."""
    recipe = recipes.RECIPES[name]
    if name in LAYERS:
        return recipe.make(), recipe.inputs
    rows, columns = recipe.shape
    layer = keras.layers.Embedding(rows, columns, embeddings_initializer=recipe.make())
    return layer, np.arange(rows, dtype="int32")[None]


@pytest.mark.parametrize("name", [*OPTIMIZERS, *LAYERS, *INITIALIZERS])
def test_config_round_trip(name):
    thing = recipes.RECIPES[name].make()
    config = keras.saving.serialize_keras_object(thing)
    assert config["registered_name"] == f"keras_tricks>{type(thing).__name__}"
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert type(again) is type(thing)
    assert again.get_config() == thing.get_config()


def test_save_and_load_in_a_fresh_process(tmp_path):
    expected, inputs = {}, {}
    for name in OPTIMIZERS:
        model = trained(recipes.RECIPES[name].make())
        model.save(tmp_path / f"{name}.keras")
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
        expected[name] = arrays([*model.variables, *model.optimizer.variables])
    for name in [*LAYERS, *INITIALIZERS]:
        layer, inputs[name] = layer_of(name)
        model = keras.Sequential([keras.Input(inputs[name].shape[1:]), layer])
        model.save(tmp_path / f"{name}.keras")
        expected[name] = [model.predict(inputs[name], verbose=0)]
    np.savez(tmp_path / "data.npz", x=X, y=Y, **inputs)
    command = [sys.executable, "-c", LOAD, tmp_path, *expected]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    for name, state in expected.items():
        with np.load(tmp_path / f"{name}.npz") as file:
            found = [file[key] for key in file.files]
        for one, other in zip(found, state, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=name)


class Traces:
    """A loss that counts how often it is traced."""

    def __init__(self):
        self.count = 0

    def __call__(self, y_true, y_pred):
        self.count += 1
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


@pytest.mark.backend(
    "jax", "tensorflow", reason="PyTorch runs eagerly: there is nothing to trace again"
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_not_traced_again_after_the_second_step(name):
    traces = Traces()
    model = trained(recipes.RECIPES[name].make(), traces, steps_per_epoch=2)
    before = traces.count
    model.fit(X, Y, batch_size=8, epochs=4, verbose=0)
    assert traces.count == before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_fits_in_a_row_go_on(name):
    model = trained(recipes.RECIPES[name].make())
    slots, weights = len(model.optimizer.variables), arrays(model.weights)
    model.fit(X, Y, batch_size=8, verbose=0)
    assert len(model.optimizer.variables) == slots
    assert int(model.optimizer.iterations) == 10
    assert not np.array_equal(arrays(model.weights)[0], weights[0])
