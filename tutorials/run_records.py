"""Record every training, find out what differed, and repeat one bit for bit.

    python tutorials/run_records.py

The task: scikit-learn's 1,797 handwritten digits and a small dense network. Each
training leaves a folder of plain files, whatever becomes of it:

- three trainings with different settings, in a few seeds: what the table of runs and
  `compare` say of them is what was set, and nothing else
- one that fails in its middle: its record says so, with the error
- one that a left-on Dropout makes random: the layer is named
- one that is repeated: from the recorded seed it is the same bit for bit; with one
  pixel changed the data are refused; with another seed it differs from step 1 on

At the end all runs are on one page, `run_records.html` beside the picture, that opens
from disk on any machine, a phone too.

It prints a table, draws `tutorials/run_records.png` and checks its own claims. With
`--quick` it makes fewer and shorter trainings, to see that everything runs.
"""

import argparse
import contextlib
import tempfile
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
SETTINGS = {
    "plain": {"rate": 0.03, "units": 32},
    "faster": {"rate": 0.3, "units": 32},
    "faster and wider": {"rate": 0.3, "units": 128},
}
COLOURS = dict(zip(SETTINGS, ("tab:gray", "tab:blue", "tab:green"), strict=True))


def load():
    x, y = load_digits(return_X_y=True)
    return train_test_split(
        (x / 16.0).astype("float32"), y, test_size=0.25, random_state=0, stratify=y
    )


class LeftOn(keras.layers.Dropout):
    """A Dropout that somebody has forgotten to turn off."""

    def call(self, inputs):
        return super().call(inputs, training=True)


def build(rate=0.3, units=32, hidden=keras.layers.Dropout):
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(units, activation="relu"),
            hidden(0.2, name="dropout"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(directory, data, epochs, seeds):
    """Leaves a record for each setting and seed."""
    x, x_val, y, y_val = data
    for name, settings in SETTINGS.items():
        for seed in range(seeds):
            kt.runs.reproducible(seed)
            model = build(**settings)
            recorder = kt.callbacks.RunRecorder(directory, name, config=settings)
            model.fit(
                x,
                y,
                batch_size=BATCH_SIZE,
                epochs=epochs,
                validation_data=(x_val, y_val),
                callbacks=[recorder],
                verbose=0,
            )
        print(f"  trained {name}", flush=True)


class PowerCut(keras.callbacks.Callback):
    """An error in the middle of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 20:
            raise RuntimeError("the power went out")


def fail(directory, data):
    """A training that fails, and what its record says."""
    x, _, y, _ = data
    recorder = kt.callbacks.RunRecorder(directory, "failed")
    with contextlib.suppress(RuntimeError):
        build().fit(x, y, verbose=0, callbacks=[recorder, PowerCut()])
    return kt.runs.Run(recorder.path)


def repeat(path, data):
    """The same again, with another seed, and with other data."""
    x, _, y, _ = data
    settings = SETTINGS["plain"]
    same = kt.runs.repeat(path, lambda: build(**settings), x, y)
    other = kt.runs.repeat(path, lambda: build(**settings), x, y, seed=99)
    changed = x.copy()
    changed[100, 30] += 0.01
    try:
        kt.runs.repeat(path, lambda: build(**settings), changed, y)
        refused = ""
    except ValueError as error:
        refused = str(error)
    return same, other, refused


def print_table(groups):
    print(f"\n{'':20}{'accuracy':>10}{'spread':>9}{'seconds':>9}")
    for name, runs in groups.items():
        values = np.array([run.best("val_accuracy") for run in runs])
        seconds = np.mean([run.manifest["seconds"] for run in runs])
        print(f"{name:20}{values.mean():10.4f}{values.std():9.4f}{seconds:9.1f}")


def draw(groups, repetition, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, runs in groups.items():
        epochs = runs[0].history["epoch"] + 1
        values = np.array([run.history["val_accuracy"] for run in runs])
        left.plot(epochs, values.mean(axis=0), color=COLOURS[name], label=name)
        low, high = values.min(axis=0), values.max(axis=0)
        left.fill_between(epochs, low, high, color=COLOURS[name], alpha=0.15, lw=0)
    left.set(
        xlabel="epoch",
        ylabel="validation accuracy",
        title=f"Read from the records: mean and range of {len(runs)} seeds",
    )
    left.legend(loc="lower right")
    same, other = repetition
    right.plot(same, color="tab:blue", lw=4, alpha=0.35, label="recorded")
    right.plot(same, color="tab:blue", lw=1, ls="--", label="repeated: bit for bit")
    right.plot(other, color="tab:red", lw=1, label="another seed")
    right.set(
        xlabel="step", ylabel="mean loss of the epoch so far", title="The same again?"
    )
    right.legend()
    for axes in (left, right):
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
    epochs, seeds = (5, 2) if arguments.quick else (15, 5)
    started = time.perf_counter()
    data = load()
    print(f"{epochs} epochs, {seeds} seeds each, on {keras.backend.backend()}")
    print(kt.runs.reproducible(0), "\n")

    with tempfile.TemporaryDirectory() as directory:
        train(directory, data, epochs, seeds)
        runs = kt.runs.list(directory)
        groups = {
            name: [run for run in runs if run.manifest["config"] == settings]
            for name, settings in SETTINGS.items()
        }
        print_table(groups)
        plain, wide = groups["plain"][0], groups["faster and wider"][0]
        comparison = kt.runs.compare(plain, wide)
        print(f"\n{comparison}")

        failed = fail(directory, data)
        print(f"\n{failed}: {failed.error['message']}")

        x = data[0]
        left_on = kt.runs.unstable_layers(build(hidden=LeftOn), x[:8])
        print(f"\n{left_on}")

        same, other, refused = repeat(plain.path, data)
        print(f"\nagain: {same.summary}")
        print(f"another seed: {other.summary}")
        print(f"one pixel changed: {refused}")

        page = kt.runs.report(directory, arguments.output.with_suffix(".html"))
        print(f"\nThe page is {page}, {page.stat().st_size / 1000:.0f} kB")
        draw(groups, (plain.steps["loss"], other.losses), arguments.output)

    found = {row.name: (row.a, row.b) for row in comparison if row.kind == "setting"}
    assert found["config.rate"] == ("0.03", "0.3")
    assert found["config.units"] == ("32", "128")
    assert found["optimizer.config.learning_rate"] == ("0.03", "0.3")
    assert not [name for name in found if name.startswith(("data", "environment"))]
    assert all(len(group) == seeds for group in groups.values())
    assert (failed.state, failed.error["type"]) == ("failed", "RuntimeError")
    assert [row.layer for row in left_on] == ["dropout"]
    assert same.same
    assert other.first_difference.step == 1
    assert "must be the recorded data" in refused
    faster, slower = (
        np.mean([run.best("val_accuracy") for run in groups[name]])
        for name in ("faster", "plain")
    )
    assert faster > slower
    assert "://" not in page.read_text(encoding="utf-8")
    print("Claims kept: the records say what was set and how it ended, a repetition is")
    print("the same bit for bit, and what makes it another one is found.")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
