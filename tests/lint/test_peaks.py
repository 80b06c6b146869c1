import keras
import numpy as np
import pytest
from keras.optimizers import schedules

import keras_tricks as kt
from keras_tricks.lint import _peaks


class Own(schedules.LearningRateSchedule):
    def __call__(self, step):
        rising = keras.ops.cast(step, "float32") / 1000
        return keras.ops.minimum(0.3, rising)

    def get_config(self):
        return {}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (0.5, 0.5),
        (schedules.CosineDecay(0.1, 100), 0.1),
        (schedules.CosineDecay(0.0, 100, warmup_target=0.2, warmup_steps=9), 0.2),
        (schedules.CosineDecayRestarts(0.1, 100), 0.1),
        (schedules.ExponentialDecay(0.1, 100, 0.9), 0.1),
        (schedules.InverseTimeDecay(0.1, 100, 0.9), 0.1),
        (schedules.PiecewiseConstantDecay([10, 50], [0.1, 0.3, 0.2]), 0.3),
        (schedules.PolynomialDecay(0.1, 100, end_learning_rate=0.4), 0.4),
        (kt.schedules.CosineRestarts(0.1, 100), 0.1),
        (kt.schedules.Cyclical(0.01, 0.1, 50), 0.1),
        (kt.schedules.OneCycle(0.1, 100), 0.1),
        (kt.schedules.SlantedTriangular(0.1, 100), 0.1),
        (kt.schedules.Warmup(0.1, 20), 0.1),
        (kt.schedules.Scaled(kt.schedules.Warmup(0.1, 20), 2.0), 0.2),
        (Own(), 0.3),
    ],
)
def test_the_highest_rate_is_found(schedule, expected):
    assert _peaks.peak(schedule) == pytest.approx(expected)
    if not isinstance(schedule, float):
        rates = kt.schedules.preview(schedule, 1000)
        assert np.max(rates) == pytest.approx(expected, rel=1e-3)
