"""Is one product for transform and gate faster than two?

    KERAS_BACKEND=jax python tests/benchmarks/highway_cost.py

Stacks of dense layers of 50, 256 and 1,024 units and of 3x3 convolutions with 8, 16 and
32 channels train in `fit`, in turn, in three forms:

- two products:  a kernel for the transform and one for the gate
- joined:        the two are joined at each step, for one product
- stored joined: one variable holds both

The layers take the first for dense layers and above 16 channels, the second up to 16.
No claim: the reason.
"""

import argparse
import functools

import interleaved
import keras
import numpy as np
from keras import ops

from keras_tricks.layers import _highway
from keras_tricks.layers._highway_conv import BaseHighwayConv
from keras_tricks.layers.highway import Highway
from keras_tricks.layers.highway_conv2d import HighwayConv2D


class Joined:
    """One product of kernels that are joined at each step."""

    def _multiply(self, inputs):
        both = ops.concatenate([self.kernel, self.gate_kernel], axis=-1)
        return ops.split(self.product(inputs, both), 2, axis=-1)


class Stored(Joined):
    """One product of kernels that are stored as one, and so are the biases."""

    def build(self, input_shape):
        width = input_shape[-1]
        shape = (*self._kernel_shape(width)[:-1], 2 * width)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform")
        self.bias = self.add_weight(shape=(2 * width,), initializer="zeros")

    def call(self, inputs):
        both = self.product(inputs, self.kernel) + self.bias
        transformed, gate = ops.split(both, 2, axis=-1)
        return _highway.carry(inputs, self.activation(transformed), ops.sigmoid(gate))


class Two:
    """Two products."""

    def _multiply(self, inputs):
        kernels = (self.kernel, self.gate_kernel)
        return [self.product(inputs, kernel) for kernel in kernels]


FORMS = {"two products": Two, "joined": Joined, "stored joined": Stored}


def layer(form, convolution):
    base = HighwayConv2D if convolution else Highway
    product = BaseHighwayConv._convolve if convolution else staticmethod(ops.matmul)
    kind = type("Form", (FORMS[form], base), {"product": product})
    return kind(3, activation="relu") if convolution else kind("relu")


def model(form, width, convolution):
    hidden = [layer(form, convolution) for _ in range(3 if convolution else 8)]
    pooling = [keras.layers.GlobalAveragePooling2D()] if convolution else []
    shape = (14, 14, width) if convolution else (width,)
    net = keras.Sequential(
        [keras.Input(shape), *hidden, *pooling, keras.layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(1e-3), loss)
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dense", nargs="*", type=int, default=[50, 256, 1024])
    parser.add_argument("--channels", nargs="*", type=int, default=[8, 16, 32])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    print(f"backend {keras.backend.backend()}, {arguments}")
    random = np.random.default_rng(0)
    rows = arguments.steps * arguments.batch_size
    cases = [(width, False) for width in arguments.dense]
    cases += [(width, True) for width in arguments.channels]
    for width, convolution in cases:
        models = {form: model(form, width, convolution) for form in FORMS}
        x = random.normal(size=(rows, *models["joined"].input_shape[1:]))
        y = random.integers(0, 10, rows)
        ways = {
            form: functools.partial(
                net.fit, x.astype("float32"), y, arguments.batch_size, verbose=0
            )
            for form, net in models.items()
        }
        print("channels" if convolution else "units", width)
        taken = interleaved.seconds(ways, arguments.rounds)
        print(*interleaved.table(taken, "two products"), sep="\n", flush=True)


if __name__ == "__main__":
    main()
