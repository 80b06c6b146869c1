"""Scale learning rate: larger batches at a higher rate, within one training."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import keras
from keras import ops

from keras_tricks import _arguments
from keras_tricks._backend import _own
from keras_tricks.callbacks import _one_call
from keras_tricks.schedules import _rates


class ScaleLearningRate(keras.callbacks.Callback):
    """Multiplies the learning rate of each step by the size of its batch.

    When: the batches differ in size, as those of
        `keras_tricks.data.MultiScale(keep="pixels")` do.
    Typical: `rule="linear"` for SGD, `"sqrt"` for Adam and its kin.
    Costs: the step is compiled once more; nothing while it runs.
    Beware: a last batch that is not full has a lower rate, too. The rate of the largest
        batches must be one that the model bears: warm up if it is high. `learning_rate`
        in the history is the rate before the scaling.

    The factor goes into the compiled step: it holds for plain rates and schedules, for
    each group of a `MultiOptimizer`, and for decoupled weight decay, and the optimizer
    itself is not changed. With gradient accumulation it is that of the last batch of
    each update.

    Args:
        base_batch_size: Positive integer, the size for which the rate is meant: the
            factor is batch size / base_batch_size. For MultiScale that is its
            `batch_size`, of the largest images.
        rule: "linear" for that factor, "sqrt" for its square root.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> x = np.ones((48, 16, 16, 1), "float32")
    >>> data = kt.data.MultiScale(
    ...     x, np.ones(48), sizes=(8, 16), batch_size=4, keep="pixels")
    >>> model = keras.Sequential([keras.Input((None, None, 1)),
    ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.01), "mse")
    >>> scale = kt.callbacks.ScaleLearningRate(data.batch_size)
    >>> history = model.fit(data, epochs=2, verbose=0, callbacks=[scale])

    Reference: Goyal et al. 2017, arXiv 1706.02677 (linear); Krizhevsky 2014, arXiv
    1404.5997 (square root). For one size for ever see
    `keras_tricks.schedules.scale_learning_rate`.
    """

    def __init__(self, base_batch_size: int, rule: str = "linear") -> None:
        super().__init__()
        self.base_batch_size = _arguments.positive_integer(
            "base_batch_size", base_batch_size
        )
        self.rule = _arguments.one_of("rule", rule, ("linear", "sqrt"))
        self._change = _one_call.StepChange(self._scaled_step)
        self._trained: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        # On JAX, `self.model` writes the state of a running epoch back.
        model = self.model
        if model is not self._trained:
            # What is compiled for one model serves all its trainings, and no other.
            self._trained = model
            self._change = _one_call.StepChange(self._scaled_step)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        _one_call.for_one_call(self._trained, self._change)

    def _scaled_step(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """A `train_step` whose rates are multiplied while it runs."""
        model = self._trained

        def train_step(*state_and_data: Any) -> Any:
            x, _, _ = keras.utils.unpack_x_y_sample_weight(state_and_data[-1])
            leaf = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
            factor = self._factor(ops.shape(leaf)[0])
            with ExitStack() as stack:
                for group in _rates.groups(model.optimizer):
                    stack.enter_context(_scaled(group, factor))
                return inner(*state_and_data)

        return train_step

    def _factor(self, rows: Any) -> Any:
        if isinstance(rows, int):
            ratio = rows / self.base_batch_size
            return ratio if self.rule == "linear" else math.sqrt(ratio)
        ratio = ops.cast(rows, "float32") / self.base_batch_size
        return ratio if self.rule == "linear" else ops.sqrt(ratio)


def _scaled(group: Any, factor: Any) -> Any:
    # `learning_rate` is a property; what it returns is the one place that all updates,
    # and decoupled weight decay, read.
    rate = group._get_current_learning_rate

    def current() -> Any:
        value = rate()
        return ops.multiply(getattr(value, "value", value), factor)

    return _own.attributes(group, _get_current_learning_rate=current)
