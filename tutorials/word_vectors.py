"""Word vectors: what they give a classifier that has few labelled texts.

    python tutorials/word_vectors.py

The task: sentences of 12 words from an invented language of 2,000 words. A sentence is
about one of eight topics, and it praises or it blames: a third of the words are used
mostly for the one or for the other, and which they are nobody says. There are 20,000
sentences without labels, and 40, 160, 640 or 2,560 with them. The large corpus gives
word vectors (how often words meet, as positive pointwise mutual information, and its
singular vectors), which are written to a word2vec file. A small classifier, an
embedding averaged over the sentence, 32 hidden units and one output, starts from

- default:      rows drawn as Keras draws them
- noise:        rows drawn with a spread of 1, the scale of `vectors`
- as they are:  `kt.initializers.WordVectors` with `scale=None`, here a spread of 0.2
- vectors:      `kt.initializers.WordVectors`, scaled to a spread of 1

and each start trains on the same sentences, in the same order, in each seed.

What to see: with few labels many words of a new sentence were never seen with one. The
default leaves them where they were drawn, and the vectors have them close to words that
were. With many labels all words are known, and less than half of the gain is left. The
scale matters as much as the vectors: next to small rows, Adam's steps soon drown what
the vectors knew; and large rows that know nothing are worse than small ones. The
vocabulary must be that of the large corpus, not that of the labelled sentences, or the
words that gain most have no row.

Two caveats: this language was made so that words which meet share a polarity, and in
real ones "good" meets "bad" as well, so that less is gained; and the vectors come from
sentences of the same kind as those that are classified.

It prints a table, draws `tutorials/word_vectors.png` and checks its own claims. With
`--quick` it makes fewer trainings, to see that everything runs.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import keras
import matplotlib as mpl
import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

import keras_tricks as kt

mpl.use("Agg")
from matplotlib import pyplot as plt

VOCABULARY, LENGTH, TOPICS, WIDTH = 2000, 12, 8, 32
UNLABELLED, TEST, BATCH, STEPS, RATE = 20_000, 2000, 20, 256, 0.01
# The number of labelled sentences, by its place, that the right picture shows.
SHOWN = 0
WORDS = [f"word{i}" for i in range(VOCABULARY)]
COLOURS = {
    "default": "tab:gray",
    "noise": "tab:brown",
    "as they are": "tab:orange",
    "vectors": "tab:blue",
}


class Language(NamedTuple):
    """How often a word comes, what it is about, and what it says."""

    frequency: np.ndarray
    topic: np.ndarray
    polarity: np.ndarray  # -1, 0 or 1


def language(random):
    polarity = random.choice([-1, 0, 0, 0, 0, 1], VOCABULARY)
    topic = random.integers(0, TOPICS, VOCABULARY)
    return Language(1 / np.arange(10, VOCABULARY + 10), topic, polarity)


def sentences(language, count, random):
    """Sentences as numbers of words, and what they say, 0 or 1."""
    praise = random.integers(0, 2, count)
    about = random.integers(0, TOPICS, count)
    words = np.empty((count, LENGTH), "int32")
    for topic in range(TOPICS):
        for side in (0, 1):
            weight = language.frequency * np.where(language.topic == topic, 6.0, 1.0)
            weight = weight * np.exp(language.polarity * (0.8 if side else -0.8))
            rows = (about == topic) & (praise == side)
            size = (rows.sum(), LENGTH)
            words[rows] = random.choice(VOCABULARY, size, p=weight / weight.sum())
    return words, praise.astype("float32")[:, None]


def derive_vectors(words, seed):
    """Positive pointwise mutual information of words in a sentence, and its SVD."""
    rows = np.repeat(np.arange(len(words)), LENGTH)
    ones = np.ones(words.size, "float32")
    shape = (len(words), VOCABULARY)
    bags = sparse.csr_array((ones, (rows, words.ravel())), shape=shape)
    together = (bags.T @ bags).toarray()
    np.fill_diagonal(together, 0)
    alone = together.sum(axis=1, keepdims=True)
    expected = np.maximum(alone * alone.T / together.sum(), 1e-9)
    information = np.log(np.maximum(together / expected, 1.0))
    left, values, _ = randomized_svd(information, WIDTH, random_state=seed)
    return left * np.sqrt(values)


def write_word2vec(path, vectors, seen):
    """A word2vec text file of the words that the corpus has."""
    lines = [
        f"{WORDS[i]} " + " ".join(f"{number:.5f}" for number in vectors[i])
        for i in np.flatnonzero(seen)
    ]
    path.write_text("\n".join([f"{len(lines)} {WIDTH}", *lines, ""]), encoding="utf-8")


def starts(path, seed):
    """The initializers by name."""
    vectors = kt.initializers.WordVectors
    return {
        "default": "uniform",
        "noise": keras.initializers.RandomNormal(stddev=1.0, seed=seed),
        "as they are": vectors(path, WORDS, scale=None, seed=seed),
        "vectors": vectors(path, WORDS, seed=seed),
    }


def train(start, x, y, test, seed):
    """Which of the test sentences the trained classifier gets right."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            keras.layers.Embedding(VOCABULARY, WIDTH, embeddings_initializer=start),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(RATE), "binary_crossentropy")
    # All epochs in one `fit` of one epoch: with 40 sentences they are very short.
    random = np.random.default_rng(seed)
    epochs = STEPS * BATCH // len(x)
    order = np.concatenate([random.permutation(len(x)) for _ in range(epochs)])
    model.fit(x[order], y[order], BATCH, shuffle=False, verbose=0)
    found = keras.ops.convert_to_numpy(model(test[0]))
    return ((found > 0.5) == test[1])[:, 0]


def run(seed, sizes):
    """What is right, by start and number of labels; the words without a label."""
    random = np.random.default_rng(seed)
    spoken = language(random)
    corpus, _ = sentences(spoken, UNLABELLED, random)
    x, y = sentences(spoken, max(sizes), random)
    test = sentences(spoken, TEST, random)
    unknown = np.array([~np.isin(test[0], x[:size]) for size in sizes]).sum(axis=-1)
    seen = np.bincount(corpus.ravel(), minlength=VOCABULARY) > 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.txt"
        write_word2vec(path, derive_vectors(corpus, seed), seen)
        made = starts(path, seed)
        right = {
            name: [train(start, x[:n], y[:n], test, seed) for n in sizes]
            for name, start in made.items()
        }
    print(f"  seed {seed}: {made['vectors'].coverage}".splitlines()[0], flush=True)
    return {name: np.array(values) for name, values in right.items()}, unknown


def accuracies(runs):
    """By start: a row for each seed, a column for each number of labels."""
    return {name: np.array([r[name].mean(axis=1) for r, _ in runs]) for name in COLOURS}


def print_table(runs, sizes):
    print("\nAccuracy on new sentences, mean and standard deviation over the seeds")
    print(f"{'labelled sentences':24}" + "".join(f"{size:>18}" for size in sizes))
    shares = np.mean([unknown.mean(axis=1) for _, unknown in runs], axis=0) / LENGTH
    print(f"{'words without a label':24}" + "".join(f"{s:>18.1%}" for s in shares))
    for name, values in accuracies(runs).items():
        mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
        cells = (f"{m:.3f} +- {s:.3f}" for m, s in zip(mean, spread, strict=True))
        print(f"{name:24}" + "".join(f"{cell:>18}" for cell in cells))


def draw(runs, sizes, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, values in accuracies(runs).items():
        band = (values.min(axis=0), values.max(axis=0))
        left.plot(sizes, values.mean(axis=0), "o-", color=COLOURS[name], label=name)
        left.fill_between(sizes, *band, color=COLOURS[name], alpha=0.12)
        unknown = np.concatenate([counts[SHOWN] for _, counts in runs])
        found = np.concatenate([r[name][SHOWN] for r, _ in runs])
        counts, members = np.unique(unknown, return_counts=True)
        counts = counts[members >= 100]
        means = [found[unknown == count].mean() for count in counts]
        right.plot(counts, means, "o-", color=COLOURS[name], label=name)
    left.set(
        xscale="log",
        xlabel="labelled sentences",
        ylabel="accuracy on new sentences",
        title=f"Mean and range of {len(runs)} seeds",
    )
    left.set_xticks(sizes, sizes)
    left.minorticks_off()
    right.set(
        xlabel=f"words without a label, of {LENGTH}",
        ylabel="accuracy on such sentences",
        title=f"After {sizes[SHOWN]} labelled sentences",
    )
    left.legend(loc="lower right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=80)
    print(f"\nThe picture is {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer trainings")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_suffix(".png")
    )
    arguments = parser.parse_args()
    sizes, seeds = ((40,), 2) if arguments.quick else ((40, 160, 640, 2560), 5)
    started = time.perf_counter()
    print(f"{seeds} seeds, on {keras.backend.backend()}")
    runs = [run(seed, sizes) for seed in range(seeds)]
    print_table(runs, sizes)
    draw(runs, sizes, arguments.output)
    found = accuracies(runs)
    gain = found["vectors"] - found["default"]
    print("\nThe least gain by the vectors:", gain.min(axis=0).round(3))
    # With few labels, in each seed; random rows of the same scale do not give it.
    assert gain[:, :2].min() > 0.02
    assert (found["noise"] < found["default"])[:, :2].all()
    assert (found["vectors"] > found["as they are"])[:, :2].all()
    if not arguments.quick:
        assert gain[:, -1].mean() < 0.5 * gain[:, 0].mean()
    print(f"Claims kept. {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
