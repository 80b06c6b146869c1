"""What enters the BatchNormalization layers of a model: mean, variance and number."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _backend, _patterns, _state
from keras_tricks._backend import _own
from keras_tricks._errors import NoEffectWarning

_Normalization = keras.layers.BatchNormalization

# The size of Keras's batches where none is given.
_BATCH = 32


def layers_of(model: Any) -> list[Any]:
    """The layers whose moments a training would move, each once."""
    unique = {id(layer): layer for _, layer in _patterns.layer_paths(model)}
    return [v for v in unique.values() if isinstance(v, _Normalization) and v.trainable]


class Moments:
    """The exact moments of all that was added, by channel, in float64."""

    def __init__(self) -> None:
        self.count = 0.0
        self.mean: Any = 0.0
        self._squares: Any = 0.0

    def add(self, mean: np.ndarray, variance: np.ndarray, count: float) -> None:
        """Adds so many values with these moments."""
        if count == 0:
            return
        mean, variance = mean.astype("float64"), variance.astype("float64")
        total = self.count + count
        delta = mean - self.mean
        # Not by the mean of the squares, whose difference is inexact.
        self._squares = (
            self._squares + variance * count + delta**2 * (self.count * count / total)
        )
        self.mean = self.mean + delta * (count / total)
        self.count = total

    @property
    def variance(self) -> Any:
        return self._squares / self.count


class Recorder(keras.Model):
    """Runs a model in inference mode, but its BatchNormalization on batch statistics.

    It gives the statistics, one record per call of such a layer and batch, so that
    Keras's own `predict` reads any kind of data and compiles the run.
    """

    def __init__(self, model: Any) -> None:
        # By the global policy of now it would round what the model is to get.
        super().__init__(autocast=False)
        self.recorded = model
        self.normalizations = layers_of(model)
        for layer in self.normalizations:
            if layer.renorm:
                raise ValueError(
                    "`model` must not use batch renormalization, which has other "
                    f"statistics. Received: the layer {layer.name!r} with renorm=True"
                )
        for layer, rnn in _in_cells(model, None):
            raise ValueError(
                "`model` must not have BatchNormalization in the cell of a recurrent "
                f"layer, of whose steps nothing comes out. Received: {layer.name!r} in "
                f"{rnn.name!r}; freeze it (trainable=False) to keep its moments"
            )
        # Which layer each record is of; None before the first batch.
        self.order: list[int] | None = None
        self._told: set[int] = set()
        self.built = True
        if model.compiled:
            self.run_eagerly, self.jit_compile = model.run_eagerly, model.jit_compile

    def call(self, inputs: Any) -> Any:
        records: list[Any] = []
        order: list[int] = []
        held = [layer for _, layer in _patterns.layer_paths(self.recorded)]
        with ExitStack() as stack:
            for layer in {id(v): v for v in [self.recorded, *held]}.values():
                # No record gets out of what is to be computed again (RematScope).
                stack.enter_context(_own.attributes(layer, rematerialized_call=_plain))
            for index, layer in enumerate(self.normalizations):
                call = _recording(layer, index, records, order)
                stack.enter_context(_own.attributes(layer, call=call))
            self.recorded(inputs, training=False)
        self.order = order
        return records

    def read(self, data: Any, **arguments: Any) -> list[tuple[Any, Moments]]:
        """The moments of each layer that data enter; the model is left as it was.

        Args:
            data: Array, tuple (x, y), or what else `predict` takes.
            **arguments: Those of `predict`.
        """
        x = data[0] if isinstance(data, tuple) else data
        if arguments.get("steps") and all(
            hasattr(leaf, "shape") for leaf in keras.tree.flatten(x)
        ):
            # Or Keras would divide all of the arrays by the steps.
            arguments["batch_size"] = arguments.get("batch_size") or _BATCH
        model = self.recorded
        # All: on JAX a failure of the first batch would leave the variables empty.
        weights = _state.copy_variables([*model.variables, *_states(model)])
        extras = _backend.borrow_extras(model)
        try:
            with warnings.catch_warnings():
                # All that there is was read, as it should be.
                warnings.filterwarnings("ignore", "Your input ran out of data")
                records = self.predict(x, verbose=0, **arguments)
        finally:
            _state.assign_variables(weights)
            extras()
        order = self.order or []
        found = [Moments() for _ in self.normalizations]
        for index, batches in zip(order, records, strict=True):
            for mean, variance, count in zip(*batches, strict=True):
                found[index].add(mean, variance, float(count))
        for index in set(range(len(found))) - set(order) - self._told:
            self._told.add(index)
            warnings.warn(
                "recalibrate has no effect on the layer "
                f"{self.normalizations[index].name!r}: nothing enters it in inference, "
                "so it keeps its moments",
                NoEffectWarning,
                stacklevel=3,
            )
        return [(self.normalizations[i], found[i]) for i in sorted(set(order))]


def check(found: list[tuple[Any, Moments]]) -> None:
    """Refuses moments that no layer should get."""
    for layer, moments in found:
        if not moments.count:
            raise ValueError(
                f"`data` must give the layer {layer.name!r} something to measure. "
                "Received: data of which nothing enters it"
            )
        values = np.array([moments.mean, moments.variance])
        if not np.isfinite(values).all() or (values[1] < 0).any():
            raise ValueError(
                "`data` must give finite activations. Received: what enters the layer "
                f"{layer.name!r} is not; look at the weights and the inputs"
            )


def _plain(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    return call


def _in_cells(layer: Any, rnn: Any) -> Iterator[tuple[Any, Any]]:
    """Each BatchNormalization inside a recurrent layer, with that layer."""
    for child in _patterns.children(layer):
        if rnn is not None and isinstance(child, _Normalization) and child.trainable:
            yield child, rnn
        inside = child if isinstance(child, keras.layers.RNN) else rnn
        yield from _in_cells(child, inside)


def _states(model: Any) -> list[Any]:
    """What recurrent layers keep from batch to batch, which no model lists."""
    states = [
        getattr(layer, "states", None) for _, layer in _patterns.layer_paths(model)
    ]
    return [v for v in keras.tree.flatten(states) if isinstance(v, keras.Variable)]


def assign(found: list[tuple[Any, Moments]]) -> None:
    """Gives the layers their moments."""
    for layer, moments in found:
        layer.moving_mean.assign(moments.mean)
        layer.moving_variance.assign(moments.variance)


def _recording(
    layer: Any, index: int, records: list[Any], order: list[int]
) -> Callable[..., Any]:
    call = layer.call
    own = type(layer).call is not _Normalization.call

    def recording(*args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(call).bind(*args, **kwargs)
        given.arguments["training"] = True
        inputs, mask = given.args[0], given.arguments.get("mask")
        # Not those that a training step leaves: on PyTorch they are inexact.
        mean, variance, count = _measured(inputs, layer.axis, mask)
        order.append(index)
        records.append([mean[None], variance[None], ops.reshape(count, (1,))])
        if own:
            return call(*given.args, **given.kwargs)
        return _normalized(layer, inputs, mean, variance)

    return recording


def _measured(inputs: Any, axis: int, mask: Any) -> tuple[Any, Any, Any]:
    """The mean, the variance and the number of values by channel, in two passes."""
    inputs = ops.cast(inputs, _exact(inputs))
    kept = ops.ones_like(inputs, dtype="bool")
    if mask is not None:
        kept = ops.broadcast_to(
            ops.cast(ops.expand_dims(mask, -1), "bool"), ops.shape(inputs)
        )
    others = [a for a in range(len(inputs.shape)) if a != axis % len(inputs.shape)]
    count = ops.sum(ops.cast(kept, inputs.dtype)) / inputs.shape[axis]

    def mean(values: Any) -> Any:
        total = ops.sum(ops.where(kept, values, 0), others, keepdims=True)
        return total / ops.maximum(count, 1)

    rough = mean(inputs)
    center = rough + mean(inputs - rough)
    variance = mean(ops.square(inputs - center))
    return ops.reshape(center, (-1,)), ops.reshape(variance, (-1,)), count


def _normalized(layer: Any, inputs: Any, mean: Any, variance: Any) -> Any:
    exact = _exact(inputs)
    outputs = ops.batch_normalization(
        ops.cast(inputs, exact),
        mean,
        variance,
        axis=layer.axis,
        offset=ops.cast(layer.beta, exact) if layer.center else None,
        scale=ops.cast(layer.gamma, exact) if layer.scale else None,
        epsilon=layer.epsilon,
    )
    return ops.cast(outputs, layer.compute_dtype)


def _exact(inputs: Any) -> str:
    # Not `result_type`, which gives float32 for float64 too.
    double = keras.backend.standardize_dtype(inputs.dtype) == "float64"
    return "float64" if double else "float32"
