"""The optimizer of one member as a pure function of its state."""

import re
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

# Each element of a weight is updated by itself: one long vector does as well.
_ELEMENTWISE = (
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.Adamax,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
    keras.optimizers.Lion,
    keras.optimizers.Ftrl,
)
# Not the classes of Keras themselves: on PyTorch the public name makes another class.
_SEPARABLE = (*(kind.__name__ for kind in _ELEMENTWISE), "Lamb", "Adafactor")


class _MemberRate(LearningRateSchedule):
    """The rate of the member whose step is being traced."""

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule
        # Set for the length of a trace.
        self.factor: Any = None

    def __call__(self, step: Any) -> Any:
        if self.schedule is None:
            return self.factor
        rate = self.schedule(step)
        return rate if self.factor is None else rate * self.factor

    def get_config(self) -> dict[str, Any]:
        return {"schedule": self.schedule}


class _Pure:
    """Makes an optimizer assign to Keras variables alone, which a scope can hold."""

    # Of the optimizer that this is mixed into.
    weight_decay: Any
    learning_rate: Any
    update_step: Any
    _use_weight_decay: Any
    iterations: Any
    beta_1: Any
    _u_product: Any

    def assign(self, variable: Any, value: Any) -> None:
        variable.assign(value)

    def assign_add(self, variable: Any, value: Any) -> None:
        variable.assign(variable.value + ops.cast(value, variable.dtype))

    def assign_sub(self, variable: Any, value: Any) -> None:
        variable.assign(variable.value - ops.cast(value, variable.dtype))

    def _var_key(self, variable: Any) -> int:
        return id(variable)

    def _backend_update_step(self, grads: Any, variables: Any, rate: Any) -> None:
        if isinstance(self, keras.optimizers.Nadam):
            self._move_product()
        for gradient, variable in zip(grads, variables, strict=True):
            self.update_step(gradient, variable, rate)

    def _move_product(self) -> None:
        # The one thing that an optimizer of Keras does once a step for all weights;
        # what would do it on PyTorch moves all weights at once, past the scope.
        product = self._u_product
        step = ops.cast(self.iterations + 1, product.dtype)
        momentum = self.beta_1 * (1.0 - 0.5 * ops.power(0.96, step))
        product.assign(product.value * momentum)

    def _apply_weight_decay(self, variables: Any) -> None:
        if self.weight_decay is None:
            return
        for variable in variables:
            if self._use_weight_decay(variable):
                rate = ops.cast(self.learning_rate, variable.dtype)
                decay = ops.cast(self.weight_decay, variable.dtype)
                variable.assign(variable.value - variable.value * decay * rate)


def check(optimizer: Any) -> None:
    """Refuses what cannot be kept apart for every member."""
    kind = type(optimizer)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or (
        optimizer.loss_scale_factor is not None
    ):
        raise ValueError(
            "`optimizer` must not scale the loss: one scale would be shared by all "
            f"members. Received: {kind.__name__}; compile with auto_scale_loss=False"
        )
    for name in ("gradient_accumulation_steps", "use_ema"):
        if getattr(optimizer, name, None):
            raise ValueError(
                f"`optimizer` must not have `{name}`, which is not kept apart for "
                f"every member. Received: {kind.__name__}({name}="
                f"{getattr(optimizer, name)}); leave it out"
            )
    if kind.__name__ not in _SEPARABLE or not kind.__module__.startswith("keras."):
        raise ValueError(
            "`optimizer` must be one that can be kept apart for every member: Keras's "
            f"{', '.join(_SEPARABLE)}. Received: {kind.__name__}; train them one "
            "after the other, or take another optimizer"
        )


class MemberOptimizer:
    """The update of one member.

    Built on the template's weights, or on all of them as one long vector where that
    gives the same update: the fewer operations, the sooner it is compiled and run.
    """

    def __init__(self, optimizer: Any, weights: list[Any]) -> None:
        config = optimizer.get_config()
        given = config["learning_rate"]
        # The config of a schedule; a plain rate is an input of each step.
        self.scheduled = isinstance(given, dict)
        if self.scheduled:
            given = keras.saving.deserialize_keras_object(given)
        self._rate = _MemberRate(given if self.scheduled else None)
        pure = type(type(optimizer).__name__, (_Pure, type(optimizer)), {})
        self._optimizer = pure(**{**config, "learning_rate": self._rate})
        _copy_exclusions(optimizer, self._optimizer)
        self.flat = _may_be_flat(optimizer, weights)
        self._weights = weights
        if self.flat:
            size = sum(_size(v) for v in weights)
            self._weights = [
                keras.Variable(
                    initializer="zeros", shape=(size,), dtype=weights[0].dtype
                )
            ]
        self._optimizer.build(self._weights)
        self.decay = self._optimizer.weight_decay

    @property
    def variables(self) -> list[Any]:
        """The slots and counters that every member has."""
        return self._optimizer.variables

    @property
    def slot_names(self) -> list[str]:
        """What each slot is, whatever the weights are called."""
        prefixes = [v.path.replace("/", "_") for v in self._weights]
        return [_bare(variable.name, prefixes) for variable in self.variables]

    @property
    def shapes(self) -> list[Any]:
        """The shapes of what is updated: the weights, or the one long vector."""
        return [tuple(v.shape) for v in self._weights]

    def apply(
        self, weights: Any, gradients: Any, slots: Any, rate: Any, decay: Any
    ) -> tuple[list[Any], list[Any]]:
        """New weights and slots. `rate` and `decay` are None where all share one."""
        mapping = [
            *zip(self._weights, weights, strict=True),
            *zip(self.variables, slots, strict=True),
        ]
        self._rate.factor = rate
        self._optimizer.weight_decay = self.decay if decay is None else decay
        try:
            with keras.StatelessScope(state_mapping=mapping) as scope:
                self._optimizer.apply(gradients)
            moved = [scope.get_current_value(v) for v in self._weights]
            kept = [scope.get_current_value(v) for v in self.variables]
        finally:
            self._rate.factor, self._optimizer.weight_decay = None, self.decay
        return moved, kept


def _may_be_flat(optimizer: Any, weights: list[Any]) -> bool:
    return (
        type(optimizer).__name__ in _SEPARABLE[: len(_ELEMENTWISE)]
        and not optimizer.clipnorm
        and not getattr(optimizer, "_exclude_from_weight_decay", None)
        and not getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
        and len({str(v.dtype) for v in weights}) == 1
        and all(v.constraint is None for v in weights)
        and not any(getattr(v, "overwrite_with_gradient", False) for v in weights)
    )


def _copy_exclusions(old: Any, new: Any) -> None:
    # The template's variables are the same, and so are their names and ids.
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))


def _size(variable: Any) -> int:
    size = 1
    for length in variable.shape:
        size *= int(length)
    return size


def _bare(name: str, prefixes: list[str]) -> str:
    for prefix in sorted(prefixes, key=len, reverse=True):
        if name.startswith(prefix):
            return name[len(prefix) :]
    # Keras numbers what has no name.
    return re.sub(r"_?\d+$", "", name)
