"""From a failed step to what was wrong: first the data, then layer by layer."""

from typing import Any

import keras

from keras_tricks.debug import _data_check, _layers
from keras_tricks.debug._finding import Finding, text_of

_MEMORY = ("out of memory", "resource_exhausted", "oom when allocating", "bad_alloc")


def parts_of(batch: Any) -> tuple[Any, Any, Any]:
    """x, y and sample_weight of a batch, whatever its form."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    return x, y, sample_weight


def here(model: Any, batch: Any, training: bool) -> Finding | None:
    """What is found in this process."""
    x, y, sample_weight = parts_of(batch)
    return _data_check.check(model, x, y, sample_weight) or _layers.find(
        model, x, y, sample_weight, training
    )


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether the device, or the host, had no memory left."""
    if error is None:
        return False
    words = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(word in words for word in _MEMORY)


def memory(batch: Any, error: BaseException) -> Finding:
    """What to do when memory ran out."""
    rows = [len(array) for _, array in _data_check.leaves("x", batch) if array.ndim]
    count = rows[0] if rows else 0
    return Finding(
        f"memory ran out on a batch of {count} samples ({text_of(error, 160)})",
        f"use a batch of {max(1, count // 2)}, with "
        "`gradient_accumulation_steps=2` in the optimizer for the same update; or "
        "smaller inputs, mixed precision (keras.config.set_dtype_policy), or a closed "
        "neighbour that uses the same device",
        value=count,
    )


def unknown(error: BaseException | None) -> Finding:
    """What is said when the repeated step is sound."""
    if error is None:
        return Finding(
            "its loss was not finite, but is when the step is repeated on the CPU, "
            "with the weights that could be given back",
            "the weights grow from step to step: lower the learning rate, clip the "
            "gradients (`global_clipnorm`); in float16 use a LossScaleOptimizer",
        )
    return Finding(
        f"{text_of(error)}; the same step succeeds when it is repeated on the CPU, "
        "layer by layer",
        "so the data and the layers are sound: look for what differs, the device, its "
        "driver, the compilation (try jit_compile=False, run_eagerly=True), or a "
        "`train_step` of your own",
    )
