"""JAX's rows of a table: a row without a gradient stays as it is."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp


def change_rows(
    gradient: Any,
    variables: Mapping[str, Any],
    change: Callable[..., Mapping[str, Any]],
) -> None:
    """Writes `change(gradient, variables, chosen)` to the rows that have a gradient.

    Args:
        gradient: Of one table, dense.
        variables: The table and its slots, by name, with equally many rows.
        change: Gets the rows, and a function `chosen(new, old)` that it must send
            each result through; returns the new rows by name.
    """
    # The barrier keeps XLA from finding a row's presence anew for each of its numbers.
    present = jax.lax.optimization_barrier(
        jnp.any(gradient != 0, axis=tuple(range(1, gradient.ndim)))
    )

    def chosen(new: Any, old: Any) -> Any:
        shape = (-1,) + (1,) * (old.ndim - 1)
        return jnp.where(present.reshape(shape), new, old)

    olds = {name: variable.value for name, variable in variables.items()}
    for name, new in change(gradient, olds, chosen).items():
        variables[name].assign(new)


def row_optimizer(base: Any) -> Any:
    """The class to derive from: JAX hands each variable to `update_step`."""
    return base
