"""Depth: what plain layers make of it, and what Highway layers make of it.

    python tutorials/highway.py

The task: the 8x8 digits of scikit-learn, a quarter of them for the test. Two stacks of
10, 20 and 50 hidden layers learn them, with ReLU, from weights drawn by He's rule, by
SGD with momentum 0.9:

- plain:    `Dense` layers of 45 units
- Highway:  `Highway` layers of 32 units, which are as many weights, with gates that
            start almost shut: a `transform_bias` of -4 is a gate of 0.018

Each trains at the best of five rates (`tests/benchmarks/highway_depth.py` looked for
them), so that no stack fails by its rate alone.

What to see: these digits need no depth, so there is nothing to win by it; the question
is what is lost. The plain stack learns worse with 20 layers than with 10, and hardly
with 50: what it gets wrong it gets wrong in training, too. The Highway stack starts as
little more than its first layer, whatever its depth, and opens its gates as it learns.

It prints a table, draws `tutorials/highway.png` and checks its own claims. With
`--quick` it makes fewer and shorter trainings, to see that everything runs.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import keras
import matplotlib as mpl
import numpy as np
from sklearn import datasets, model_selection

import keras_tricks as kt

mpl.use("Agg")
from matplotlib import pyplot as plt

BATCH = 32
WIDTHS = {"plain": 45, "Highway": 32}
# The rates with the lowest training loss.
RATES = {
    "plain": {10: 0.01, 20: 0.003, 50: 0.003},
    "Highway": {10: 0.1, 20: 0.1, 50: 0.1},
}
COLOURS = {"plain": "tab:red", "Highway": "tab:blue"}


class Run(NamedTuple):
    """What one training left behind."""

    losses: list  # in training, of each epoch
    accuracy: float  # on the test digits


def digits(seed):
    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16.0).astype("float32")
    return model_selection.train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=y
    )


def hidden(kind):
    if kind == "plain":
        return keras.layers.Dense(WIDTHS[kind], "relu", kernel_initializer="he_normal")
    return kt.layers.Highway(
        "relu", kernel_initializer="he_normal", transform_bias=-4.0
    )


def build(kind, depth):
    # A Highway layer is as wide as its input: the first layer sets the width.
    first = keras.layers.Dense(WIDTHS[kind], "relu", kernel_initializer="he_normal")
    model = keras.Sequential(
        [
            keras.Input((64,)),
            first,
            *[hidden(kind) for _ in range(depth)],
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(RATES[kind][depth], momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def train(kind, depth, seed, epochs):
    x, x_test, y, y_test = digits(seed)
    keras.utils.set_random_seed(seed)
    model = build(kind, depth)
    history = model.fit(x, y, BATCH, epochs=epochs, verbose=0).history
    _, accuracy = model.evaluate(x_test, y_test, 500, verbose=0)
    return Run(history["loss"], accuracy)


def print_table(runs):
    columns = ("training loss", "test accuracy", "worst", "best")
    print(f"\n{'':20}" + "".join(f"{column:>18}" for column in columns))
    for (kind, depth), of_seeds in runs.items():
        loss = np.array([run.losses[-1] for run in of_seeds])
        accuracy = np.array([run.accuracy for run in of_seeds])
        cells = (
            f"{loss.mean():.3f} +- {loss.std(ddof=1):.3f}",
            f"{accuracy.mean():.3f} +- {accuracy.std(ddof=1):.3f}",
            f"{accuracy.min():.3f}",
            f"{accuracy.max():.3f}",
        )
        line = "".join(f"{cell:>18}" for cell in cells)
        print(f"{f'{depth} layers, {kind}':20}{line}")


def draw(runs, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    depths = sorted({depth for _, depth in runs})
    for number, (kind, colour) in enumerate(COLOURS.items()):
        for seed, run in enumerate(runs[kind, depths[-1]]):
            epochs = np.arange(1, len(run.losses) + 1)
            label = kind if seed == 0 else None
            left.plot(epochs, run.losses, color=colour, alpha=0.7, label=label)
        accuracies = np.array([[r.accuracy for r in runs[kind, d]] for d in depths])
        # Side by side, so that the points of one kind do not hide the other's.
        places = np.arange(len(depths)) + 0.16 * number - 0.08
        right.plot(places, accuracies.mean(axis=1), color=colour, label=kind)
        for place, of_seeds in zip(places, accuracies, strict=True):
            right.scatter([place] * len(of_seeds), of_seeds, color=colour, s=16)
    left.axhline(np.log(10), color="tab:gray", linewidth=1, linestyle=":")
    left.annotate("guessing", (epochs[-1], np.log(10)), ha="right", va="bottom")
    left.set(
        xlabel="epoch",
        ylabel="training loss",
        yscale="log",
        title=f"{depths[-1]} layers, {seed + 1} seeds",
    )
    right.set(
        xlabel="hidden layers",
        ylabel="test accuracy",
        ylim=(0, 1.02),
        title="Mean, and each seed",
    )
    right.set_xticks(np.arange(len(depths)), depths)
    left.legend(loc="lower left")
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
    depths = (10, 20) if arguments.quick else (10, 20, 50)
    epochs, seeds = (4, 2) if arguments.quick else (15, 5)
    started = time.perf_counter()
    print(f"{epochs} epochs, {seeds} seeds each, on {keras.backend.backend()}")
    runs = {}
    for depth in depths:
        for kind in WIDTHS:
            runs[kind, depth] = [train(kind, depth, s, epochs) for s in range(seeds)]
        print(f"  {depth} layers trained", flush=True)
    print_table(runs)
    draw(runs, arguments.output)
    deepest = {
        kind: [run.accuracy for run in runs[kind, depths[-1]]] for kind in WIDTHS
    }
    assert min(deepest["Highway"]) > max(deepest["plain"])
    if not arguments.quick:
        # Four epochs are too few to learn the digits well.
        shallow = np.mean([run.accuracy for run in runs["Highway", depths[0]]])
        assert min(deepest["Highway"]) > 0.9 > max(deepest["plain"])
        assert abs(np.mean(deepest["Highway"]) - shallow) < 0.03
    print(f"Claims kept. {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
