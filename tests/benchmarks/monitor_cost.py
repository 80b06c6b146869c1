"""What does a step cost with a monitor, against a plain one?

    KERAS_BACKEND=jax python tests/benchmarks/monitor_cost.py

The same model trains in turns, plain and with each callback; the epochs of one round
are compared, the first epoch of each `fit` is left out. The claim: `GradientMonitor`
costs at most 10 % of a step of 5 ms or more. "plain again" shows the noise.
"""

import argparse
import gc

import interleaved
import keras
import numpy as np
from keras import layers

import keras_tricks as kt

STEPS = 20


def dense(width):
    body = [layers.Dense(width, activation="relu") for _ in range(6)]
    return (256,), body


def convolutional(width):
    body = []
    for index in range(3):
        body += [
            layers.Conv2D(width >> (4 - index), 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
        ]
    return (32, 32, 3), [*body, layers.Flatten()]


MODELS = {"dense": dense, "convolutional": convolutional}


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.start = interleaved.time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if epoch:
            self.seconds.append(interleaved.time.perf_counter() - self.start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="dense")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=9)
    arguments = parser.parse_args()
    shape, body = MODELS[arguments.model](arguments.width)
    head = layers.Dense(10, activation="softmax")
    model = keras.Sequential([keras.Input(shape), *body, head])
    model.compile("adam", "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    x = random.normal(size=(STEPS * arguments.batch_size, *shape)).astype("float32")
    y = random.integers(0, 10, len(x))
    callbacks = {
        "plain": [],
        "plain again": [],
        "GradientMonitor()": [kt.callbacks.GradientMonitor()],
        "GradientMonitor(every=10)": [kt.callbacks.GradientMonitor(every=10)],
        "ActivationMonitor(x[:256])": [kt.callbacks.ActivationMonitor(x[:256])],
    }
    times = {name: [] for name in callbacks}
    names = list(callbacks)
    for turn in range(arguments.repetitions + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            clock = Clock()
            clock.seconds = []
            gc.collect()
            model.fit(
                x,
                y,
                batch_size=arguments.batch_size,
                epochs=3,
                callbacks=[*callbacks[name], clock],
                verbose=0,
            )
            if turn:
                times[name].append(min(clock.seconds) / STEPS)
    print(
        f"backend {keras.backend.backend()}, {arguments.model}, "
        f"{model.count_params():,} weights; per step"
    )
    print(*interleaved.table(times, "plain"), sep="\n")


if __name__ == "__main__":
    main()
