"""A two-dimensional convolution that can let its input through."""

import keras

from keras_tricks.layers._highway_conv import BaseHighwayConv


@keras.saving.register_keras_serializable("keras_tricks")
class HighwayConv2D(BaseHighwayConv):
    """A two-dimensional convolution with as many channels as its input, and a gate.

    When: a stack of more than some ten convolutions of one width that does not train,
        and residual connections are not wanted.
    Typical: `kernel_size=3`, `activation="relu"`; a `transform_bias` of -2 in stacks of
        up to 20 layers, lower in deeper ones. One `Conv2D` before them sets the width.
    Costs: twice the weights of a `Conv2D` with as many channels, and about twice its
        time; with 16 channels or fewer both halves are one convolution.
    Beware: width and size cannot change: there are no `filters`, `strides`, `padding`
        or `groups`. A mask is passed on as it is, though a window reads masked
        neighbours too.

    The output is `H * T + x * (1 - T)`, with the transform `H = activation(conv(x,
    kernel) + bias)` and the gate `T = sigmoid(conv(x, gate_kernel) + gate_bias)`, both
    with padding "same". At the start the gate is open by 0.269, 0.119 or 0.047 for a
    `transform_bias` of -1, -2 or -3. The weights are `kernel`, `bias`, `gate_kernel`,
    `gate_bias`, in this order and with the shapes of a `Conv2D`. Unlike that it has no
    LoRA and no quantization.

    Args:
        kernel_size: Integer or pair of integers, the size of the window.
        data_format: "channels_last", for inputs of shape (batch, height, width,
            channels), or "channels_first", for (batch, channels, height, width).
            Defaults to None: Keras's `image_data_format`.
        dilation_rate: Integer or pair of integers, the distance between the window's
            points. Defaults to 1.
        activation: Name or function, the activation of the transform. Defaults to None,
            which is linear, as in `Conv2D`.
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
            the layer to its input. From -1e4 to 1e4. Defaults to -2.
        **kwargs: As of `keras.layers.Layer`.

    Raises:
        TypeError: If `kernel_size`, `dilation_rate` or `transform_bias` is of a wrong
            type.
        ValueError: If one of these is out of range, `data_format` is another word, or
            an input's number of channels is unknown.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> layer = kt.layers.HighwayConv2D(3, kernel_initializer="zeros")
    >>> print(keras.ops.convert_to_numpy(layer(np.ones((1, 1, 2, 3)))).round(3))
    [[[[0.881 0.881 0.881]
       [0.881 0.881 0.881]]]]

    Reference: Srivastava, Greff and Schmidhuber 2015, arXiv 1505.00387.
    """

    rank = 2
    _widener = "keras.layers.Conv2D(filters, 1)"
