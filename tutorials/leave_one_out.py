"""Leave-one-out and a sweep of rates: many models as one program, in seconds.

    python tutorials/leave_one_out.py

Leave-one-out on the 150 irises is 150 trainings, each without one flower, which is
then asked for. In a loop most of the time goes into starting: building, compiling,
calling. `VectorizedEnsemble` makes them one program; a row list per member says what
each may see. The loop is timed on a few of its models and counted for all of them: it
would take minutes.

- the answers are those of the loop: a sample of members, trained alone in the same
  order of rows from the same weights, gives the same probabilities
- the answers are worth their time: a single split of 30 flowers says anything between
  its best and its worst draw, leave-one-out says one number per seed
- a sweep: 24 rates in one run, for each of the seeds. The curve has a flat floor and
  two ends; it is what a choice of a rate should be made from.

It prints a table, draws `tutorials/leave_one_out.png` and checks its own claims. With
`--quick` it makes fewer and shorter trainings, to see that everything runs.
"""

import argparse
import statistics
import time
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_iris

from keras_tricks.ensembles import VectorizedEnsemble

mpl.use("Agg")
from matplotlib import pyplot as plt

BATCH_SIZE = 16
TEST_ROWS = 30


def load():
    x, y = load_iris(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return x.astype("float32"), y


def build():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    return model


def leave_one_out(x, y, epochs, seed):
    """The members' probabilities for the flower that each has not seen."""
    flowers = np.arange(len(x))
    many = VectorizedEnsemble(
        build, members=len(x), seeds=np.arange(len(x)) + 1000 * seed
    )
    many.fit(
        x,
        y,
        rows=[np.delete(flowers, flower) for flower in flowers],
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=0,
    )
    return many, many.predict(x, verbose=0)[flowers, flowers]


def loop(x, y, epochs, sample):
    """Seconds for each of some models of the plain loop."""
    times = []
    for flower in np.linspace(0, len(x) - 1, sample).astype(int):
        started = time.perf_counter()
        keras.backend.clear_session()
        model, rows = build(), np.delete(np.arange(len(x)), flower)
        model.fit(x[rows], y[rows], batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
        model.predict(x[[flower]], verbose=0)
        times.append(time.perf_counter() - started)
    return times


def far_from_alone(x, y, flowers):
    """How far members are from models trained alone, in probability."""
    rows = [np.delete(np.arange(len(x)), flower) for flower in flowers]
    many = VectorizedEnsemble(build, members=len(flowers), seeds=flowers)
    alone = many.members()
    given = {"batch_size": BATCH_SIZE, "epochs": 3, "shuffle": False, "verbose": 0}
    many.fit(x, y, rows=rows, **given)
    together = many.predict(x, verbose=0)
    largest = 0.0
    for k, model in enumerate(alone):
        model.fit(x[rows[k]], y[rows[k]], **given)
        gap = np.abs(model.predict(x, verbose=0) - together[:, k])
        largest = max(largest, float(gap.max()))
    return largest


def single_splits(answers, y, draws):
    """What one test set of 30 flowers would have said, for many draws of it."""
    right = answers.argmax(axis=1) == y
    random = np.random.default_rng(0)
    chosen = [random.permutation(len(y))[:TEST_ROWS] for _ in range(draws)]
    return np.array([right[rows].mean() for rows in chosen])


def sweep(x, y, rates, epochs, seeds):
    """Held-out losses (seeds, rates): one run for all of them."""
    members = np.tile(rates, seeds)
    numbers = np.repeat(np.arange(seeds), len(rates))
    split = [np.random.default_rng(seed).permutation(len(x)) for seed in range(seeds)]
    many = VectorizedEnsemble(
        build, len(members), seeds=numbers, learning_rates=members
    )
    history = many.fit(
        x,
        y,
        rows=[split[seed][TEST_ROWS:] for seed in numbers],
        validation_rows=[split[seed][:TEST_ROWS] for seed in numbers],
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=0,
    ).history
    last = {name: history[f"member_{name}"][-1] for name in ("loss", "val_loss")}
    return {name: values.reshape(seeds, -1) for name, values in last.items()}


def print_table(accuracies, together, alone):
    rows = [
        ("150 models as one program", f"{together:.2f} s"),
        ("150 models in a loop, estimated", f"{alone:.0f} s"),
        ("the loop takes", f"{alone / together:.0f} x as long"),
        (
            f"leave-one-out accuracy, {len(accuracies)} seeds",
            f"{np.mean(accuracies):.3f}, {min(accuracies):.3f} to "
            f"{max(accuracies):.3f}",
        ),
    ]
    print()
    for name, value in rows:
        print(f"{name:40}{value:>24}")


def draw(accuracies, splits, rates, losses, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    values, counts = np.unique(splits, return_counts=True)
    left.bar(
        values,
        counts / len(splits),
        width=0.8 / TEST_ROWS,
        color="tab:gray",
        alpha=0.6,
        label=f"a single split, {TEST_ROWS} flowers",
    )
    for number, accuracy in enumerate(accuracies):
        label = "leave-one-out, each seed" if number == 0 else None
        left.axvline(accuracy, color="tab:blue", linewidth=1.5, label=label)
    left.set(
        xlabel="accuracy",
        ylabel="share of the draws",
        title="What a test set of 30 may say",
    )
    for name, colour, label in (
        ("loss", "tab:gray", "training"),
        ("val_loss", "tab:blue", "held out"),
    ):
        of_seeds = losses[name]
        right.plot(rates, np.median(of_seeds, axis=0), color=colour, label=label)
        right.fill_between(
            rates,
            of_seeds.min(axis=0),
            of_seeds.max(axis=0),
            color=colour,
            alpha=0.15,
            lw=0,
        )
    right.axhline(np.log(3), color="tab:gray", linewidth=1, linestyle=":")
    right.annotate("guessing", (rates[0], np.log(3)), va="bottom")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="learning rate of Adam",
        ylabel="loss after the last epoch",
        title=f"{len(rates)} rates x {len(of_seeds)} seeds in one run: "
        "median and range",
    )
    for axes in (left, right):
        axes.legend(loc="upper left" if axes is left else "lower left")
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
    epochs, seeds, sample = (10, 2, 3) if arguments.quick else (30, 5, 5)
    begun = time.perf_counter()
    print(f"{epochs} epochs, {seeds} seeds, on {keras.backend.backend()}")
    x, y = load()

    # The backend's first use, for both sides.
    far = far_from_alone(x, y, flowers=[0, 75])
    print(f"  two members and the same two models alone differ by {far:.1e}")

    started = time.perf_counter()
    _, answers = leave_one_out(x, y, epochs, seed=0)
    together = time.perf_counter() - started
    all_answers = [answers]
    all_answers += [leave_one_out(x, y, epochs, seed)[1] for seed in range(1, seeds)]
    accuracies = [float((each.argmax(axis=1) == y).mean()) for each in all_answers]
    print(f"  {seeds} x 150 models trained", flush=True)
    times = loop(x, y, epochs, sample)
    alone = statistics.median(times) * len(x)
    print(f"  the loop: median of {sample} models, times 150", flush=True)

    rates = np.geomspace(1e-4, 1.0, 24)
    losses = sweep(x, y, rates, epochs, seeds)
    splits = single_splits(answers, y, 1000)
    print_table(accuracies, together, alone)
    best = rates[np.median(losses["val_loss"], axis=0).argmin()]
    print(f"{'the best of 24 rates, held out':40}{best:>24.2g}")
    draw(accuracies, splits, rates, losses, arguments.output)

    assert far < 1e-4
    assert alone > 10 * together
    # Every seed says nearly the same; single splits do not.
    assert min(accuracies) > 0.9
    assert max(accuracies) - min(accuracies) < splits.max() - splits.min()
    # In every seed the ends of the sweep are worse than its best rate.
    held_out = losses["val_loss"]
    assert np.all(held_out[:, [0, -1]] > held_out.min(axis=1, keepdims=True))
    assert 1e-3 < best < 0.5
    print("Claims kept: members are as models trained alone, the loop takes more than")
    print("ten times as long, and both ends of the sweep lose to its middle.")
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
