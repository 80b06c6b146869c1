"""Rare words: what Adam does to a word while it is absent, and what LazyAdam does.

    python tutorials/rare_words.py

The task: documents of 20 words, drawn by Zipf's law from a vocabulary of 5,000. Every
word has a hidden weight, and a document's class is the sign of the sum. Two thirds of
the vocabulary are in at most five of the 4,000 training documents. An embedding,
averaged over the document, and one output learn it. Three optimizers train with the
same rate, the same starting weights and the same batches in each seed:

- Adam:             moves every row at every step, by its momentum if nothing else
- LazyAdam:         moves the rows of the batch's words only
- LazyAdam, decay:  the same, and the momentum of a row fades while its word is absent

What to see: most of what Adam does to a rare word it does in batches without that word,
and LazyAdam does nothing there. For the accuracy this makes no difference on this task:
LazyAdam saves work (see `tests/benchmarks/lazy_adam_cost.py`), not errors. With fading
momentum a rare word moves less each time it is seen, so the model learns more slowly,
and less by heart: at this rate and length its test loss is the lowest, but Adam stopped
after two epochs would have been as good.

It prints a table, draws `tutorials/rare_words.png` and checks its own claims. With
`--quick` it makes fewer and shorter trainings, to see that everything runs.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import keras
import matplotlib as mpl
import numpy as np

import keras_tricks as kt

mpl.use("Agg")
from matplotlib import pyplot as plt

VOCABULARY, LENGTH, DOCUMENTS, BATCH = 5000, 20, 4000, 32
RATE = 0.01
# A rare word is in so many of the training documents.
RARE = (2, 5)
OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(RATE),
    "LazyAdam": lambda: kt.optimizers.LazyAdam(RATE),
    "LazyAdam, decay": lambda: kt.optimizers.LazyAdam(RATE, skipped_steps="decay"),
}
COLOURS = dict(zip(OPTIMIZERS, ("tab:red", "tab:blue", "tab:green"), strict=True))


class Run(NamedTuple):
    """What one training left behind."""

    losses: list  # on the test documents, after each epoch
    accuracy: float
    rare_accuracy: float  # on the quarter of them with the most rare words
    absent: float  # share of the rare words' way gone in batches without them
    way: np.ndarray  # of the word that is drawn: distance from its start, by step
    present: np.ndarray  # the steps whose batch has that word


def corpus(seed):
    """Training and test documents with their classes."""
    random = np.random.default_rng(seed)
    frequency = 1.0 / np.arange(1, VOCABULARY + 1)
    weights = random.normal(size=VOCABULARY)

    def documents(count):
        size = (count, LENGTH)
        words = random.choice(VOCABULARY, size, p=frequency / frequency.sum())
        classes = weights[words].sum(axis=1) > 0
        return words.astype("int32"), classes.astype("float32")[:, None]

    return documents(DOCUMENTS), documents(DOCUMENTS)


def build(optimizer, seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            kt.layers.Embedding(VOCABULARY, 16, name="words"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


def train(optimizer, seed, epochs):
    (x, y), (x_test, y_test) = corpus(seed)
    documents = np.zeros(VOCABULARY, int)
    for words in x:
        documents[np.unique(words)] += 1
    rare = np.flatnonzero((documents >= RARE[0]) & (documents <= RARE[1]))
    model = build(optimizer, seed)
    table = model.get_layer("words").embeddings
    random = np.random.default_rng(seed)
    losses, rows, batches = [], [rare_rows(table, rare)], []
    for _ in range(epochs):
        order = random.permutation(DOCUMENTS)
        for batch in np.split(order, DOCUMENTS // BATCH):
            model.train_on_batch(x[batch], y[batch])
            rows.append(rare_rows(table, rare))
            batches.append(np.isin(rare, x[batch]))
        losses.append(model.evaluate(x_test, y_test, 1000, verbose=0)[0])
    right = (model.predict(x_test, 1000, verbose=0) > 0.5) == y_test
    share = (documents[x_test] <= RARE[1]).mean(axis=1)
    rarest = np.argsort(-share, kind="stable")[: DOCUMENTS // 4]
    rows, here = np.array(rows), np.array(batches)
    steps = np.linalg.norm(np.diff(rows, axis=0), axis=-1)
    return Run(
        losses,
        right.mean(),
        right[rarest].mean(),
        steps[~here].sum() / steps.sum(),
        np.linalg.norm(rows[:, 0] - rows[0, 0], axis=-1),
        np.flatnonzero(here[:, 0]),
    )


def rare_rows(table, rare):
    # Indexing copies: on some backends the array is the weights themselves.
    return keras.ops.convert_to_numpy(table)[rare]


def print_table(runs):
    columns = ("test loss", "accuracy", "rare documents", "moved while absent")
    print(f"\n{'':16}" + "".join(f"{column:>20}" for column in columns))
    for name, of_seeds in runs.items():
        values = [
            (r.losses[-1], r.accuracy, r.rare_accuracy, r.absent) for r in of_seeds
        ]
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
        cells = (f"{m:.3f} +- {s:.3f}" for m, s in zip(mean, spread, strict=True))
        print(f"{name:16}" + "".join(f"{cell:>20}" for cell in cells))


def draw(runs, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for step in runs["Adam"][0].present:
        left.axvline(step, color="tab:gray", alpha=0.4, linewidth=1)
    for name, of_seeds in runs.items():
        left.plot(of_seeds[0].way, color=COLOURS[name], label=name)
        losses = np.array([run.losses for run in of_seeds])
        epochs = np.arange(1, losses.shape[1] + 1)
        right.plot(epochs, losses.mean(axis=0), color=COLOURS[name], label=name)
        right.fill_between(
            epochs,
            losses.min(axis=0),
            losses.max(axis=0),
            color=COLOURS[name],
            alpha=0.12,
        )
    left.set(
        xlabel="step (gray: the batch has the word)",
        ylabel="distance from its start",
        title="The row of one rare word",
    )
    right.set(
        xlabel="epoch",
        ylabel="test loss",
        title=f"Mean and range of {len(losses)} seeds",
    )
    right.set_xticks(epochs)
    left.legend(loc="lower right")
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
    epochs, seeds = (3, 2) if arguments.quick else (6, 5)
    started = time.perf_counter()
    print(f"{epochs} epochs, {seeds} seeds each, on {keras.backend.backend()}")
    runs = {name: [] for name in OPTIMIZERS}
    for seed in range(seeds):
        for name, make in OPTIMIZERS.items():
            runs[name].append(train(make(), seed, epochs))
        print(f"  seed {seed} trained", flush=True)
    print_table(runs)
    draw(runs, arguments.output)
    adam, lazy, decay = runs.values()
    assert min(run.absent for run in adam) > 0.5
    assert max(run.absent for run in lazy + decay) == 0
    accuracies = [[run.accuracy for run in of_seeds] for of_seeds in (adam, lazy)]
    assert abs(np.mean(accuracies[0]) - np.mean(accuracies[1])) < 0.02
    if not arguments.quick:
        # Three epochs are too few to learn by heart.
        pairs = zip(adam, decay, strict=True)
        assert all(slow.losses[-1] < fast.losses[-1] for fast, slow in pairs)
    print(f"Claims kept. {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
