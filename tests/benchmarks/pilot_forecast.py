"""Does a pilot run forecast the seconds and the error rate of the full run?

    KERAS_BACKEND=jax python tests/benchmarks/pilot_forecast.py --data DIRECTORY

DIRECTORY holds `mnist/mnist.npz` (the usual file of arrays) and, in `tabular`, the
tables `adult-train.csv`, `adult-test.csv` and `phoneme.csv`. Without it, two sets of
scikit-learn stand in for them. For each case the pilot is run with fractions of 1 % and
10 % and three repeats, then the full training from another seed. The claims: the
forecast of the seconds is within 15 % (median over 5 runs of a task), the error rate of
the full run lies in the 80 % interval in at least 14 of 20 cases, and the pilot costs
at most 15 % of the full run.
"""

import argparse
import csv
import gc
import statistics
import time
from pathlib import Path

import keras
import numpy as np
from sklearn import datasets, model_selection, preprocessing

import keras_tricks as kt


def mnist(data):
    with np.load(data / "mnist" / "mnist.npz", allow_pickle=False) as file:
        parts = [file[name] for name in ("x_train", "y_train", "x_test", "y_test")]
    x, y, x_test, y_test = parts
    flat = [(a.reshape(len(a), -1) / 255.0).astype("float32") for a in (x, x_test)]
    return flat[0], y.astype("int32"), flat[1], y_test.astype("int32")


def adult(data):
    tables = []
    for name in ("adult-train.csv", "adult-test.csv"):
        with open(data / "tabular" / name, newline="") as file:
            rows = [[c.strip() for c in row] for row in csv.reader(file)]
        tables.append([row for row in rows if len(row) == 15])
    numbers = (0, 2, 4, 10, 11, 12)
    words = [i for i in range(14) if i not in numbers]
    encoder = preprocessing.OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    encoder.fit([[row[i] for i in words] for row in tables[0]])
    found = []
    for rows in tables:
        plain = np.array([[float(row[i]) for i in numbers] for row in rows])
        coded = encoder.transform([[row[i] for i in words] for row in rows])
        target = np.array([row[14].startswith(">50K") for row in rows], "int32")
        found.append((plain, coded, target))
    scaler = preprocessing.StandardScaler().fit(found[0][0])
    (a, b, y), (c, d, z) = found
    join = [np.hstack([scaler.transform(p), q]) for p, q in ((a, b), (c, d))]
    return join[0].astype("float32"), y, join[1].astype("float32"), z


def phoneme(data):
    table = np.loadtxt(data / "tabular" / "phoneme.csv", delimiter=",")
    return split(table[:, :-1], table[:, -1])


def digits(data):
    return split(*datasets.load_digits(return_X_y=True))


def made_up(data):
    return split(
        *datasets.make_classification(
            20_000, 20, n_informative=8, n_classes=4, flip_y=0.05, random_state=0
        )
    )


def split(x, y):
    x, x_test, y, y_test = model_selection.train_test_split(
        x, y.astype("int32"), test_size=0.25, random_state=0, stratify=y
    )
    scaler = preprocessing.StandardScaler().fit(x)
    x, x_test = (scaler.transform(a).astype("float32") for a in (x, x_test))
    return x, y, x_test, y_test


# Loader, epochs, batch size, units of two dense layers, seeds for 20 cases.
TASKS = {
    "mnist": (mnist, 5, 32, 128, 8),
    "adult": (adult, 5, 32, 64, 6),
    "phoneme": (phoneme, 20, 16, 64, 6),
    "made up": (made_up, 5, 32, 64, 10),
    "digits": (digits, 20, 16, 64, 10),
}


def builder(inputs, classes, units):
    def build():
        model = keras.Sequential(
            [
                keras.Input((inputs,)),
                keras.layers.Dense(units, activation="relu"),
                keras.layers.Dense(units, activation="relu"),
                keras.layers.Dense(classes, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


def case(parts, epochs, batch_size, units, seed):
    x, y, x_test, y_test = parts
    build = builder(x.shape[1], int(y.max()) + 1, units)
    start = time.perf_counter()
    forecast = kt.probes.pilot_run(
        build,
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(x_test, y_test),
        metrics="accuracy",
        seed=seed,
    )
    pilot = time.perf_counter() - start
    keras.utils.set_random_seed(1000 + seed)
    model = build()
    start = time.perf_counter()
    history = model.fit(
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(x_test, y_test),
        verbose=0,
    )
    full = time.perf_counter() - start
    keras.backend.clear_session()
    gc.collect()
    return forecast, pilot, full, history.history["val_accuracy"][-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tasks", nargs="+", choices=TASKS)
    parser.add_argument("--seeds", type=int, help="of each task; 20 cases in all else")
    arguments = parser.parse_args()
    usual = ["mnist", "adult", "phoneme"] if arguments.data else ["made up", "digits"]
    inside = cases = 0
    print(f"backend {keras.backend.backend()}")
    for task in arguments.tasks or usual:
        load, epochs, batch_size, units, seeds = TASKS[task]
        parts = load(arguments.data)
        errors, costs, covered = [], [], 0
        seeds = arguments.seeds or seeds
        for seed in range(seeds):
            forecast, pilot, full, reached = case(
                parts, epochs, batch_size, units, seed
            )
            found = forecast.metrics["accuracy"]
            covered += found.low <= reached <= found.high
            errors.append(forecast.seconds / full - 1)
            costs.append(pilot / full)
            means = [1 - values.mean() for values in forecast.values("accuracy")]
            shown = " -> ".join(f"{mean:.4f}" for mean in means)
            print(
                f"  {task} seed {seed}: error {shown} -> {1 - reached:.4f}, forecast "
                f"{1 - found.estimate:.4f} ({1 - found.high:.4f} .. "
                f"{1 - found.low:.4f}); {full:.2f} s, forecast {forecast.seconds:.2f}; "
                f"{forecast.verdict}",
                flush=True,
            )
        inside += covered
        cases += seeds
        off = statistics.median(abs(error) for error in errors[:5])
        signed = statistics.median(errors[:5])
        print(
            f"{task}: {covered} of {seeds} inside; seconds off by {off:.1%} "
            f"({signed:+.1%}); pilot costs {statistics.median(costs):.1%}"
        )
    print(f"{inside} of {cases} inside the 80 % interval")


if __name__ == "__main__":
    main()
