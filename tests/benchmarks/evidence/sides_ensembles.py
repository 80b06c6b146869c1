"""Sides about several models as one, and several predictions of one model."""

import keras
import numpy as np

import keras_tricks as kt

from .sides_models import dropped, train_augmented
from .training import (
    EPOCHS,
    RATE,
    answers,
    dense,
    fit,
    held_out,
    plain,
    sgd,
    side_length,
    steps,
    train,
)

MEMBERS = 4
START, BRANCH = 12, 6


def cosine(task, epochs=EPOCHS):
    return keras.optimizers.schedules.CosineDecay(RATE, steps(task, epochs))


cooled = plain(lambda task: sgd(cosine(task)))


def averaged(task):
    average = kt.callbacks.StochasticWeightAverage(start_epoch=EPOCHS * 3 // 4)
    return answers(task, train(task, dense(task), sgd(), callbacks=[average]))


def _long_cycles(task):
    """One training, long enough for four cycles of ten epochs."""
    rate = kt.schedules.CosineRestarts(RATE, steps(task, EPOCHS // 2), t_mul=1.0)
    snapshots = kt.callbacks.Snapshots()
    train(task, dense(task), sgd(rate), epochs=2 * EPOCHS, callbacks=[snapshots])
    return snapshots.models()


def snapshots(task):
    return np.mean([answers(task, model) for model in _long_cycles(task)], axis=0)


cooled_twice_as_long = plain(
    lambda task: sgd(cosine(task, 2 * EPOCHS)), epochs=2 * EPOCHS
)


def _members(task):
    return [
        train(task, dense(task, member=member), sgd(cosine(task)), order=member)
        for member in range(MEMBERS)
    ]


def seeds(task):
    if task.classes is None:
        return np.mean([answers(task, model) for model in _members(task)], axis=0)
    return answers(task, kt.ensembles.Ensemble(_members(task)))


cooled_long = plain(
    lambda task: sgd(cosine(task, MEMBERS * EPOCHS)), epochs=MEMBERS * EPOCHS
)


def vote(task):
    return answers(task, kt.ensembles.Ensemble(_members(task), fusion="vote"))


def geometric(task):
    return answers(task, kt.ensembles.Ensemble(_members(task), fusion="geometric"))


def _branches(task, members, epochs):
    """One start at a constant rate, then trainings along a cosine from there."""
    start = train(task, dense(task), sgd(), epochs=START)
    models = []
    for member in range(members):
        model = dense(task)
        model.set_weights(start.get_weights())
        rate = cosine(task, epochs)
        models.append(train(task, model, sgd(rate), epochs=epochs, order=member + 1))
    return models


def one_branch(task):
    return answers(task, _branches(task, 1, MEMBERS * BRANCH)[0])


def soup(task):
    models = _branches(task, MEMBERS, BRANCH)
    # All of them, so that no rows need be held out to choose.
    return answers(task, kt.ensembles.soup(models, task.x, task.y, mode="uniform"))


def _with_dropout(task):
    return train(task, dropped(task), keras.optimizers.Adam())


def dropout_off(task):
    return answers(task, _with_dropout(task))


def monte_carlo(task):
    mean, _ = kt.ensembles.monte_carlo_predict(
        _with_dropout(task), task.x_test, 20, seed=task.seed
    )
    return mean


def _shifts():
    return keras.layers.RandomTranslation(0.1, 0.1, fill_mode="constant")


def _shift_trained(task):
    return train_augmented(task, _shifts)


def as_is(task):
    return answers(task, _shift_trained(task))


def with_shifts(task):
    side = side_length(task)
    shift = _shifts()

    def shifted(rows):
        images = shift(rows.reshape(-1, side, side, 1), training=True)
        return keras.ops.reshape(images, (len(rows), side * side))

    return kt.ensembles.augmented_predict(
        _shift_trained(task), task.x_test, [shifted] * 8, batch_size=500, seed=task.seed
    )


def _calibration_halves(task):
    rows, (x, y) = held_out(task)
    model = dense(task)
    model.compile(sgd(), "sparse_categorical_crossentropy")
    model = fit(task, model, rows=rows)
    return answers(task, model), answers(task, model, x), y


def raw(task):
    return _calibration_halves(task)[0]


def tempered(task):
    test, held, y = _calibration_halves(task)
    return kt.fusion.apply_temperature(test, kt.fusion.fit_temperature(held, y))
