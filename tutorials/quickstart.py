"""Choose a learning rate, then a schedule for it: an hour of tuning in a minute.

    python tutorials/quickstart.py

The task: scikit-learn's 1,797 handwritten digits, a small dense network, plain SGD.
First a range test finds a rate. Then five ways to train the same number of epochs are
compared, from the same starting weights in each of five seeds:

- default:  Keras's own rate, 0.01, all the time
- found:    the rate that the range test suggests, all the time
- cosine:   cosine restarts down from the found rate
- onecycle: up to three times the found rate, and down to nothing
- halving:  the old recipe: start at 1.0, halve when the validation loss stops falling

A high rate that stays high ends on a noisy note: watch the spread of "found" against
that of the schedules, which come down at the end.

It prints a table, draws `tutorials/quickstart.png` and checks its own claims. With
`--quick` it makes fewer and shorter trainings, to see that everything runs.
"""

import argparse
import time
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_tricks as kt

mpl.use("Agg")
from matplotlib import pyplot as plt

BATCH_SIZE = 32
COLOURS = {
    "default": "tab:gray",
    "found": "tab:red",
    "cosine": "tab:blue",
    "onecycle": "tab:green",
    "halving": "tab:orange",
}


def load():
    x, y = load_digits(return_X_y=True)
    return train_test_split(
        (x / 16.0).astype("float32"), y, test_size=0.25, random_state=0, stratify=y
    )


def build(learning_rate, seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def strategies(found, epochs, steps_per_epoch):
    """For each way to train: its learning rate, and the callbacks it needs."""
    steps = epochs * steps_per_epoch
    # Two cycles, the second twice as long as the first, that fill the training.
    first = -(-steps // 3)
    return {
        "default": (0.01, []),
        "found": (found, []),
        "cosine": (kt.schedules.CosineRestarts(found, first, t_mul=2.0), []),
        "onecycle": (kt.schedules.OneCycle(3 * found, steps), []),
        "halving": (
            1.0,
            [kt.callbacks.HalveOnPlateau(patience=1, on_divergence="rollback")],
        ),
    }


def train(found, data, epochs, seeds):
    """Histories by strategy, one per seed."""
    x, x_val, y, y_val = data
    steps_per_epoch = -(-len(x) // BATCH_SIZE)
    histories = {}
    for name in strategies(found, epochs, steps_per_epoch):
        histories[name] = []
        for seed in range(seeds):
            rate, callbacks = strategies(found, epochs, steps_per_epoch)[name]
            history = build(rate, seed).fit(
                x,
                y,
                batch_size=BATCH_SIZE,
                epochs=epochs,
                validation_data=(x_val, y_val),
                callbacks=callbacks,
                verbose=0,
            )
            histories[name].append(history.history)
        print(f"  trained {name}", flush=True)
    return histories


def print_table(accuracy):
    columns = f"{'accuracy':>10}{'spread':>9}{'lowest':>9}{'above default':>17}"
    print(f"\n{'':10}{columns}")
    for name, values in accuracy.items():
        wins = f"{np.sum(values > accuracy['default'])} of {len(values)} seeds"
        wins = "" if name == "default" else wins
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        print(
            f"{name:10}{values.mean():10.4f}{spread:9.4f}{values.min():9.4f}{wins:>17}"
        )


def draw(curve, found, histories, epochs, steps_per_epoch, path):
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(14, 4.2), layout="constrained"
    )
    curve.plot(left)

    steps = epochs * steps_per_epoch
    for name, (rate, _) in strategies(found, epochs, steps_per_epoch).items():
        if name == "halving":
            # Of the seeds, the one that was halved most.
            most = min((run["learning_rate"] for run in histories[name]), key=min)
            used = np.repeat(most, steps_per_epoch)
        else:
            used = kt.schedules.preview(rate, steps)
        middle.plot(
            np.arange(steps) / steps_per_epoch, used, color=COLOURS[name], label=name
        )
    middle.set(
        yscale="log",
        ylim=(1e-3, 2.0),
        xlabel="epoch",
        ylabel="learning rate",
        title="Schedules",
    )

    every = np.arange(1, epochs + 1)
    for name, runs in histories.items():
        values = np.array([run["val_accuracy"] for run in runs])
        colour = COLOURS[name]
        right.plot(every, values.mean(axis=0), color=colour, label=name)
        right.fill_between(
            every,
            values.min(axis=0),
            values.max(axis=0),
            color=colour,
            alpha=0.12,
            lw=0,
        )
    right.set(
        ylim=(0.7, 1.0),
        xlabel="epoch",
        ylabel="validation accuracy",
        title=f"Mean and range of {len(runs)} seeds",
    )
    right.legend(loc="lower right")
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=80)
    print(f"\nThe picture is {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer, shorter trainings")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_suffix(".png")
    )
    arguments = parser.parse_args()
    epochs, seeds = (6, 2) if arguments.quick else (12, 5)
    started = time.perf_counter()

    data = load()
    x, _, y, _ = data
    print(f"Range test on {keras.backend.backend()}")
    # The rate of the model does not matter: the test tries all.
    curve = kt.probes.find_learning_rate(
        build(0.01, seed=0), x, y, batch_size=BATCH_SIZE, seed=0
    )
    print(curve)
    assert curve.verdict == "clear", curve.reason
    found = curve.suggestion

    print(f"\n{epochs} epochs, {seeds} seeds each, found rate {found:.2g}")
    histories = train(found, data, epochs, seeds)
    accuracy = {
        name: np.array([run["val_accuracy"][-1] for run in runs])
        for name, runs in histories.items()
    }
    print_table(accuracy)
    steps_per_epoch = -(-len(x) // BATCH_SIZE)
    draw(curve, found, histories, epochs, steps_per_epoch, arguments.output)

    default = accuracy["default"]
    assert accuracy["found"].mean() > default.mean()
    assert accuracy["halving"].mean() > default.mean()
    assert np.all(accuracy["cosine"] > default)
    assert np.all(accuracy["onecycle"] > default)
    print(
        "Claims kept: the found rate and the halving recipe beat SGD's default rate on"
    )
    print("average, cosine restarts and one cycle from the found rate in every seed.")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
