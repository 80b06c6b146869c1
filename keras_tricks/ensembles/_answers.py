"""What one model's answers are, where no other member is asked."""

from typing import Any

import keras
import numpy as np

from keras_tricks.ensembles import _fusions, _outputs


def kind(model: Any) -> str:
    """The kind of a model's outputs, as `kt.ensembles.Ensemble` finds it.

    Raises:
        ValueError: If it cannot be told; the message is what is seen of the model.
    """
    fusion = _fusions.Fusion("probabilities", 1)
    try:
        (found,) = _outputs.kinds([model], "auto", fusion)
    except ValueError as error:
        raise ValueError(str(error).rsplit("for ", 1)[-1]) from error
    return found


def finished(answer: Any, kind: str) -> np.ndarray:
    """The NumPy array of predictions as probabilities, or as they are.

    In single precision where they are in half, which NumPy cannot calculate with.
    """
    answer = np.asarray(answer)
    if answer.dtype.itemsize < 4 and keras.backend.is_float_dtype(answer.dtype.name):
        # Not by `keras.ops.cast`, which leaves a bfloat16 array as it is on PyTorch.
        answer = answer.astype("float32")
    return np.asarray(keras.ops.convert_to_numpy(_outputs.finished(answer, kind)))
