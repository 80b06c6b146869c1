"""Which loss a model has at which output, in the few words that rules ask for."""

import dataclasses
import re
from typing import Any

import keras

from keras_tricks.lint import _places
from keras_tricks.surgery import _calls

# Keras's short names, as its functions are called.
_SHORT = {
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
    "kullback_leibler_divergence": "kl_divergence",
}


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss at one output.

    `key` is where `compile` was given it: a name, a position, or None for one loss; for
    one of a structure inside, the way to it.
    `kind` is "sparse_categorical_crossentropy" and the like for one of Keras's own, ""
    for another one; `from_logits` is None where it has no such argument.
    """

    output: int
    kind: str
    given: Any
    from_logits: bool | None = None
    reduction: str | None = None
    ignored_class: int | None = None
    key: Any = None


def of(model: Any) -> list[Loss]:
    """The losses that a model is compiled with, one for each output that has one."""
    given = getattr(model, "loss", None) if model.compiled else None
    if given is None:
        return []
    known = {"": 0}
    if _calls.is_copyable(model):
        known = _places.output_names(model, "")
    if not isinstance(given, dict | list | tuple):
        count = len(set(known.values()))
        return [_read(place, given) for place in range(count)]
    found = []
    for order, (path, loss) in enumerate(keras.tree.flatten_with_path(given)):
        if loss is not None:
            # Under the key of a model that returns a dict, or the name of an output.
            place = known.get("".join(f"[{key!r}]" for key in path), order)
            key = path[0] if len(path) == 1 else path
            found.append(dataclasses.replace(_read(place, loss), key=key))
    return found


def _read(output: int, given: Any) -> Loss:
    if isinstance(given, str) and given in ("crossentropy", "ce"):
        return Loss(output, "crossentropy", given, False)
    try:
        loss = keras.losses.get(given)
    except ValueError:
        return Loss(output, "", given)
    if not isinstance(loss, keras.losses.Loss):
        return _function(output, given, loss)
    if not _is_keras(type(loss)):
        return Loss(output, "", given, reduction=getattr(loss, "reduction", None))
    config = loss.get_config()
    return Loss(
        output,
        re.sub(r"(?<!^)(?=[A-Z])", "_", type(loss).__name__).lower(),
        given,
        config.get("from_logits"),
        loss.reduction,
        config.get("ignore_class"),
    )


def _function(output: int, given: Any, function: Any) -> Loss:
    name = getattr(function, "__name__", "")
    if not _is_keras(function):
        return Loss(output, "", given)
    logits = False if "crossentropy" in name else None
    return Loss(output, _SHORT.get(name, name), given, logits)


def _is_keras(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("keras.")


def flipped(loss: Loss) -> Any:
    """The same loss with the other `from_logits`, or None where that cannot be said."""
    if loss.from_logits is None or loss.kind == "crossentropy":
        return None
    given = keras.losses.get(loss.given)
    if isinstance(given, keras.losses.Loss):
        config = {**given.get_config(), "from_logits": not loss.from_logits}
        return type(given).from_config(config)
    name = "".join(word.title() for word in loss.kind.split("_"))
    kind = getattr(keras.losses, name, None)
    return kind and kind(from_logits=not loss.from_logits)
