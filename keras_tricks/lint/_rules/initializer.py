"""Kernels that begin too large, too small, or all alike."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding
from keras_tricks.surgery import _activations, _drawn

_init = keras.initializers
_FIXED = (_init.RandomNormal, _init.RandomUniform, _init.TruncatedNormal)
_ALIKE = (_init.Zeros, _init.Ones, _init.Constant)
_DEAD_AT_ZERO = ("relu", "relu6")
# Between He and Glorot or Lecun lies a factor of 1.4 in a layer as wide as its input.
_NEAR = 1.3
_FAR = 5.0
# So many numbers are drawn again to see whether they are the same, which JAX compiles
# for each shape; of more, so many are asked for their spread.
_DRAWN_AGAIN = 100_000
_MEASURED = 1_000_000


@rule(
    "KT102",
    "An initializer does not suit the activation behind it.",
    severity="info",
    why=(
        "Signals keep their size from layer to layer only if the variance of the "
        "kernel fits the nonlinearity: He for the ReLU family, Lecun for SELU, Glorot "
        "for tanh."
    ),
    source="Glorot and Bengio 2010; He et al. 2015, arXiv 1502.01852",
)
def initializer(facts: Any) -> Iterator[Finding]:
    """Compares the spread of hidden kernels, as drawn, with what is advised.

    Glorot with ReLU is Keras's default and trains in all but deep plain stacks: "info",
    and nothing where a normalization follows. SELU loses its self-normalization with
    anything but Lecun, and numbers many times too large explode: "warning". A ReLU
    whose kernel is all zeros never gets a gradient: "error".

    It cannot see whether weights were loaded since, initializers of one's own, and
    kernels of recurrent, attention, depthwise and transposed layers.
    """
    groups: dict[str, list[str]] = {}
    for path, layer in facts.layers.items():
        if isinstance(layer, _drawn.KINDS) and hasattr(layer, "kernel_initializer"):
            name = facts.following.get(id(layer), _activations.own(layer))
            problem = _problem(facts, layer, name)
            if problem:
                groups.setdefault(problem, []).append(path)
    for problem, paths in groups.items():
        severity, message, fix = _TOLD[problem]
        fresh = problem != "alike" and all(_is_fresh(facts, path) for path in paths)
        yield Finding(
            message.format(count=len(paths), s="s" * (len(paths) > 1)),
            layers=tuple(paths),
            fix=fix,
            severity=severity,
            safe=fresh,
        )


_TOLD = {
    "dead": (
        "error",
        "{count} ReLU layer{s} with a kernel of zeros: the gradient is zero for ever.",
        'keras.layers.Dense(units, "relu", kernel_initializer="he_normal")',
    ),
    "alike": (
        "info",
        "{count} hidden layer{s} with a constant kernel: all units begin alike.",
        'kernel_initializer="glorot_uniform"',
    ),
    "selu": (
        "warning",
        "{count} SELU layer{s} without LecunNormal do not normalize themselves.",
        'keras.layers.Dense(units, "selu", kernel_initializer="lecun_normal")',
    ),
    "large": (
        "warning",
        "{count} layer{s} with a kernel more than 5 times too large.",
        'kernel_initializer="he_normal"  # "glorot_normal" before tanh',
    ),
    "relu": (
        "info",
        "{count} layer{s} of the ReLU family, not normalized, without He's "
        "initializer.",
        'keras.layers.Dense(units, "relu", kernel_initializer="he_normal")',
    ),
    "tanh": (
        "info",
        "{count} layer{s} with tanh or sigmoid and an initializer that is made for "
        "ReLU.",
        'keras.layers.Dense(units, "tanh", kernel_initializer="glorot_normal")',
    ),
}


def _problem(facts: Any, layer: Any, name: str | None) -> str:
    kernel = getattr(layer, "kernel", None)
    if kernel is None or len(kernel.shape) < 2 or id(layer) in facts.head_layers:
        return ""
    given = layer.kernel_initializer
    if isinstance(given, _ALIKE):
        zeros = isinstance(given, _init.Zeros) or not getattr(given, "value", 1)
        if facts.is_merged(layer):
            # A branch that begins as nothing beside a residual connection.
            return ""
        return "dead" if zeros and name in _DEAD_AT_ZERO else "alike"
    problem = _unfit(given, tuple(kernel.shape), name)
    return problem if problem and not facts.is_normalized(layer) else ""


def _unfit(given: Any, shape: tuple[int, ...], name: str | None) -> str:
    """What is wrong with the spread of a kernel before a nonlinearity."""
    spread = _spread(given, shape)
    advised = _spread(_drawn.for_activation(name), shape)
    if not spread or not advised:
        return ""
    ratio = spread / advised
    if name == _activations.SELU:
        return "" if 1 / _NEAR < ratio < _NEAR else "selu"
    if isinstance(given, _FIXED):
        return "large" if ratio > _FAR else ""
    if name in _activations.RELU_FAMILY:
        return "relu" if ratio < 1 / _NEAR else ""
    return "tanh" if name in ("tanh", "sigmoid") and ratio > _NEAR else ""


def _spread(given: Any, shape: tuple[int, ...]) -> float | None:
    """The standard deviation that an initializer draws with, if it is known."""
    if isinstance(given, _init.VarianceScaling):
        field = float(np.prod(shape[:-2]))
        fans = {"fan_in": shape[-2] * field, "fan_out": shape[-1] * field}
        fans["fan_avg"] = (fans["fan_in"] + fans["fan_out"]) / 2
        return math.sqrt(given.scale / max(fans[given.mode], 1.0))
    if isinstance(given, _init.RandomUniform):
        return float(given.maxval - given.minval) / math.sqrt(12)
    return float(given.stddev) if isinstance(given, _FIXED) else None


def _is_fresh(facts: Any, path: str) -> bool:
    """Whether a layer will be trained, and nothing has yet, nor drawn it otherwise."""
    layer = facts.layers[path]
    trained = facts.optimizer is not None and int(facts.optimizer.iterations) > 0
    # With LoRA the kernel is a sum, and no variable.
    kernel = layer.kernel
    if trained or not layer.trainable or not getattr(kernel, "trainable", False):
        return False
    bias = getattr(layer, "bias", None)
    if bias is not None:
        zero = isinstance(layer.bias_initializer, _init.Zeros)
        if not zero or np.any(keras.ops.convert_to_numpy(bias)):
            return False
    return _is_as_drawn(layer.kernel_initializer, kernel)


def _is_as_drawn(given: Any, kernel: Any) -> bool:
    """Whether a kernel holds what its initializer gives; of a large one, about."""
    shape = tuple(kernel.shape)
    if math.prod(shape) <= _DRAWN_AGAIN:
        # With the seed that it has, an initializer draws the same again.
        again = given(shape, dtype=kernel.dtype)
        numbers = [keras.ops.convert_to_numpy(one) for one in (again, kernel)]
        return bool(np.array_equal(*numbers))
    expected = _spread(given, shape)
    some = kernel.value[: max(_MEASURED // math.prod(shape[1:]), 1)]
    numbers = keras.ops.convert_to_numpy(some)
    # Three times what chance does to the spread of so many numbers.
    near = 3 / math.sqrt(numbers.size)
    return bool(expected and abs(float(numbers.std()) / expected - 1) < near)
