import keras
import numpy as np
import pytest

import keras_tricks as kt


class Batches(keras.utils.PyDataset):
    """Batches of these sizes, of ones."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        x = np.ones((self.sizes[index], 1), "float32")
        return x, np.zeros_like(x)


def linear(optimizer):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    # The gradient is that of the weight times one, whatever the batch.
    model.compile(optimizer, lambda y, p: keras.ops.mean(p))
    model.set_weights([np.zeros((1, 1))])
    return model


def moved(optimizer, sizes, callback, epochs=1):
    model = linear(optimizer)
    model.fit(
        Batches(sizes), epochs=epochs, shuffle=False, verbose=0, callbacks=[callback]
    )
    return -float(model.get_weights()[0].item())


def test_the_rate_follows_the_batch_linearly():
    # 0.1 * (4 + 8 + 2) / 4
    callback = kt.callbacks.ScaleLearningRate(4)
    assert moved(keras.optimizers.SGD(0.1), [4, 8, 2], callback) == pytest.approx(0.35)


def test_the_rate_follows_the_root_of_the_batch():
    # 0.1 * (1 + 2 + 3)
    callback = kt.callbacks.ScaleLearningRate(4, "sqrt")
    assert moved(keras.optimizers.SGD(0.1), [4, 16, 36], callback) == pytest.approx(0.6)


def test_schedules_groups_and_extensions_are_scaled():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.01])
    callback = kt.callbacks.ScaleLearningRate(2)
    # 0.1 * 1 at step 0, then 0.01 * 3
    assert moved(keras.optimizers.SGD(schedule), [2, 6], callback) == pytest.approx(
        0.13
    )
    layered = kt.optimizers.LayerwiseLearningRate(
        keras.optimizers.SGD(0.1), {"dense.*": 0.5}
    )
    # 0.05 * (1 + 3)
    assert moved(layered, [2, 6], callback) == pytest.approx(0.2)
    several = keras.optimizers.MultiOptimizer(lambda v: keras.optimizers.SGD(0.1))
    assert moved(several, [2, 6], callback) == pytest.approx(0.4)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    assert moved(scaled, [2, 6], callback) == pytest.approx(0.4)


def test_adam_steps_are_scaled_too():
    # Of a constant gradient Adam makes steps of its rate: 0.01 * (1 + 2 + 1).
    callback = kt.callbacks.ScaleLearningRate(3)
    found = moved(keras.optimizers.Adam(0.01), [3, 6, 3], callback)
    assert found == pytest.approx(0.04, rel=1e-3)


def test_nothing_is_left_behind():
    callback = kt.callbacks.ScaleLearningRate(1)
    model = linear(keras.optimizers.SGD(0.1))
    model.fit(Batches([4]), verbose=0, callbacks=[callback])
    assert float(model.get_weights()[0].item()) == pytest.approx(-0.4)
    model.fit(Batches([4]), verbose=0)
    assert float(model.get_weights()[0].item()) == pytest.approx(-0.5)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    assert "_get_current_learning_rate" not in vars(model.optimizer)


def test_a_new_optimizer_and_a_compile_are_followed():
    callback = kt.callbacks.ScaleLearningRate(1)
    model = linear(keras.optimizers.SGD(0.1))
    switch = kt.callbacks.SwitchOptimizer(keras.optimizers.SGD(1.0), epoch=1)
    model.fit(Batches([4]), epochs=2, verbose=0, callbacks=[switch, callback])
    assert float(model.get_weights()[0].item()) == pytest.approx(-4.4)


def test_callbacks_that_change_the_step_do_so_together():
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(1, use_bias=False, name="low"),
            keras.layers.Dense(1, use_bias=False, name="head"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), lambda y, p: keras.ops.mean(p))
    model.set_weights([np.ones((1, 1)), np.ones((1, 1))])
    monitor = kt.callbacks.GradientMonitor()
    callbacks = [
        kt.callbacks.GradualUnfreezing(["low", "head"], every=9),
        kt.callbacks.ScaleLearningRate(1),
        monitor,
        kt.callbacks.ScaleLearningRate(2),
    ]
    model.fit(Batches([4]), verbose=0, callbacks=callbacks)
    low, head = (float(weight.item()) for weight in model.get_weights())
    # The gradient of the head is 1; 0.1 * 4 / 1 * 4 / 2; the other one is frozen.
    assert (low, head) == (1.0, pytest.approx(0.2))
    assert list(monitor.norms) == pytest.approx([1.0])


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="`base_batch_size` must be a positive"):
        kt.callbacks.ScaleLearningRate(0)
    with pytest.raises(ValueError, match="Did you mean 'linear'"):
        kt.callbacks.ScaleLearningRate(8, "linera")
