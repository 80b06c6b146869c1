"""Recurrent layers without a bound on the gradient."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks import _layer_kinds
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding
from keras_tricks.optimizers import AutoClip

_CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")


@rule(
    "KT320",
    "A recurrent model is trained without gradient clipping.",
    severity="warning",
    why=(
        "Through time gradients are multiplied many times and explode now and then; "
        "one such step undoes hours. The global norm keeps the direction."
    ),
    source="Pascanu, Mikolov and Bengio 2013, arXiv 1211.5063",
    needs=("compiled",),
)
def no_clipping(facts: Any) -> Iterator[Finding]:
    """Finds recurrent layers that are trained by an optimizer which does not clip.

    It cannot see clipping in a `train_step` of one's own, nor in callbacks that do not
    declare it by `lint_traits = {"clips_gradients": True}`.
    """
    recurrent = [
        path
        for path, layer in facts.layers.items()
        if isinstance(_layer_kinds.unwrapped(layer), keras.layers.RNN)
        and layer.trainable_variables
    ]
    clipped = all(
        isinstance(group, AutoClip)
        or any(getattr(group, name, None) is not None for name in _CLIPS)
        for group in facts.groups
    )
    if recurrent and not clipped and not facts.callbacks_that("clips_gradients"):
        name = type(facts.groups[0]).__name__
        yield Finding(
            "A recurrent model without gradient clipping.",
            layers=tuple(recurrent),
            fix=f"keras.optimizers.{name}(learning_rate, global_clipnorm=5.0)\n"
            f"# or kt.optimizers.AutoClip(keras.optimizers.{name}(learning_rate))",
        )
