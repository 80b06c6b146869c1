"""Many models, one answer: snapshots of one training, seeds, and a classical model.

    python tutorials/ensembles.py

The task: the 8x8 digits of scikit-learn, 300 of them to learn from, 100 to fit weights
on, the rest for the test. The members come in three families:

- snapshots:  a dense network, trained once with warm restarts; the weights at the end
              of each of five cycles
- seeds:      a small convolutional network, trained three times from other weights
- forest:     extremely randomised trees of scikit-learn

And four ways make one answer of them:

- mean:       the probabilities of all members, averaged
- families:   the probabilities of the families, averaged: none rules by its number
- two levels: probabilities inside a family, votes across the families
- blend:      the families' probabilities, with weights fitted on the 100 digits

What to see: inside a family the average is better than its members are, and it costs
only predictions. Across families it matters how: in the mean of all members the family
with most of them rules, whether it is good or not; the vote of the families is better
here. And a fused answer need not beat the best family: the forest is hard to beat on
300 digits, and weights fitted on 100 rows are worse than none.

It prints a table, draws `tutorials/ensembles.png` and checks its own claims. With
`--quick` it makes fewer and shorter trainings, to see that everything runs.
"""

import argparse
import time
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import sklearn.ensemble
from sklearn import datasets, model_selection

import keras_tricks as kt

mpl.use("Agg")
from matplotlib import pyplot as plt

BATCH, CYCLES, SEEDS = 32, 5, 3


def digits(seed):
    """Rows to train on, to fit weights on, and for the test."""
    x, y = datasets.load_digits(return_X_y=True)
    x = (x / 16.0).astype("float32")
    x, x_test, y, y_test = model_selection.train_test_split(
        x, y, train_size=400, random_state=seed, stratify=y
    )
    x, x_held, y, y_held = model_selection.train_test_split(
        x, y, test_size=100, random_state=seed, stratify=y
    )
    return (x, y), (x_held, y_held), (x_test, y_test)


def compiled(layers, optimizer):
    model = keras.Sequential([keras.Input((64,)), *layers])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def dense(rate):
    hidden = [keras.layers.Dense(128, "relu") for _ in range(2)]
    head = keras.layers.Dense(10, "softmax")
    return compiled([*hidden, head], keras.optimizers.SGD(rate, momentum=0.9))


def convolutions():
    layers = [
        keras.layers.Reshape((8, 8, 1)),
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10, "softmax"),
    ]
    return compiled(layers, keras.optimizers.Adam(3e-3))


def snapshots_of(x, y, epochs):
    cycle = epochs * -(-len(x) // BATCH) // CYCLES
    model = dense(kt.schedules.CosineRestarts(0.1, cycle, t_mul=1.0))
    snapshots = kt.callbacks.Snapshots()
    model.fit(x, y, BATCH, epochs=epochs, callbacks=[snapshots], verbose=0)
    return snapshots.models()


def members_of(seed, epochs):
    """Trains the families; also the rows for the weights and those for the test."""
    keras.utils.set_random_seed(seed)
    (x, y), held, test = digits(seed)
    trees = sklearn.ensemble.ExtraTreesClassifier(300, random_state=seed)
    families = {
        "snapshots": snapshots_of(x, y, epochs),
        "seeds": kt.ensembles.train_members(
            convolutions,
            SEEDS,
            x,
            y,
            seeds=seed,
            batch_size=BATCH,
            epochs=epochs,
            verbose=0,
        ),
        "forest": [trees.fit(x, y)],
    }
    return families, held, test


def answers_of(families, held):
    """Each family by itself, and the four ways to fuse all."""
    inside = [
        kt.ensembles.Ensemble(models) if len(models) > 1 else models[0]
        for models in families.values()
    ]
    every = [model for models in families.values() for model in models]
    blend = kt.ensembles.Ensemble(inside)
    blend.fit_weights(*held)
    return {
        "snapshots, averaged": inside[0],
        "seeds, averaged": inside[1],
        "mean of all": kt.ensembles.Ensemble(every),
        "mean of families": kt.ensembles.Ensemble(inside),
        "two levels": kt.ensembles.Ensemble(inside, "vote"),
        "blend": blend,
    }


def error(model, x, y):
    ask = getattr(model, "predict_proba", None) or model.predict
    answers = ask(x) if ask.__name__ == "predict_proba" else ask(x, verbose=0)
    return 100 * np.mean(answers.argmax(axis=1) != y)


def study(seed, epochs):
    """Test error in per cent: of the members by family, and of the fused answers."""
    families, held, test = members_of(seed, epochs)
    alone = {
        name: [error(model, *test) for model in models]
        for name, models in families.items()
    }
    fused = {n: error(model, *test) for n, model in answers_of(families, held).items()}
    return alone, fused


def rows_of(studies):
    """Each line of the table: a name and its error for every seed."""
    alone = {
        f"one of the {name}" if len(errors) > 1 else name: [
            np.mean(alone[name]) for alone, _ in studies
        ]
        for name, errors in studies[0][0].items()
    }
    fused = {name: [f[name] for _, f in studies] for name in studies[0][1]}
    return {name: np.array(values) for name, values in {**alone, **fused}.items()}


def print_table(rows):
    print(f"\n{'test error in %':24}{'mean':>8}{'spread':>8}{'worst':>8}{'best':>8}")
    for name, values in rows.items():
        spread = values.std(ddof=1)
        cells = (values.mean(), spread, values.max(), values.min())
        print(f"{name:24}" + "".join(f"{cell:8.2f}" for cell in cells))


def draw(rows, path):
    alone = len(rows) - 6
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    for place, values in enumerate(rows.values()):
        colour = "tab:gray" if place < alone else "tab:blue"
        axes.scatter(values, [place] * len(values), color=colour, s=18, alpha=0.6)
        axes.scatter(values.mean(), place, color=colour, marker="|", s=400)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set(
        xlabel="test error in %", title="Each seed, and their mean", xlim=(0, None)
    )
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
    epochs, seeds = (10, 2) if arguments.quick else (40, 5)
    started = time.perf_counter()
    print(f"{epochs} epochs, {seeds} seeds, on {keras.backend.backend()}")
    studies = []
    for seed in range(seeds):
        studies.append(study(seed, epochs))
        print(f"  seed {seed} trained", flush=True)
    rows = rows_of(studies)
    print_table(rows)
    draw(rows, arguments.output)
    if not arguments.quick:
        mean = {name: errors.mean() for name, errors in rows.items()}
        for family in ("snapshots", "seeds"):
            assert mean[f"{family}, averaged"] < mean[f"one of the {family}"]
            assert mean["two levels"] < mean[f"{family}, averaged"]
        assert mean["two levels"] < mean["mean of all"]
    print(f"Claims kept. {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
