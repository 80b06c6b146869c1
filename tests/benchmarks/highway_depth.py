"""Do Highway layers train at depths where plain layers fail?

    KERAS_BACKEND=jax python tests/benchmarks/highway_depth.py

Stacks of 10, 20 and 50 layers on the 8x8 digits of scikit-learn, ReLU, SGD with
momentum 0.9, batches of 32: figure 1 of the paper made small. A Highway layer of 32
units has as many weights as a plain one of 45. Both kinds start by He's rule. Each
stack gets the rate of the grid with the lowest training loss on a seed of its own; then
five seeds train at it, each with its own weights, order and split. The claim: at depth
50 every Highway stack with a bias of -4 reaches 90 % of the test digits, and no plain
one does.

`--mnist mnist.npz` (the usual file of arrays) takes images of that file: `--rows` of
them for training and as many, at most 2,000, of its test images. No claim there: with
few rows the rate that suits the seed of the search may be too high for others (`inf`).
"""

import argparse
import time

import keras
import numpy as np
from sklearn import datasets, model_selection

from keras_tricks.layers.highway import Highway

RATES = (0.1, 0.03, 0.01, 0.003, 0.001)
KINDS = ("plain", "Highway, bias -2", "Highway, bias -4")
# The seed of the search for a rate, which is none of those in the table.
SEARCH = 1000


def layer(kind):
    if kind == "plain":
        return keras.layers.Dense(45, "relu", kernel_initializer="he_normal")
    bias = float(kind.split()[-1])
    return Highway("relu", kernel_initializer="he_normal", transform_bias=bias)


def build(kind, depth, inputs, seed):
    keras.utils.set_random_seed(seed)
    width = 45 if kind == "plain" else 32
    model = keras.Sequential(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(width, "relu", kernel_initializer="he_normal"),
            *[layer(kind) for _ in range(depth)],
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    return model


def digits(seed):
    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16.0).astype("float32")
    return model_selection.train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=y
    )


def mnist(path, rows, seed):
    with np.load(path, allow_pickle=False) as file:
        parts = [file[n] for n in ("x_train", "x_test", "y_train", "y_test")]
    order = np.random.default_rng(seed)
    train = order.permutation(len(parts[0]))[:rows]
    test = order.permutation(len(parts[1]))[: min(rows, 2000)]
    x, x_test = (
        (part[chosen] / 255.0).reshape(len(chosen), -1).astype("float32")
        for part, chosen in ((parts[0], train), (parts[1], test))
    )
    return x, x_test, parts[2][train], parts[3][test]


def train(model, kind, depth, rate, seed, load, epochs):
    """Final training loss and test accuracy, in a model that is compiled already."""
    x, x_test, y, y_test = load(seed)
    fresh = build(kind, depth, x.shape[1], seed)
    pairs = [(model, fresh), (model.optimizer, fresh.optimizer)]
    for old, new in pairs:
        for variable, start in zip(old.variables, new.variables, strict=True):
            variable.assign(keras.ops.convert_to_numpy(start.value).copy())
    model.optimizer.learning_rate = rate
    history = model.fit(x, y, 32, epochs=epochs, verbose=0).history
    loss = history["loss"][-1]
    accuracy = model.evaluate(x_test, y_test, 1000, verbose=0)[1]
    return loss if np.isfinite(loss) else np.inf, accuracy


def study(kind, depth, load, arguments):
    model = build(kind, depth, load(SEARCH)[0].shape[1], SEARCH)

    def run(rate, seed):
        return train(model, kind, depth, rate, seed, load, arguments.epochs)

    rate = min(arguments.rates, key=lambda rate: run(rate, SEARCH)[0])
    results = np.array([run(rate, seed) for seed in range(arguments.seeds)])
    return model.count_params(), rate, *results.T


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", nargs="+", type=int, default=[10, 20, 50])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--rates", nargs="+", type=float, default=RATES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--mnist", help="path of mnist.npz")
    parser.add_argument("--rows", type=int, default=5000, help="of MNIST")
    arguments = parser.parse_args()
    load = digits
    if arguments.mnist:

        def load(seed):
            return mnist(arguments.mnist, arguments.rows, seed)

    started = time.perf_counter()
    print(f"backend {keras.backend.backend()}, {arguments}")
    columns = ("weights", "rate", "training loss", "test accuracy", "worst", "best")
    print(f"{'':26}" + "".join(f"{column:>18}" for column in columns))
    accuracies = {}
    for depth in arguments.depths:
        for kind in arguments.kinds:
            weights, rate, losses, found = study(kind, depth, load, arguments)
            accuracies[kind, depth] = found
            cells = (
                f"{weights:,}",
                f"{rate:g}",
                f"{losses.mean():.3f} +- {losses.std(ddof=1):.3f}",
                f"{found.mean():.3f} +- {found.std(ddof=1):.3f}",
                f"{found.min():.3f}",
                f"{found.max():.3f}",
            )
            line = "".join(f"{cell:>18}" for cell in cells)
            print(f"{f'{depth} layers, {kind}':26}{line}", flush=True)
    print(f"{time.perf_counter() - started:.0f} s")
    if not arguments.mnist and {(KINDS[0], 50), (KINDS[2], 50)} <= set(accuracies):
        assert accuracies[KINDS[2], 50].min() > 0.9 > accuracies[KINDS[0], 50].max()
        print("Claim kept.")


if __name__ == "__main__":
    main()
