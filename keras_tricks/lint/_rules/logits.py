"""Outputs and losses that do not agree on what a prediction is."""

from collections.abc import Iterator
from typing import Any

from keras_tricks.lint import _kinds, _losses
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

_PROBABILITIES = ("softmax", "sigmoid", "hardsigmoid", "sparsemax", "sparsesigmoid")
# What certainly gives no probabilities.
_OTHERS = (
    *("linear", "tanh", "relu", "relu6", "leakyrelu", "elu", "selu", "gelu", "silu"),
    "logsoftmax",
)


@rule(
    "KT301",
    "The output is a probability, but the loss expects logits.",
    severity="error",
    why="The softmax or sigmoid is applied twice: the loss cannot become small, and "
    "gradients shrink.",
    source="Keras's documentation of `from_logits`",
    needs=("graph", "compiled"),
)
def probabilities_as_logits(facts: Any) -> Iterator[Finding]:
    """Finds `from_logits=True` behind a softmax or a sigmoid.

    It cannot see an output that a `Lambda`, a merge or a layer of one's own gives, nor
    a loss of one's own. (Keras on TensorFlow sees it too, and only warns.)
    """
    for loss in facts.losses:
        path, name = _end(facts, loss)
        if loss.from_logits is True and name in _PROBABILITIES:
            yield Finding(
                f"The output ends with {name}, but the loss has from_logits=True.",
                layers=path,
                fix=_call(loss, from_logits=False),
                safe=_is_safe(facts, loss),
            )


@rule(
    "KT302",
    "The output is no probability, but the loss expects one.",
    severity="error",
    why="Keras clips what it takes for probabilities: most logits get no gradient.",
    source="Keras's documentation of `from_logits`",
    needs=("graph", "compiled"),
)
def logits_as_probabilities(facts: Any) -> Iterator[Finding]:
    """Finds crossentropies without `from_logits` behind a linear output.

    It cannot see an output that a `Lambda`, a merge or a layer of one's own gives, nor
    a loss of one's own.
    """
    for loss in facts.losses:
        path, name = _end(facts, loss)
        if loss.from_logits is False and name in _OTHERS:
            linear = name == "linear"
            fix = _call(loss, from_logits=True)
            yield Finding(
                f"The output is {'linear' if linear else name}, but the loss expects "
                "probabilities.",
                layers=path,
                fix=fix if linear else 'keras.layers.Dense(classes, "softmax")',
                safe=linear and _is_safe(facts, loss),
            )


@rule(
    "KT303",
    "A softmax runs over a single unit.",
    severity="error",
    why="A softmax over one number is 1, whatever the number: nothing can be learned.",
    source="the definition of the softmax",
    needs=("graph",),
)
def softmax_of_one(facts: Any) -> Iterator[Finding]:
    """Finds outputs of one unit that end with a softmax.

    It cannot see a softmax over another axis than the last, and says nothing there.
    """
    for head in facts.heads:
        if head is None or not head.outputs or head.outputs[0].shape[-1] != 1:
            continue
        layer, name = _kinds.end_of(head)
        if name == "softmax" and getattr(layer, "axis", -1) == -1:
            yield Finding(
                "A softmax over one unit is always 1.",
                layers=(facts.path_of(layer) or head.path,),
                fix='keras.layers.Dense(1, "sigmoid")',
            )


@rule(
    "KT305",
    "Sigmoids under a loss for classes that exclude each other.",
    severity="warning",
    why=(
        "The loss expects probabilities that sum to 1. Keras divides sigmoids by their "
        "sum, which trains slowly; a single one is then always 1."
    ),
    source="Keras's `categorical_crossentropy`, which normalizes its inputs",
    needs=("graph", "compiled"),
)
def sigmoid_per_class(facts: Any) -> Iterator[Finding]:
    """Finds sigmoids under `categorical_crossentropy`, or the sparse one.

    With a single unit it is an error. Under `from_logits=True` it is KT301.

    It cannot see an output that a `Lambda`, a merge or a layer of one's own gives, nor
    a loss of one's own.
    """
    for loss in facts.losses:
        if "categorical_" not in loss.kind or "crossentropy" not in loss.kind:
            continue
        path, name = _end(facts, loss)
        if loss.from_logits is False and name in ("sigmoid", "hardsigmoid"):
            single = facts.outputs[loss.output].shape[-1] == 1
            binary = '"binary_crossentropy"  # as the loss'
            yield Finding(
                f"The output ends with {name}, and the loss is {loss.kind}.",
                layers=path,
                severity="error" if single else "",
                fix=binary if single else 'keras.layers.Dense(classes, "softmax")',
            )


def _is_safe(facts: Any, loss: Any) -> bool:
    """Whether the loss can be turned round, and is that of this output alone."""
    alone = loss.key is not None or len(facts.losses) == 1
    alone = alone and not isinstance(loss.key, tuple)
    return alone and facts.can_be_recompiled and _losses.flipped(loss) is not None


def path_of_end(facts: Any, loss: Any) -> tuple[str, ...]:
    """The path of the layer that gives the output of a loss; none if unknown."""
    return _end(facts, loss)[0]


def _end(facts: Any, loss: Any) -> tuple[tuple[str, ...], str | None]:
    if loss.from_logits is None or (head := facts.head(loss.output)) is None:
        return (), None
    layer, name = _kinds.end_of(head)
    return (facts.path_of(layer) or head.path,), name


def _call(loss: Any, *, from_logits: bool) -> str:
    name = "".join(word.title() for word in loss.kind.split("_"))
    return f"keras.losses.{name}(from_logits={from_logits})"
