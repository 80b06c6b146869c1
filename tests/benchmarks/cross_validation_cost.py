"""What a cross-validation costs: memory over 30 folds, and time against fresh models.

Run as `python tests/benchmarks/cross_validation_cost.py`. First the loop against the
program by the number of updates, and whether they train alike, over eight seeds. Then
30 folds four times: as one program, in one compiled model, in a new model per fold (as
by hand), and once more for the memory.
"""

import resource
import sys
import time

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits, load_iris

from keras_tricks.model_selection import cross_validate

X, Y = load_iris(return_X_y=True)
X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype("float32")


DIGITS = load_digits(return_X_y=True)


def build(features=4, units=16, classes=3):
    hidden = [layers.Dense(units, "relu"), layers.Dense(units, "relu")]
    inputs = keras.Input((features,))
    model = keras.Sequential([inputs, *hidden, layers.Dense(classes, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def build_for_digits():
    return build(64, 64, 10)


class Spoils(keras.callbacks.Callback):
    """Makes the compiled step anew, so that the next fold takes a new model."""

    def on_train_end(self, logs=None):
        self.model.make_train_function(force=True)


def resident():
    """Megabytes in use now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def run(folds, **arguments):
    start = time.perf_counter()
    result = cross_validate(
        build, X, Y, cv=folds, epochs=5, seed=1, verbose=0, **arguments
    )
    return time.perf_counter() - start, result


def main(folds=30):
    run(2, vectorized=False)
    marks = []

    def watch(fold):
        marks.append(resident())
        return []

    run(folds, vectorized=False, callbacks=watch, keep_models=False)
    grown = [marks[n] - marks[folds // 6] for n in (folds // 3, folds // 2, -1)]
    print(f"MiB since fold {folds // 6}: " + ", ".join(f"{g:.1f}" for g in grown))
    reused, one = run(folds, vectorized=False)
    anew, other = run(folds, vectorized=False, callbacks=lambda: [Spoils()])
    np.testing.assert_array_equal(one.out_of_fold, other.out_of_fold)
    print(f"one compiled model {reused:.1f} s, anew {anew:.1f} s: {anew / reused:.1f}x")
    together, result = run(folds)
    if result.how == "vectorized":
        print(f"vectorized {together:.1f} s: {anew / together:.1f}x")
    for name in ("loss", "accuracy"):
        print(name, one.scores[name].mean, result.scores[name].mean)


def timed(task, x, y, folds, epochs, vectorized):
    start = time.perf_counter()
    cross_validate(
        task, x, y, cv=folds, epochs=epochs, vectorized=vectorized, seed=1, verbose=0
    )
    return time.perf_counter() - start


def ways():
    """How many times longer the loop takes than the program, by the updates."""
    digits = (build_for_digits, (DIGITS[0] / 16).astype("float32"), DIGITS[1])
    iris = (build, X, Y)
    for task, folds, epochs in (
        (iris, 3, 1),
        (iris, 5, 5),
        (iris, 10, 5),
        (iris, 5, 30),
        (digits, 5, 20),
    ):
        one, loop = (timed(*task, folds, epochs, how) for how in (True, False))
        updates = folds * epochs * -(-len(task[1]) * (folds - 1) // folds // 32)
        print(f"{folds} x {epochs}, {updates} updates: loop/program {loop / one:.1f}")


def alike(seeds=8):
    """What the program's mean scores are above the loop's, paired by seed."""
    for name in ("loss", "accuracy"):
        above = []
        for seed in range(seeds):
            one, loop = (
                cross_validate(
                    build, X, Y, cv=30, epochs=5, vectorized=how, seed=seed, verbose=0
                ).scores[name]
                for how in (True, False)
            )
            above.append(one.mean - loop.mean)
        error = np.std(above, ddof=1) / np.sqrt(seeds)
        print(f"{name}: program - loop {np.mean(above):+.4f} +- {error:.4f}")


if __name__ == "__main__":
    ways()
    alike()
    main(*map(int, sys.argv[1:]))
