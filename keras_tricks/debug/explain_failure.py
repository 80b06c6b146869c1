"""Explain a failure: repeat one step on the CPU and say what is wrong with it."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_tricks import _arguments
from keras_tricks.debug import _batch_file, _repeat
from keras_tricks.debug.step_error import StepError


def explain_failure(
    model: keras.Model,
    batch: Any,
    *,
    training: bool = True,
    new_process: bool | None = None,
) -> StepError | None:
    """Repeats a step on one batch, layer by layer, and says where it goes wrong.

    When: a step fails with an error of the backend that names no layer, or the loss is
        NaN.
    Typical: `raise kt.debug.explain_failure(model, batch)`.
    Costs: one step that is not compiled, a new process where there is an accelerator.
    Beware: it finds what this batch does with the weights that the model has now.

    First the data are looked at: numbers that are not finite, types, numbers of
    samples, shapes. Then the model runs on the CPU without being compiled: weights,
    tokens, the inputs and outputs of each layer (nested ones too), labels, the loss and
    the gradients. The first thing that is wrong is told. The model and its optimizer
    are as before.

    Args:
        model: Compiled and built model, of any kind.
        batch: `x`, `(x, y)` or `(x, y, sample_weight)`, as a step gets them; or the
            path of a file that `rerun_on_cpu` or `StepError.save` wrote.
        training: Boolean, whether it was a step of a training or of a validation.
        new_process: Boolean, whether to repeat the step in a new process. None, the
            default: if the model is on an accelerator. A model that cannot be made anew
            from its config is repeated in this process instead.

    Returns:
        A `StepError`, not raised, or None if the step is sound.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model is not built or the file cannot be used.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(10, 2),
    ...     keras.layers.Flatten(), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> tokens = np.array([[1, 2, 3], [4, 99, 5]])
    >>> error = kt.debug.explain_failure(model, (tokens, np.zeros((2, 1))))
    >>> error.layer == model.layers[0].name, error.sample, error.value
    (True, 1, 99)

    Reference: none; it is what one does by hand.
    """
    _arguments.compiled_model("model", model)
    _arguments.built_model("model", model)
    _arguments.one_of("training", training, (True, False))
    _arguments.one_of("new_process", new_process, (None, True, False))
    if isinstance(batch, str | os.PathLike):
        batch = _batch_file.read(Path(batch))
    else:
        batch = _batch_file.on_host(batch)
    found = _repeat.find(model, batch, training=training, new_process=new_process)
    return None if found is None else StepError(found, batch)
