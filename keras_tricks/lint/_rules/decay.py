"""Weight decay on what should not be decayed."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks import _patterns
from keras_tricks.lint import _decayed
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

_FIX = "optimizer = kt.optimizers.no_decay(\n    keras.optimizers.{}({}), model)"


@rule(
    "KT213",
    "Weight decay pulls at biases, normalization scales or embeddings.",
    severity="info",
    why=(
        "Decay keeps matrices small. A scale at zero switches its feature off, a bias "
        "has no part in overfitting, and rare words fade."
    ),
    source="He et al. 2019, section 3.1, arXiv 1812.01187; timm",
    needs=("compiled",),
)
def decay_on_vectors(facts: Any) -> Iterator[Finding]:
    """Finds what `kt.optimizers.no_decay` would leave out of the decay and is in it.

    It says "info": many sound recipes decay everything.

    It cannot see optimizers of one's own that choose by themselves.
    """
    for group in facts.groups:
        decayed = _decayed.variables(group, facts.model)
        if not decayed:
            continue
        spared = _decayed.better_spared(facts.model)
        wrong = [v for v in decayed if id(v) in spared]
        if wrong:
            decay = getattr(group, "weight_decay", None)
            given = "learning_rate" + (f", weight_decay={decay:g}" if decay else "")
            yield Finding(
                f"{len(wrong)} of {len(decayed)} decayed weights are biases, scales or "
                "embeddings.",
                layers=_paths(facts.model, wrong),
                fix=_FIX.format(type(group).__name__, given),
                safe=_decayed.can_be_extended(facts),
            )


@rule(
    "KT214",
    "Exclusions from weight decay will be lost when the model is saved.",
    severity="warning",
    why=(
        "`exclude_from_weight_decay` is not part of the optimizer's config: a loaded "
        "model goes on with everything decayed."
    ),
    source="Keras 3.15: optimizers' `get_config`; kt.optimizers.no_decay saves them",
    needs=("compiled",),
)
def exclusions_lost(facts: Any) -> Iterator[Finding]:
    """Finds optimizers that were told exclusions by Keras's own method.

    It cannot see whether the model will ever be saved.
    """
    for group in facts.groups:
        if _decayed.has_exclusions(group) and _decayed.of(group):
            yield Finding(
                "exclude_from_weight_decay is forgotten on save and load.",
                fix=_FIX.format(type(group).__name__, "learning_rate, ..."),
                safe=_decayed.can_be_extended(facts)
                and isinstance(facts.optimizer, keras.optimizers.Optimizer),
            )


def _paths(model: Any, variables: list[Any]) -> tuple[str, ...]:
    wanted = {id(variable) for variable in variables}
    found = {
        paths[0]: None
        for variable, paths in _patterns.variable_paths(model)
        if id(variable) in wanted and paths and paths[0]
    }
    return tuple(found)
