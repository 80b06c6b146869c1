"""What does a step of SWATS cost, against one of Keras's Adam?

    KERAS_BACKEND=jax python tests/benchmarks/swats_cost.py

All sides train the same network on the same batches in `fit`, in turn, and the times of
one round are compared; the compilation is over before. No claim: a price.
"""

import argparse
import functools

import interleaved
import keras
import numpy as np

from keras_tricks.optimizers.swats import SWATS

SIDES = {
    "Adam": lambda: keras.optimizers.Adam(1e-3),
    # Nothing is as near as this: it stays Adam.
    "SWATS as Adam": lambda: SWATS(1e-3, tolerance=1e-300),
    # Almost anything is: it soon is SGD.
    "SWATS as SGD": lambda: SWATS(1e-5, tolerance=0.9),
}


def model(optimizer, width):
    hidden = [keras.layers.Dense(width, activation="relu") for _ in range(9)]
    net = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer, loss)
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    rows = arguments.steps * arguments.batch_size
    x = random.normal(size=(rows, 64)).astype("float32")
    y = random.integers(0, 10, rows)
    models = {side: model(make(), arguments.width) for side, make in SIDES.items()}
    ways = {
        side: functools.partial(net.fit, x, y, arguments.batch_size, verbose=0)
        for side, net in models.items()
    }
    taken = interleaved.seconds(ways, arguments.rounds)
    assert models["SWATS as Adam"].optimizer.switched_at is None
    assert models["SWATS as SGD"].optimizer.switched_at is not None
    print(f"backend {keras.backend.backend()}, {arguments}")
    print(*interleaved.table(taken, "Adam"), sep="\n")


if __name__ == "__main__":
    main()
