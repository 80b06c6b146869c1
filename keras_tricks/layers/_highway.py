"""What the Highway layers share: weights, configuration and the gate's arithmetic."""

import copy
from typing import Any

import keras
import numpy as np
from keras import activations, constraints, initializers, ops, regularizers

from keras_tricks import _arguments

# A sigmoid is 0 or 1 long before; float16 ends at 65,504.
_STEEPEST = 1e4


def carry(inputs: Any, transformed: Any, gate: Any) -> Any:
    """What is transformed where the gate is open, the input itself where it is shut.

    Exact at both ends: `transformed` at a gate of 1, `inputs` at 0.
    """
    return ops.add(
        ops.multiply(transformed, gate), ops.multiply(inputs, ops.subtract(1, gate))
    )


def for_gate(initializer: Any) -> Any:
    """An initializer like this one that draws other numbers.

    Keras's initializers draw the same numbers at each call, with a seed or without. A
    gate that starts as a copy of its transform would open just where that is large.
    """
    seed = getattr(initializer, "seed", None)
    if not isinstance(seed, int):
        # It draws nothing, or anew at each call.
        return initializer
    other = copy.copy(initializer)
    state = np.random.SeedSequence([seed % 2**32, 1]).generate_state(1)
    other.seed = int(state[0]) % 2**31
    return other


class BaseHighway(keras.layers.Layer):
    """A layer whose output is its transformed input, its input, or a mixture.

    A subclass says where the width is, and how inputs and kernel are multiplied.
    """

    def __init__(
        self,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        transform_bias: float = -2.0,
        **kwargs: Any,
    ) -> None:
        if isinstance(activation, int):
            raise TypeError(
                "`activation` must be a name or a function, or None. Received: "
                f"activation={activation!r}; {type(self).__name__} is as wide as its "
                "input, so leave the width out"
            )
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.transform_bias = _arguments.within(
            "transform_bias", transform_bias, -_STEEPEST, _STEEPEST
        )
        self.supports_masking = True
        self.input_spec = self._expected({})

    # What a subclass says -----------------------------------------------------------

    _width_axis = -1
    _widener = ""

    def _kernel_shape(self, width: int) -> tuple[int, ...]:
        raise NotImplementedError

    def _multiply(self, inputs: Any) -> tuple[Any, Any]:
        """The inputs times the kernel, and times the gate's."""
        raise NotImplementedError

    def _expected(self, axes: dict[int, int]) -> Any:
        """The inputs' ranks, with these sizes at these axes."""
        raise NotImplementedError

    # What Keras asks ----------------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        width = input_shape[self._width_axis]
        if width is None:
            raise ValueError(
                f"`input_shape` must have a known width, at axis {self._width_axis}: "
                f"the output of {type(self).__name__} is as wide as its input. "
                f"Received: input_shape={tuple(input_shape)!r}; give the width in "
                f"keras.Input, or set it by {self._widener} before this layer"
            )
        self.kernel = self._add_kernel("kernel", width, self.kernel_initializer)
        self.bias = None
        if self.use_bias:
            self.bias = self._add_bias("bias", width, self.bias_initializer)
        gate_initializer = for_gate(self.kernel_initializer)
        self.gate_kernel = self._add_kernel("gate_kernel", width, gate_initializer)
        gate_bias = initializers.Constant(self.transform_bias)
        self.gate_bias = self._add_bias("gate_bias", width, gate_bias)
        self.input_spec = self._expected({self._width_axis: width})
        self.built = True

    def _add_kernel(self, name: str, width: int, initializer: Any) -> Any:
        return self.add_weight(
            name=name,
            shape=self._kernel_shape(width),
            initializer=initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def _add_bias(self, name: str, width: int, initializer: Any) -> Any:
        return self.add_weight(
            name=name,
            shape=(width,),
            initializer=initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def call(self, inputs: Any) -> Any:
        """Returns a tensor of the inputs' shape."""
        transformed, gate = self._multiply(inputs)
        if self.bias is not None:
            transformed = ops.add(transformed, self._along_width(self.bias))
        if self.activation is not None:
            transformed = self.activation(transformed)
        gate = ops.sigmoid(ops.add(gate, self._along_width(self.gate_bias)))
        return carry(inputs, transformed, gate)

    def _along_width(self, bias: Any) -> Any:
        """A bias that is added at the axis of the width."""
        return bias

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the inputs' shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            activation=activations.serialize(self.activation),
            use_bias=self.use_bias,
            kernel_initializer=initializers.serialize(self.kernel_initializer),
            bias_initializer=initializers.serialize(self.bias_initializer),
            kernel_regularizer=regularizers.serialize(self.kernel_regularizer),
            bias_regularizer=regularizers.serialize(self.bias_regularizer),
            activity_regularizer=regularizers.serialize(self.activity_regularizer),
            kernel_constraint=constraints.serialize(self.kernel_constraint),
            bias_constraint=constraints.serialize(self.bias_constraint),
            transform_bias=self.transform_bias,
        )
        return config
