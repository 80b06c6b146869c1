"""Averaged weights in a model for a while, with moments that fit them."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_tricks import _backend, _state
from keras_tricks._errors import NoEffectWarning
from keras_tricks.callbacks._running_mean import RunningMean
from keras_tricks.ensembles import _moments


class WeightSwap:
    """Puts averaged weights into a model, and the raw ones back.

    Args:
        data: What the moments of BatchNormalization are computed from, or None.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self._raw: _state.Copies = []
        self._model: Any = None
        self._recorder: _moments.Recorder | None = None
        # The moments of the mean of so many weights.
        self._known = 0
        self._found: list[Any] = []

    @property
    def swapped(self) -> bool:
        return bool(self._raw)

    def begin(self, variables: list[Any], mean: RunningMean, model: Any) -> None:
        """Gives the variables their means."""
        self._model, self._raw = model, _state.copy_variables(variables)
        try:
            pairs = zip(self._raw, mean.arrays, strict=True)
            _state.assign_variables(
                [(v, array.astype(raw.dtype)) for (v, raw), array in pairs]
            )
            if self._data is not None and _moments.layers_of(model):
                self._recalibrate(model, mean)
        except BaseException:
            self.end()
            raise

    def check(self, model: Any) -> None:
        """Says what is wrong with the data as a training begins, not at its end."""
        layers = _moments.layers_of(model)
        if layers and self._data is None:
            warnings.warn(
                "StochasticWeightAverage: the moments of BatchNormalization layer "
                f"{layers[0].name!r} do not fit averaged weights. Give `recalibrate` "
                "the training data",
                stacklevel=4,
            )
        elif self._data is not None and not layers:
            warnings.warn(
                "`recalibrate` has no effect: the model has no BatchNormalization that "
                "is not frozen",
                NoEffectWarning,
                stacklevel=4,
            )
        elif layers:
            self._recorder = _moments.Recorder(model)
            found = self._recorder.read(self._data, steps=1)
            # The first batch may be all masked.
            _moments.check([one for one in found if one[1].count])

    def _recalibrate(self, model: Any, mean: RunningMean) -> None:
        if not all(np.isfinite(array).all() for array in mean.arrays):
            # The training has failed, as its loss shows; the data have not.
            return
        if mean.count != self._known:
            # Made once, as its run is compiled.
            self._recorder = self._recorder or _moments.Recorder(model)
            found = self._recorder.read(self._data)
            _moments.check(found)
            self._found, self._known = found, mean.count
        _moments.assign(self._found)

    def end(self) -> None:
        """Gives them what they had, if they have not got it back already."""
        if self._raw:
            # On JAX a validation that failed has its state to write back yet.
            _backend.sync_state(self._model)
        raw, self._raw = self._raw, []
        _state.assign_variables(raw)


def checked_data(data: Any) -> Any:
    """Checks for data that can be read again and again, or None."""
    if isinstance(data, bool | int | float | str):
        raise TypeError(
            "`recalibrate` must be training data, as arrays or a dataset, or None. "
            f"Received: recalibrate={data!r}"
        )
    if isinstance(data, Iterator):
        raise ValueError(
            "`recalibrate` must be data that can be read more than once, such as "
            "arrays, a keras.utils.PyDataset or a tf.data.Dataset. Received: "
            f"{type(data).__name__}, which is empty after the first time"
        )
    return data
