"""SWATS: Adam that turns into SGD by itself, at a rate that it has found."""

import dataclasses
from typing import Any

import keras
from keras import ops

from keras_tricks import _arguments, _backend
from keras_tricks.optimizers import _swats


@keras.saving.register_keras_serializable("keras_tricks")
class SWATS(keras.optimizers.Optimizer):
    """Adam at first; SGD with momentum once the rate that SGD needs has settled.

    When: you want Adam's start and SGD's generalisation, without choosing the epoch and
        the second learning rate yourself.
    Typical: the defaults; a learning rate as for Adam.
    Costs: as Adam in memory, before and after the switch; in time a step
        of an MLP takes 1.06 to 1.13 times as long as Adam's.
    Beware: the moment depends on chance and on `tolerance`. Look at `switched_at` when
        the training ends; it is None if SGD never took over.

    At each step Adam's update p of all parameters, as one vector, is compared with
    the gradient g: SGD would have to move at the rate gamma = p.p / -p.g to go as far
    in p's direction. When the running mean of gamma, corrected for its start, and
    gamma itself agree to `tolerance`, SGD takes over with that mean as its rate.

    After the switch a step is w -= (1 - beta_1) rate v with v = beta_1 v + g, which
    starts at zero. Its rate is `sgd_learning_rate` times the current `learning_rate`
    over the `learning_rate` at the switch: schedules and callbacks go on to scale it.
    Weight decay (decoupled, as in AdamW) is what it was. With
    `gradient_accumulation_steps` all steps are counted in updates.

    - `switched_at`: the number of steps that Adam made, None before the switch.
    - `sgd_learning_rate`: the rate that was found, None before.

    Read both between epochs; they are saved with the model.

    Args:
        learning_rate: Float or schedule, of Adam. Defaults to 0.001.
        beta_1: Float in [0, 1), decay of the mean gradient, then SGD's momentum.
        beta_2: Float in [0, 1), decay of the mean square, and of the mean of gamma.
        epsilon: Float, added to the root of the mean square. Defaults to 1e-9, as in
            the paper.
        tolerance: Float in (0, 1), the relative difference of gamma and its mean at
            which SGD takes over. The smaller, the later: of six trainings of 1,640
            steps on small images 1e-3 switched five, after 102 to 413 steps, 1e-4 one.
            The paper's 1e-9 is absolute and below what float32 resolves; under 1e-5
            rounding decides. Defaults to 1e-3.
        name: String, name of the optimizer.
        **kwargs: As of every Keras optimizer: `weight_decay`, `clipnorm`, `clipvalue`,
            `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor`, `gradient_accumulation_steps`.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If an argument is out of its range; when the model is trained by
            several replicas of a `tf.distribute` strategy.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> optimizer = kt.optimizers.SWATS(0.1)
    >>> weight = keras.Variable([1.0, 1.0])
    >>> optimizer.build([weight])
    >>> for step in range(3):  # one gradient, so its rate is clear at once
    ...     optimizer.apply([keras.ops.convert_to_tensor([2.0, 2.0])])
    >>> optimizer.switched_at, round(optimizer.sgd_learning_rate, 4)
    (2, 0.05)

    Reference: Keskar and Socher 2017, arXiv 1712.07628, algorithm 1.
    """

    # One rate is found for all parameters: who updates them in groups breaks it.
    needs_all_variables_at_once = True

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-9,
        tolerance: float = 1e-3,
        name: str = "swats",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = _arguments.within("beta_1", beta_1, 0, 1, open_high=True)
        self.beta_2 = _arguments.within("beta_2", beta_2, 0, 1, open_high=True)
        self.epsilon = _arguments.not_negative("epsilon", epsilon)
        self.tolerance = _arguments.within(
            "tolerance", tolerance, 0, 1, open_low=True, open_high=True
        )

    @property
    def switched_at(self) -> int | None:
        """The number of steps that Adam made before SGD took over, or None."""
        step = int(_number(self._switch_step)) if self.built else 0
        return step or None

    @property
    def sgd_learning_rate(self) -> float | None:
        """The rate of SGD at the switch, or None."""
        return float(_number(self._sgd_rate)) if self.switched_at else None

    def build(self, variables: Any) -> None:
        if self.built:
            return
        if (count := _backend.replicas()) > 1:
            raise ValueError(
                "SWATS must see the gradient of the whole batch, so it works on one "
                f"replica only. Received: a strategy with {count} replicas; use "
                "keras.optimizers.Adam with keras_tricks.callbacks.SwitchOptimizer"
            )
        super().build(variables)
        kinds = [keras.backend.standardize_dtype(v.dtype) for v in variables]
        # Squares of gradients and their means do not fit into 16 bits.
        self._kind = "float64" if "float64" in kinds else "float32"
        self._momentums = [self._slot(v, "momentum") for v in variables]
        self._velocities = [self._slot(v, "velocity") for v in variables]
        self._phase = self._scalar("phase", "int", "zeros")
        self._switch_step = self._scalar("switch_step", "int", "zeros")
        self._estimate = self._scalar("estimate", self._kind, "zeros")
        self._sgd_rate = self._scalar("sgd_rate", self._kind, "zeros")
        self._rate_at_switch = self._scalar("rate_at_switch", self._kind, "ones")

    def _scalar(self, name: str, dtype: str, initializer: str) -> Any:
        return self.add_variable((), initializer, dtype, name=name)

    def _slot(self, variable: Any, name: str) -> Any:
        if self._overwrite_variable_with_gradient(variable):
            return None
        if keras.backend.standardize_dtype(variable.dtype) == self._kind:
            return self.add_variable_from_reference(variable, name)
        path = getattr(variable, "path", variable.name).replace("/", "_")
        return self.add_variable(
            variable.shape, dtype=self._kind, name=f"{path}_{name}"
        )

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        # The hook that sees all variables at once: `update_step` is given one.
        rule = _swats.Rule(self.beta_1, self.beta_2, self.epsilon, self.tolerance)
        names = [field.name for field in dataclasses.fields(_swats.State)]
        state = _swats.State(
            **{name: ops.convert_to_tensor(getattr(self, f"_{name}")) for name in names}
        )
        number = ops.cast(self.iterations, self._kind) + 1
        rate = ops.cast(learning_rate, self._kind)
        indices = [self._get_variable_index(v) for v in trainable_variables]
        squares, products = _backend.moment_step(
            trainable_variables,
            grads,
            [self._momentums[index] for index in indices],
            [self._velocities[index] for index in indices],
            rule.factors(state, number, rate),
        )
        following = rule.following(state, number, rate, squares, products)
        for name in names:
            getattr(self, f"_{name}").assign(getattr(following, name))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "tolerance": self.tolerance,
        }


def _number(variable: Any) -> Any:
    return ops.convert_to_numpy(variable.value)
