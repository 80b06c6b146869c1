"""Patterns that name no layer."""

import re
from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks import _patterns
from keras_tricks.lint import _traits
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding
from keras_tricks.optimizers import LayerwiseLearningRate


@rule(
    "KT342",
    "A pattern matches nothing.",
    severity="error",
    why="What the pattern was to change is not changed, and Keras does not say so.",
    source="Keras 3.15, run: OptimizerMap and exclude_from_weight_decay are silent",
    needs=("compiled",),
)
def idle_patterns(facts: Any) -> Iterator[Finding]:
    """Tries the patterns of optimizers and callbacks on the model.

    Known are `OptimizerMap`, the names of `exclude_from_weight_decay`,
    `LayerwiseLearningRate`, and callbacks that declare in `lint_traits`, under
    "patterns", the attribute that holds theirs.

    It cannot see patterns that a function decides by. `exclude_from_weight_decay` by
    names that match nothing is a "warning": a list of names may serve many models.
    """
    # The path of what the model holds without a layer is empty.
    paths = ["", *(path for path, _ in _patterns.layer_paths(facts.model))]
    for owner, pattern, problem in _against_layers(facts, paths):
        yield Finding(
            f"{owner}: {pattern!r} names no layer.", fix=f"# {problem}", layers=()
        )
    variables = facts.model.trainable_variables
    for pattern in _of_maps(facts.optimizer):
        if not any(
            pattern == v.path or re.fullmatch(pattern, v.path) for v in variables
        ):
            yield Finding(
                f"OptimizerMap: {pattern!r} matches the path of no variable.",
                fix=f"# a path is {variables[0].path!r}" if variables else "",
            )
    for group in facts.groups:
        told = getattr(group, "_exclude_from_weight_decay_pattern", None)
        if told is not None and not any(told.search(v.name) for v in variables):
            yield Finding(
                f"exclude_from_weight_decay: {told.pattern!r} matches no variable.",
                severity="warning",
                fix="optimizer = kt.optimizers.no_decay(optimizer, model)",
            )


def _against_layers(facts: Any, paths: list[str]) -> Iterator[tuple[str, str, str]]:
    owned = [
        (type(one).__name__, _flat(getattr(one, _traits.of(one)["patterns"], ())))
        for one in facts.callbacks
        if "patterns" in _traits.of(one)
    ]
    owned += [
        ("LayerwiseLearningRate", list(group.multipliers or {}))
        for group in facts.groups
        if isinstance(group, LayerwiseLearningRate)
    ]
    for owner, patterns in owned:
        for pattern in patterns:
            try:
                _patterns.matching("patterns", [pattern], paths)
            except ValueError as error:
                yield owner, pattern, str(error)


def _flat(patterns: Any) -> list[str]:
    if isinstance(patterns, str):
        return [patterns]
    return [one for inner in patterns or () for one in _flat(inner)]


def _of_maps(optimizer: Any) -> list[str]:
    if not isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return []
    maps = [v for v in vars(optimizer).values() if isinstance(v, _Map)]
    return [pattern for one in maps for pattern in one]


_Map = keras.optimizers.OptimizerMap
