"""How many times faster than a loop of `fit`s is the vectorized ensemble?

    KERAS_BACKEND=jax python tests/benchmarks/vectorized_speed.py leave-one-out

One run times both sides, building and compiling included. The loop clears the session
between its models; it is timed on a sample of them, and its median counts for all. Only
the backend's first use is over before, for both.
"""

import argparse
import statistics
import time
import warnings

import keras
import numpy as np
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import KFold

from keras_tricks.ensembles import VectorizedEnsemble

LOSS = "sparse_categorical_crossentropy"


def mlp(units, features, classes, rate=1e-3, decay=None):
    def build():
        hidden = [keras.layers.Dense(units, activation="relu") for _ in range(2)]
        last = keras.layers.Dense(classes, activation="softmax")
        net = keras.Sequential([keras.Input((features,)), *hidden, last])
        make = keras.optimizers.Adam if decay is None else keras.optimizers.AdamW
        optimizer = make(rate) if decay is None else make(rate, weight_decay=decay)
        net.compile(optimizer, LOSS, metrics=["accuracy"])
        return net

    return build


def cnn(size):
    def build():
        layers = [keras.layers.Conv2D(16, 3, activation="relu") for _ in range(2)]
        top = [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
        net = keras.Sequential([keras.Input((size, size, 1)), *layers, *top])
        net.compile(keras.optimizers.Adam(), LOSS, metrics=["accuracy"])
        return net

    return build


def digits():
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype("float32"), y


def images(count):
    # As costly as MNIST, and without a download.
    random = np.random.default_rng(0)
    x = random.random((count, 28, 28, 1), "float32")
    return x, random.integers(0, 10, count)


def leave_one_out():
    x, y = load_iris(return_X_y=True)
    rows = [np.delete(np.arange(150), k) for k in range(150)]
    return [mlp(16, 4, 3, 1e-2)] * 150, {}, x.astype("float32"), y, rows, 30, 16


def folds():
    x, y = digits()
    split = KFold(20, shuffle=True, random_state=0)
    rows = [train for train, _ in split.split(x)]
    return [mlp(64, 64, 10)] * 20, {}, x, y, rows, 20, 32


def sweep():
    x, y = digits()
    rates = np.repeat(np.geomspace(1e-4, 1e-1, 8), 4)
    decays = np.tile([1e-4, 1e-3, 1e-2, 1e-1], 8)
    pairs = zip(rates, decays, strict=True)
    builds = [mlp(64, 64, 10, float(r), float(d)) for r, d in pairs]
    given = {"learning_rates": rates, "weight_decays": decays}
    return builds, given, x, y, None, 20, 32


def small_images():
    x, y = digits()
    return [cnn(8)] * 8, {}, x.reshape(-1, 8, 8, 1), y, None, 5, 32


def large_images():
    return [cnn(28)] * 8, {}, *images(2000), None, 2, 32


TASKS = {
    "leave-one-out": leave_one_out,
    "folds": folds,
    "sweep": sweep,
    "cnn-8x8": small_images,
    "cnn-28x28": large_images,
}


def seconds(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def loop(builds, x, y, rows, epochs, batch, sample):
    def one(k):
        keras.backend.clear_session()
        mine = slice(None) if rows is None else rows[k]
        model = builds[k]()
        model.fit(x[mine], y[mine], batch_size=batch, epochs=epochs, verbose=0)

    chosen = np.linspace(0, len(builds) - 1, sample).astype(int)
    return [seconds(lambda k=k: one(k))[0] for k in chosen]


def vectorized(builds, given, x, y, rows, epochs, batch, strategy):
    keras.backend.clear_session()
    many = VectorizedEnsemble(
        builds[0], len(builds), strategy=strategy, seeds=range(len(builds)), **given
    )
    many.fit(x, y, rows=rows, batch_size=batch, epochs=epochs, verbose=0)
    return many


def warm_up():
    x, y = np.zeros((8, 2), "float32"), np.zeros(8, int)
    mlp(3, 2, 2)().fit(x, y, verbose=0)
    vectorized([mlp(3, 2, 2)] * 2, {}, x, y, None, 2, 4, "vmap")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--sample", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--strategy", default="auto")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    warm_up()
    for name in arguments.tasks:
        builds, given, x, y, rows, epochs, batch = TASKS[name]()
        for _ in range(arguments.rounds):
            taken, many = seconds(
                lambda b=builds, g=given, r=(x, y, rows, epochs, batch): vectorized(
                    b, g, *r, arguments.strategy
                )
            )
            sample = min(arguments.sample, len(builds))
            times = loop(builds, x, y, rows, epochs, batch, sample)
            whole = statistics.median(times) * len(builds)
            print(
                f"{keras.backend.backend():10} {name:14} loop {whole:7.1f} s "
                f"(median of {sample}), vectorized {taken:6.2f} s: "
                f"{whole / taken:6.1f} x  {many.strategy_report[0]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
