"""The averages that an optimizer with `use_ema` keeps of the weights."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_tricks.schedules import _rates


def of(group: Any) -> list[tuple[Any, Any]]:
    """Each variable of an optimizer with its average, or None."""
    # No public name tells which variable an average belongs to.
    variables, averages = (
        group._trainable_variables,
        group._model_variables_moving_average,
    )
    return list(zip(variables, averages, strict=True))


def settle(optimizer: Any, variables: Sequence[Any]) -> None:
    """Makes the averages of the variables equal to them, as they are for one at rest.

    Keras writes the averages, zeros before the first step, into the model at the end.
    """
    frozen = {id(variable) for variable in variables}
    for group in _rates.groups(optimizer):
        for variable, average in of(group) if group.use_ema else ():
            if id(variable) in frozen and average is not None:
                # A copy: JAX must not share buffers.
                average.assign(ops.convert_to_numpy(variable.value))
