"""What does `rerun_on_cpu` cost while nothing fails?

    KERAS_BACKEND=jax python tests/benchmarks/rerun_cost.py

The same model trains by `fit` on the same batches, plain and inside the block, in turn;
the ratios are medians of the rounds' ratios, with their quartiles (`interleaved.py`).
Compilation is over before. The claim is at most 1.02 of a step of some milliseconds:
what a step costs more is microseconds, whatever the model, and the copies in host
memory are made so rarely that they are half a percent of the time.
"""

import argparse

import interleaved
import keras
import numpy as np

import keras_tricks as kt


def model_of(width):
    net = keras.Sequential(
        [
            keras.Input((width,)),
            keras.layers.Dense(width, activation="relu"),
            keras.layers.Dense(width, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=256)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    rows = arguments.steps * arguments.batch_size
    x = random.normal(size=(rows, arguments.width)).astype("float32")
    y = random.integers(0, 10, rows)
    given = {"batch_size": arguments.batch_size, "verbose": 0}
    one, other, watched = (model_of(arguments.width) for _ in range(3))

    def inside():
        with kt.debug.rerun_on_cpu(watched):
            watched.fit(x, y, **given)

    ways = {
        "plain": lambda: one.fit(x, y, **given),
        "plain again": lambda: other.fit(x, y, **given),
        "rerun_on_cpu": inside,
    }
    taken = interleaved.seconds(ways, arguments.rounds)
    print(f"backend {keras.backend.backend()}, fits of {arguments.steps} steps")
    for line in interleaved.table(taken, "plain"):
        print(line)


if __name__ == "__main__":
    main()
