"""Layer-wise rates: each layer's learning rate is the shared rate times a number."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _arguments, _backend, _owner
from keras_tricks.optimizers import _multipliers, _slots
from keras_tricks.optimizers._extension import Extension


@keras.saving.register_keras_serializable("keras_tricks")
class LayerwiseLearningRate(Extension):
    """Trains each layer at its own multiple of one shared learning rate.

    When: transfer learning, where early layers need smaller steps than the new head.
    Typical: `layer_decay(model, 0.75)` for transformers; `{"backbone": 0.1}` for the
        rest; `discriminative(model)` for language models.
    Costs: 1 to 3 % of a step, and a longer compilation (on JAX and TensorFlow some 30
        ms for each variable); a frozen layer still costs its gradient
        (`GradualUnfreezing` saves that).
    Beware: the multiplier scales what the optimizer scales by its rate. Adafactor with
        `relative_step` caps its rate by the step, above the multiplier. The moving
        statistics of a BatchNormalization are no weights: a multiplier of 0 does not
        stop them (`GradualUnfreezing` does, or `trainable = False`). On TensorFlow
        Keras's ScheduleFreeAdamW loses its start when `fit` builds it, here too: call
        `optimizer.build(model.trainable_variables)` before.

    The result is the given optimizer with one thing changed: it has the same class
    beside this one, the same arguments, one learning rate (`optimizer.learning_rate`
    reads and sets the shared one), one clipping by global norm, one average. Decoupled
    weight decay is scaled like the rate. A multiplier of 0 freezes: the weights and
    their slots do not move, and their gradients do not count in a global norm (but in
    that of an `AutoClip` around this optimizer). It works on one device: inside a
    `tf.distribute` strategy it raises an error.

    Args:
        optimizer: A new Keras optimizer, which becomes part of this one.
        multipliers: Dict from patterns of layer names to multipliers of at least 0. A
            pattern is a regular expression for the whole path (`backbone/block1_conv`)
            and covers all layers below it. Defaults to None: none.
        default: Float, the multiplier of layers that nothing names. Defaults to 1.
        by_type: Dict from layer classes (or their names) to multipliers, for layers
            that no pattern names; it covers the layers inside too. Of several classes
            the nearest counts. Defaults to None: none.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a multiplier is negative; if the optimizer cannot be extended;
            once the model is known, if a pattern or class names no layer of it, or two
            patterns give one layer different multipliers; on the first step inside a
            `tf.distribute` strategy.

    Warns:
        NoEffectWarning: If the layers that a pattern names have no trainable weights.

    Example:
    >>> import keras, keras_tricks as kt
    >>> body = keras.layers.Dense(2, name="body")
    >>> head = keras.layers.Dense(1, name="head")
    >>> model = keras.Sequential([keras.Input((3,)), body, head])
    >>> optimizer = kt.optimizers.LayerwiseLearningRate(
    ...     keras.optimizers.AdamW(1e-3), {"body": 0.1})
    >>> model.compile(optimizer, "mse")
    >>> optimizer.build(model.trainable_variables)
    >>> [round(value, 3) for value in optimizer.current_multipliers]
    [0.1, 0.1, 1.0, 1.0]

    Reference: Howard and Ruder 2018, section 3.2, arXiv 1801.06146; scaled decay as in
    timm's optimizer factory.
    """

    def __init__(
        self,
        optimizer: Any,
        multipliers: Mapping[str, float] | None = None,
        default: float = 1.0,
        by_type: Mapping[Any, float] | None = None,
    ) -> None:
        if getattr(optimizer, "needs_all_variables_at_once", False):
            raise ValueError(
                "`optimizer` must update each variable by itself. Received: "
                f"{type(optimizer).__name__}, whose step is one for all variables"
            )
        _multipliers.check(multipliers, by_type)
        _arguments.not_negative("default", default)
        self._extend(LayerwiseLearningRate, optimizer)
        # Not by attribute: Keras and TensorFlow would replace dicts by their own.
        self.__dict__.update(
            multipliers=multipliers,
            default=default,
            by_type=by_type,
            _decay_multiplier=None,
        )

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        values = self._values_of(
            LayerwiseLearningRate, variables, self._given(), self._multipliers_of
        )
        self.__dict__["_slots"] = _slots.by_variable(self, variables)
        settings = [self._iterations, self._learning_rate, *self._own_variables()]
        self.__dict__["_shared"] = _slots.shared(self, settings)
        # By an initializer: what `build` assigns is lost inside a tf.function.
        self._multipliers = self._add_own_variable(
            (len(values),),
            lambda shape, dtype: ops.convert_to_tensor(values, dtype),
            "multipliers",
        )

    def _given(self) -> dict[str, Any]:
        """The arguments beside the optimizer, as JSON holds them."""
        return {
            "multipliers": self.multipliers,
            "default": self.default,
            "by_type": self.by_type and _multipliers.by_name(self.by_type),
        }

    def _multipliers_of(self, variables: Any, model: Any) -> list[float]:
        return _multipliers.resolve(
            variables, model, self.multipliers, self.by_type, self.default
        )

    @property
    def current_multipliers(self) -> list[float]:
        """The multiplier of each trainable variable, in the order of the model."""
        self._refuse_taken("current_multipliers")
        if not self.built:
            raise ValueError(
                "`current_multipliers` are known once the optimizer is built: call "
                "optimizer.build(model.trainable_variables) or train a step first"
            )
        return [float(value) for value in ops.convert_to_numpy(self._multipliers.value)]

    def set_multiplier(self, pattern: str, value: float) -> None:
        """Gives the layers that `pattern` covers another multiplier, from now on.

        It needs no compilation and may be called between batches, also by a callback.
        A training step of your own on JAX sees it when it reads the optimizer's
        variables again.

        Args:
            pattern: String, the pattern of layer names.
            value: Float of at least 0; 0 freezes.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If the pattern names no layer, or the optimizer is not built
                and the pattern is none of its own.
        """
        self._refuse_taken("set_multiplier")
        _arguments.not_negative("value", value)
        own = dict(self.multipliers or {})
        if self.built:
            variables = self._trainable_variables
            model = _owner.model_of(variables, self)
            covered = _multipliers.covered("pattern", [pattern], variables, model)
            # On JAX the values of an epoch live in the training step.
            _backend.sync_state(model)
            values = ops.convert_to_numpy(self._multipliers.value)
            self._multipliers.assign(np.where(covered, np.float32(value), values))
        elif pattern not in own:
            raise ValueError(
                f"`pattern` must be one of {list(own)} before the optimizer is built. "
                f"Received: pattern={pattern!r}; call "
                "optimizer.build(model.trainable_variables) first"
            )
        if pattern in own:
            self.__dict__["multipliers"] = {**own, pattern: value}

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        trainable_variables = self._built_on(trainable_variables)
        variables = trainable_variables or self._trainable_variables
        if not self.built or len(grads) != len(variables):
            # Keras has the right words for it.
            super().apply(grads, trainable_variables)
            return
        with self._current_multipliers():
            if self.global_clipnorm or self._uses_global_norm:
                grads = [
                    _backend.zero_unless(self._multiplier(v) > 0, gradient)
                    for v, gradient in zip(variables, grads, strict=True)
                ]
            touched = [
                v for v in variables if v.constraint or self.ema_overwrite_frequency
            ]
            with self._frozen_kept(touched):
                super().apply(grads, trainable_variables)

    def finalize_variable_values(self, var_list: Any) -> None:
        if not self.use_ema:
            # Nothing to keep; and after an error on JAX nothing to read either.
            super().finalize_variable_values(var_list)
            return
        with self._current_multipliers(), self._frozen_kept(var_list):
            super().finalize_variable_values(var_list)

    @contextmanager
    def _current_multipliers(self) -> Iterator[None]:
        """Reads the multipliers once for a step."""
        self.__dict__["_now"] = _backend.numbers(self._multipliers)
        try:
            yield
        finally:
            # They belong to the step that is traced, and must not outlive it.
            del self.__dict__["_now"]

    def _multiplier(self, variable: Any) -> Any:
        return self.__dict__["_now"][self._get_variable_index(variable)]

    @contextmanager
    def _frozen_kept(self, variables: Any) -> Iterator[None]:
        """Whatever the block does to the variables, frozen ones stay as they are."""
        # Multiplied, because a mere read may see later values.
        before = [(variable, variable.value * 1) for variable in variables]
        yield
        for variable, value in before:
            moves = self._multiplier(variable) > 0
            variable.assign(ops.where(moves, variable.value, value))

    def _groups(self, variables: Any) -> Any:
        """Multipliers with the positions of the variables that are updated together."""
        multipliers = [self._multiplier(variable) for variable in variables]
        for members in _backend.equal(multipliers):
            yield multipliers[members[0]], members

    def _apply_weight_decay(self, variables: Any) -> None:
        for multiplier, members in self._groups(variables):
            self.__dict__["_decay_multiplier"] = multiplier
            try:
                super()._apply_weight_decay([variables[i] for i in members])
            finally:
                self.__dict__["_decay_multiplier"] = None

    def _get_current_learning_rate(self) -> Any:
        rate = super()._get_current_learning_rate()
        multiplier = self.__dict__["_decay_multiplier"]
        return rate if multiplier is None else rate * multiplier

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        shared = self.__dict__["_shared"]
        before = [variable.value * 1 for variable in shared]
        for multiplier, members in self._groups(trainable_variables):
            for variable, value in zip(shared, before, strict=True):
                variable.assign(value)
            some = [trainable_variables[i] for i in members]
            update = functools.partial(
                super()._backend_update_step,
                [grads[i] for i in members],
                some,
                learning_rate * multiplier,
            )
            held = [s for v in some for s in self._slots[self._get_variable_index(v)]]
            _backend.update_if(multiplier > 0, update, [*some, *held], bool(shared))

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer": self._inner_config(LayerwiseLearningRate),
            **self._given(),
            **self._resolved_config(
                LayerwiseLearningRate, self._given(), lambda: self.current_multipliers
            ),
        }
