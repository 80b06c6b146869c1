"""The values of a training: of its first steps, and of its epochs."""

from typing import Any

import keras

from keras_tricks.runs import _plain

_MOST_VALUES = 64
_OURS = ("epoch", "seconds", "learning_rate")


class Steps:
    """Keeps the losses of the first steps; they stay on the device until `read`.

    `kept` are triples of epoch, number of the batch in it (of the first, where a call
    makes several steps) and the mean loss of the epoch so far.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pending: list[tuple[int, int, Any]] = []
        self.kept: list[tuple[int, int, float]] = []

    def note(self, epoch: int, batch: int, logs: dict[str, Any]) -> None:
        if len(self.kept) + len(self._pending) < self._most and "loss" in logs:
            self._pending.append((epoch, batch, logs["loss"]))

    def read(self) -> None:
        pending, self._pending = self._pending, []
        for epoch, batch, loss in pending:
            try:
                value = float(keras.ops.convert_to_numpy(loss))
            except Exception:
                # A step that failed on the device, or a loss that is no number.
                return
            self.kept.append((epoch, batch, value))


def values(logs: dict[str, Any] | None) -> dict[str, float]:
    """The metrics of an epoch; a small array becomes several."""
    found: dict[str, float] = {}
    for name, value in (logs or {}).items():
        # The rate is noted already, before the first step.
        if name not in _OURS:
            found |= _columns(name, value)
    return found


def _columns(name: str, value: Any) -> dict[str, float]:
    try:
        return {name: float(value)}
    except (TypeError, ValueError):
        held = _plain.plain(value)
    if not isinstance(held, list) or len(held) > _MOST_VALUES:
        return {}
    numbers = [(i, v) for i, v in enumerate(held) if isinstance(v, int | float)]
    return {f"{name}[{i}]": float(v) for i, v in numbers}
