"""The starting grid of a search."""

import inspect
import itertools
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _build
from keras_tricks.model_selection import _data
from keras_tricks.schedules import _rates

_WIDTH = re.compile("(n_|num_)?(units|hidden|width|neurons|embedding|dim)", re.I)
_WIDTHS = (128, 64, 256)
_DECAYS = (0.0, 1e-4, 1e-2)
_SIZES = (32, 128)
# What a batch should leave of the updates in an epoch.
_LEAST_STEPS = 4


def suggest_configurations(
    model_or_build: Any, x: Any, y: Any, *, learning_rates: int = 5
) -> list[dict[str, Any]]:
    """Lists the configurations to begin a search with, the most important first.

    When: before `leaderboard`, to have a grid in the usual order of importance.
    Typical: all of it where folds are one program, else the first ten.
    Costs: one model is built, if a function is given.
    Beware: a start, not an optimum: look whether the best is at an edge of the grid.

    Learning rates vary first: around the one that the model is compiled with by factors
    of about three, this one first. Then weight decay (none, 1e-4, 1e-2) and batch size
    (32 and 128, as far as there are rows), then the width of what `build` lets choose
    by a name such as `units`, `hidden` or `embedding_dim`, around 128.

    Args:
        model_or_build: Compiled model, or a function that returns one.
        x: Inputs, for the number of rows.
        y: Targets.
        learning_rates: Positive integer, how many rates. Defaults to 5.

    Returns:
        List of dicts for `leaderboard`.

    Raises:
        TypeError: If the first argument is neither, or an argument has the wrong type.
        ValueError: If the model is not compiled, or the rows differ in number.

    Example:
    >>> import keras, numpy as np
    >>> from keras_tricks.model_selection import suggest_configurations
    >>> def build(units=16):
    ...     layers = [keras.layers.Dense(units), keras.layers.Dense(1)]
    ...     model = keras.Sequential([keras.Input((2,)), *layers])
    ...     model.compile("adam", "mse")
    ...     return model
    >>> grid = suggest_configurations(build, np.ones((200, 2)), np.ones(200))
    >>> grid[0]
    {'learning_rate': 0.001, 'weight_decay': 0.0, 'batch_size': 32, 'units': 128}

    Reference: Bengio 2012, "Practical recommendations for gradient-based training of
    deep architectures", arXiv 1206.5533.
    """
    _arguments.positive_integer("learning_rates", learning_rates)
    rows = len(_data.checked(x, y, None, table=True))
    if isinstance(model_or_build, keras.Model):
        model, widths = _arguments.compiled_model("model", model_or_build), []
    else:
        widths = _widths(model_or_build) if callable(model_or_build) else []
        model = _build.model(model_or_build, **dict.fromkeys(widths, _WIDTHS[0]))
    usual = _usual_rate(model.optimizer)
    # 0, 1, -1, 2, -2, ... half decades.
    halves = [(n + 1) // 2 * (-1) ** (n + 1) for n in range(learning_rates)]
    rates = [float(f"{usual * 10 ** (half / 2):.1g}") for half in halves]
    sizes = [size for size in _SIZES if rows >= size * _LEAST_STEPS] or [
        max(1, min(_SIZES[0], rows // _LEAST_STEPS))
    ]
    # The last one varies first.
    choices = itertools.product(_WIDTHS if widths else [None], sizes, _DECAYS, rates)
    return [
        {
            "learning_rate": rate,
            "weight_decay": decay,
            "batch_size": size,
            **dict.fromkeys(widths, width),
        }
        for width, size, decay, rate in choices
    ]


def _usual_rate(optimizer: Any) -> float:
    """The rate that the optimizer has, or the usual one of its kind if it is zero."""
    peak = float(_rates.peak(optimizer))
    return peak if np.isfinite(peak) and peak > 0 else 1e-3


def _widths(build: Callable[..., Any]) -> list[str]:
    """The arguments of `build` that are widths, by their names."""
    return [
        name
        for name, parameter in inspect.signature(build).parameters.items()
        if _WIDTH.search(name)
        and (parameter.default is parameter.empty or isinstance(parameter.default, int))
    ]
