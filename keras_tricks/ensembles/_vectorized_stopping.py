"""Early stopping of every member by itself."""

from typing import Any

import keras
import numpy as np


class MemberStopping:
    """Keras's `EarlyStopping`, for every member on its own values."""

    def __init__(self, callback: Any, members: int, metrics: Any) -> None:
        if not isinstance(callback, keras.callbacks.EarlyStopping):
            raise TypeError(
                "`early_stopping` must be a keras.callbacks.EarlyStopping. Received: "
                f"early_stopping={callback!r}"
            )
        self._callback = callback
        higher = higher_is_better(callback.monitor, callback.mode, metrics)
        self._sign = -1.0 if higher else 1.0
        self.best = np.full(members, np.inf)
        self._bar = np.inf
        if callback.baseline is not None:
            self._bar = self._sign * callback.baseline
        self.waited = np.zeros(members, int)
        self.active = np.ones(members, bool)
        self.best_epochs = np.full(members, -1)
        self.stopped_epochs = np.full(members, -1)
        self._kept: list[Any] | None = None

    @property
    def monitor(self) -> str:
        """The name of the value that is watched."""
        return str(self._callback.monitor)

    def observe(self, epoch: int, values: Any, weights: list[Any]) -> None:
        """Learns every member's value; keeps the weights of those that are better."""
        if epoch < self._callback.start_from_epoch:
            return
        values = self._sign * np.asarray(values, "float64")
        better = self.active & (values < self.best - abs(self._callback.min_delta))
        first = self.active & (self.best_epochs < 0)
        if self._callback.restore_best_weights and (better | first).any():
            self._keep(better | first, weights)
        self.best = np.where(better, values, self.best)
        self.best_epochs = np.where(better | first, epoch, self.best_epochs)
        # As in Keras: what is better, but not than the baseline, is no new start.
        anew = better & (values < self._bar - abs(self._callback.min_delta))
        self.waited = np.where(anew, 0, self.waited + self.active)
        waited = self.waited >= max(1, self._callback.patience)
        stops = self.active & ~better & waited & (epoch > 0)
        self.stopped_epochs[stops] = epoch
        self.active &= ~stops

    def _keep(self, which: Any, weights: list[Any]) -> None:
        if self._kept is None:
            self._kept = [np.array(weight) for weight in weights]
        for kept, weight in zip(self._kept, weights, strict=True):
            kept[which] = weight[which]

    def restored(self, weights: list[Any]) -> list[Any] | None:
        """The weights with every member at its best epoch, stopped or not."""
        if self._kept is None:
            return None
        known = self.best_epochs >= 0
        result = [np.array(weight) for weight in weights]
        for weight, kept in zip(result, self._kept, strict=True):
            weight[known] = kept[known]
        return result


def higher_is_better(monitor: str, mode: str, metrics: Any) -> bool:
    """The direction that `mode` names, or if it is "auto" the one of the metric."""
    if mode in ("min", "max"):
        return mode == "max"
    name = monitor.removeprefix("val_")
    found = None if metrics is None else metrics.higher_is_better(name)
    if found is None and (name == "loss" or name.endswith("_loss")):
        return False
    if found is None:
        raise ValueError(
            '`mode` must be "min" or "max" for a value of which Keras does not know '
            f"which is better. Received: mode={mode!r} for {monitor!r}; give it, or "
            "correct the name"
        )
    return bool(found)
