"""What does a step of LazyAdam cost, against Keras's Adam, by size of the vocabulary?

    KERAS_BACKEND=tensorflow python tests/benchmarks/lazy_adam_cost.py

Each model embeds 32 x 20 random ids in 64 numbers, averages them and has one output.
All are trained by `fit`, with as many steps each, in turn; the medians of the
repetitions are compared. The first `fit` of each is left out and printed apart: it
compiles. The claims:

    TensorFlow, 1,000,000 rows: kt.layers.Embedding at least 20 x faster than Adam, and
        at most 1.3 x its own step at 1,000 rows; keras.layers.Embedding at least 5 x
    PyTorch, 100,000 rows: at least 2 x faster than Adam
    JAX, any size: no slower than Adam
"""

import argparse
import statistics
import time

import keras
import numpy as np

import keras_tricks as kt

BATCH, LENGTH, WIDTH = 32, 20, 64


class Case:
    """A model with its data, and the seconds per step of its repetitions."""

    def __init__(self, layer, optimizer, rows, steps, jit_compile):
        self.model = keras.Sequential(
            [
                keras.Input((LENGTH,), dtype="int32"),
                layer(rows, WIDTH),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(1),
            ]
        )
        self.model.compile(optimizer(1e-3), "mse", jit_compile=jit_compile)
        random = np.random.default_rng(0)
        self.x = random.integers(0, rows, (steps * BATCH, LENGTH)).astype("int32")
        self.y = random.normal(size=(len(self.x), 1)).astype("float32")
        self.steps, self.seconds = steps, []
        start = time.perf_counter()
        self.model.fit(self.x[: 2 * BATCH], self.y[: 2 * BATCH], BATCH, verbose=0)
        self.first = time.perf_counter() - start
        self.train()
        self.seconds.clear()

    def train(self):
        start = time.perf_counter()
        self.model.fit(self.x, self.y, BATCH, verbose=0, shuffle=False)
        self.seconds.append((time.perf_counter() - start) / self.steps)

    def milliseconds(self):
        return 1e3 * statistics.median(self.seconds)


def run(cases, repetitions):
    """Trains all in turn; prints and returns the median of each, in milliseconds."""
    for _ in range(repetitions):
        for case in cases.values():
            case.train()
    for name, case in cases.items():
        low, high = 1e3 * min(case.seconds), 1e3 * max(case.seconds)
        print(
            f"{name:32s} {case.milliseconds():9.3f} ms a step "
            f"({low:.3f} .. {high:.3f}), first fit {case.first:.2f} s"
        )
    return [case.milliseconds() for case in cases.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10**5, 10**6])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--jit-compile", action="store_true")
    arguments = parser.parse_args()
    adam, lazy = keras.optimizers.Adam, kt.optimizers.LazyAdam
    kinds = {
        "Adam, keras.layers.Embedding": (keras.layers.Embedding, adam),
        "LazyAdam, keras.layers.Embedding": (keras.layers.Embedding, lazy),
        "LazyAdam, kt.layers.Embedding": (kt.layers.Embedding, lazy),
    }
    jit_compile = arguments.jit_compile or "auto"
    print(f"backend {keras.backend.backend()}")
    for rows in arguments.rows:
        print(f"\n{rows} rows")
        cases = {
            name: Case(layer, optimizer, rows, arguments.steps, jit_compile)
            for name, (layer, optimizer) in kinds.items()
        }
        plain, theirs, ours = run(cases, arguments.repetitions)
        print(f"faster than Adam  {plain / theirs:.2f} x, {plain / ours:.2f} x")
        del cases
    print("\nby size of the vocabulary, LazyAdam with kt.layers.Embedding")
    # Longer, so that what a `fit` costs apart from its steps does not even them out.
    steps = arguments.steps if ours > 20 else 10 * arguments.steps
    cases = {
        f"{rows} rows": Case(kt.layers.Embedding, lazy, rows, steps, jit_compile)
        for rows in arguments.rows
    }
    smallest, *_, largest = run(cases, 2 * arguments.repetitions)
    print(f"largest to smallest  {largest / smallest:.2f} x")


if __name__ == "__main__":
    main()
