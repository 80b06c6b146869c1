"""Models that training cannot change, or not as they say."""

from collections.abc import Iterator
from typing import Any

from keras_tricks import _patterns
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding


@rule(
    "KT340",
    "A compiled model has nothing to train.",
    severity="error",
    why="All of its weights are frozen: `fit` runs and changes nothing.",
    source="Keras's guide to transfer learning",
    needs=("compiled",),
)
def nothing_to_train(facts: Any) -> Iterator[Finding]:
    """Finds compiled models without a trainable weight, if they have weights at all.

    What is learned by `adapt`, such as `Normalization`, does not count.

    It cannot see whether the model is only meant to be evaluated.
    """
    adapted = (layer for layer in facts.layers.values() if hasattr(layer, "adapt"))
    learned = {id(weight) for layer in adapted for weight in layer.weights}
    frozen = any(id(weight) not in learned for weight in facts.model.weights)
    if frozen and not facts.model.trainable_variables:
        yield Finding(
            "All weights are frozen: there is nothing to train.",
            fix='model = kt.surgery.unfreeze(model, ".*")',
        )


@rule(
    "KT341",
    "`trainable` was changed after the optimizer was built.",
    severity="error",
    why=(
        "The optimizer knows the variables that it was built on: TensorFlow goes on as "
        "before, JAX and PyTorch raise an error."
    ),
    source="Keras 3.15, run on three backends",
    needs=("compiled",),
)
def changed_after_compile(facts: Any) -> Iterator[Finding]:
    """Compares what the optimizer trains with what says that it is trainable.

    Only once the optimizer is built, by a `fit` or by hand.

    It cannot see optimizers of one's own that keep their variables elsewhere.
    """
    built = [group for group in facts.groups if group.built]
    if not built or len(built) != len(facts.groups):
        return
    known = {id(v) for group in built for v in group._trainable_variables}
    now = {id(v) for v in facts.model.trainable_variables}
    changed = [
        (paths or [""])[0]
        for variable, paths in _patterns.variable_paths(facts.model)
        if id(variable) in known ^ now
    ]
    if changed and known:
        yield Finding(
            f"{len(changed)} weights were frozen or unfrozen after `compile`.",
            layers=tuple(dict.fromkeys(path for path in changed if path)),
            fix="model.compile(optimizer, loss)  # again, with a new optimizer; or "
            "use\n# kt.surgery.freeze and unfreeze",
        )
