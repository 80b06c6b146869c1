"""What does the range test cost, against a plain `fit` over as many steps?

    KERAS_BACKEND=jax python tests/benchmarks/range_test_cost.py

Both sides train the same model on the same batches for the same number of steps, in
turn; the medians of the repetitions are compared. The whole call is timed, with the
copies of the model before and after. Only compilation is left out: what the test's
first step took beyond that of a plain `fit` that was compiled before. The claim is a
ratio of at most 1.10.
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
    """Seconds, and the part of them before the first step was done."""
    first = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: (
            first.append(time.perf_counter()) if batch == 1 else None
        )
    )
    start = time.perf_counter()
    net.fit(x, y, batch_size=batch_size, callbacks=[watch], verbose=0)
    return time.perf_counter() - start, first[0] - start


def tested(net, x, y, batch_size):
    """Seconds, and the part of them before the first step was done."""
    # No loss so high that the test would end early.
    start = time.perf_counter()
    curve = kt.probes.find_learning_rate(
        net, x, y, batch_size=batch_size, stop_at=1e30, verbose=0
    )
    seconds = time.perf_counter() - start
    assert len(curve.losses) == STEPS, curve
    return seconds, curve.first_step_seconds


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
    plains, tests, compilations = [], [], []
    for _ in range(arguments.repetitions):
        seconds, first = plain(net, x, y, size)
        plains.append(seconds)
        seconds, first_of_test = tested(net, x, y, size)
        compilations.append(first_of_test - first)
        tests.append(seconds - compilations[-1])
    low, _, high = statistics.quantiles(plains, n=4)
    ratio = statistics.median(tests) / statistics.median(plains)
    print(f"backend       {keras.backend.backend()}")
    print(f"plain fit     {statistics.median(plains):.3f} s for {STEPS} steps")
    print(f"  quartiles   {low:.3f} .. {high:.3f} s")
    print(f"range test    {statistics.median(tests):.3f} s without compilation")
    print(f"compilation   {statistics.median(compilations):.3f} s")
    print(f"ratio         {ratio:.3f}")


if __name__ == "__main__":
    main()
