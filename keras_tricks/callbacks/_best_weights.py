"""The weights of the best epoch, to return to: in memory, and beside a backup."""

from pathlib import Path
from typing import Any

from keras_tricks import _state

# What belongs to the passing of time or to the number format, not to the weights: a
# return keeps it.
_KEPT = ("iteration", "learning_rate", "multipliers", "dynamic_scale", "step_counter")


class BestWeights:
    """A copy of the model's variables and optimizer slots, and the epoch it is from.

    After a change of the optimizer the slots are those that the new one began with.

    Args:
        model: Compiled model, built.
        epoch: Integer, -1 for the untrained model.
    """

    def __init__(self, model: Any, epoch: int) -> None:
        if not model.built:
            raise ValueError(
                "`model` must be built before `fit`, so that on_divergence='rollback' "
                "has weights to return to. Received: an unbuilt model; call it on a "
                "batch of data first"
            )
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self.model = model
        # How many optimizers came before this one.
        self.changes = 0
        self.keep(epoch)

    def keep(self, epoch: int) -> None:
        """Takes the model as it is now for the best."""
        self.epoch = epoch
        self._weights = _state.copy_variables(self.model.variables)
        self._keep_slots()

    def _keep_slots(self) -> None:
        self._optimizer = self.model.optimizer
        self._slots = _state.copy_variables(self._slot_variables())

    def _slot_variables(self) -> list[Any]:
        return [v for v in self.model.optimizer.variables if v.name not in _KEPT]

    def notice_optimizer(self) -> None:
        """To be called before a step: a new optimizer's slots are still as it began."""
        if self.model.optimizer is not self._optimizer:
            self.changes += 1
            self._keep_slots()

    def give_back(self) -> None:
        """Makes the model the best again."""
        _state.assign_variables([*self._weights, *self._slots])

    def describe(self) -> str:
        """Where the weights are from, counted as Keras prints epochs."""
        return f"epoch {self.epoch + 1}" if self.epoch >= 0 else "the start"

    def save(self, state_path: Path) -> None:
        """Writes the copy beside the state file, unless it is there already."""
        path = _path(state_path, self.epoch, self.changes)
        if not path.exists():
            _state.write_copies(path, [*self._weights, *self._slots])

    def load(
        self, state_path: Path, epoch: int, changes: int, *, changed: bool
    ) -> None:
        """Reads the copy that an earlier process saved.

        Where the optimizer has `changed` since, the slots are those it has now.
        """
        weights, slots = self.model.variables, self._slot_variables()
        path = _path(state_path, epoch, changes)
        if changed:
            self._weights = _state.read_copies(path, weights, beginning=True)
            self._keep_slots()
        else:
            copies = _state.read_copies(path, [*weights, *slots])
            self._weights, self._slots = copies[: len(weights)], copies[len(weights) :]
        self.epoch, self.changes = epoch, changes + changed


def remove_all_but(state_path: Path, kept: set[tuple[int, int]]) -> None:
    """Deletes the copies that no state refers to, by epoch and changes."""
    paths = {_path(state_path, *key) for key in kept}
    for path in state_path.parent.glob(f"{state_path.stem}.best*.zip"):
        if path not in paths:
            path.unlink(missing_ok=True)


def _path(state_path: Path, epoch: int, changes: int) -> Path:
    suffix = f".{changes}" if changes else ""
    return state_path.with_name(f"{state_path.stem}.best{epoch + 1}{suffix}.zip")
