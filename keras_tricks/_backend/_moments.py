"""The step of `_backend.moment_step` where it is compiled: JAX and TensorFlow."""

from collections.abc import Callable
from typing import Any

from keras import ops


def maker(dense: Callable[[Any], Any]) -> Callable[..., tuple[Any, Any]]:
    """Makes the function that `_backend` offers; `dense` unpacks a sparse gradient."""

    def moment_step(
        variables: list[Any],
        gradients: list[Any],
        momentums: list[Any],
        velocities: list[Any],
        factors: Any,
    ) -> tuple[Any, Any]:
        """Moves the moments and the variables, all at once.

        Returns:
            The sum of the squares of the steps, and that of steps times gradients.
        """
        squares, products = [], []
        slots = zip(variables, gradients, momentums, velocities, strict=True)
        for variable, gradient, momentum, velocity in slots:
            g = ops.cast(dense(gradient), momentum.dtype)
            old = ops.convert_to_tensor(velocity)
            m = ops.convert_to_tensor(momentum) * factors.decay + g * factors.gain
            a = old + (g * g - old) * factors.mix
            step = -factors.rate * m / (ops.sqrt(a) * factors.keep + factors.offset)
            momentum.assign(m)
            velocity.assign(a)
            weight = ops.cast(ops.convert_to_tensor(variable), momentum.dtype)
            variable.assign(ops.cast(weight + step, variable.dtype))
            squares.append(ops.sum(step * step))
            products.append(ops.sum(step * g))
        return sum(squares), sum(products)

    return moment_step
