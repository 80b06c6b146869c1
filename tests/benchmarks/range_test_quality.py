"""Is the rate that the range test suggests a good one?

    KERAS_BACKEND=jax python tests/benchmarks/range_test_quality.py

Each run makes a model, tests it, and trains it for 5 epochs at the suggestion and at
each rate of a 12-point grid, always from the same weights and in the same order of the
data. A run succeeds at 95 % (98 %) if the suggestion reaches that share of the
validation accuracy of the best rate of the grid; "inconclusive" is a miss. The claim is
all of 30 runs at 95 % and at least 28 at 98 %. The single methods stand beside it.

The third task is of other data with `--mnist mnist.npz` (the usual file of arrays):
2,000 of its images. `--tasks wine` shows a task that is too small for any rule, with 45
validation rows.
"""

import argparse
import time

import keras
import numpy as np
from sklearn import datasets, model_selection, preprocessing

import keras_tricks as kt

GRID = np.logspace(-5, 0.5, 12)
EPOCHS = 5
METHODS = ("segment", "steepest", "valley", "minimum")
OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(),
}


def table(load):
    x, y = load(return_X_y=True)
    return preprocessing.StandardScaler().fit_transform(x), y


def digits():
    x, y = datasets.load_digits(return_X_y=True)
    return x / 16.0, y


def dense(shape, classes, units):
    return [keras.layers.Dense(units, activation="relu")]


def convolutions(shape, classes, units):
    return [
        keras.layers.Reshape((8, 8, 1)),
        keras.layers.Conv2D(units, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
    ]


def mnist(path):
    with np.load(path, allow_pickle=False) as file:
        x, y = file["x_train"][:2000], file["y_train"][:2000]
    return x.reshape(len(x), -1) / 255.0, y


TASKS = {
    "digits": (digits, dense, 64),
    "breast cancer": (lambda: table(datasets.load_breast_cancer), dense, 32),
    "digits, CNN": (digits, convolutions, 16),
    "wine": (lambda: table(datasets.load_wine), dense, 32),
}


def prepared(task, optimizer, seed):
    load, hidden, units = TASKS[task]
    x, y = load()
    parts = model_selection.train_test_split(
        x.astype("float32"), y, test_size=0.25, random_state=seed, stratify=y
    )
    keras.utils.set_random_seed(seed)
    classes = int(y.max()) + 1
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            *hidden(x.shape[1:], classes, units),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(
        OPTIMIZERS[optimizer](), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.optimizer.build(model.trainable_variables)
    return model, parts


def run(task, optimizer, seed):
    """The share of the grid's best accuracy that each method's rate reaches."""
    model, (x, x_val, y, y_val) = prepared(task, optimizer, seed)
    start = [
        (variable, keras.ops.convert_to_numpy(variable.value).copy())
        for variable in [*model.variables, *model.optimizer.variables]
    ]

    def accuracy(rate):
        for variable, value in start:
            variable.assign(value)
        model.optimizer.learning_rate = float(rate)
        keras.utils.set_random_seed(seed)
        model.fit(x, y, epochs=EPOCHS, verbose=0)
        predicted = model.predict(x_val, verbose=0).argmax(axis=1)
        return float(np.mean(predicted == y_val))

    curve = kt.probes.find_learning_rate(model, x, y, seed=seed, verbose=0)
    best = max(accuracy(rate) for rate in GRID)
    rates = {"consensus": curve.suggestion, **curve.suggestions}
    reached = {
        name: accuracy(rate) / best if rate and np.isfinite(rate) else 0.0
        for name, rate in rates.items()
    }
    return reached, curve


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS)[:3], choices=TASKS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--mnist", help="path of mnist.npz")
    arguments = parser.parse_args()
    if arguments.mnist:
        TASKS["mnist"] = (lambda: mnist(arguments.mnist), dense, 64)
        arguments.tasks = ["digits", "breast cancer", "mnist"]
    started = time.perf_counter()
    names = ("consensus", *METHODS)
    totals = {name: [] for name in names}
    print(f"backend {keras.backend.backend()}; runs at 95 % / 98 % of the best rate")
    print(f"{'':26}" + "".join(f"{name:>12}" for name in names) + "  inconclusive")
    for task in arguments.tasks:
        for optimizer in OPTIMIZERS:
            results = [run(task, optimizer, seed) for seed in range(arguments.seeds)]
            unsure = sum(curve.verdict == "inconclusive" for _, curve in results)
            cells = []
            for name in names:
                shares = [reached[name] for reached, _ in results]
                totals[name] += shares
                cells.append(counts(shares))
            line = "".join(f"{cell:>12}" for cell in cells)
            print(f"{task + ', ' + optimizer:26}{line}{unsure:14}", flush=True)
    cells = "".join(f"{counts(totals[name]):>12}" for name in names)
    print(f"{'all ' + str(len(totals['consensus'])):26}{cells}")
    print(f"lowest share {min(totals['consensus']):.3f}")
    print(f"{time.perf_counter() - started:.0f} s")


def counts(shares):
    shares = np.array(shares)
    return f"{np.sum(shares >= 0.95)} / {np.sum(shares >= 0.98)}"


if __name__ == "__main__":
    main()
