"""Real tasks, small ones: each seed draws its own training and test rows.

Those of scikit-learn come with it; MNIST and sentences are read from the folder that
`--data` names: `mnist/mnist.npz` (the usual file of arrays) and
`sentence_cls/{rt-polarity,custrev}.all` (a label and a tokenised sentence per line).
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets, model_selection, preprocessing

VOCABULARY, LENGTH = 5000, 40
FEW = 8


class Task(NamedTuple):
    """Training and test rows of one seed; `classes` is None for a regression."""

    name: str
    seed: int
    classes: int | None
    x: Any
    y: Any
    x_test: Any
    y_test: Any
    source: Any = None  # of a transfer: other rows, with other classes
    vocabulary: Any = None  # of sentences: the word of each id
    folder: Any = None


def make(name, seed, folder=None):
    """The task of this name, its rows drawn by `seed`; None if its data are absent."""
    load, needed = TASKS[name]
    if needed is None:
        return load(name, seed)
    if folder is None or not (Path(folder) / needed).exists():
        return None
    return load(name, seed, Path(folder))


def _split(name, seed, x, y, rows, classes):
    stratify = None if classes is None else y
    parts = model_selection.train_test_split(
        x, y, train_size=rows, random_state=seed, stratify=stratify
    )
    x, x_test, y, y_test = parts
    return Task(name, seed, classes, x, y, x_test, y_test)


def _images():
    x, y = datasets.load_digits(return_X_y=True)
    return (x / 16.0).astype("float32"), y


def _digits(name, seed):
    return _split(name, seed, *_images(), rows=600, classes=10)


def _table(name, seed):
    load, rows, classes = {
        "breast cancer": (datasets.load_breast_cancer, 200, 2),
        "wine": (datasets.load_wine, 80, 3),
        "diabetes": (datasets.load_diabetes, 220, None),
    }[name]
    x, y = load(return_X_y=True)
    task = _split(name, seed, x, y, rows, classes)
    scaler = preprocessing.StandardScaler().fit(task.x)
    x, x_test = (scaler.transform(p).astype("float32") for p in (task.x, task.x_test))
    task = task._replace(x=x, x_test=x_test)
    if classes is None:
        mean, spread = task.y.mean(), task.y.std()
        y, y_test = (
            ((part - mean) / spread).astype("float32") for part in (task.y, task.y_test)
        )
        task = task._replace(y=y, y_test=y_test)
    return task


def _read_mnist(folder):
    """Images of 14 x 14: means of 2 x 2 points."""
    with np.load(folder / "mnist" / "mnist.npz", allow_pickle=False) as file:
        arrays = [file[n] for n in ("x_train", "y_train", "x_test", "y_test")]
    x, y, x_test, y_test = arrays
    x, x_test = (
        (p.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)) / 255.0)
        .reshape(-1, 196)
        .astype("float32")
        for p in (x, x_test)
    )
    return x, y.astype("int64"), x_test, y_test.astype("int64")


def _mnist(name, seed, folder):
    x, y, x_test, y_test = _read_mnist(folder)
    random = np.random.default_rng(seed)
    rows, held = random.permutation(len(x))[:1000], random.permutation(10_000)[:3000]
    return Task(name, seed, 10, x[rows], y[rows], x_test[held], y_test[held])


def _transfer(name, seed, x, y, rows, tests):
    """Pre-training on the digits 0 to 4; forty images of 5 to 9 to go on with."""
    order = np.random.default_rng(seed).permutation(len(x))
    low, high = order[y[order] < 5], order[y[order] >= 5]
    few = np.concatenate([high[y[high] == digit][:FEW] for digit in range(5, 10)])
    rest = np.setdiff1d(high, few)[:tests]
    source = x[low[:rows]], y[low[:rows]]
    return Task(name, seed, 5, x[few], y[few] - 5, x[rest], y[rest] - 5, source)


def _digits_transfer(name, seed):
    return _transfer(name, seed, *_images(), rows=800, tests=800)


def _mnist_transfer(name, seed, folder):
    x, y, *_ = _read_mnist(folder)
    rows = np.random.default_rng(seed).permutation(len(x))[:6000]
    return _transfer(name, seed, x[rows], y[rows], rows=800, tests=2000)


def _sentences(name, seed, folder):
    file = {"sentence polarity": "rt-polarity.all", "customer reviews": "custrev.all"}
    path = folder / "sentence_cls" / file[name]
    # (`splitlines` would also split at bytes that are no ends of lines here.)
    lines = path.read_text(encoding="latin-1").strip("\n").split("\n")
    labels, texts = zip(*(line.partition(" ")[::2] for line in lines), strict=True)
    train, test, y, y_test = model_selection.train_test_split(
        [text.split() for text in texts],
        np.array(labels, int),
        train_size=1500,
        test_size=2000,
        random_state=seed,
    )
    # The same number of rows in the table for all seeds; 0 is padding, 1 all others.
    counts = Counter(word for words in train for word in words)
    words = [word for word, _ in counts.most_common(VOCABULARY - 2)]
    vocabulary = ["", "[UNK]", *words]
    ids = {word: place for place, word in enumerate(vocabulary)}
    x, x_test = np.zeros((1500, LENGTH), "int32"), np.zeros((2000, LENGTH), "int32")
    for rows, part in ((x, train), (x_test, test)):
        for row, words in zip(rows, part, strict=True):
            # An empty sentence is one unknown word: a mean needs something.
            found = [ids.get(word, 1) for word in words[:LENGTH]] or [1]
            row[: len(found)] = found
    task = Task(name, seed, 2, x, y, x_test, y_test)
    return task._replace(vocabulary=vocabulary, folder=folder)


# Each with the file that it needs in the folder of `--data`.
MNIST = "mnist/mnist.npz"
TASKS = {
    "digits": (_digits, None),
    "breast cancer": (_table, None),
    "wine": (_table, None),
    "diabetes": (_table, None),
    "digits 5 to 9": (_digits_transfer, None),
    "MNIST": (_mnist, MNIST),
    "MNIST 5 to 9": (_mnist_transfer, MNIST),
    "sentence polarity": (_sentences, "sentence_cls/rt-polarity.all"),
    "customer reviews": (_sentences, "sentence_cls/custrev.all"),
}
