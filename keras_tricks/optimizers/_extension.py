"""Another optimizer with one thing changed: what such classes share.

An extension of AdamW *is* an AdamW: its class is made on the spot from the extension
and the class of the optimizer given. So Keras's own code runs with all that it does
(schedules, clipping, accumulation, averages, PyTorch's fused updates), and every tool
that knows AdamW knows the extension too. Extensions stack.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, ClassVar

import keras
from keras.optimizers import LossScaleOptimizer, MultiOptimizer, Optimizer

from keras_tricks import _backend, _owner
from keras_tricks.optimizers import _multipliers


class Extension(Optimizer):
    """Base of the optimizers that extend the optimizer they are given.

    A subclass takes that optimizer as its first argument `optimizer`, and begins its
    `__init__` with `self._extend(ItsName, optimizer)`. The two share their variables
    from then on: the learning rate set on one is that of both. Its `get_config` returns
    `self._inner_config(ItsName)` as "optimizer".
    """

    _front: ClassVar[type]
    # Whether an extension clips by the norm of all gradients.
    _uses_global_norm = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if Extension in cls.__bases__:
            cls._front = cls

    def __new__(cls, optimizer: Any = None, *args: Any, **kwargs: Any) -> Any:
        _check(cls.__name__, cls, optimizer)
        return object.__new__(_combined(cls._front, type(optimizer)))

    def __reduce__(self) -> Any:
        # The class was made on the spot, so pickle cannot find it by its name.
        unpickle, arguments = super().__reduce__()
        return getattr(self._front, unpickle.__name__), arguments

    def _extend(self, front: type, optimizer: Any) -> None:
        inner = vars(optimizer)
        own = self.__dict__
        own.update(inner)
        # Not as a dict, whose values Keras would save a second time.
        extended = {**inner.get("_extended", {}), front: optimizer}
        own["_extended"] = MappingProxyType(extended)
        inner["_taken"] = front.__name__

    def _inner_config(self, front: type) -> dict[str, Any]:
        """The optimizer given to `front`, as it is now, for its `get_config`."""
        config = keras.saving.serialize_keras_object(self.__dict__["_extended"][front])
        # A rate that was set since, or a schedule, is known to the extension only.
        config["config"] = super(front, self).get_config()  # type: ignore[arg-type]
        return config

    def _built_on(self, variables: Any) -> Any:
        """The variables that `apply` was given, as a list; builds on the first ones."""
        if _backend.in_strategy():
            raise ValueError(
                f"{self._front.__name__} works on one device only. Received: a step "
                "inside a `tf.distribute` strategy; train without the strategy"
            )
        if variables is None:
            return None
        variables = list(variables)
        if not self.built:
            self.build(variables)
        return variables

    def _refuse_taken(self, name: str) -> None:
        """Says that another extension has taken this optimizer's variables over."""
        if taken := vars(self).get("_taken"):
            raise ValueError(
                f"`{name}` must be asked of the outer optimizer. Received: a call on "
                f"the {self._front.__name__} that is part of a {taken}; call it on "
                f"the {taken}"
            )

    def _values_of(
        self,
        front: type,
        variables: Any,
        given: Any,
        resolve: Callable[[Any, Any], list[float]],
    ) -> list[float]:
        """A number for each variable: as saved for them, or else as resolved.

        Saved numbers may be others than those `given` at first, but a changed
        configuration, or another model, has them resolved anew.
        """
        models = _owner.models_of(variables, self) or [None]
        places = _multipliers.places(variables, models[0])
        self.__dict__.setdefault("_places", {})[front] = places
        saved = self._saved().get(front)
        if saved and saved["places"] == places and saved["given"] == given:
            return list(saved["multipliers"])
        # In a training loop of one's own, patterns may be those of an outer model.
        errors = []
        for model in models:
            try:
                return resolve(variables, model)
            except ValueError as error:
                errors.append(error)
        raise errors[0]

    def _resolved_config(
        self, front: type, given: Any, values: Callable[[], list[float]]
    ) -> dict[str, Any]:
        """The entry of `get_config` that brings `_values_of` its numbers back."""
        if self.built:
            places = self.__dict__["_places"][front]
            made = {"multipliers": values(), "places": places, "given": given}
            return {"resolved": made}
        saved = self._saved().get(front)
        return {"resolved": saved} if saved else {}

    def _saved(self) -> dict[type, Any]:
        found: dict[type, Any] = self.__dict__.get("_resolved", {})
        return found

    def _add_own_variable(
        self, shape: Any, initializer: Any, name: str, dtype: str = "float32"
    ) -> Any:
        """A variable of the extension, which no update of the weights moves."""
        variable = self.add_variable(shape, initializer, dtype, name=name)
        self.__dict__.setdefault("_own", []).append(variable)
        return variable

    def _own_variables(self) -> list[Any]:
        return list(self.__dict__.get("_own", []))

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        inner = keras.saving.deserialize_keras_object(
            config["optimizer"], custom_objects=custom_objects
        )
        arguments = {**config, "optimizer": inner}
        resolved = arguments.pop("resolved", None)
        optimizer = cls._front(**arguments)
        saved = {**optimizer._saved(), cls._front: _multipliers.checked(resolved)}
        vars(optimizer)["_resolved"] = saved
        return optimizer


def _check(name: str, front: Any, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"`optimizer` must be a Keras optimizer. Received: optimizer={optimizer!r}"
        )
    kind = type(optimizer).__name__
    if isinstance(optimizer, LossScaleOptimizer):
        raise ValueError(
            f"`optimizer` must be the one that holds the slots. Received: {kind}; put "
            f"it outside: LossScaleOptimizer({name}(...))"
        )
    if isinstance(optimizer, MultiOptimizer):
        raise ValueError(
            f"`optimizer` must be one optimizer. Received: {kind}, which holds "
            "several; give each layer its rate with LayerwiseLearningRate instead"
        )
    if isinstance(optimizer, front._front):
        raise ValueError(
            f"`optimizer` must not be a {name} already. Received: {kind}; put all "
            "into one"
        )
    taken = vars(optimizer).get("_taken")
    if taken or optimizer.built:
        state = f"is part of a {taken}" if taken else "is built on a model"
        raise ValueError(
            f"`optimizer` must be a new one. Received: {kind}, which {state}; "
            "make another"
        )


_COMBINED: dict[tuple[type, type], type] = {}


def _combined(front: type, kind: type) -> type:
    """The class that is both, known to Keras under the name of the extension."""
    if (front, kind) not in _COMBINED:
        name = keras.saving.get_registered_name(front)
        package, plain = name.split(">")
        body = {"__module__": front.__module__, "__doc__": front.__doc__}
        combined = type(front.__name__, (front, kind), body)
        register = keras.saving.register_keras_serializable
        register(package, plain)(combined)
        # A saved model names the extension, and finds the class that can be called.
        register(package, plain)(front)
        _COMBINED[front, kind] = combined
    return _COMBINED[front, kind]
