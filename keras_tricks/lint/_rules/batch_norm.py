"""Batch normalization whose statistics cannot be right."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks.lint import _traits
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

_TINY = 8


@rule(
    "KT331",
    "BatchNormalization is trained with tiny batches.",
    severity="warning",
    why=(
        "Mean and variance of a few rows are mostly noise, and the moving averages are "
        "not what training has seen. At 4 rows ResNet-50 loses 4 points."
    ),
    source="Wu and He 2018, figure 1, arXiv 1803.08494",
)
def tiny_batches(facts: Any) -> Iterator[Finding]:
    """Finds trainable `BatchNormalization` with batches of less than 8 rows.

    A last batch of a single row is "info".

    It cannot see gradient accumulation's purpose, nor several replicas that normalize
    together (`synchronized=True` is left alone).
    """
    layers = _trained(facts)
    size, rows = facts.batch_size, facts.rows
    if not layers or not size:
        return
    if size < _TINY:
        yield Finding(
            f"BatchNormalization with batches of {size}.",
            layers=layers,
            fix="keras.layers.GroupNormalization(groups=8)  # or larger batches",
        )
    elif facts.data.kind == "arrays" and rows and rows % size == 1 and rows > size:
        yield Finding(
            f"The last of the batches has one row ({rows} rows by {size}).",
            layers=layers,
            severity="info",
            fix=f"model.fit(x, y, batch_size={size + 1})",
        )


@rule(
    "KT332",
    "Weights are averaged, the statistics of BatchNormalization are not.",
    severity="warning",
    why=(
        "The statistics belong to the weights of the last step. For averaged weights "
        "they must be computed anew over the training data."
    ),
    source="Izmailov et al. 2018, section 3.2, arXiv 1803.05407",
    needs=("compiled",),
)
def averaged_weights(facts: Any) -> Iterator[Finding]:
    """Finds weight averaging, by the optimizer or a callback, beside
    BatchNormalization.

    A moving average (`use_ema`) stays near the last weights: "info".

    It cannot see callbacks that do not declare `lint_traits`: `averages_weights`, and
    `refreshes_batch_norm` where they mend it.
    """
    layers = _trained(facts)
    averaging = [
        one
        for one in facts.callbacks_that("averages_weights")
        if not _traits.of(one).get("refreshes_batch_norm")
    ]
    moving = any(getattr(group, "use_ema", False) for group in facts.groups)
    if layers and (averaging or moving):
        swaps = [keras.callbacks.SwapEMAWeights]
        mild = all(type(one) in swaps for one in averaging)
        yield Finding(
            "Averaged weights with BatchNormalization statistics of other weights.",
            layers=layers,
            severity="info" if mild else "",
            fix="# after training: run the training data through model(x, "
            "training=True) once",
        )


def _trained(facts: Any) -> tuple[str, ...]:
    return tuple(
        path
        for path, layer in facts.layers.items()
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and not layer.synchronized
    )
