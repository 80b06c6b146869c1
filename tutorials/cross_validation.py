"""Cross-validation: what to believe of a score, and what else the folds are good for.

    python tutorials/cross_validation.py

The task: the 8x8 digits of scikit-learn, and only 300 of them to learn from. The other
1497 play the part that the world plays otherwise: they say how good the models really
are, and nothing is chosen by them. Three ways to know it from the 300 alone:

- one fold:       hold out a fifth once, as one often does, and train on the rest
- five folds:     hold out each fifth in turn; the mean of the five scores
- leave-one-out:  hold out each digit in turn; 300 models, trained as one program

A score is off if it differs from what its own models reach on the 1497. And what the
five models are good for afterwards, on the 1497:

- a fold's model: each of the five
- refit:          one model, trained on all 300 for as long as was best in the folds
- ensemble:       the five models' mean, `result.ensemble()`

What to see: one fold of 60 digits is off by several per cent, up or down, and nothing
in it says which. The mean of five is nearer, and its standard error says how near to
expect it. Leave-one-out costs 300 trainings and is about as good; where its models are
one program they take no longer than a handful in turn. The ensemble comes for nothing,
and is better than the model of a fold. A table like this one also shows what a gain
must exceed to be one.

It prints a table, draws `tutorials/cross_validation.png` and checks its own claims.
With `--quick` it makes fewer and shorter trainings, to see that everything runs.
"""

import argparse
import time
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import LeaveOneOut, train_test_split

import keras_tricks as kt

mpl.use("Agg")
from matplotlib import pyplot as plt

ROWS, BATCH_SIZE = 300, 32
ESTIMATES = ("one fold", "five folds", "leave-one-out")


def build():
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    return model


def digits(seed):
    """300 rows to learn from, and the rest."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    return train_test_split(x, y, train_size=ROWS, random_state=seed, stratify=y)


def accuracy(answers, y):
    """In per cent."""
    return 100 * np.mean(answers.argmax(axis=1) == y)


def log_loss(answers, y):
    return -np.mean(np.log(np.maximum(answers[np.arange(len(y)), y], 1e-7)))


def validated(x, y, cv, epochs, seed):
    started = time.perf_counter()
    result = kt.model_selection.cross_validate(
        build, x, y, cv=cv, epochs=epochs, batch_size=BATCH_SIZE, seed=seed, verbose=0
    )
    return result, time.perf_counter() - started


def study(seed, epochs):
    """One draw of 300 rows: what the scores say, and what is true."""
    x, x_rest, y, y_rest = digits(seed)
    five, seconds = validated(x, y, 5, epochs, seed)
    single, seconds_single = validated(x, y, LeaveOneOut(), epochs, seed)

    answers = [model.predict(x_rest, verbose=0) for model in five.models]
    true = np.array([accuracy(each, y_rest) for each in answers])
    said = 100 * five.scores["accuracy"].folds
    # Not all 300 of them: every thirtieth is enough to know their mean.
    some = [model.predict(x_rest, verbose=0) for model in single.models[::30]]
    others = {
        "a fold's model": answers,
        "refit": [five.refit().predict(x_rest, verbose=0)],
        "ensemble": [five.ensemble().predict(x_rest, verbose=0)],
    }
    return {
        "said": {
            "one fold": said,
            "five folds": [said.mean()],
            "leave-one-out": [accuracy(single.out_of_fold, y)],
        },
        "off": {
            "one fold": said - true,
            "five folds": [said.mean() - true.mean()],
            "leave-one-out": [
                accuracy(single.out_of_fold, y)
                - np.mean([accuracy(each, y_rest) for each in some])
            ],
        },
        "error": 100 * five.scores["accuracy"].standard_error,
        "seconds": (seconds / 5, seconds, seconds_single),
        "accuracy": {
            name: np.mean([accuracy(one, y_rest) for one in each])
            for name, each in others.items()
        },
        "log loss": {
            name: np.mean([log_loss(one, y_rest) for one in each])
            for name, each in others.items()
        },
        "result": five,
    }


def gathered(studies, what, name):
    return np.concatenate([np.atleast_1d(study[what][name]) for study in studies])


def print_table(studies):
    print(f"\n{'':16}{'says, %':>9}{'off by, rms':>13}{'at most':>9}{'seconds':>9}")
    for place, name in enumerate(ESTIMATES):
        said, off = (gathered(studies, what, name) for what in ("said", "off"))
        seconds = np.median([study["seconds"][place] for study in studies])
        print(
            f"{name:16}{said.mean():9.1f}{root_mean_square(off):13.2f}"
            f"{np.abs(off).max():9.2f}{seconds:9.1f}"
        )
    error = np.mean([study["error"] for study in studies])
    print(f"the standard error that five folds give: {error:.2f}")
    print(
        f"\n{'on the rest':16}{'accuracy':>9}{'spread':>8}{'log loss':>10}{'spread':>8}"
    )
    for name in studies[0]["accuracy"]:
        right, loss = (gathered(studies, w, name) for w in ("accuracy", "log loss"))
        print(
            f"{name:16}{right.mean():9.2f}{right.std(ddof=1):8.2f}"
            f"{loss.mean():10.3f}{loss.std(ddof=1):8.3f}"
        )


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


def draw(studies, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for place, name in enumerate(ESTIMATES):
        off = gathered(studies, "off", name)
        left.scatter(off, [place] * len(off), color="tab:blue", s=22, alpha=0.5)
        both = root_mean_square(off) * np.array([-1, 1])
        left.plot(both, [place + 0.2] * 2, color="tab:orange", linewidth=3)
    left.axvline(0, color="tab:gray", linewidth=1)
    left.set_yticks(range(3), ESTIMATES)
    left.invert_yaxis()
    left.set(
        xlabel="score minus what is true, in % of the digits",
        title="Each seed, and the root mean square",
    )
    studies[0]["result"].plot(right)
    right.set(title="The five folds of the first seed", yscale="log")
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
    epochs, seeds = (8, 2) if arguments.quick else (30, 5)
    begun = time.perf_counter()
    print(f"{epochs} epochs, {seeds} seeds, on {keras.backend.backend()}")
    studies = []
    for seed in range(seeds):
        studies.append(study(seed, epochs))
        print(f"  seed {seed}: {studies[-1]['result']}", flush=True)
    print_table(studies)
    draw(studies, arguments.output)

    # The convexity of the log loss makes it so, in every seed.
    for one in studies:
        assert one["log loss"]["ensemble"] <= one["log loss"]["a fold's model"]
    off = {name: root_mean_square(gathered(studies, "off", name)) for name in ESTIMATES}
    if not arguments.quick:
        assert off["five folds"] < 0.8 * off["one fold"]
        assert off["leave-one-out"] < 0.8 * off["one fold"]
        accuracies = [study["accuracy"] for study in studies]
        gains = [each["ensemble"] - each["a fold's model"] for each in accuracies]
        assert np.mean(gains) > 0
    print("Claims kept: five folds and leave-one-out are nearer to the truth than one")
    print("fold, and the ensemble of the folds is better than the model of one.")
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
