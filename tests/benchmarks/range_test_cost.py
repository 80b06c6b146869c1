"""What does the range test cost, against a plain `fit` over as many steps?

    KERAS_BACKEND=jax python tests/benchmarks/range_test_cost.py

Both sides train the same model on the same batches for the same number of steps, in
turn; the medians of the repetitions are compared. Tracing and compiling are left out:
the test's is what its first step took beyond a later one, a plain `fit` is compiled
before. The claim is a ratio of at most 1.10.
"""

import argparse
import statistics
import time

import keras
import numpy as np

import keras_tricks as kt

STEPS = 378


def model():
    net = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    net.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def plain(net, x, y, batch_size):
    start = time.perf_counter()
    net.fit(x, y, batch_size=batch_size, verbose=0)
    return time.perf_counter() - start


def tested(net, x, y, batch_size):
    # No rate so high that the test would end early.
    curve = kt.probes.find_learning_rate(
        net,
        x,
        y,
        batch_size=batch_size,
        max_learning_rate=10.0,
        stop_at=1e30,
        verbose=0,
    )
    assert len(curve.losses) == STEPS, curve
    return curve.seconds, curve.first_step_seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    size = arguments.batch_size
    random = np.random.default_rng(0)
    # Small inputs do not diverge at a rate of 10; all batches are of one size.
    x = 1e-2 * random.normal(size=(STEPS * size, 64)).astype("float32")
    y = random.integers(0, 10, len(x))
    net = model()
    plain(net, x, y, size)
    tested(net, x, y, size)
    plains, tests, firsts = [], [], []
    for _ in range(arguments.repetitions):
        plains.append(plain(net, x, y, size))
        seconds, first = tested(net, x, y, size)
        firsts.append(first)
        tests.append(seconds - first + seconds / STEPS)
    spread = statistics.quantiles(plains, n=4)
    print(f"backend                {keras.backend.backend()}")
    print(f"plain fit              {statistics.median(plains):.3f} s for {STEPS} steps")
    print(f"  its quartiles        {spread[0]:.3f} .. {spread[2]:.3f} s")
    print(f"range test             {statistics.median(tests):.3f} s after compiling")
    print(f"  to its first step    {statistics.median(firsts):.3f} s (compilation)")
    ratio = statistics.median(tests) / statistics.median(plains)
    print(f"ratio                  {ratio:.3f}")


if __name__ == "__main__":
    main()
