"""Tables where gradients are always dense: what JAX and PyTorch share."""

from collections.abc import Callable
from typing import Any

import keras

GIVES_ROWS = False


def has_rows(gradient: Any) -> bool:
    """Whether the gradient holds a few rows and their indices: here it never does."""
    return False


def sum_duplicates(gradient: Any) -> Any:
    """The same gradient with each row once, as a dense one has it."""
    return gradient


def on_values(
    function: Callable[[list[Any]], list[Any]], gradients: list[Any]
) -> list[Any]:
    """What `function` makes of the gradients, seen as tensors."""
    return function(gradients)


def take_rows(table: Any, ids: Any) -> Any:
    """The rows `ids` of a table; negative ones count from its end."""
    return keras.ops.take(table, ids, axis=0)
