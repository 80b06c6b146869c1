"""Where a step is repeated: in this process, or in a new one that sees only the CPU."""

from typing import Any

from keras import ops

from keras_tricks import _backend
from keras_tricks.debug import _explain, _process
from keras_tricks.debug._finding import Finding


def find(
    model: Any,
    batch: Any,
    *,
    training: bool,
    new_process: bool | None,
    weights: Any = None,
) -> Finding | None:
    """What is wrong; `weights` are those of `model.variables`, if known already."""
    if new_process is None:
        new_process = _backend.accelerated()
    if new_process:
        if weights is None:
            weights = [ops.convert_to_numpy(v.value) for v in model.variables]
        try:
            return _process.find(model, weights, batch, training)
        except _process.NotPossibleError:
            pass
    return _explain.here(model, batch, training)
