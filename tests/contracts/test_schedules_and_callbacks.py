"""What DESIGN promises of every schedule and callback, driven by the recipes."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from contracts import recipes

import keras_tricks as kt

SCHEDULES = recipes.of_kind(recipes.Schedule)
CALLBACKS = recipes.of_kind(recipes.Callback)

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)

LOAD = """
import json, sys
import keras, numpy as np
import keras_tricks as kt

data = np.load(sys.argv[1])
rates = {}
for name in sys.argv[3:]:
    model = keras.models.load_model(f"{sys.argv[2]}/{name}.keras")
    model.fit(data["x"], data["y"], batch_size=8, shuffle=False, verbose=0)
    rates[name] = [
        float(model.optimizer.learning_rate),
        float(np.sum(model.predict(data["x"], verbose=0))),
    ]
print(json.dumps(rates))
"""


def linear_model(learning_rate, loss="mse"):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(learning_rate, momentum=0.9), loss)
    return model


@pytest.mark.parametrize("name", SCHEDULES)
def test_config_round_trip(name):
    schedule = recipes.RECIPES[name].make()
    config = keras.saving.serialize_keras_object(schedule)
    assert config["registered_name"] == f"keras_tricks>{type(schedule).__name__}"
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert again.get_config() == schedule.get_config()
    assert np.array_equal(kt.schedules.preview(again, 50), previewed(schedule))


def previewed(schedule):
    return kt.schedules.preview(schedule, 50)


def test_save_and_load_in_a_fresh_process(tmp_path):
    expected = {}
    for name in SCHEDULES:
        model = linear_model(recipes.RECIPES[name].make())
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
        model.save(tmp_path / f"{name}.keras")
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
        rate = float(model.optimizer.learning_rate)
        expected[name] = [rate, float(np.sum(model.predict(X, verbose=0)))]
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    output = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path / "data.npz", tmp_path, *SCHEDULES],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = json.loads(output.splitlines()[-1])
    for name in SCHEDULES:
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name


class Traces:
    """A loss that counts how often it is traced."""

    def __init__(self):
        self.count = 0

    def __call__(self, y_true, y_pred):
        self.count += 1
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


COMPILED = pytest.mark.backend(
    "jax", "tensorflow", reason="PyTorch runs eagerly: there is nothing to trace again"
)


@COMPILED
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_not_traced_again_after_the_second_step(name):
    traces = Traces()
    model = linear_model(recipes.RECIPES[name].make(), traces)
    model.fit(X, Y, batch_size=8, steps_per_epoch=2, verbose=0)
    before = traces.count
    model.fit(X, Y, batch_size=8, epochs=6, verbose=0)
    assert traces.count == before


@COMPILED
@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_does_not_trace_the_step_again(name):
    traces = Traces()
    model = linear_model(0.01, traces)
    callback = recipes.RECIPES[name].make()
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[callback])
    before = traces.count
    model.fit(X, Y, batch_size=8, epochs=6, verbose=0, callbacks=[callback])
    assert traces.count == before


@pytest.mark.parametrize("name", CALLBACKS)
def test_one_callback_serves_two_fits(name):
    callback = recipes.RECIPES[name].make()
    model = linear_model(0.01)
    slots = None
    for _ in range(2):
        model.fit(X, Y, batch_size=8, epochs=3, verbose=0, callbacks=[callback])
        assert slots in (None, len(model.optimizer.variables)), "slots were added"
        slots = len(model.optimizer.variables)
        for hook in ("train_step", "make_train_function", "save_weights"):
            assert hook not in vars(model), f"{hook} is still hooked"


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_failing_fit_leaves_no_hook_behind(name):
    class Fail(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("out of power")

    model = linear_model(0.01)
    callbacks = [recipes.RECIPES[name].make(), Fail()]
    with pytest.raises(RuntimeError, match="out of power"):
        model.fit(X, Y, batch_size=8, epochs=4, verbose=0, callbacks=callbacks)
    for hook in ("train_step", "make_train_function", "save_weights"):
        assert hook not in vars(model)
    history = model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
