"""How long does the linter take over ResNet50, with data and without?

    KERAS_BACKEND=jax python tests/benchmarks/lint_speed.py

The first check of a process is timed by itself: it pays for what is compiled or
imported on the way. The claim is one second, for each of them.
"""

import argparse
import statistics
import time

import keras
import numpy as np

from keras_tricks import lint

MOST = 1.0


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    model = keras.applications.ResNet50(weights=None, classes=10)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 1000)
    model.compile(keras.optimizers.AdamW(schedule), "sparse_categorical_crossentropy")
    images = np.random.default_rng(0).random((500, 224, 224, 3), "float32")
    labels = np.arange(500) * 7 % 10
    ways = {
        "model": lambda: lint.check(model),
        "model and 300 MB of images": lambda: lint.check(model, images, labels),
    }
    print(f"backend {keras.backend.backend()}, {arguments}")
    for name, way in ways.items():
        first = seconds(way)
        later = [seconds(way) for _ in range(arguments.rounds)]
        print(
            f"  {name:28} first {1e3 * first:7.1f} ms, "
            f"then {1e3 * statistics.median(later):7.1f} ms"
        )
        assert max(first, *later) < MOST, f"{name}: more than {MOST} s"


if __name__ == "__main__":
    main()
