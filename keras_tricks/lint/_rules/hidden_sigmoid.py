"""Sigmoid where no probability and no gate is wanted."""

from collections.abc import Iterator
from typing import Any

from keras_tricks import _layer_kinds
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding
from keras_tricks.surgery import _activations

_SIGMOIDS = ("sigmoid", "hardsigmoid")
# Merges, as layers or operations, that keep what they are given as features; others may
# be gates.
_GATHERING = {"Add", "Average", "Concatenate", "Maximum"}


@rule(
    "KT101",
    "A hidden layer ends with a sigmoid.",
    severity="warning",
    why=(
        "A sigmoid's outputs are all positive and its slope is at most 1/4: the layers "
        "above get inputs that are not centred, those below a gradient that shrinks."
    ),
    source="LeCun et al. 1998, Efficient BackProp, 4.4; Glorot and Bengio 2010",
    needs=("graph",),
)
def hidden_sigmoid(facts: Any) -> Iterator[Finding]:
    """Finds sigmoids whose outputs nothing but layers with kernels read.

    A sigmoid that meets a multiplication, an output, the end of a model inside or a
    layer of the user's own may be a gate or a probability: nothing is said. So are the
    gates inside recurrent and Highway layers, which are no `activation`.

    It cannot see sigmoids in a `Lambda`, or in the `call` of a layer of one's own.
    """
    named = {call.path: call.layer for call in facts.calls if _is_hidden(call)}
    if named:
        yield Finding(
            f"{len(named)} hidden layer{'s' * (len(named) > 1)} with a sigmoid: "
            "tanh or ReLU trains better there.",
            layers=tuple(named),
            fix='keras.layers.Dense(units, activation="relu")  # or "tanh"',
        )


def _is_hidden(call: Any) -> bool:
    layer = _layer_kinds.unwrapped(call.layer)
    if call.is_model or _activations.own(layer) not in _SIGMOIDS:
        return False
    reached, waiting, seen = False, [call], set()
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        if here.is_output:
            return False
        for target in here.fed():
            if target.is_model or not _layer_kinds.is_known(target.layer):
                return False
            if _activations.has_kernel(target.layer):
                reached = True
            elif len(target.inputs) > 1 and not _gathers(target.layer):
                return False
            else:
                waiting.append(target)
    return reached


def _gathers(layer: Any) -> bool:
    return not _GATHERING.isdisjoint(_layer_kinds.class_names(layer))
