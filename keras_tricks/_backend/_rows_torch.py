"""PyTorch's rows of a table: a row without a gradient stays as it is."""

from collections.abc import Callable, Mapping
from typing import Any

import torch


def change_rows(
    gradient: Any,
    variables: Mapping[str, Any],
    change: Callable[..., Mapping[str, Any]],
) -> None:
    """Writes `change(gradient, variables, chosen)`, at the rows with a gradient.

    Args:
        gradient: Of one table, dense.
        variables: The table and its slots, by name, with equally many rows.
        change: Gets the rows, and a function `chosen(new, old)` that it must send
            each result through; returns the new rows by name.
    """
    rows = torch.nonzero(gradient.flatten(1).any(dim=1)).squeeze(1)
    natives = {name: variable.value for name, variable in variables.items()}
    olds = {name: native[rows] for name, native in natives.items()}
    for name, new in change(gradient[rows], olds, lambda new, old: new).items():
        natives[name].index_copy_(0, rows, new.to(natives[name].dtype))


def row_optimizer(base: Any) -> Any:
    """The class to derive from, its tables kept out of PyTorch's fused update.

    Those for which `takes_rows(variable)` holds go to `update_step` instead.
    """

    class RowOptimizer(base):
        @torch.no_grad()
        def _backend_update_step(
            self, grads: Any, trainable_variables: Any, learning_rate: Any
        ) -> None:
            rest = []
            for gradient, variable in zip(grads, trainable_variables, strict=True):
                if self.takes_rows(variable):
                    self.update_step(gradient, variable, learning_rate)
                else:
                    rest.append((gradient, variable))
            if rest:
                super()._backend_update_step(
                    *map(list, zip(*rest, strict=True)), learning_rate
                )

    return RowOptimizer
