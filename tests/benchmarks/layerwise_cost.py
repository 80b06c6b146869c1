"""What does a layer-wise step cost, against the plain optimizer and MultiOptimizer?

    KERAS_BACKEND=jax python tests/benchmarks/layerwise_cost.py

All sides train the same network on the same batches in `fit`, in turn, and the times of
one round are compared; the compilation is over before. Claims: at most 1.05 times the
plain optimizer, and no more than MultiOptimizer with one optimizer per group. The plain
optimizer takes part twice: its second ratio says how exact the others are.
"""

import argparse
import functools

import interleaved
import keras
import numpy as np

import keras_tricks as kt

GROUPS = {"low.*": 0.1, "middle.*": 0.3, "high.*": 1.0}
OPTIMIZERS = {
    "AdamW": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.01),
    "SGD": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
}


def model(optimizer, width):
    hidden = [
        keras.layers.Dense(width, activation="relu", name=f"{group}_{i}")
        for group in ("low", "middle", "high")
        for i in range(3)
    ]
    net = keras.Sequential(
        [keras.Input((64,)), *hidden, keras.layers.Dense(10, name="high_head")]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer, loss)
    return net


def multi(make, rate):
    own = {group: make(rate * factor) for group, factor in GROUPS.items()}

    def choose(variable):
        layer = variable.path.split("/")[-2]
        return own[f"{layer.split('_')[0]}.*"]

    return keras.optimizers.MultiOptimizer(choose)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    rows = arguments.steps * arguments.batch_size
    x = random.normal(size=(rows, 64)).astype("float32")
    y = random.integers(0, 10, rows)
    print(f"backend {keras.backend.backend()}, {arguments}")
    for name, make in OPTIMIZERS.items():
        layerwise = kt.optimizers.LayerwiseLearningRate
        optimizers = {
            "plain": make(1e-3),
            "plain again": make(1e-3),
            "layer-wise": layerwise(make(1e-3), GROUPS),
            "one group frozen": layerwise(make(1e-3), {**GROUPS, "low.*": 0.0}),
            "MultiOptimizer": multi(make, 1e-3),
        }
        ways = {}
        for side, optimizer in optimizers.items():
            fit = model(optimizer, arguments.width).fit
            ways[side] = functools.partial(fit, x, y, arguments.batch_size, verbose=0)
        taken = interleaved.seconds(ways, arguments.rounds)
        print(f"{name}, {arguments.steps} steps")
        print(*interleaved.table(taken, "plain"), sep="\n")
        of_multi = interleaved.ratio(taken["layer-wise"], taken["MultiOptimizer"])
        print(
            "  layer-wise to MultiOptimizer {:.3f} ({:.3f} .. {:.3f})".format(*of_multi)
        )


if __name__ == "__main__":
    main()
