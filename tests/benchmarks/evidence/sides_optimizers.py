"""Sides about the optimizer: which one, which rows, how far, and fine-tuning."""

import keras

import keras_tricks as kt

from .training import (
    EPOCHS,
    RATE,
    answers,
    convolutional,
    dense,
    plain,
    recurrent,
    sgd,
    stacked,
    steps,
    train,
)

BLOCKS = ["block1", "block2", "block3", "last"]

swats = plain(lambda task: kt.optimizers.SWATS(1e-3))
# The rate of the paper; Keras's default, 0.001, hardly moves.
adadelta = plain(lambda task: keras.optimizers.Adadelta(1.0))
decayed = plain(lambda task: keras.optimizers.AdamW(1e-3, weight_decay=0.1))


def sgd_last(task):
    switch = kt.callbacks.SwitchOptimizer(sgd(0.01), epoch=EPOCHS // 2)
    model = train(task, dense(task), keras.optimizers.Adam(), callbacks=[switch])
    return answers(task, model)


def no_decay(task):
    model = dense(task)
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    return answers(task, train(task, model, kt.optimizers.no_decay(optimizer, model)))


def _clipped_norm(task):
    return keras.optimizers.SGD(RATE, momentum=0.9, global_clipnorm=1.0)


unclipped = plain(lambda task: sgd(), recurrent)
clipped = plain(_clipped_norm, recurrent)
auto_clipped = plain(lambda task: kt.optimizers.AutoClip(sgd()), recurrent)


def _words(task):
    def layers():
        return [
            kt.layers.Embedding(len(task.vocabulary), 16, mask_zero=True),
            keras.layers.GlobalAveragePooling1D(),
        ]

    return stacked(task, layers)


words_adam = plain(lambda task: keras.optimizers.Adam(0.01), _words, epochs=5)
words_lazy = plain(lambda task: kt.optimizers.LazyAdam(0.01), _words, epochs=5)


def _pretrained(task):
    """The network that knows the digits 0 to 4."""
    x, y = task.source
    model = convolutional(task)
    return train(task, model, keras.optimizers.Adam(3e-3), rows=(x, y), epochs=5)


def _tuned(task, model, optimizer=None, callbacks=()):
    optimizer = optimizer or keras.optimizers.Adam(3e-3)
    model = train(task, model, optimizer, batch=8, callbacks=list(callbacks))
    return answers(task, model)


def _new_head(task):
    return kt.surgery.reinitialize(_pretrained(task), "last", seed=task.seed)


def from_scratch(task):
    return _tuned(task, convolutional(task))


def old_head(task):
    return _tuned(task, _pretrained(task))


def new_head(task):
    return _tuned(task, _new_head(task))


def lower_rates(task):
    model = _new_head(task)
    optimizer = kt.optimizers.LayerwiseLearningRate(
        keras.optimizers.Adam(3e-3), kt.optimizers.layer_decay(model, decay=0.5)
    )
    return _tuned(task, model, optimizer)


def unfreezing(task):
    unfreeze = kt.callbacks.GradualUnfreezing(BLOCKS, every=2)
    return _tuned(task, _new_head(task), callbacks=[unfreeze])


def slanted(task):
    rate = kt.schedules.SlantedTriangular(3e-3, steps(task, batch=8))
    return _tuned(task, _new_head(task), keras.optimizers.Adam(rate))
