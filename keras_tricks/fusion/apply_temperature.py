"""Probabilities that are made softer or sharper."""

from typing import Any

import numpy as np
from keras import ops

from keras_tricks import _arguments
from keras_tricks.fusion import _blocks, _checks, _members, _tensors

# Where a softmax says 0 in single precision, its logit is at least this far down.
LEAST = float(np.finfo("float32").tiny)


def apply_temperature(predictions: Any, temperature: float) -> Any:
    """Divides the logits behind probabilities by a temperature.

    When: a model is too sure of itself, as networks trained to the end are.
    Typical: 1 to 3, from `fit_temperature`.
    Costs: a logarithm and an exponential per number; memory for one answer.
    Beware: no prediction changes its most probable class; only the confidence does.

    Takes a NumPy array or a tensor and gives the same. Numbers in a tensor are not
    checked.

    Args:
        predictions: Probabilities of one model, of the shape (samples, classes); one
            column, or none, is the probability of class 1.
        temperature: Positive float: above 1 softer, below 1 sharper, 1 as before.

    Returns:
        Probabilities of the same shape.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the temperature is not positive, or an array holds a NaN or
            numbers that are no probabilities.

    Example:
    >>> import numpy as np, keras_tricks as kt
    >>> softer = kt.fusion.apply_temperature(np.array([[0.9, 0.1]]), 2.0)
    >>> softer.round(2).tolist()
    [[0.75, 0.25]]

    Reference: Guo et al. 2017, arXiv 1706.04599.
    """
    _arguments.positive("temperature", temperature)
    # One array as if it were a list with one member: the same checks.
    member = _members.members([predictions])
    (part,) = member.parts
    if not member.tensors:
        _checks.refuse_improbable([part])
        answer = np.empty(part.shape, _blocks.float_type([part]))
        working = "float64" if answer.dtype.itemsize > 4 else "float32"
        with np.errstate(over="ignore"):
            for rows in _blocks.rows(part.shape):
                block = part[rows].astype(working, copy=False)
                answer[rows] = _tempered(block, temperature, np)
        return answer
    (full,) = _tensors.full_parts(member)
    return _tensors.like(_tempered(full, temperature, ops), member)


def _tempered(part: Any, temperature: float, xp: Any) -> Any:
    """The same without checks; `xp` is NumPy or `keras.ops`."""
    if len(part.shape) == 1 or part.shape[-1] == 1:
        odds = xp.log(xp.clip(1 - part, LEAST, 2)) - xp.log(xp.clip(part, LEAST, 2))
        return 1 / (1 + xp.exp(odds / temperature))
    # (`maximum` makes float64 single on PyTorch.)
    logits = xp.log(xp.clip(part, LEAST, 2)) / temperature
    shares = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return shares / xp.sum(shares, axis=-1, keepdims=True)
