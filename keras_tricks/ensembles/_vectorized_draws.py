"""Draws what an initializer of Keras describes, on the host, for many members at once.

A draw on a device costs a dispatch each, and on JAX a compilation per shape.
"""

import math
from typing import Any

import keras
import numpy as np

_TRUNCATED_STD = 0.87962566103423978  # Of a normal cut off at two deviations.
_SAME_FOR_ALL = (
    keras.initializers.Zeros,
    keras.initializers.Ones,
    keras.initializers.Constant,
    keras.initializers.Identity,
)


def get(initializer: Any, dtype: Any) -> Any:
    """The initializer that Keras would use for what `add_weight` was given."""
    if initializer is None:
        floating = dtype is None or "float" in keras.backend.standardize_dtype(dtype)
        initializer = "glorot_uniform" if floating else "zeros"
    return keras.initializers.get(initializer)


def same_for_all(initializer: Any) -> bool:
    """Whether every member gets the same numbers."""
    return type(initializer) in _SAME_FOR_ALL


def draw(initializer: Any, shape: Any, dtype: Any, random: np.random.Generator) -> Any:
    """One member's initial value: an array."""
    shape, kind = tuple(shape), type(initializer)
    if kind.__module__.startswith("keras."):
        if isinstance(initializer, keras.initializers.VarianceScaling):
            return _variance_scaling(initializer, shape, random).astype(dtype)
        if kind is keras.initializers.RandomUniform:
            low, high = initializer.minval, initializer.maxval
            return random.uniform(low, high, shape).astype(dtype)
        if kind is keras.initializers.RandomNormal:
            drawn = random.normal(initializer.mean, initializer.stddev, shape)
            return drawn.astype(dtype)
        if kind is keras.initializers.TruncatedNormal:
            drawn = _truncated_normal(shape, random)
            return (initializer.mean + initializer.stddev * drawn).astype(dtype)
        if kind is keras.initializers.Orthogonal and len(shape) >= 2:
            return (initializer.gain * _orthogonal(shape, random)).astype(dtype)
    value = _reseeded(initializer, random)(shape, dtype=dtype)
    return np.array(keras.ops.convert_to_numpy(value))


def _reseeded(initializer: Any, random: np.random.Generator) -> Any:
    """The initializer with a seed of the member's, where it has one."""
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    try:
        config = initializer.get_config()
    except NotImplementedError:
        return initializer
    if "seed" not in config:
        return initializer
    seed = int(random.integers(2**31))
    return type(initializer).from_config({**config, "seed": seed})


def _variance_scaling(initializer: Any, shape: Any, random: Any) -> Any:
    fan_in, fan_out = _fans(shape)
    fan = {"fan_in": fan_in, "fan_out": fan_out}.get(
        initializer.mode, (fan_in + fan_out) / 2
    )
    variance = initializer.scale / max(1.0, fan)
    if initializer.distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return random.uniform(-limit, limit, shape)
    if initializer.distribution == "truncated_normal":
        drawn = _truncated_normal(shape, random)
        return math.sqrt(variance) / _TRUNCATED_STD * drawn
    return math.sqrt(variance) * random.standard_normal(shape)


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _truncated_normal(shape: Any, random: Any) -> Any:
    drawn = np.asarray(random.standard_normal(shape))
    while (outside := np.abs(drawn) > 2).any():
        drawn[outside] = random.standard_normal(int(outside.sum()))
    return drawn


def _orthogonal(shape: tuple[int, ...], random: Any) -> Any:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    tall = random.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return (q.T if rows < columns else q).reshape(shape)
