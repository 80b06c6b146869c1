"""Layers that scale themselves when they are called the first time."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_tricks import _patterns
from keras_tricks._backend import _own
from keras_tricks.surgery._orthonormal import orthonormal

_layers = keras.layers
_DEPTHWISE = (_layers.DepthwiseConv1D, _layers.DepthwiseConv2D)
_SEPARABLE = (_layers.SeparableConv1D, _layers.SeparableConv2D)
_PLAIN = (
    _layers.Dense,
    _layers.Conv1D,
    _layers.Conv2D,
    _layers.Conv3D,
    _layers.Conv1DTranspose,
    _layers.Conv2DTranspose,
    _layers.Conv3DTranspose,
)
# They call what they hold step by step: the activations of one step tell too little.
_STEPWISE = (_layers.RNN, _layers.Bidirectional)


class Row(NamedTuple):
    """What became of a layer."""

    layer: str
    std_before: float
    std_after: float
    iterations: int
    converged: bool


class Target(NamedTuple):
    """A layer to scale: `called` is what is measured, the layer or its wrapper."""

    path: str
    called: Any
    layer: Any


def targets(model: Any) -> list[Target]:
    """The layers with kernels that can be trained, each once."""
    found: dict[int, Target] = {}
    closed: list[str] = []
    for path, layer in _patterns.layer_paths(model):
        if any(path.startswith(above) for above in closed):
            continue
        if isinstance(layer, (*_STEPWISE, _layers.TimeDistributed)):
            closed.append(f"{path}/")
        inner = layer
        if isinstance(layer, _layers.TimeDistributed):
            inner = layer.layer
        if kernels(inner) and all(
            getattr(kernel, "trainable", False) for kernel, _ in kernels(inner)
        ):
            found.setdefault(id(inner), Target(path, layer, inner))
    return list(found.values())


def kernels(layer: Any) -> list[tuple[Any, int]]:
    """The kernels of a layer, each with how many rows it has as a matrix."""
    if isinstance(layer, _SEPARABLE):
        pair = (layer.depthwise_kernel, layer.pointwise_kernel)
        return [_filters(pair[0]), (pair[1], pair[1].shape[-2])]
    if isinstance(layer, _DEPTHWISE):
        return [_filters(layer.kernel)]
    if isinstance(layer, _PLAIN):
        return [(layer.kernel, int(np.prod(layer.kernel.shape[:-1])))]
    return []


def _filters(kernel: Any) -> tuple[Any, int]:
    # A depthwise filter sees one channel only.
    return kernel, int(np.prod(kernel.shape[:-2]))


def std(parts: Sequence[Any]) -> float:
    """The standard deviation over everything in parts of one size."""
    parts = [ops.cast(part, "float32") for part in parts]
    # Relative to the largest: squares of very large or small numbers do not fit.
    largest = max(float(ops.max(ops.abs(part))) for part in parts)
    if not math.isfinite(largest) or largest == 0.0:
        return largest
    parts = [part / largest for part in parts]
    means = np.array([float(ops.mean(part)) for part in parts])
    variances = np.array([float(ops.var(part)) for part in parts])
    return float(np.sqrt(variances.mean() + means.var()) * largest)


@contextmanager
def scaling(
    chosen: Sequence[Target],
    tolerance: float,
    max_iterations: int,
    random: np.random.Generator,
    report: Callable[[Row], None],
) -> Iterator[None]:
    """A block in which a layer scales itself when it is called the first time.

    It is given the inputs that all layers before it, which have scaled themselves by
    then, make; so a single pass through the model is one through each layer and
    iteration.
    """
    done: set[int] = set()
    failed: list[ValueError] = []

    def hook(target: Target) -> Callable[..., Any]:
        call = target.called.call

        def scaled(*args: Any, **kwargs: Any) -> Any:
            if id(target.layer) in done:
                return call(*args, **kwargs)
            done.add(id(target.layer))
            for kernel, rows in kernels(target.layer):
                _assign(kernel, orthonormal(kernel.shape, rows, random))
            # Only the last one: the outputs scale with each.
            (kernel, _) = kernels(target.layer)[-1]
            outputs, now = _measured(target, call, args, kwargs)
            before, iterations = now, 0
            while abs(now - 1.0) > tolerance and iterations < max_iterations:
                if now == 0.0 or not _divide(kernel, now):
                    break
                outputs, now = _measured(target, call, args, kwargs)
                iterations += 1
            if not math.isfinite(now):
                failed.append(_not_finite(target.path, now))
                raise failed[0]
            converged = abs(now - 1.0) <= tolerance
            report(Row(target.path, before, now, iterations, converged))
            return outputs

        return scaled

    with ExitStack() as stack:
        for target in chosen:
            stack.enter_context(_own.attributes(target.called, call=hook(target)))
        try:
            yield
        except Exception:
            # Keras tells the arguments of every call on the way.
            if failed:
                raise failed[0] from None
            raise


def _not_finite(path: str, deviation: float) -> ValueError:
    return ValueError(
        "`x` must give finite activations. Received: inputs that give the layer "
        f"{path!r} outputs with a standard deviation of {deviation}; look for NaN and "
        "infinite values in `x` and in the weights before that layer"
    )


def _measured(
    target: Target, call: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[Any, float]:
    """The outputs of a layer, and the deviation of what its activation is given."""
    seen: list[Any] = []
    activation = target.layer.activation

    def tapped(values: Any) -> Any:
        seen.append(values)
        return activation(values)

    with _own.attributes(target.layer, activation=tapped):
        outputs = call(*args, **kwargs)
    # A layer of one's own may not ask its activation.
    return outputs, std(seen or keras.tree.flatten(outputs))


class _OwnTypes(keras.layers.Layer):
    """Runs a function where variables have their own types.

    Inside a layer of mixed precision a variable is a copy of half of it, and on
    PyTorch what is assigned to it is lost.
    """

    def __init__(self) -> None:
        super().__init__(autocast=False, dtype="float32")

    def call(self, function: Callable[[], Any] | None = None) -> Any:
        return function and function()


def _assign(kernel: Any, value: np.ndarray) -> None:
    def assign() -> None:
        kernel.assign(value)

    _OwnTypes()(function=assign)


def _divide(kernel: Any, divisor: float) -> bool:
    """Divides the kernel if that leaves it finite."""
    done: list[bool] = []

    def divide() -> None:
        divided = kernel / divisor
        done.append(bool(ops.all(ops.isfinite(divided))))
        if done[0]:
            kernel.assign(divided)

    _OwnTypes()(function=divide)
    return done[0]
