"""Weights of classes as weights of rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def weighted(
    class_weight: Any,
    classes: np.ndarray,
    codes: np.ndarray,
    weights: np.ndarray | None,
) -> np.ndarray | None:
    """The weights of the rows times those of their classes.

    Raises:
        TypeError: If `class_weight` is neither None, "balanced" nor a dictionary.
        ValueError: If it names a class that there is not, in the place of one that is.
    """
    if class_weight is None:
        return weights
    rows = np.ones(len(codes)) if weights is None else weights
    if isinstance(class_weight, str) and class_weight == "balanced":
        totals = np.bincount(codes, weights=rows, minlength=len(classes))
        # A class that is known but not there has no row to be weighted.
        return rows * (rows.sum() / len(classes) / np.maximum(totals, 1e-300))[codes]
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            '`class_weight` must be None, "balanced" or a dictionary from label to '
            f"weight. Received: class_weight={class_weight!r}"
        )
    known = classes.tolist()
    unknown = [label for label in class_weight if label not in known]
    # As in scikit-learn: all may be named where a fold does not have all.
    if unknown and any(label not in class_weight for label in known):
        raise ValueError(
            f"`class_weight` must name classes of `y`, {known}. Received: {unknown}"
        )
    factors = np.array([float(class_weight.get(label, 1.0)) for label in known])
    if not (np.isfinite(factors).all() and (factors >= 0).all()):
        raise ValueError(
            "`class_weight` must hold numbers of at least 0. Received: "
            f"class_weight={class_weight!r}"
        )
    return rows * factors[codes]
