"""What a member's outputs are: probabilities, logits, or values of another kind."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_tricks.ensembles import _estimators, _losses

# Several sigmoids: every column is a question of its own.
MULTILABEL = ("multilabel", "multilabel logits")
DECLARED = ("auto", "probabilities", "logits", *MULTILABEL, "values")
_ONE = {"multilabel": "probabilities", "multilabel logits": "logits"}
_LEAST = float(np.finfo("float32").tiny)
_HALVES = ("float16", "bfloat16")
_FOUND = {"softmax": "one", "sigmoid": "many", "hardsigmoid": "many"}
_PASSING = frozenset(
    ["flatten", "reshape", "squeeze", "identity", "activityregularization", "cast"]
)


class Resolved(NamedTuple):
    """What was given, and what was found then: the losses may be gone by now."""

    given: Any
    kinds: Sequence[str]


def as_given(outputs: Any) -> Any:
    """The argument as the user gave it."""
    return outputs.given if isinstance(outputs, Resolved) else outputs


def finished(answer: Any, kind: str) -> Any:
    """A member's outputs as probabilities, or as they are; halves in single precision.

    Raises:
        ValueError: If they are several.
    """
    if isinstance(answer, dict | list | tuple):
        raise ValueError(
            "`models` must have one output each. Received: a member that answers with "
            f"a {type(answer).__name__}; wrap it in a model that gives one of them"
        )
    if keras.backend.standardize_dtype(answer.dtype) in _HALVES:
        answer = ops.cast(answer, "float32")
    if kind not in ("logits", "multilabel logits"):
        return answer
    single = len(answer.shape) < 2 or answer.shape[-1] == 1
    if single or kind == "multilabel logits":
        return ops.sigmoid(answer)
    return ops.softmax(answer, axis=-1)


def declared(outputs: Any, count: int) -> list[str]:
    """One word per member."""
    expected = (
        f"`outputs` must be one of {', '.join(map(repr, DECLARED))}, or a list with "
        f"one of them per member, here {count}"
    )
    words = [outputs] * count if isinstance(outputs, str) else outputs
    if not isinstance(words, list | tuple):
        raise TypeError(f"{expected}. Received: outputs={outputs!r}")
    if len(words) != count or any(word not in DECLARED for word in words):
        raise ValueError(f"{expected}. Received: outputs={outputs!r}")
    return list(words)


def kinds(models: list[Any], outputs: Any, fusion: Any) -> list[str]:
    """The kind of every member's outputs.

    One of "probabilities", "multilabel", "logits", "multilabel logits" and "values".

    Raises:
        TypeError: If `outputs` is not made of words.
        ValueError: If it holds other words, or what a member gives cannot be told.
    """
    if isinstance(outputs, Resolved):
        return list(outputs.kinds)
    words = declared(outputs, len(models))
    resolve = _of_classes if fusion.of_classes else _of_numbers
    found = [
        _estimators.kind(model, word, index, fusion.of_classes)
        if _estimators.is_one(model)
        else resolve(model, word, index)
        for index, (model, word) in enumerate(zip(models, words, strict=True))
    ]
    if not fusion.of_classes:
        told = {
            kind == "values"
            for kind, word in zip(found, words, strict=True)
            if word == "auto"
        }
        if len(told) > 1:
            raise ValueError(
                "`outputs` must be declared where some members end in a softmax or "
                "sigmoid and others do not: outputs='probabilities', 'logits' or "
                f"'values', or a list of these. Received: outputs={outputs!r} with "
                f"members that give {', '.join(found)}"
            )
    if fusion.per_row:
        # What is declared is taken at its word: one class is true for a row.
        found = [
            _ONE.get(kind, kind) if word in ("probabilities", "logits") else kind
            for kind, word in zip(found, words, strict=True)
        ]
        for index, (model, kind) in enumerate(zip(models, found, strict=True)):
            check_one_class(kind, columns(model), index)
    if fusion.code is None:
        check_mixture(found, list(map(columns, models)))
    return found


def check_mixture(kinds: Sequence[str], widths: Sequence[int | None]) -> None:
    """Checks that columns are questions of their own for all members or for none.

    Raises:
        ValueError: If not.
    """
    several = [
        index
        for index, (kind, width) in enumerate(zip(kinds, widths, strict=True))
        if kind in MULTILABEL and width not in (1, None)
    ]
    others = [index for index, kind in enumerate(kinds) if kind not in MULTILABEL]
    if several and others:
        raise ValueError(
            "`models` must all have several sigmoids, whose columns are questions of "
            "their own, or none of them. Received: "
            f"models[{several[0]}] with {kinds[several[0]]}, models[{others[0]}] with "
            f"{kinds[others[0]]}; where this was seen wrongly declare `outputs`, say "
            "'multilabel logits'"
        )


def check_one_class(kind: str, width: int | None, index: int) -> None:
    """Checks for a member whose columns are not questions of their own.

    Raises:
        ValueError: If they are.
    """
    if kind in MULTILABEL and width not in (1, None):
        raise ValueError(
            "`fusion` must be 'probabilities' where every column is a question of its "
            "own. Received: a fusion over the columns of "
            f"models[{index}], which has several sigmoids; if exactly one class is "
            "true for a row, declare outputs='probabilities' or 'logits'"
        )


def tempered(answer: Any, temperature: Any, kind: str) -> Any:
    """Probabilities after their logits are divided by a temperature."""
    temperature = ops.cast(temperature, answer.dtype)
    # A zero has no logarithm, nor a gradient that is a number.
    safe = ops.maximum(answer, _LEAST)
    if kind == "multilabel" or len(answer.shape) < 2 or answer.shape[-1] == 1:
        other = ops.maximum(1.0 - answer, _LEAST)
        changed = ops.sigmoid((ops.log(safe) - ops.log(other)) / temperature)
    else:
        changed = ops.softmax(ops.log(safe) / temperature, axis=-1)
    return ops.where(temperature == 1.0, answer, changed)


def of_all(kinds: Sequence[str]) -> str:
    """What the fused answer is: "probabilities", "multilabel" or "values"."""
    if "values" in kinds:
        return "values"
    return "multilabel" if all(k in MULTILABEL for k in kinds) else "probabilities"


def _of_classes(model: Any, word: str, index: int) -> str:
    if word == "values":
        raise ValueError(
            "`outputs` must be 'probabilities' or 'logits' for a fusion of classes; "
            "values go with the fusions 'mean' and 'median'. Received: "
            f"outputs='values' for models[{index}]"
        )
    if word in MULTILABEL:
        return word
    if word == "probabilities":
        return _declared_probabilities(model)
    ending = last_activation(model)
    loss, from_logits = _losses.family(model)
    many = "multilabel logits" if loss == "binary" and columns(model) != 1 else "logits"
    if word == "logits":
        return many
    if ending in _FOUND or ending in ("probabilities", "multilabel"):
        return _probabilities(model, ending)
    if ending == "logsoftmax":
        # The softmax of the logarithms of probabilities gives these back.
        return "logits"
    if ending == "linear" and (loss is None or (loss != "other" and from_logits)):
        return many
    if ending not in ("linear", "values") and loss in ("binary", "categorical"):
        if from_logits:
            return many
        several = loss == "binary" and columns(model) != 1
        return "multilabel" if several else "probabilities"
    raise ValueError(
        "`outputs` must be declared where it cannot be found: outputs='probabilities' "
        "or 'logits', or a list with one per member. Received: "
        f"outputs='auto' for models[{index}] {model.name!r}, "
        f"{_seen(ending, loss, from_logits)}"
    )


def _seen(ending: str, loss: str | None, from_logits: bool) -> str:
    ends = {
        "linear": "which ends without an activation",
        "unknown": "whose last activation cannot be seen",
        "values": "an ensemble that gives values",
    }.get(ending, f"which ends in {ending!r}")
    if loss is None:
        return f"{ends} and is not compiled"
    if loss == "other":
        return f"{ends} and has a loss that is not a cross-entropy"
    return f"{ends} and has a cross-entropy with from_logits={from_logits}"


def _of_numbers(model: Any, word: str, index: int) -> str:
    if word in ("values", *MULTILABEL):
        return word
    if word == "probabilities":
        return _declared_probabilities(model)
    if word == "logits":
        return _of_classes(model, word, index)
    ending = last_activation(model)
    found = ending in _FOUND or ending in ("probabilities", "multilabel")
    return _probabilities(model, ending) if found else "values"


def _declared_probabilities(model: Any) -> str:
    """Probabilities, but several sigmoids that can be seen stay what they are."""
    ending = last_activation(model)
    seen = ending in _FOUND or ending == "multilabel"
    return _probabilities(model, ending) if seen else "probabilities"


def _probabilities(model: Any, ending: str) -> str:
    if ending in ("probabilities", "multilabel"):
        return ending
    many = _FOUND[ending] == "many" and columns(model) != 1
    return "multilabel" if many else "probabilities"


def columns(model: Any) -> int | None:
    """How many columns a model's outputs have, where that is known."""
    shape = output_shape(model)
    if shape is None:
        return None
    return 1 if len(shape) < 2 else shape[-1]


def output_shape(model: Any) -> tuple[int | None, ...] | None:
    """The shape of a model's outputs, where its graph tells it."""
    if _estimators.is_one(model):
        return _estimators.output_shape(model)
    tensors = getattr(model, "outputs", None)
    if not isinstance(model, keras.Function | keras.Sequential) or not tensors:
        return None
    return tuple(tensors[0].shape)


def last_activation(model: Any) -> str:
    """The name of the nonlinearity that a model ends with.

    "linear" without one, "unknown" if it cannot be seen; for an ensemble what it gives.
    """
    # It would load all of `surgery` when the package is imported.
    from keras_tricks.surgery import _calls

    if hasattr(model, "_answer_kind"):
        return str(model._answer_kind)
    if not isinstance(model, keras.Function | keras.Sequential) or not model.built:
        return "unknown"
    if output_shape(model) is None:
        return _last(list(model.layers))
    call = next((c for c in reversed(_calls.calls(model)) if c.is_output), None)
    while call is not None and (call.is_model or _passes(call.layer)):
        call = call.first_source
    return "unknown" if call is None else _ending(call.layer)


def _last(layers: list[Any]) -> str:
    while layers and _passes(layers[-1]):
        layers = layers[:-1]
    return _ending(layers[-1]) if layers else "unknown"


def _passes(layer: Any) -> bool:
    """Whether a layer, or an operation, gives on what it gets."""
    name = type(layer).__name__.replace("_", "").lower()
    if isinstance(layer, keras.layers.Activation):
        return layer.activation is keras.activations.linear
    return name in _PASSING or name.endswith("dropout")


def _ending(layer: Any) -> str:
    from keras_tricks.surgery import _activations

    if isinstance(layer, keras.Model):
        return last_activation(layer)
    if isinstance(layer, keras.layers.TimeDistributed):
        return _ending(layer.layer)
    name = _activations.own(layer)
    if name is None:
        # Only a layer that could have one ends surely without one.
        return "linear" if hasattr(layer, "activation") else "unknown"
    return name
