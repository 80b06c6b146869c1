"""The rule of SWATS: numbers of one step, made from those of the step before.

Nothing here looks at a number: all are scalars on the device, chosen by `where`.
"""

import dataclasses
import math
from typing import Any

from keras import ops

# What trains: Adam; SGD for the first time; SGD.
ADAM, FIRST_SGD, SGD = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Factors:
    """What one step multiplies by, with gradient g, moments m and a, and weight w.

    m = decay m + gain g;  a = a + mix (g g - a);
    w = w - rate m / (keep sqrt(a) + offset)
    """

    decay: Any
    gain: Any
    mix: Any
    rate: Any
    keep: Any
    offset: Any


@dataclasses.dataclass(frozen=True)
class State:
    """What the rule remembers from step to step, each a scalar."""

    phase: Any
    switch_step: Any
    estimate: Any
    sgd_rate: Any
    rate_at_switch: Any


@dataclasses.dataclass(frozen=True)
class Rule:
    """The settings of SWATS."""

    beta_1: float
    beta_2: float
    epsilon: float
    tolerance: float

    def factors(self, state: State, number: Any, rate: Any) -> Factors:
        """The factors of step `number`, counted from 1, at this learning rate."""
        adam = state.phase == ADAM
        alpha = rate * ops.sqrt(_weight(self.beta_2, number))
        alpha = alpha / _weight(self.beta_1, number)
        sgd = (1 - self.beta_1) * state.sgd_rate * (rate / state.rate_at_switch)
        one, zero = ops.ones_like(rate), ops.zeros_like(rate)
        return Factors(
            # SGD begins with a momentum of zero, not with Adam's.
            decay=ops.where(state.phase == FIRST_SGD, zero, self.beta_1 * one),
            gain=ops.where(adam, (1 - self.beta_1) * one, one),
            mix=ops.where(adam, (1 - self.beta_2) * one, zero),
            rate=ops.where(adam, alpha, sgd),
            keep=ops.where(adam, one, zero),
            offset=ops.where(adam, self.epsilon * one, one),
        )

    def following(
        self, state: State, number: Any, rate: Any, squares: Any, products: Any
    ) -> State:
        """The state after a step p of gradient g, by its p.p and p.g."""
        adam = state.phase == ADAM
        # Without a product, or with one that is not finite, this step says nothing.
        useful = products != 0
        gamma = squares / -ops.where(useful, products, -ops.ones_like(products))
        useful = ops.logical_and(useful, ops.isfinite(gamma))
        useful = ops.logical_and(useful, adam)
        # Not b l + (1 - b) g: in float32 its two weights do not add up to 1.
        moved = state.estimate + (1 - self.beta_2) * (gamma - state.estimate)
        estimate = ops.where(useful, moved, state.estimate)
        corrected = estimate / _weight(self.beta_2, number)
        near = ops.abs(corrected - gamma) < self.tolerance * corrected
        # A negative estimate is near nothing, by the line above.
        switch = ops.logical_and(ops.logical_and(useful, near), number > 1)
        number = ops.cast(number, state.switch_step.dtype)
        begun = ops.where(switch, ops.full_like(state.phase, FIRST_SGD), state.phase)
        return State(
            phase=ops.where(adam, begun, ops.full_like(state.phase, SGD)),
            switch_step=ops.where(switch, number, state.switch_step),
            estimate=estimate,
            sgd_rate=ops.where(switch, corrected, state.sgd_rate),
            rate_at_switch=ops.where(switch, rate, state.rate_at_switch),
        )


def _weight(beta: float, number: Any) -> Any:
    """1 - beta ** number, also where the difference is small."""
    return -ops.expm1(number * (math.log(beta) if beta else -math.inf))
