"""How sure a model is: predictions with other units dropped each time."""

import warnings
from contextlib import ExitStack
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _state
from keras_tricks._errors import NoEffectWarning
from keras_tricks.ensembles import _dropout, _random, _stateful


def monte_carlo_predict(
    model: Any,
    x: Any,
    samples: int = 20,
    seed: int | None = None,
    *,
    batch_size: int | None = 32,
    return_samples: bool = False,
) -> tuple[Any, ...]:
    """Predicts many times with Dropout left on: the mean, and how far it varies.

    When: one model has Dropout, and its predictions shall say how sure they are; or
        the mean of many thinned networks shall be a little better than their one
        approximation at prediction.
    Typical: `samples=20` for the mean, 50 to 100 for the variance.
    Costs: `samples` times a `predict` and its masks (which may cost more than a small
        model), one compilation at each call, a copy of the weights in host memory, and
        twice the outputs in float64.
    Beware: the variance depends on the rate of Dropout: it is no calibrated error
        without a check on held-out data. It grows little far away from the data.
        Members trained from other seeds (`kt.ensembles.train_members`) tell more.

    Only Dropout is on: `Dropout`, `SpatialDropout1D` to 3D, `GaussianDropout`,
    `AlphaDropout` and their subclasses, in the model and in what it holds; `dropout`
    and `recurrent_dropout` of SimpleRNN, LSTM, GRU, their cells and ConvLSTM; and that
    of the attention layers. BatchNormalization, GaussianNoise and augmentation are as
    in `predict`. A layer of your own that calls its Dropout only `if training` is not
    reached, nor is one that calls `keras.random.dropout` itself. A stateful RNN starts
    each pass from the same states. The model is given back bit for bit, with
    its seeds and its compiled functions, also after an exception.

    Args:
        model: Built keras.Model of any kind. It need not be compiled.
        x: Array, list or dict of arrays, or dataset, as `predict` takes it; no
            generator, as all passes read it, and always in the same order.
        samples: Positive integer, the number of passes. Defaults to 20.
        seed: Non-negative integer, or None for one that `set_random_seed` decides on.
            The same seed and batch size give the same masks. Defaults to None.
        batch_size: Positive integer, or None for datasets, which have batches.
            Defaults to 32.
        return_samples: Boolean, whether to return all passes as well: `samples` times
            the memory of the outputs. Defaults to False.

    Returns:
        The pair of mean and variance of the passes (divided by `samples`, not by
        `samples - 1`), NumPy arrays of the shape of `model.predict(x)`, or lists or
        dicts of such where the model has several outputs; single precision where it
        computes in half. With `return_samples=True` all passes, (samples, ...), come
        third.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model is not built, or an argument is out of its range.

    Warns:
        NoEffectWarning: If the model has no Dropout that drops, or calls none.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([
    ...     keras.Input((4,)),
    ...     keras.layers.Dropout(0.5),
    ...     keras.layers.Dense(1, kernel_initializer="ones"),
    ... ])
    >>> x = np.ones((3, 4), "float32")
    >>> mean, variance = kt.ensembles.monte_carlo_predict(model, x, 200, seed=1)
    >>> mean.shape, bool(np.all(abs(mean - 4) < 1)), bool(np.all(variance > 2))
    ((3, 1), True, True)

    Reference: Gal and Ghahramani 2016, arXiv 1506.02142.
    """
    _arguments.built_model("model", model)
    _arguments.positive_integer("samples", samples)
    if batch_size is not None:
        _arguments.positive_integer("batch_size", batch_size)
    if hasattr(x, "__next__"):
        raise TypeError(
            "`x` must be what can be read several times. Received: x of the type "
            f"{type(x).__name__}, which is used up after one pass; give arrays or a "
            "dataset"
        )
    seed = _random.drawn(seed)
    layers = _dropout.active(model)
    called: list[bool] = []
    moments, passes = _Moments(), []
    with _state.borrowed(model), ExitStack() as stack:
        for layer in layers:
            stack.enter_context(_dropout.kept_on(layer, lambda: called.append(True)))
        stack.enter_context(_dropout.fresh_masks(model))
        # A step compiled before has no Dropout in it.
        model.make_predict_function(force=True)
        _random.reseed(model.variables, seed)
        # PyTorch's dropout asks the global random numbers.
        _state.seed(seed)
        states = _stateful.copies(model)
        stack.callback(_state.assign_variables, states)
        for _ in range(samples):
            _state.assign_variables(states)
            outputs = model.predict(x, batch_size=batch_size, verbose=0)
            moments.add(keras.tree.flatten(outputs))
            if return_samples:
                passes.append(outputs)
    if not called:
        why = "calls none of its Dropout layers" if layers else "has no active Dropout"
        warnings.warn(
            f"monte_carlo_predict has no effect on {model.name!r}: the model {why}. "
            "All passes are like `predict`.",
            NoEffectWarning,
            stacklevel=2,
        )
    results = [moments.mean(), moments.variance()]
    pair = tuple(keras.tree.pack_sequence_as(outputs, result) for result in results)
    if not return_samples:
        return pair
    return (*pair, keras.tree.map_structure(lambda *parts: np.stack(parts), *passes))


class _Moments:
    """Mean and variance of arrays that come one after the other."""

    def __init__(self) -> None:
        self._count = 0
        self._means: list[np.ndarray] = []
        self._squares: list[np.ndarray] = []
        self._types: list[Any] = []

    def add(self, arrays: list[np.ndarray]) -> None:
        if not self._count:
            self._types = [_float_type(array) for array in arrays]
            self._means = [np.zeros(a.shape, "float64") for a in arrays]
            self._squares = [np.zeros(a.shape, "float64") for a in arrays]
        self._count += 1
        # Welford: a difference of large squares would lose a small variance.
        every = zip(arrays, self._means, self._squares, strict=True)
        for array, mean, squares in every:
            value = array.astype("float64")
            above = value - mean
            mean += above / self._count
            squares += above * (value - mean)

    def mean(self) -> list[np.ndarray]:
        pairs = zip(self._means, self._types, strict=True)
        return [mean.astype(kind) for mean, kind in pairs]

    def variance(self) -> list[np.ndarray]:
        pairs = zip(self._squares, self._types, strict=True)
        return [(squares / self._count).astype(kind) for squares, kind in pairs]


def _float_type(array: np.ndarray) -> Any:
    kind = keras.backend.standardize_dtype(array.dtype)
    if not keras.backend.is_float_dtype(kind):
        return "float64"
    # Small variances would be zero in half precision.
    return array.dtype if array.dtype.itemsize > 2 else "float32"
