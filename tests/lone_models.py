"""Members of a vectorized ensemble against models that Keras trains alone."""

import keras
import numpy as np

from keras_tricks.ensembles import VectorizedEnsemble, _vectorized_rows

layers, optimizers = keras.layers, keras.optimizers
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 50)
VECTORS = RANDOM.normal(size=(50, 4))
SEQUENCES = RANDOM.normal(size=(50, 6, 4))
IMAGES = RANDOM.normal(size=(50, 6, 6, 2))
# No word twice: Keras's Adam on TensorFlow takes too long a step where one is.
WORDS = RANDOM.permutation(150).reshape(50, 3)
# Three steps and two, with a last batch that is not full.
ROWS = [np.arange(40), np.arange(16, 40)]
# The same with full batches alone: one shape to compile for.
FULL = [np.arange(48), np.arange(16, 48)]


def net(*hidden, shape, dtype=None):
    """A model of Keras, not compiled."""
    head = layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input(shape, dtype=dtype), *hidden, head])


def dense():
    return net(layers.Dense(5, activation="tanh"), shape=(4,))


def compiled(make, optimizer, **kwargs):
    """A builder."""

    def build():
        model = make()
        model.compile(optimizer(), "sparse_categorical_crossentropy", **kwargs)
        return model

    return build


def host(variable):
    return np.array(keras.ops.convert_to_numpy(variable.value))


def weights(model):
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    return [host(v) for v in variables if not v.name.endswith("seed_generator_state")]


def distance(lone, many, k):
    """The largest difference of the weights of a lone model and of a member."""
    pairs = zip(weights(lone), weights(many), strict=True)
    return float(np.max([np.abs(a - b[k]).max() for a, b in pairs]))


def train_alone(model, k, x, y, rows, epochs, seeds=(1, 2), batch_size=16):
    """Trains a model by `fit` on the rows of a member, in its order."""
    orders = [_vectorized_rows.order(rows[k], seeds[k], e, True) for e in range(epochs)]
    batches = [
        order[start : start + batch_size]
        for order in orders
        for start in range(0, len(order), batch_size)
    ]
    if x.dtype.kind == "f":
        x = x.astype(keras.config.floatx())
    # One `fit` for all epochs: the optimizer does not know of them.
    given = ((x[batch], y[batch]) for batch in batches)
    model.fit(given, steps_per_epoch=len(batches), shuffle=False, verbose=0)


def largest_distance(
    build,
    x,
    epochs,
    rows=ROWS,
    alone=None,
    strategies=("auto",),
    check=(0, 1),
    **kwargs,
):
    """The largest difference over two members, trained both ways.

    One model is trained alone as each member that is checked, so that it is compiled
    once; it is the measure of all strategies.
    """
    trained = []
    for strategy in strategies:
        many = VectorizedEnsemble(build, 2, seeds=[1, 2], strategy=strategy, **kwargs)
        starts = [many.member(k).get_weights() for k in check]
        lone = many.member(0)
        many.fit(x, LABELS, rows=rows, batch_size=16, epochs=epochs, verbose=0)
        trained.append(many)
    worst, fresh = 0.0, None
    for k, start in zip(check, starts, strict=True):
        lone.set_weights(start)
        if alone is not None:
            alone(lone, k)
            fresh = None
        lone.optimizer.build(lone.trainable_variables)
        fresh = fresh or [host(v) for v in lone.optimizer.variables]
        for variable, value in zip(lone.optimizer.variables, fresh, strict=True):
            variable.assign(value)
        train_alone(lone, k, x, LABELS, rows, epochs)
        found = [distance(lone, many, k) for many in trained]
        # Python's `max` may leave a NaN out.
        worst = float(np.max([worst, *found]))
    return worst
