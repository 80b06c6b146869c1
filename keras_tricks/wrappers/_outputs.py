"""What a classifier's model gives, and what its loss wants to be given."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from scipy.special import expit, softmax

# Losses on outputs that are neither probabilities nor their logarithms.
_MARGINS = ("hinge", "squared_hinge", "categorical_hinge")
_TINY = np.finfo(np.float64).tiny


def units(model: Any, x: Any) -> int:
    """How many numbers the model gives for a row; builds it on one row if needed.

    Raises:
        ValueError: If it does not give one vector for a row.
    """
    if not model.built:
        model(_first_row(x))
    shape = getattr(model, "output_shape", None)
    if shape is None:
        shape = tuple(keras.ops.shape(model(_first_row(x))))
    if isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[1], int):
        return shape[1]
    raise ValueError(
        "`build` must give a model with one output of the shape (rows, units). "
        f"Received: one with outputs of the shape {shape}"
    )


def _first_row(x: Any) -> Any:
    return keras.tree.map_structure(lambda part: part[:1], x)


def loss_name(model: Any) -> str:
    """The name of the loss in small letters, as in `sparse_categorical_hinge`."""
    loss = _loss(model)
    if isinstance(loss, str):
        name = loss
    elif isinstance(loss, keras.losses.Loss):
        name = type(loss).__name__
    else:
        name = getattr(loss, "__name__", type(loss).__name__)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _loss(model: Any) -> Any:
    loss = model.loss
    if isinstance(loss, list | tuple) and len(loss) == 1:
        return loss[0]
    if isinstance(loss, Mapping) and len(loss) == 1:
        return next(iter(loss.values()))
    return loss


def kind(model: Any) -> str:
    """Whether the outputs are "probabilities", "margins" or logits.

    Logits are "softmax" or "sigmoid", by what makes probabilities of several of them.
    """
    if getattr(_loss(model), "from_logits", False):
        return "sigmoid" if "binary" in loss_name(model) else "softmax"
    return "margins" if loss_name(model) in _MARGINS else "probabilities"


def one_of_many(model: Any) -> bool:
    """Whether the loss takes the outputs of a row as one distribution."""
    name = loss_name(model)
    return "categorical" in name or name in ("kl_divergence", "kldivergence", "kld")


def scores(raw: np.ndarray, kind: str, *, exclusive: bool) -> np.ndarray:
    """Scores whose order is that of the probabilities, without rounding.

    A single unit, and the labels of a multilabel target, have a score of 0 where they
    are as likely as not; of exclusive classes the largest wins.
    """
    _check_range(raw, kind)
    if kind != "probabilities":
        return raw
    if exclusive:
        return np.log(np.maximum(raw, _TINY))
    return np.log(np.maximum(raw, _TINY)) - np.log(np.maximum(1 - raw, _TINY))


def probabilities(raw: np.ndarray, kind: str, *, exclusive: bool) -> np.ndarray:
    """Probabilities from the outputs; those of exclusive classes sum to one."""
    _check_range(raw, kind)
    if kind == "softmax" and exclusive:
        return softmax(raw, axis=1)
    if kind != "probabilities":
        raw = expit(raw)
    if not exclusive:
        return raw
    # Units with a sigmoid each do not sum to one, and may all be zero.
    total = raw.sum(axis=1, keepdims=True)
    even = np.full_like(raw, 1 / raw.shape[1])
    return np.divide(raw, total, out=even, where=total > 0)


def _check_range(raw: np.ndarray, kind: str) -> None:
    if not np.isfinite(raw).all():
        raise ValueError(
            "`model_` must give finite numbers. Received: NaN or infinity; the "
            "training has diverged: try a lower learning rate"
        )
    if kind == "probabilities" and (raw.min() < -1e-5 or raw.max() > 1 + 1e-5):
        raise ValueError(
            "`build` must give a model whose outputs are probabilities, or one with a "
            f"loss that has from_logits=True. Received: outputs from {raw.min():.3g} "
            f"to {raw.max():.3g}; end the model with a sigmoid or softmax, or compile "
            "it with such a loss"
        )
