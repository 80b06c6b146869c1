"""What does a step of LazyAdam cost, against Keras's Adam, by size of the vocabulary?

    KERAS_BACKEND=tensorflow python tests/benchmarks/lazy_adam_cost.py

Each model embeds 32 x 20 random ids in 64 numbers, averages them and has one output.
All are trained by `fit`, with as many steps each, in turn, and the times of one round
are compared; the compilation is over before. The claims:

    TensorFlow, 1,000,000 rows: kt.layers.Embedding at least 20 x faster than Adam, and
        at most 1.3 x its own step at 1,000 rows; keras.layers.Embedding at least 5 x
    PyTorch, 100,000 rows: at least 2 x faster than Adam
    JAX, any size: no slower than Adam
"""

import argparse
import functools

import interleaved
import keras
import numpy as np

import keras_tricks as kt

BATCH, LENGTH, WIDTH = 32, 20, 64
ADAM, LAZY = keras.optimizers.Adam, kt.optimizers.LazyAdam
KINDS = {
    "Adam, keras.layers.Embedding": (keras.layers.Embedding, ADAM),
    "LazyAdam, keras.layers.Embedding": (keras.layers.Embedding, LAZY),
    "LazyAdam, kt.layers.Embedding": (kt.layers.Embedding, LAZY),
}


def training(layer, optimizer, rows, steps, jit_compile):
    """A `fit` of so many steps of a new model, to be called again and again."""
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            layer(rows, WIDTH),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer(1e-3), "mse", jit_compile=jit_compile)
    random = np.random.default_rng(0)
    x = random.integers(0, rows, (steps * BATCH, LENGTH)).astype("int32")
    y = random.normal(size=(len(x), 1)).astype("float32")
    return functools.partial(model.fit, x, y, BATCH, verbose=0, shuffle=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10**5, 10**6])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jit-compile", action="store_true")
    arguments = parser.parse_args()
    jit_compile = arguments.jit_compile or "auto"
    print(f"backend {keras.backend.backend()}, {arguments.steps} steps")
    for rows in arguments.rows:
        ways = {
            name: training(layer, optimizer, rows, arguments.steps, jit_compile)
            for name, (layer, optimizer) in KINDS.items()
        }
        taken = interleaved.seconds(ways, arguments.rounds)
        adam, theirs, ours = taken.values()
        print(f"{rows} rows")
        print(*interleaved.table(taken, "Adam, keras.layers.Embedding"), sep="\n")
        for layer, values in {"Keras's": theirs, "our": ours}.items():
            times = "{:.2f} x ({:.2f} .. {:.2f})".format(
                *interleaved.ratio(adam, values)
            )
            print(f"  faster than Adam with {layer} layer {times}")
    # Longer, so that what a `fit` costs apart from its steps does not even them out.
    steps = 10 * arguments.steps
    print(f"by size of the vocabulary, LazyAdam, kt.layers.Embedding, {steps} steps")
    ways = {
        f"{rows} rows": training(kt.layers.Embedding, LAZY, rows, steps, jit_compile)
        for rows in arguments.rows
    }
    taken = interleaved.seconds(ways, 2 * arguments.rounds)
    print(*interleaved.table(taken, f"{arguments.rows[0]} rows"), sep="\n")


if __name__ == "__main__":
    main()
