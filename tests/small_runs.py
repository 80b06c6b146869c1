"""Small trainings that leave records."""

import keras
import numpy as np

from keras_tricks.callbacks import RunRecorder

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
SETTINGS = {"batch_size": 8, "verbose": 0}


def build(units=4, dropout=0.0, rate=0.1):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def record(directory, name=None, config=None, model=None, **settings):
    """Trains, and gives the folder of the record."""
    recorder = RunRecorder(directory, name=name, config=config)
    callbacks = [*settings.pop("callbacks", []), recorder]
    model = model or build()
    model.fit(X, Y, callbacks=callbacks, **{**SETTINGS, "epochs": 2, **settings})
    return recorder.path
