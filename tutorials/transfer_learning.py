"""Fine-tune on forty images: which layers learn, and how fast.

    python tutorials/transfer_learning.py

The task: a small convolutional network learns scikit-learn's handwritten digits 0 to 4
from some 900 images. Then it gets a new head and must learn the digits 5 to 9 from
eight images of each. Five ways to do that, each with the same starting weights and the
same images in each seed:

- scratch:     no pre-training, all layers at the full rate
- full rate:   all layers at the full rate
- layer-wise:  each lower layer at half the rate of the one above (`layer_decay`)
- unfreezing:  the head first, then one block more every few epochs
- head only:   the layers below the head stay frozen

What to see: on images this small, forty of them are enough for a network from scratch,
so the pre-training gains nothing, and the ways to treat the lower layers differ by less
than the seeds do. Only one choice matters: a frozen body, which knows other digits, is
far behind.

It prints a table, draws `tutorials/transfer_learning.png` and checks its own claims.
With `--quick` it makes fewer and shorter trainings, to see that everything runs.
"""

import argparse
import time
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_digits

import keras_tricks as kt

mpl.use("Agg")
from matplotlib import pyplot as plt

PER_CLASS = 8
RATE = 3e-3
BLOCKS = ["block1", "block2", "block3", "head"]
COLOURS = {
    "scratch": "tab:gray",
    "full rate": "tab:red",
    "layer-wise": "tab:blue",
    "unfreezing": "tab:green",
    "head only": "tab:orange",
}


def load(seed):
    """Images of 0 to 4 to pre-train on; a few of 5 to 9 to fine-tune on, the rest."""
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8, 1) / 16.0).astype("float32")
    low = y < 5
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~low))
    few = np.concatenate(
        [order[y[order] == digit][:PER_CLASS] for digit in range(5, 10)]
    )
    rest = np.setdiff1d(order, few)
    return (x[low], y[low]), (x[few], y[few] - 5), (x[rest], y[rest] - 5)


def build(optimizer, seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", name="block1"),
            keras.layers.Conv2D(32, 3, activation="relu", name="block2"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu", name="block3"),
            keras.layers.Dense(5, activation="softmax", name="head"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def adam():
    return keras.optimizers.Adam(RATE)


def strategies(model, epochs):
    """For each way to fine-tune: its optimizer, and the callbacks it needs."""
    layerwise = kt.optimizers.LayerwiseLearningRate
    multipliers = kt.optimizers.layer_decay(model, decay=0.5)
    unfreeze = kt.callbacks.GradualUnfreezing(BLOCKS, every=max(1, epochs // 8))
    return {
        "scratch": (adam(), []),
        "full rate": (adam(), []),
        "layer-wise": (layerwise(adam(), multipliers), []),
        "unfreezing": (adam(), [unfreeze]),
        "head only": (layerwise(adam(), {"block.*": 0.0}), []),
    }


def train(epochs, seeds):
    """Test accuracies by strategy: one row per seed, one column per epoch."""
    accuracies = {name: [] for name in COLOURS}
    for seed in range(seeds):
        source, (x, y), test = load(seed)
        pretrained = build(adam(), seed)
        pretrained.fit(*source, batch_size=32, epochs=max(1, epochs // 4), verbose=0)
        for name in COLOURS:
            model = build(adam(), seed + 1000)
            optimizer, callbacks = strategies(model, epochs)[name]
            model.compile(
                optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"]
            )
            if name != "scratch":
                for block in BLOCKS[:-1]:
                    weights = pretrained.get_layer(block).get_weights()
                    model.get_layer(block).set_weights(weights)
            history = model.fit(
                x,
                y,
                batch_size=8,
                epochs=epochs,
                validation_data=test,
                validation_batch_size=1024,
                callbacks=callbacks,
                verbose=0,
            )
            accuracies[name].append(history.history["val_accuracy"])
        print(f"  seed {seed} trained", flush=True)
    return {name: np.array(rows) for name, rows in accuracies.items()}


def print_table(last):
    columns = f"{'accuracy':>10}{'spread':>9}{'lowest':>9}{'above full rate':>18}"
    print(f"\n{'':12}{columns}")
    for name, values in last.items():
        wins = f"{np.sum(values > last['full rate'])} of {len(values)} seeds"
        wins = "" if name == "full rate" else wins
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        print(
            f"{name:12}{values.mean():10.4f}{spread:9.4f}{values.min():9.4f}{wins:>18}"
        )


def draw(accuracies, path):
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=[2, 1]
    )
    for name, rows in accuracies.items():
        every = np.arange(1, rows.shape[1] + 1)
        left.plot(every, rows.mean(axis=0), color=COLOURS[name], label=name)
        left.fill_between(
            every, rows.min(axis=0), rows.max(axis=0), color=COLOURS[name], alpha=0.12
        )
    left.set(xlabel="epoch", ylabel="test accuracy", title=f"{len(rows)} seeds")
    left.legend(loc="lower right")
    for place, (name, rows) in enumerate(accuracies.items()):
        last = rows[:, -1]
        right.scatter(np.full(len(last), place), last, color=COLOURS[name], s=18)
        right.hlines(last.mean(), place - 0.3, place + 0.3, color=COLOURS[name])
    right.set_xticks(range(len(accuracies)), list(accuracies), rotation=30)
    right.set(title="After the last epoch: seeds and mean")
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
    epochs, seeds = (16, 2) if arguments.quick else (40, 5)
    started = time.perf_counter()
    print(f"{epochs} epochs, {seeds} seeds each, on {keras.backend.backend()}")
    accuracies = train(epochs, seeds)
    last = {name: rows[:, -1] for name, rows in accuracies.items()}
    print_table(last)
    draw(accuracies, arguments.output)
    mean = {name: values.mean() for name, values in last.items()}
    for name in ("full rate", "layer-wise", "unfreezing"):
        assert mean[name] > mean["head only"] + 0.03, mean
    print(f"Claims kept. {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
