"""Before you train: an hour of looking that saves a day of training.

    python tutorials/before_you_train.py

The task: 569 tumours of scikit-learn's breast cancer data, 30 raw measurements each, a
network of three hidden layers. It was written as one writes it the first time: sigmoid
in the hidden layers, inputs as they come (one runs to 4,254, another to 0.4), and
Keras's usual rate of plain SGD. Nothing fails. It just hardly learns. Four looks:

- lint:       what the tuning guide says about model and data, before any training
- monitors:   what two epochs tell of its units and gradients
- range test: which rate suits the mended model
- pilot:      what a full training will cost and give, from parts of the data

Then both are trained in earnest, as often as there are seeds, each with other held-out
tumours.

What to see: the linter names the two mistakes without a step of training, and the
activation monitor shows what they do. The interval that the pilot gives holds what the
trainings then reach. It is wide, and the pilot says so: of 400 rows a tenth is too few
to tell much. Nor is a pilot cheap beside so short a training, as its summary says.

It prints a table, draws `tutorials/before_you_train.png` and checks its own claims.
With `--quick` it makes fewer trainings, to see that everything runs.
"""

import argparse
import time
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import keras_tricks as kt

mpl.use("Agg")
from matplotlib import pyplot as plt

BATCH_SIZE = 16
EPOCHS = 10
COLOURS = {"first draft": "tab:red", "looked at": "tab:blue"}
# Sigmoids in hidden layers, and inputs that are not scaled.
MISTAKES = {"KT101", "KT402"}


def tumours(seed):
    x, y = load_breast_cancer(return_X_y=True)
    return train_test_split(
        x.astype("float32"), y, test_size=0.3, random_state=seed, stratify=y
    )


def scaled(x, like):
    return (x - like.mean(axis=0)) / like.std(axis=0)


def build(activation, learning_rate, seed):
    keras.utils.set_random_seed(seed)
    # What suits the activation: the linter would ask for that next (KT102).
    initializer = "he_normal" if activation == "relu" else "glorot_uniform"
    hidden = [
        keras.layers.Dense(
            32, activation, kernel_initializer=initializer, name=f"hidden_{i}"
        )
        for i in (1, 2, 3)
    ]
    output = keras.layers.Dense(1, activation="sigmoid", name="output")
    model = keras.Sequential([keras.Input((30,)), *hidden, output])
    optimizer = keras.optimizers.SGD(learning_rate)
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


def monitored(model, x, y, epochs):
    gradients = kt.callbacks.GradientMonitor()
    activations = kt.callbacks.ActivationMonitor(x[:128])
    model.fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=0,
        callbacks=[gradients, activations],
    )
    return gradients, activations


def train(rate, seeds):
    """Test accuracies of both, one per seed."""
    accuracies = {name: [] for name in COLOURS}
    for seed in range(seeds):
        x, x_test, y, y_test = tumours(seed)
        ways = {
            "first draft": (build("sigmoid", 0.01, seed), x, x_test),
            "looked at": (build("relu", rate, seed), scaled(x, x), scaled(x_test, x)),
        }
        for name, (model, inputs, test) in ways.items():
            model.fit(inputs, y, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
            found = model.evaluate(test, y_test, verbose=0, return_dict=True)
            accuracies[name].append(found["accuracy"])
    return {name: np.array(values) for name, values in accuracies.items()}


def print_table(accuracies):
    print(f"\n{'test accuracy':14}{'mean':>8}{'lowest':>8}{'highest':>9}")
    for name, values in accuracies.items():
        print(f"{name:14}{values.mean():8.3f}{values.min():8.3f}{values.max():9.3f}")


def draw(activations, gradients, curve, forecast, accuracies, path):
    figure, axes = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    activations.plot(axes[0, 0])
    gradients.plot(axes[0, 1])
    curve.plot(axes[1, 0])
    ax = forecast.plot(axes[1, 1], "accuracy")
    for name, values in accuracies.items():
        # Side by side, where all data are.
        ax.plot(
            np.full(len(values), 1.1 * forecast.rows),
            values,
            "_",
            ms=12,
            color=COLOURS[name],
            label=f"{name}, trained",
        )
    ax.legend(fontsize="small", loc="lower left")
    figure.savefig(path, dpi=65)
    print(f"\nThe picture is {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer trainings")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_suffix(".png")
    )
    arguments = parser.parse_args()
    seeds = 2 if arguments.quick else 5
    started = time.perf_counter()
    x, _, y, _ = tumours(0)
    settings = {"batch_size": BATCH_SIZE, "epochs": EPOCHS}

    print(f"1. The linter, on {keras.backend.backend()}")
    draft = build("sigmoid", 0.01, seed=0)
    report = kt.lint.check(draft, x, y, **settings)
    print(report)
    inputs = scaled(x, x)
    mended = build("relu", 0.01, seed=0)
    after = kt.lint.check(mended, inputs, y, **settings)
    print("With ReLU, He initialization and scaled inputs:", after)

    print("\n2. The monitors, two epochs of the first draft")
    gradients, activations = monitored(draft, x, y, epochs=2)
    print(activations.summary())
    print(f"90 % of its gradients are below {gradients.suggest_global_clipnorm():.2g}")

    print("\n3. The range test, on the mended model")
    curve = kt.probes.find_learning_rate(
        mended, inputs, y, batch_size=BATCH_SIZE, seed=0
    )
    print(curve)
    rate = curve.suggestion

    print("\n4. The pilot")
    forecast = kt.probes.pilot_run(
        lambda seed: build("relu", rate, seed),
        inputs,
        y,
        fractions=(0.1, 0.3),
        metrics="accuracy",
        seed=0,
        **settings,
    )
    print(forecast.summary())

    accuracies = train(rate, seeds)
    print_table(accuracies)
    draw(activations, gradients, curve, forecast, accuracies, arguments.output)

    assert {finding.code for finding in report} >= MISTAKES
    assert all(finding.severity == "info" for finding in after)
    assert activations.seen[-1]["hidden_1"].saturated > 0.5
    assert curve.verdict == "clear", curve.reason
    assert np.all(accuracies["looked at"] > accuracies["first draft"] + 0.2)
    found = forecast.metrics["accuracy"]
    assert found.low < accuracies["looked at"].mean() < found.high
    print("Claims kept: the linter names both mistakes before a step of training, the")
    print(
        "monitor sees the first layer saturated; mended, each seed is 20 points better,"
    )
    print("and the mean is inside the interval that the pilot gave.")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
