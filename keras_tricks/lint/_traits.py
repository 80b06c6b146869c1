"""What callbacks say about themselves: rules do not know their classes.

A callback declares `lint_traits`, a dict on its class, or a property where it depends
on the arguments, with any of

- "sets_learning_rate": it sets a plain rate, which fails where there is a schedule;
- "starts_learning_rate": it does so from the first epoch on, so that the rate which the
  model is compiled with does not count;
- "averages_weights": the model ends with an average of its weights;
- "refreshes_batch_norm": it then computes the statistics of BatchNormalization anew;
- "clips_gradients": it clips, so that the optimizer need not;
- "patterns": the name of its attribute that holds patterns of layers, or lists of them.
"""

from typing import Any

import keras

# Keras's own callbacks declare nothing.
_KERAS = {
    keras.callbacks.ReduceLROnPlateau: {"sets_learning_rate": True},
    keras.callbacks.LearningRateScheduler: {
        "sets_learning_rate": True,
        "starts_learning_rate": True,
    },
    keras.callbacks.SwapEMAWeights: {"averages_weights": True},
}


def of(callback: Any) -> dict[str, Any]:
    """The traits of a callback, those of a Keras class that it extends among them."""
    found: dict[str, Any] = {}
    for kind, traits in _KERAS.items():
        if isinstance(callback, kind):
            found.update(traits)
    declared = getattr(callback, "lint_traits", None)
    return {**found, **declared} if isinstance(declared, dict) else found
