"""Every schedule in `fit`: a model whose gradient is 1 moves by minus the rate."""

import json

import keras
import numpy as np
import pytest

from keras_tricks.schedules import (
    CosineRestarts,
    Cyclical,
    OneCycle,
    Scaled,
    SlantedTriangular,
    Warmup,
    preview,
)

SCHEDULES = [
    CosineRestarts(0.1, 3, t_mul=1.5, m_mul=0.9, alpha=0.01),
    CosineRestarts(0.1, 3, t_mul=1.0),
    Cyclical(0.01, 0.1, 3, mode="triangular2"),
    Cyclical(0.01, 0.1, 3, mode="exp_range", gamma=0.9),
    OneCycle(0.1, 10),
    SlantedTriangular(0.1, 10),
    Warmup(CosineRestarts(0.1, 3), 4),
    Warmup(keras.optimizers.schedules.CosineDecay(0.1, 6), 4, 0.01),
    Scaled(Warmup(0.1, 4), 0.5),
]
NAMES = [f"{i}-{type(schedule).__name__}" for i, schedule in enumerate(SCHEDULES)]


def mean_prediction(y, prediction):
    return prediction


def test_late_restart_is_met_in_training_too():
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    optimizer = keras.optimizers.SGD(CosineRestarts(0.5, 10, t_mul=2.0))
    model.compile(optimizer, loss=mean_prediction)
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(81_910)
    model.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0)
    assert float(keras.ops.stop_gradient(dense.kernel)[0, 0]) == -0.5


@pytest.mark.parametrize("schedule", SCHEDULES, ids=NAMES)
def test_fit_moves_by_the_rate_of_each_step(schedule):
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(keras.optimizers.SGD(schedule), loss=mean_prediction)
    weights = [0.0]

    def remember(epoch, logs):
        weights.append(float(keras.ops.stop_gradient(dense.kernel)[0, 0]))

    # One step per epoch: every backend shows its weights when an epoch ends.
    one = np.ones((1, 1), "float32")
    callback = keras.callbacks.LambdaCallback(on_epoch_end=remember)
    model.fit(one, one, epochs=12, verbose=0, callbacks=[callback])
    assert -np.diff(weights) == pytest.approx(preview(schedule, 12), abs=2e-7)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=NAMES)
def test_config_goes_through_json_and_back(schedule):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == schedule.get_config()
    assert preview(again, 20).tolist() == preview(schedule, 20).tolist()


@pytest.mark.backend("torch", reason="the others are traced in every `fit`")
def test_a_schedule_can_be_traced_whole_by_torch():
    import torch

    schedule = SlantedTriangular(0.1, 9)
    traced, _ = torch._dynamo.export(lambda step: schedule(step))(torch.tensor(3))
    assert float(traced(torch.tensor(3))) == pytest.approx(float(schedule(3)), rel=1e-6)
