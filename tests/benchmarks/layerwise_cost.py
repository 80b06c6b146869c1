"""What does a layer-wise step cost, against the plain optimizer and MultiOptimizer?

    KERAS_BACKEND=jax python tests/benchmarks/layerwise_cost.py

All sides train the same network on the same batches in `fit`, in turn; the medians of
the repetitions are compared, and the compilation is over before. Claims: at most 1.05
times the plain optimizer, and no more than MultiOptimizer with one optimizer per group.
"""

import argparse
import statistics
import time

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
    parser.add_argument("--repetitions", type=int, default=25)
    parser.add_argument("--steps", type=int, default=100)
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
        sides = {
            "plain": make(1e-3),
            "layer-wise": layerwise(make(1e-3), GROUPS),
            "one frozen": layerwise(make(1e-3), {**GROUPS, "low.*": 0.0}),
            "MultiOptimizer": multi(make, 1e-3),
        }
        models = {side: model(o, arguments.width) for side, o in sides.items()}
        seconds = {side: [] for side in sides}
        for repetition in range(-1, arguments.repetitions):
            for side, net in models.items():
                start = time.perf_counter()
                net.fit(x, y, batch_size=arguments.batch_size, verbose=0)
                if repetition >= 0:
                    seconds[side].append(time.perf_counter() - start)
        plain = seconds["plain"]
        low, _, high = statistics.quantiles(plain, n=4)
        spread = f"{low / statistics.median(plain):.2f} to "
        spread += f"{high / statistics.median(plain):.2f}"
        print(
            f"{name}: plain step {1e3 * statistics.median(plain) / arguments.steps:.3f}"
        )
        print(f"  quartiles of plain: {spread}")
        for side, values in seconds.items():
            ratio = statistics.median(values) / statistics.median(plain)
            print(f"  {side:15} {ratio:.3f}")


if __name__ == "__main__":
    main()
