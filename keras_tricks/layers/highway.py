"""A dense layer that can let its input through."""

from typing import Any

import keras
from keras import ops

from keras_tricks.layers._highway import BaseHighway


@keras.saving.register_keras_serializable("keras_tricks")
class Highway(BaseHighway):
    """A dense layer as wide as its input, with a gate that lets the input through.

    When: a stack of more than some ten dense layers that does not train.
    Typical: `activation="relu"` or `"tanh"`; a `transform_bias` of -2 in stacks of
        up to 20 layers, of -4 with 50. One `Dense` before them sets their width.
    Costs: twice the weights and the time of a `Dense` of the same width.
    Beware: the width cannot change. In a shallow network plain layers do as well. With
        the default bias a stack of 50 does not train: its gates, together, are open.

    The output is `H * T + x * (1 - T)`, with the transform `H = activation(x @ kernel +
    bias)` and the gate `T = sigmoid(x @ gate_kernel + gate_bias)`. At the start the
    gate is open by 0.269, 0.119 or 0.047 for a `transform_bias` of -1, -2 or -3.

    The weights are `kernel`, `bias`, `gate_kernel`, `gate_bias`, in this order. The
    first two are those of a `Dense`: `layer.set_weights([*dense.get_weights(), zeros,
    gate_bias])`, with zeros of shape (width, width), makes that `Dense` the transform,
    behind a gate that is open by `sigmoid(gate_bias)` whatever the input.

    Inputs are of shape (batch, ..., width), and so are outputs. A mask is passed on.
    Unlike `Dense` it has no LoRA and no quantization.

    Args:
        activation: Name or function, the activation of the transform. Defaults to None,
            which is linear, as in `Dense`.
        use_bias: Boolean, whether the transform has a bias; the gate always has one.
            Defaults to True.
        kernel_initializer: Initializer of both kernels, which draw different numbers.
            Defaults to "glorot_uniform".
        bias_initializer: Initializer of the transform's bias. Defaults to "zeros".
        kernel_regularizer: Regularizer of each kernel, or None.
        bias_regularizer: Regularizer of each bias, or None. It draws the gate's bias
            too, to 0 as a rule.
        activity_regularizer: Regularizer of the output, or None.
        kernel_constraint: Constraint of each kernel, or None.
        bias_constraint: Constraint of each bias, or None. It holds for the gate's too.
        transform_bias: Float, the gate's bias at the start: the lower, the nearer is
            the layer to its input. From -1e4 to 1e4. Defaults to -2.0.
        **kwargs: As of `keras.layers.Layer`.

    Raises:
        TypeError: If `transform_bias` is not a number.
        ValueError: If `transform_bias` is out of range, or an input's width is unknown.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> layer = kt.layers.Highway(activation="relu", kernel_initializer="zeros")
    >>> print(keras.ops.convert_to_numpy(layer(np.ones((1, 3)))).round(3))
    [[0.881 0.881 0.881]]

    Reference: Srivastava, Greff and Schmidhuber 2015, arXiv 1505.00387.
    """

    _widener = "keras.layers.Dense(width)"

    def _expected(self, axes: dict[int, int]) -> Any:
        return keras.InputSpec(min_ndim=2, axes=axes)

    def _kernel_shape(self, width: int) -> tuple[int, ...]:
        return (width, width)

    def _multiply(self, inputs: Any) -> tuple[Any, Any]:
        # Two products: with kernels joined for one product a training step takes 1.0 to
        # 1.3 of the time. Stored as one they gain below a width of some hundred only.
        return ops.matmul(inputs, self.kernel), ops.matmul(inputs, self.gate_kernel)
