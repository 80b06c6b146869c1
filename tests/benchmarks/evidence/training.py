"""The networks of the sides, and how they train: all settings that claims share.

Every network is drawn and every training shuffled by the seed of its task, so that two
sides differ by what they are told to differ by.
"""

import keras
import numpy as np

EPOCHS, BATCH, RATE = 20, 32, 0.05


def steps(task, epochs=EPOCHS, batch=BATCH):
    return epochs * -(-len(task.x) // batch)


def sgd(rate=RATE):
    return keras.optimizers.SGD(rate, momentum=0.9)


def last(task):
    if task.classes is None:
        return keras.layers.Dense(1, name="last")
    return keras.layers.Dense(task.classes, activation="softmax", name="last")


def stacked(task, layers, shape=None, member=0):
    """A network of the layers that `layers()` makes, and one for the answers."""
    keras.utils.set_random_seed(1000 * task.seed + member)
    first = keras.Input(task.x.shape[1:] if shape is None else shape)
    return keras.Sequential([first, *layers(), last(task)])


def dense(task, units=(64, 64), member=0):
    return stacked(
        task,
        lambda: [keras.layers.Dense(count, activation="relu") for count in units],
        member=member,
    )


def side_length(task):
    return round(task.x.shape[1] ** 0.5)


def convolutional(task):
    """For square images that come as rows of points."""
    side = side_length(task)
    return stacked(
        task,
        lambda: [
            keras.layers.Reshape((side, side, 1)),
            keras.layers.Conv2D(8, 3, activation="relu", name="block1"),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu", name="block2"),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu", name="block3"),
        ],
    )


def recurrent(task):
    """Reads an image line by line."""
    side = side_length(task)
    return stacked(
        task, lambda: [keras.layers.Reshape((side, side)), keras.layers.SimpleRNN(48)]
    )


def loss_of(task):
    return "mse" if task.classes is None else "sparse_categorical_crossentropy"


def fit(task, model, epochs=EPOCHS, batch=BATCH, rows=None, order=0, **arguments):
    """Fits a compiled model on the task's rows, or on others; `order` shuffles anew."""
    x, y = (task.x, task.y) if rows is None else rows
    keras.utils.set_random_seed(1000 * task.seed + 500 + order)
    model.fit(x, y, batch, epochs=epochs, verbose=0, **arguments)
    return model


def train(task, model, optimizer, loss=None, **arguments):
    model.compile(optimizer, loss or loss_of(task))
    return fit(task, model, **arguments)


def answers(task, model, x=None):
    """Predictions, without compiling a function for them."""
    x = task.x_test if x is None else x
    return np.array(keras.ops.convert_to_numpy(model(x, training=False)))


def plain(optimizer, network=dense, batch=BATCH, **arguments):
    """The side that trains `network(task)` with `optimizer(task)`, and no more."""

    def side(task):
        model = network(task)
        model = train(task, model, optimizer(task), batch=batch, **arguments)
        return answers(task, model)

    return side


def one_hot(task):
    return np.eye(task.classes, dtype="float32")[task.y]


def held_out(task):
    """Four fifths of the training rows, and the others."""
    count = len(task.x) // 5
    return (task.x[count:], task.y[count:]), (task.x[:count], task.y[:count])
