"""One look at what the layers of a model answer, which leaves the model as it was."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_tricks import _backend, _patterns
from keras_tricks._backend import _own
from keras_tricks.surgery import _activations

# Beyond it the slope of a sigmoid is below 0.018, that of a tanh below 0.0014.
SATURATED_FROM = 4.0
SATURATING = ("sigmoid", "tanh")
RECTIFIERS = ("relu", "relu6")
# They run what they hold in a loop of the backend, where no value can be read.
_LOOPS = (keras.layers.RNN, keras.layers.TimeDistributed)


class Seen(NamedTuple):
    """What one layer answered.

    `saturated` and `dead` are None for a layer that cannot be so.
    """

    mean: float
    std: float
    finite: bool
    saturated: float | None = None
    dead: float | None = None
    is_output: bool = False


def look(model: Any, x: Any) -> dict[str, Seen]:
    """What each layer with weights or a nonlinearity answers to `x` in inference."""
    watched = [_Watched(path, layer) for path, layer in _layers(model)]
    with ExitStack() as stack:
        for one in watched:
            for hook in one.hooks():
                stack.enter_context(hook)
        # What layers of the user's own may assign, and their losses, go with the scope.
        stack.enter_context(keras.StatelessScope())
        stack.enter_context(_backend.without_gradients(model.variables))
        outputs = {id(output) for output in keras.tree.flatten(_call(model, x))}
    # In the order of running them.
    watched = sorted((one for one in watched if one.answers), key=lambda one: one.order)
    return {one.path: one.seen(outputs) for one in watched}


def _call(model: Any, x: Any) -> Any:
    several = isinstance(x, list | tuple | dict)
    if not several and isinstance(model, keras.Function) and len(model.inputs) == 1:
        # As `fit` does it for a model that takes a list or a dict of one.
        x = keras.tree.pack_sequence_as(model.input, [x])
    return model(x, training=False)


def _layers(model: Any) -> list[tuple[str, Any]]:
    """The layers to watch, each once."""
    found: dict[int, tuple[str, Any]] = {}
    hidden: list[str] = []
    for path, layer in _patterns.layer_paths(model):
        if any(path.startswith(f"{above}/") for above in hidden):
            continue
        if isinstance(layer, _LOOPS):
            hidden.append(path)
        if isinstance(layer, _LOOPS) or _kind(layer) or _has_own_weights(layer):
            found.setdefault(id(layer), (path, layer))
    return list(found.values())


def _has_own_weights(layer: Any) -> bool:
    below = {id(v) for child in _patterns.children(layer) for v in child.weights}
    return any(id(weight) not in below for weight in layer.weights)


def _kind(layer: Any) -> str | None:
    """The nonlinearity that a layer applies itself, if its inside can be judged."""
    if isinstance(layer, _LOOPS) or _patterns.children(layer):
        return None
    name = _activations.own(layer)
    if name in RECTIFIERS and getattr(layer, "negative_slope", None):
        return None
    return name if name in (*SATURATING, *RECTIFIERS) else None


class _Watched:
    """A layer, and what was seen of it in one run."""

    _count = 0

    def __init__(self, path: str, layer: Any) -> None:
        self.path, self.layer, self.kind = path, layer, _kind(layer)
        self.order = 0
        # Held until the end: another tensor could get the name of one that is gone.
        self.answers: list[Any] = []
        self._moments: list[tuple[float, float]] = []
        self._saturated: list[float] = []
        self._alive: Any = None

    def hooks(self) -> list[Any]:
        own = vars(self.layer)
        hooks = [_own.attributes(self.layer, call=self._watched_call(self.layer.call))]
        # A layer that is nothing but an activation is given what it applies it to.
        self._inside = "activation" in own and not _activations.is_activation(
            self.layer
        )
        if self.kind in SATURATING and self._inside:
            function = own["activation"]
            hooks.append(_own.attributes(self.layer, activation=self._watch(function)))
        return hooks

    def _watched_call(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.kind in SATURATING and not self._inside and args:
                self._saturate(args[0])
            answer = call(*args, **kwargs)
            first = next(iter(keras.tree.flatten(answer)), None)
            if _readable(first):
                self._answer(first)
            return answer

        return watched

    def _watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def activation(values: Any) -> Any:
            self._saturate(values)
            return function(values)

        return activation

    def _saturate(self, values: Any) -> None:
        if _readable(values):
            beyond = ops.abs(ops.cast(values, "float32")) > SATURATED_FROM
            self._saturated.append(_number(ops.mean(ops.cast(beyond, "float32"))))

    def _answer(self, answer: Any) -> None:
        if not self.answers:
            _Watched._count += 1
            self.order = _Watched._count
        self.answers.append(answer)
        values = ops.cast(answer, "float32")
        self._moments.append((_number(ops.mean(values)), _number(ops.std(values))))
        if self.kind in RECTIFIERS and values.shape:
            first = getattr(self.layer, "data_format", None) == "channels_first"
            units = 1 if first else len(values.shape) - 1
            others = [axis for axis in range(len(values.shape)) if axis != units]
            # Not `!= 0`: a unit that answers NaN is ill, but not dead.
            alive = ops.convert_to_numpy(ops.max(ops.abs(values), axis=others)) != 0
            self._alive = alive if self._alive is None else self._alive | alive

    def seen(self, outputs: set[int]) -> Seen:
        mean, std = np.mean(self._moments, axis=0)
        return Seen(
            mean=float(mean),
            std=float(std),
            finite=bool(np.isfinite([mean, std]).all()),
            saturated=float(np.mean(self._saturated)) if self._saturated else None,
            dead=None if self._alive is None else float(1 - np.mean(self._alive)),
            is_output=any(id(answer) in outputs for answer in self.answers),
        )


def _readable(values: Any) -> bool:
    return (
        values is not None
        and hasattr(values, "dtype")
        and keras.backend.is_float_dtype(keras.backend.standardize_dtype(values.dtype))
        and _backend.has_value(values)
    )


def _number(value: Any) -> float:
    return float(ops.convert_to_numpy(value))
