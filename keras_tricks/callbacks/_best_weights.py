"""The weights of the best epoch, to return to: in memory, and beside a backup."""

from pathlib import Path
from typing import Any

from keras_tricks import _state

# What belongs to the passing of time or to the number format, not to the weights: a
# return keeps it.
_KEPT = ("iteration", "learning_rate", "multipliers", "dynamic_scale", "step_counter")


class BestWeights:
    """A copy of the model's variables and optimizer slots, and the epoch it is from.

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
        self.keep(epoch)

    def _variables(self) -> list[Any]:
        slots = self.model.optimizer.variables
        return [
            *self.model.variables,
            *(variable for variable in slots if variable.name not in _KEPT),
        ]

    def keep(self, epoch: int) -> None:
        """Takes the model as it is now for the best."""
        self.epoch = epoch
        self.copies = _state.copy_variables(self._variables())

    def give_back(self) -> None:
        """Makes the model the best again."""
        _state.assign_variables(self.copies)

    def describe(self) -> str:
        """Where the weights are from, counted as Keras prints epochs."""
        return f"epoch {self.epoch + 1}" if self.epoch >= 0 else "the start"

    def save(self, state_path: Path) -> None:
        """Writes the copy beside the state file, unless it is there already."""
        path = _path(state_path, self.epoch)
        if not path.exists():
            _state.write_copies(path, self.copies)

    def load(self, state_path: Path, epoch: int) -> None:
        """Reads the copy that an earlier process saved."""
        self.copies = _state.read_copies(_path(state_path, epoch), self._variables())
        self.epoch = epoch


def remove_all_but(state_path: Path, epochs: set[int]) -> None:
    """Deletes the copies that no state refers to any more."""
    kept = {_path(state_path, epoch) for epoch in epochs}
    for path in state_path.parent.glob(f"{state_path.stem}.best*.zip"):
        if path not in kept:
            path.unlink(missing_ok=True)


def _path(state_path: Path, epoch: int) -> Path:
    return state_path.with_name(f"{state_path.stem}.best{epoch + 1}.zip")
