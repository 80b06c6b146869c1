"""What do ensembles win, and at what cost?

    KERAS_BACKEND=jax python tests/benchmarks/ensembles_quality.py

One network (two dense layers with BatchNormalization and Dropout, SGD with momentum) in
several ways, each with its cost in trainings of the full length:

- single:      one training, its rate lowered along a cosine
- snapshots:   one training of five cosine cycles, its five ends averaged
- short seeds: five trainings of a fifth of the length, averaged
- SWA:         one training, constant rate from half on, weights averaged at each epoch
- soup:        half a training, gone on with five times from there, weights averaged
               as far as validation rows gain
- seeds:       five full trainings, averaged

Errors and log losses on test rows: the mean over the repetitions, the difference to the
single training of the same repetition (its split, its weights at the start) with an
interval of 95 % by Student's t, and the verdict by that interval. Claim: five seeds
have a lower log loss than one. What else helps is what the table says.

The data are the 8x8 digits of scikit-learn; `--mnist mnist.npz` (the usual file of
arrays) takes 10,000 training images of that file, and its test images.
"""

import argparse
import time

import keras
import numpy as np
from scipy import stats
from sklearn import datasets, metrics, model_selection

import keras_tricks as kt

BATCH, MEMBERS, RATE = 64, 5, 0.05
WAYS = ("single", "snapshots", "short seeds", "SWA", "soup", "seeds")
COSTS = dict(zip(WAYS, (1, 1, 1, 1, 0.5 + MEMBERS / 2, MEMBERS), strict=True))


def digits(seed):
    x, y = datasets.load_digits(return_X_y=True)
    return split((x / 16.0).astype("float32"), y, None, None, seed)


def mnist(path, rows, seed):
    with np.load(path, allow_pickle=False) as file:
        x, y, x_test, y_test = (
            file[name] for name in ("x_train", "y_train", "x_test", "y_test")
        )
    chosen = np.random.default_rng(seed).permutation(len(x))[:rows]
    x, x_test = (
        (part.reshape(len(part), -1) / 255.0).astype("float32")
        for part in (x[chosen], x_test)
    )
    return split(x, y[chosen], x_test, y_test, seed)


def split(x, y, x_test, y_test, seed):
    """Training, validation and test rows."""
    if x_test is None:
        x, x_test, y, y_test = model_selection.train_test_split(
            x, y, test_size=0.3, random_state=seed, stratify=y
        )
    x, x_valid, y, y_valid = model_selection.train_test_split(
        x, y, test_size=0.15, random_state=seed, stratify=y
    )
    return (x, y), (x_valid, y_valid), (x_test, y_test)


def build(inputs, rate, seed):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((inputs,))]
    for _ in range(2):
        layers += [
            keras.layers.Dense(128),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.2),
        ]
    model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9), "sparse_categorical_crossentropy"
    )
    return model


def cosine(steps):
    return keras.optimizers.schedules.CosineDecay(RATE, steps)


class Study:
    """The ways to train, on one split of the data."""

    def __init__(self, data, epochs, seed):
        self.train, self.valid, self.test = data
        self.epochs, self.seed = epochs, seed
        self.inputs = self.train[0].shape[1]
        self.steps = epochs * -(-len(self.train[0]) // BATCH)
        self.seeds = []

    def fit(self, model, epochs, callbacks=()):
        model.fit(
            *self.train, BATCH, epochs=epochs, callbacks=list(callbacks), verbose=0
        )
        return model

    def fresh(self, rate, member=0):
        return build(self.inputs, rate, 100 * self.seed + member)

    def single(self):
        self.seeds = [self.fit(self.fresh(cosine(self.steps)), self.epochs)]
        return self.seeds[0]

    def snapshots(self):
        cycle = self.steps // MEMBERS
        rate = kt.schedules.CosineRestarts(RATE, cycle, t_mul=1.0)
        snapshots = kt.callbacks.Snapshots()
        self.fit(self.fresh(rate), self.epochs, [snapshots])
        return snapshots.ensemble("probabilities")

    def short_seeds(self):
        steps = self.steps // MEMBERS
        models = [
            self.fit(self.fresh(cosine(steps), member), self.epochs // MEMBERS)
            for member in range(MEMBERS)
        ]
        return kt.ensembles.Ensemble(models)

    def swa(self):
        average = kt.callbacks.StochasticWeightAverage(
            start_epoch=self.epochs // 2, recalibrate=self.train[0]
        )
        return self.fit(self.fresh(RATE), self.epochs, [average])

    def soup(self):
        start = self.fit(self.fresh(RATE), self.epochs // 2)
        models = []
        for member in range(MEMBERS):
            model = self.fresh(cosine(self.steps // 2), member)
            model.set_weights(start.get_weights())
            models.append(self.fit(model, self.epochs // 2))
        return kt.ensembles.soup(models, *self.valid, recalibrate=self.train[0])

    def all_seeds(self):
        """Five full trainings; the first of them is the single one."""
        for member in range(1, MEMBERS):
            model = self.fresh(cosine(self.steps), member)
            self.seeds.append(self.fit(model, self.epochs))
        return kt.ensembles.Ensemble(self.seeds)

    def results(self):
        """Error and log loss of each way, in the order of `WAYS`."""
        x, y = self.test
        found = []
        for way in (
            self.single,
            self.snapshots,
            self.short_seeds,
            self.swa,
            self.soup,
            self.all_seeds,
        ):
            answers = way().predict(x, 1000, verbose=0).astype("float64")
            answers /= answers.sum(axis=1, keepdims=True)
            error = np.mean(answers.argmax(axis=1) != y)
            found.append((error, metrics.log_loss(y, answers, labels=range(10))))
        return found


def verdict(difference):
    """The mean difference, half its interval, and what they say; less is better."""
    count = len(difference)
    half = stats.t.ppf(0.975, count - 1) * difference.std(ddof=1) / count**0.5
    mean = difference.mean()
    words = "helps" if mean + half < 0 else "hurts" if mean - half > 0 else "no differ."
    return mean, half, words


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30, help="a multiple of 10")
    parser.add_argument("--mnist", help="path of mnist.npz")
    parser.add_argument("--rows", type=int, default=10_000, help="of MNIST")
    arguments = parser.parse_args()
    started = time.perf_counter()
    print(f"backend {keras.backend.backend()}, {arguments}")
    found = []
    for seed in range(arguments.repetitions):
        data = (
            mnist(arguments.mnist, arguments.rows, seed)
            if arguments.mnist
            else digits(seed)
        )
        found.append(Study(data, arguments.epochs, seed).results())
        print(f"  repetition {seed}: {time.perf_counter() - started:.0f} s", flush=True)
    table = np.array(found)  # (repetitions, ways, 2)
    print(f"{'':12}{'cost':>6}{'test error':>12}{'- single':>18}{'':12}", end="")
    print(f"{'log loss':>10}{'- single':>20}")
    for way, name in enumerate(WAYS):
        error, loss = table[:, way].mean(axis=0)
        line = f"{name:12}{COSTS[name]:6.1f}"
        for value, column, unit in ((error, 0, 100), (loss, 1, 1)):
            line += f"{value * unit:10.2f} %" if unit > 1 else f"{value:10.4f}"
            if way:
                difference = table[:, way, column] - table[:, 0, column]
                mean, half, words = verdict(difference)
                digits_ = 2 if unit > 1 else 4
                line += f"{mean * unit:+9.{digits_}f} +- {half * unit:.{digits_}f}"
                line += f"  {words:10}"
            else:
                line += " " * 30
        print(line)
    print(f"{time.perf_counter() - started:.0f} s")
    mean, half, _ = verdict(table[:, WAYS.index("seeds"), 1] - table[:, 0, 1])
    assert mean + half < 0
    print("Claim kept.")


if __name__ == "__main__":
    main()
