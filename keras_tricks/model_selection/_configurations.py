"""Configurations: what `build` is called with, and what is set afterwards."""

import difflib
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from keras_tricks import _arguments, _build
from keras_tricks.schedules import _rates

Configuration = dict[str, Any]

_OF_TRAINING = ("batch_size", "epochs")
_OF_OPTIMIZER = ("learning_rate", "weight_decay")


class Configured:
    """A `build` that is called with the values of a configuration.

    Rates and decays that it does not take itself are set on the optimizer.
    """

    def __init__(self, build: Callable[..., Any], configuration: Configuration) -> None:
        taken, everything = _taken(build)
        self.build = build
        self.given: Configuration = {}
        self.set: Configuration = {}
        for name, value in configuration.items():
            if name in taken or (
                everything and name not in (*_OF_TRAINING, *_OF_OPTIMIZER)
            ):
                self.given[name] = value
            elif name in _OF_OPTIMIZER:
                self.set[name] = value
            elif name not in _OF_TRAINING:
                raise _unknown(name, taken)
        # What it is offered beside: `seed` and `fold`, if `build` takes them.
        self.__signature__ = inspect.Signature(
            [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
                for name in ("seed", "fold")
                if name in taken and name not in self.given
            ]
        )

    def __call__(self, **offered: Any) -> Any:
        model = _build.call(self.build, **offered, **self.given)
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None:
            return model
        if "learning_rate" in self.set:
            _rates.set_peak(model, self.set["learning_rate"])
        if "weight_decay" in self.set:
            optimizer.weight_decay = self.set["weight_decay"]
        return model


def _taken(build: Any) -> tuple[set[str], bool]:
    """The names of the arguments, and whether any other name will do."""
    if not callable(build):
        return set(), False
    try:
        parameters = inspect.signature(build).parameters
    except ValueError:
        return set(), True
    named = {n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    return named, len(named) < len(parameters)


def _unknown(name: str, taken: set[str]) -> ValueError:
    known = sorted({*taken - {"seed", "fold"}, *_OF_TRAINING, *_OF_OPTIMIZER})
    near = difflib.get_close_matches(name, known, 1)
    hint = f". Did you mean {near[0]!r}?" if near else ""
    return ValueError(
        f"`configurations` must name arguments of `build`, or {', '.join(known)}. "
        f"Received: {name!r}{hint}"
    )


def listed(configurations: Any) -> list[Configuration]:
    """All of them, from a list, a `ParameterGrid` or a `ParameterSampler`.

    Raises:
        TypeError: If they are no dicts.
        ValueError: If there is none, or one twice.
    """
    expected = (
        "`configurations` must be a list of dicts, a ParameterGrid, a ParameterSampler "
        "or an Optuna study. Received: "
    )
    if isinstance(configurations, Mapping | str) or not isinstance(
        configurations, Iterable
    ):
        raise TypeError(f"{expected}configurations={configurations!r}")
    found = list(configurations)
    for configuration in found:
        if not isinstance(configuration, Mapping):
            raise TypeError(f"{expected}{configuration!r} among them")
    if not found:
        raise ValueError("`configurations` must hold at least one. Received: none")
    names = [name(configuration) for configuration in found]
    for place, own in enumerate(names):
        if own in names[:place]:
            raise ValueError(
                "`configurations` must all differ. Received: "
                f"{dict(found[place])!r} twice"
            )
    return [dict(configuration) for configuration in found]


def name(configuration: Mapping[str, Any]) -> str:
    """A short text that is another one for another configuration."""
    text = json.dumps(dict(configuration), sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def training(configuration: Configuration, epochs: int, batch_size: int) -> Any:
    """The number of epochs and the batch size of a configuration."""
    batch = configuration.get("batch_size", batch_size)
    return (
        int(_arguments.positive_integer("epochs", configuration.get("epochs", epochs))),
        int(_arguments.positive_integer("batch_size", batch)),
    )
