"""A network among scikit-learn's estimators: pipeline, grid search, voting, stacking.

    python tutorials/sklearn_pipeline.py

The task: the breast cancer table of scikit-learn, 569 patients with 30 measurements of
very different sizes. Half of them are for the test, drawn anew for each seed.

- network:    `KerasClassifier` behind a StandardScaler in a pipeline; the width and the
              learning rate of the network are parameters like any other, chosen by
              `GridSearchCV` on the training half alone
- unscaled:   the same network without the scaler
- logistic:   logistic regression, scaled
- forest:     300 trees
- voting:     the mean of the probabilities of network, logistic and forest,
              by `VotingClassifier(voting="soft")`
- stacking:   a logistic regression on their out-of-fold probabilities, by
              `StackingClassifier`

What to see: a network is an estimator like the others here: it is cloned, searched,
pickled, blended. Scaling matters to it, and belongs into the pipeline, where each fold
fits its own. On such a small table it is no better than logistic regression is; and
the vote of three different models is more sure of itself with reason: its log loss is
below the mean of its members' in every seed.

It prints a table, draws `tutorials/sklearn_pipeline.png` and checks its own claims.
With `--quick` it makes fewer and shorter trainings, to see that everything runs.
"""

import argparse
import time
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_tricks as kt

mpl.use("Agg")
from matplotlib import pyplot as plt

WIDTHS, RATES = (8, 64), (1e-3, 1e-2)
MEMBERS = ("network", "logistic", "forest")


def build(units=64):
    model = keras.Sequential(
        [
            keras.Input((30,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    return model


def searched(x, y, epochs, seed):
    """The pipeline with the width and the rate that are best in three folds."""
    network = kt.wrappers.KerasClassifier(
        build, epochs=epochs, batch_size=32, random_state=seed
    )
    grid = {
        "kerasclassifier__build__units": WIDTHS,
        "kerasclassifier__optimizer__learning_rate": RATES,
    }
    pipeline = make_pipeline(StandardScaler(), network)
    return GridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(x, y)


def fitted(x, y, search, seed):
    """All estimators, trained on the same rows."""
    members = {
        "network": search.best_estimator_,
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": RandomForestClassifier(300, random_state=seed),
    }
    both = {
        "voting": VotingClassifier([*members.items()], voting="soft"),
        "stacking": StackingClassifier([*members.items()], cv=3),
    }
    unscaled = clone(search.best_estimator_[-1])
    # The search has trained the first one already.
    rest = {"unscaled": unscaled, **members, **both}
    del rest["network"]
    return {
        "network": members["network"],
        **{name: estimator.fit(x, y) for name, estimator in rest.items()},
    }


def study(seed, epochs):
    """Test error in per cent and log loss of each, and the search."""
    x, y = load_breast_cancer(return_X_y=True)
    # The names: labels need not be numbers.
    y = np.array(["malignant", "benign"])[y]
    x, x_test, y, y_test = train_test_split(
        x.astype("float32"), y, test_size=0.5, random_state=seed, stratify=y
    )
    search = searched(x, y, epochs, seed)
    estimators = fitted(x, y, search, seed)
    errors = {n: 100 * (1 - e.score(x_test, y_test)) for n, e in estimators.items()}
    losses = {
        name: log_loss(y_test, estimator.predict_proba(x_test))
        for name, estimator in estimators.items()
    }
    return errors, losses, search


def table_of(studies, place):
    return {
        name: np.array([study[place][name] for study in studies])
        for name in studies[0][place]
    }


def print_table(errors, losses):
    heads = f"{'error, %':>10}{'spread':>8}{'log loss':>10}{'spread':>8}{'worst':>8}"
    print(f"\n{'on the test half':18}{heads}")
    for name, error in errors.items():
        loss = losses[name]
        print(
            f"{name:18}{error.mean():10.2f}{error.std(ddof=1):8.2f}"
            f"{loss.mean():10.3f}{loss.std(ddof=1):8.3f}{loss.max():8.3f}"
        )


def print_search(studies):
    print(f"\n{'units':>6}{'rate':>8}{'log loss in the folds':>24}{'chosen':>8}")
    for place, setting in enumerate(studies[0][2].cv_results_["params"]):
        scores = [-s.cv_results_["mean_test_score"][place] for _, _, s in studies]
        chosen = sum(search.best_index_ == place for _, _, search in studies)
        units, rate = setting.values()
        print(f"{units:6}{rate:8.0e}{np.mean(scores):24.3f}{chosen:8}")


def draw(errors, losses, path):
    figure, both = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    kinds = {"voting": "tab:blue", "stacking": "tab:blue", "network": "tab:orange"}
    for axes, table, label in zip(
        both, (errors, losses), ("test error in %", "test log loss"), strict=True
    ):
        # Without the scaler it would hide what the others differ by.
        shown = {name: values for name, values in table.items() if name != "unscaled"}
        for place, (name, values) in enumerate(shown.items()):
            colour = kinds.get(name, "tab:gray")
            axes.scatter(values, [place] * len(values), color=colour, s=18, alpha=0.6)
            axes.scatter(values.mean(), place, color=colour, marker="|", s=400)
        axes.set_yticks(range(len(shown)), shown)
        axes.invert_yaxis()
        axes.set(xlabel=label, xlim=(0, None), title="Each seed, and their mean")
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
    epochs, seeds = (3, 2) if arguments.quick else (20, 5)
    begun = time.perf_counter()
    print(f"{epochs} epochs, {seeds} seeds, on {keras.backend.backend()}")
    studies = []
    for seed in range(seeds):
        studies.append(study(seed, epochs))
        print(f"  seed {seed}: {studies[-1][2].best_params_}", flush=True)
    errors, losses = table_of(studies, 0), table_of(studies, 1)
    print_table(errors, losses)
    print_search(studies)
    draw(errors, losses, arguments.output)

    # The convexity of the log loss makes it so.
    assert np.all(losses["voting"] < np.mean([losses[m] for m in MEMBERS], axis=0))
    if not arguments.quick:
        # The spread over the seeds is about 0.7 %.
        assert errors["network"].mean() < errors["logistic"].mean() + 1
        assert losses["unscaled"].mean() > 2 * losses["network"].mean()
        worst = max(losses[member].mean() for member in MEMBERS)
        for name in ("voting", "stacking"):
            assert losses[name].mean() < worst
    print("Claims kept: the vote has a lower log loss than its members on average, and")
    print("the network needs its scaler.")
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
