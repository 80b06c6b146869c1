"""L2 regularizers beside optimizers that scale them away."""

from collections.abc import Iterator
from typing import Any

from keras_tricks import _layer_kinds
from keras_tricks.lint import _kinds
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

# They divide a gradient by its usual size.
_ADAPTIVE = {*_kinds.ADAMS, "Lamb", "Lion", "RMSprop", "ScheduleFreeAdamW"}


@rule(
    "KT211",
    "An L2 regularizer is used with an adaptive optimizer.",
    severity="warning",
    why=(
        "Adam and its like divide the gradient of the penalty by the size of all "
        "gradients, so that the weights with the largest gradients are decayed least. "
        "Decay apart from the gradient is what is meant."
    ),
    source="Loshchilov and Hutter 2019, arXiv 1711.05101",
    needs=("compiled",),
)
def l2_with_adam(facts: Any) -> Iterator[Finding]:
    """Finds L2 penalties of layers under optimizers of Adam's kind, and RMSprop.

    It cannot see penalties that a layer adds by `add_loss`.
    """
    layers = _penalized(facts)
    adaptive = [group for group in facts.groups if _is_adaptive(group)]
    if layers and not facts.decays and adaptive:
        name = type(adaptive[0]).__name__
        yield Finding(
            f"L2 regularizers with {name}: decoupled weight decay is meant.",
            layers=tuple(layers),
            fix="optimizer = kt.optimizers.no_decay(\n"
            "    keras.optimizers.AdamW(learning_rate, weight_decay=0.01), model)",
        )


@rule(
    "KT212",
    "An L2 regularizer and decoupled weight decay work at once.",
    severity="warning",
    why="The weights are pulled to zero twice, in two ways; neither strength is what "
    "it says.",
    source="Loshchilov and Hutter 2019, arXiv 1711.05101",
    needs=("compiled",),
)
def l2_with_decay(facts: Any) -> Iterator[Finding]:
    """Finds L2 penalties of layers beside an optimizer with `weight_decay`.

    It cannot see penalties that a layer adds by `add_loss`.
    """
    layers = _penalized(facts)
    if layers and facts.decays:
        yield Finding(
            f"L2 regularizers, and weight_decay={facts.decays[0]:g} as well.",
            layers=tuple(layers),
            fix="keras.layers.Dense(units, kernel_regularizer=None)",
        )


def _penalized(facts: Any) -> list[str]:
    return [path for path, layer in facts.layers.items() if _has_l2(layer)]


def _has_l2(layer: Any) -> bool:
    if not layer.trainable:
        return False
    given = [v for n, v in vars(layer).items() if n.endswith("_regularizer")]
    return any(float(getattr(one, "l2", 0) or 0) > 0 for one in given)


def _is_adaptive(group: Any) -> bool:
    return not _ADAPTIVE.isdisjoint(_layer_kinds.class_names(group))
