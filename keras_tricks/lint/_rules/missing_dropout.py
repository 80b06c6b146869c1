"""Wide dense layers, few data, and nothing that keeps them from memorising."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks import _layer_kinds
from keras_tricks.lint import _kinds
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding
from keras_tricks.surgery import _sources
from keras_tricks.surgery._dropout_plan import DropoutPlan

_WIDE = 256
_FEW = 10_000
_WEIGHTS_PER_ROW = 10
_AUGMENTING = ("AugMix", "CutMix", "GaussianNoise", "MixUp", "RandAugment")


@rule(
    "KT204",
    "A wide dense layer has no Dropout, and there are few data.",
    severity="warning",
    why=(
        "A layer with ten times more weights than there are rows can learn the rows by "
        "heart."
    ),
    source="Srivastava et al. 2014, JMLR 15",
    needs=("graph", "x"),
)
def missing_dropout(facts: Any) -> Iterator[Finding]:
    """Finds hidden `Dense` of 256 units or more, with less than 10,000 rows.

    Only where the layer has ten times more weights than rows, no Dropout before or
    behind it, no regularizer, and the optimizer no weight decay. Frozen ones are left
    alone, and so are models with augmentation in them, and autoencoders.

    It cannot see augmentation that is done outside of the model, nor early stopping in
    a loop of one's own; with `EarlyStopping` among the callbacks it says "info".
    """
    if not facts.rows or facts.rows >= _FEW or facts.decays:
        return
    if facts.reconstructs or any(map(_augments, facts.layers.values())):
        return
    plan = {
        row.layer
        for row in DropoutPlan(facts.model, 0.5, "dense").report()
        if row.change
    }
    dropped = {id(call) for call in facts.calls if _kinds.drop_of(call.layer)}
    wide = tuple(
        call.path
        for call in facts.calls
        if call.path in plan
        and _is_wide(call.layer, facts.rows)
        and not _fed(call, dropped)
    )
    if wide:
        stops = any(
            isinstance(one, keras.callbacks.EarlyStopping) for one in facts.callbacks
        )
        names = "|".join(dict.fromkeys(wide))
        units = _layer_kinds.unwrapped(facts.layers[wide[0]]).units
        yield Finding(
            f"{units} units, {facts.rows} rows and no Dropout.",
            layers=tuple(dict.fromkeys(wide)),
            fix=f'model = kt.surgery.insert_dropout(model, 0.5, after="{names}")',
            severity="info" if stops else "",
            safe=True,
        )


def _augments(layer: Any) -> bool:
    name = type(layer).__name__
    return name.startswith("Random") or name in _AUGMENTING


def _is_wide(layer: Any, rows: int) -> bool:
    layer = _layer_kinds.unwrapped(layer)
    kernel = getattr(layer, "kernel", None)
    if not isinstance(layer, keras.layers.Dense) or kernel is None:
        return False
    weights = int(kernel.shape[0]) * layer.units
    free = layer.trainable and layer.kernel_regularizer is None
    return free and layer.units >= _WIDE and weights >= _WEIGHTS_PER_ROW * rows


def _fed(call: Any, dropped: set[int]) -> bool:
    """Whether what a call reads comes from Dropout."""
    source = call.first_source
    while source is not None:
        if id(source) in dropped:
            return True
        source = source.first_source if _sources.passes(source) else None
    return False
