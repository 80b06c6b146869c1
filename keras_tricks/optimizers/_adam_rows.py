"""Adam's step for some rows of a table: arithmetic only."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class AdamStep:
    """One step of Adam, numbered from 1, with what it depends on."""

    number: Any
    learning_rate: Any
    beta_1: float
    beta_2: float
    epsilon: float
    weight_decay: float | None

    def rows(
        self,
        gradient: Any,
        old: Mapping[str, Any],
        chosen: Callable[[Any, Any], Any],
    ) -> dict[str, Any]:
        """The rows after this step: "weight", "momentum", "velocity" and, if given,
        "velocity_hat" (AMSGrad) and "last_step", the step of each row's last gradient.

        With "last_step" the moments first decay by the steps that a row has missed,
        as if its gradient had been zero in them. Every new value goes through
        `chosen(new, old)`, each before the next is made of it: so XLA needs one loop.
        """
        weight = old["weight"]
        gradient = ops.cast(gradient, weight.dtype)
        momentum, velocity = old["momentum"], old["velocity"]
        new = {}
        if "last_step" in old:
            last_step = old["last_step"]
            number = ops.cast(self.number, last_step.dtype)
            shape = (-1,) + (1,) * (len(weight.shape) - 1)
            missed = ops.reshape(number - 1 - last_step, shape)
            momentum = momentum * self._power(self.beta_1, missed, weight.dtype)
            velocity = velocity * self._power(self.beta_2, missed, weight.dtype)
            new["last_step"] = chosen(ops.zeros_like(last_step) + number, last_step)
        momentum = momentum + (gradient - momentum) * (1 - self.beta_1)
        velocity = velocity + (gradient * gradient - velocity) * (1 - self.beta_2)
        new["momentum"] = momentum = chosen(momentum, old["momentum"])
        new["velocity"] = velocity = chosen(velocity, old["velocity"])
        if "velocity_hat" in old:
            velocity = chosen(
                ops.maximum(old["velocity_hat"], velocity), old["velocity_hat"]
            )
            new["velocity_hat"] = velocity
        rate, alpha = self._rates(weight.dtype)
        kept = weight
        if self.weight_decay is not None:
            kept = weight - weight * self.weight_decay * rate
        step = momentum * alpha / (ops.sqrt(velocity) + self.epsilon)
        new["weight"] = chosen(kept - step, weight)
        return new

    def _rates(self, dtype: Any) -> tuple[Any, Any]:
        """The learning rate, and the one corrected for moments that began at zero."""
        wide = _wide(dtype)
        rate = ops.cast(self.learning_rate, wide)
        first = 1 - self._power(self.beta_1, self.number, wide)
        second = 1 - self._power(self.beta_2, self.number, wide)
        return ops.cast(rate, dtype), ops.cast(rate * ops.sqrt(second) / first, dtype)

    def _power(self, beta: float, exponent: Any, dtype: Any) -> Any:
        wide = _wide(dtype)
        power = ops.power(ops.cast(beta, wide), ops.cast(exponent, wide))
        return ops.cast(power, dtype)


def _wide(dtype: Any) -> Any:
    """Single precision at least: in half, 0.999 may be 1, and nothing ever moves."""
    return keras.backend.result_type(keras.backend.standardize_dtype(dtype), "float32")
