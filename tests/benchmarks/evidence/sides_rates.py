"""Sides about the learning rate: found, scaled, scheduled, halved."""

import keras
import numpy as np

import keras_tricks as kt

from .intervals import LOG_LOSS, RMSE, score
from .training import (
    EPOCHS,
    RATE,
    answers,
    dense,
    fit,
    held_out,
    loss_of,
    plain,
    sgd,
    steps,
    train,
)

# Keras's default rate of SGD, and the number of steps of the range test.
DEFAULT, TEST_STEPS = 0.01, 378
LARGE = 128
ADAM_GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SGD_GRID = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SEARCH_EPOCHS = 4

constant = plain(lambda task: sgd())
adam = plain(lambda task: keras.optimizers.Adam())
default_rate = plain(lambda task: sgd(DEFAULT))


def default_rate_longer(task):
    """As many more steps, in whole epochs, as the range test takes."""
    epochs = EPOCHS + -(-TEST_STEPS // steps(task, 1))
    return answers(task, train(task, dense(task), sgd(DEFAULT), epochs=epochs))


def range_test(task):
    model = dense(task)
    model.compile(sgd(DEFAULT), loss_of(task))
    curve = kt.probes.find_learning_rate(
        model, task.x, task.y, seed=task.seed, verbose=0
    )
    if curve.suggestion is not None:
        model.optimizer.learning_rate = curve.suggestion
    return answers(task, fit(task, model))


large_batch = plain(lambda task: sgd(0.02), batch=LARGE)
large_batch_scaled = plain(
    lambda task: sgd(kt.schedules.scale_learning_rate(0.02, LARGE, 32)), batch=LARGE
)
large_batch_adam = plain(lambda task: keras.optimizers.Adam(), batch=LARGE)
large_batch_scale_adam = plain(
    lambda task: keras.optimizers.Adam(**kt.schedules.scale_adam(1e-3, LARGE, 32)),
    batch=LARGE,
)
# Cycles of 1, 2 and 4 sevenths of the training.
restarts = plain(
    lambda task: sgd(kt.schedules.CosineRestarts(RATE, max(1, steps(task) // 7)))
)
cyclical = plain(
    lambda task: sgd(
        kt.schedules.Cyclical(
            RATE / 10, 2 * RATE, max(1, steps(task) // 8), mode="triangular2"
        )
    )
)
one_cycle = plain(lambda task: sgd(kt.schedules.OneCycle(2 * RATE, steps(task))))
high_rate = plain(lambda task: sgd(2 * RATE))
warm_up = plain(
    lambda task: sgd(kt.schedules.Warmup(2 * RATE, max(1, steps(task) // 20)))
)


def _from_high(callbacks):
    def side(task):
        model = train(
            task,
            dense(task),
            keras.optimizers.SGD(0.5),
            epochs=2 * EPOCHS,
            validation_split=0.2,
            callbacks=callbacks(),
        )
        return answers(task, model)

    return side


high_constant = _from_high(list)
halved = _from_high(lambda: [kt.callbacks.HalveOnPlateau(patience=3)])


def searched(optimizer, grid):
    """The rate that is best on held-out rows after short trainings, then all rows."""

    def side(task):
        rows, (x, y) = held_out(task)
        model = dense(task)
        model.compile(optimizer(), loss_of(task))
        model.optimizer.build(model.trainable_variables)
        variables = model.variables + model.optimizer.variables
        # Indexing copies: on some backends the array is the weights themselves.
        start = [keras.ops.convert_to_numpy(v)[...].copy() for v in variables]

        def trained(rate, **arguments):
            for variable, value in zip(variables, start, strict=True):
                variable.assign(value.copy())
            model.optimizer.learning_rate = rate
            return fit(task, model, **arguments)

        metric = RMSE if task.classes is None else LOG_LOSS
        losses = [
            score(
                answers(task, trained(rate, rows=rows, epochs=SEARCH_EPOCHS), x),
                y,
                metric,
            )
            for rate in grid
        ]
        return answers(task, trained(grid[int(np.argmin(losses))]))

    return side


adam_searched = searched(keras.optimizers.Adam, ADAM_GRID)
sgd_searched = searched(sgd, SGD_GRID)
adam_longer = plain(
    lambda task: keras.optimizers.Adam(),
    epochs=EPOCHS + SEARCH_EPOCHS * len(ADAM_GRID),
)
