"""Follows a training with its record in hand."""

import math
from typing import Any

import keras
from keras import tree

from keras_tricks._report import Report
from keras_tricks.runs import _fingerprint, _flat, _model, _surroundings
from keras_tricks.runs._fit_watch import FitWatch
from keras_tricks.runs._repetition import Check, FirstDifference, Repetition
from keras_tricks.runs._steps import Steps, values
from keras_tricks.runs.run import Run

_ROWS = 8
# What may be the reason, but need not.
_COMPARED = ("optimizer", "compile", "seeds", "environment")


class Checker(keras.callbacks.Callback):
    """Refuses another model and other data, and compares the rest.

    Args:
        run: The record.
        given: What `repeat` was given as data.

    Attributes:
        rows: The first few rows of the inputs, or None where they are no arrays.
    """

    def __init__(self, run: Run, given: Any) -> None:
        super().__init__()
        self._run, self._given = run, given
        self._recorded = run.steps
        self._steps = Steps(len(self._recorded.get("loss", ())))
        self._epochs: list[dict[str, float]] = []
        self._checks: list[Check] = []
        self._watch: FitWatch | None = None
        self._place = (0, 0)
        self.rows: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        watch = FitWatch(self.model, lambda error: None, self._note)
        arguments, watch.arguments = watch.arguments, {}
        self._watch = watch
        self._check_model()
        self._check_data(arguments)
        self.rows = _first_rows(arguments.get("x"))
        now = {
            "optimizer": _model.optimizer(self.model.optimizer),
            "compile": _model.compiled(self.model),
            "seeds": _surroundings.seeds(self.model),
            "environment": _surroundings.environment(),
        }
        found = _flat.flat(now)
        # What only says how the state came about.
        told = ("seeds.reproducible", "seeds.PYTHONHASHSEED", "optimizer.config.name")
        names = dict.fromkeys([*self._run.settings, *found])
        for name in names:
            if name.split(".")[0] in _COMPARED and name not in told:
                self._check(name, self._run.settings.get(name), found.get(name))
        recorded = self._run.settings.get("model.initial_weights")
        weights = _model.model(self.model)["initial_weights"]
        self._checks.insert(0, _compared("initial weights", recorded, weights))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._place = (epoch, 0)
        if self._watch is not None:
            self._watch.hook()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._place = (self._place[0], batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._steps.read()
        self._epochs.append(values(logs))

    def on_train_end(self, logs: Any = None) -> None:
        if self._watch is not None:
            self._watch.close()

    def repetition(self, unstable: Report) -> Repetition:
        """What was found, when the training is over."""
        self._steps.read()
        first = self._first_step() or self._first_epoch()
        compared = bool(self._steps.kept or self._epochs)
        same = first is None and compared
        losses = [loss for _, _, loss in self._steps.kept]
        return Repetition(self._checks, same, first, losses, unstable, self.model)

    def _note(self, logs: dict[str, Any]) -> None:
        self._steps.note(*self._place, logs)

    def _check(self, name: str, recorded: Any, now: Any) -> None:
        check = _compared(name, recorded, now)
        if not check.same:
            self._checks.append(check)

    def _check_model(self) -> None:
        configured = _model.config(self.model)
        recorded = self._run.architecture
        if configured is not None and recorded is not None:
            old, new = (
                _flat.flat(_model.nameless(part)) for part in (recorded, configured)
            )
            unlike = [n for n in {**old, **new} if old.get(n) != new.get(n)]
            if unlike:
                name = unlike[0]
                raise ValueError(
                    "`build` must return the recorded model. Received: one with "
                    f"{name}={_flat.short(new.get(name))!r}, recorded was "
                    f"{_flat.short(old.get(name))!r}"
                )
        now, before = _model.model(self.model), self._run.settings
        for name in ("parameters", "shapes"):
            if now[name] != before.get(f"model.{name}"):
                raise ValueError(
                    "`build` must return the recorded model. Received: one with "
                    f"{now['parameters']} parameters, recorded were "
                    f"{before.get('model.parameters')}"
                    + (", of other shapes" if name == "shapes" else "")
                )

    def _check_data(self, arguments: dict[str, Any]) -> None:
        recorded = self._run.manifest.get("data")
        trained = tuple(arguments.get(n) for n in ("x", "y", "sample_weight"))
        now = _fingerprint.of_data(trained)
        if not recorded or recorded in (now, _fingerprint.of_data(self._given)):
            self._checks.append(_compared("data", bool(recorded), True))
            return
        raise ValueError(
            "`x` and `y` must be the recorded data. Received: "
            f"{_described(now)}; recorded were {_described(recorded)}"
        )

    def _first_step(self) -> FirstDifference | None:
        columns = [self._recorded.get(n) for n in ("epoch", "batch", "loss")]
        if any(column is None for column in columns):
            return None
        rows = list(zip(*columns, strict=True))
        # By their places: another callback may keep a step from being seen.
        now = {(epoch, batch): loss for epoch, batch, loss in self._steps.kept}
        for step, (epoch, batch, loss) in enumerate(rows, 1):
            repeated = now.get((epoch, batch))
            if repeated is not None and not _equal(float(loss), repeated):
                place = int(epoch), int(batch)
                return FirstDifference(step, *place, float(loss), repeated)
        return None

    def _first_epoch(self) -> FirstDifference | None:
        history = self._run.history
        for index, (epoch, row) in enumerate(
            zip(history["epoch"], self._epochs, strict=False)
        ):
            for name in history.keys() & row.keys():
                loss, now = float(history[name][index]), row[name]
                if not _equal(loss, now):
                    return FirstDifference(None, int(epoch), None, loss, now)
        return None


def _compared(name: str, recorded: Any, now: Any) -> Check:
    return Check(name, _flat.short(recorded), _flat.short(now), recorded == now)


def _equal(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _described(entries: Any) -> str:
    if not isinstance(entries, list):
        return _flat.short(entries)
    parts = [e if isinstance(e, dict) else {} for e in entries]
    return "; ".join(
        _flat.short(
            f"{e.get('type')} {e.get('shape', e.get('length'))} {e.get('hash')}"
        )
        for e in parts
    )


def _first_rows(x: Any) -> Any:
    """A few rows, where the inputs are arrays."""
    leaves = tree.flatten(x)
    if not leaves or not all(hasattr(leaf, "shape") for leaf in leaves):
        return None
    return tree.map_structure(lambda leaf: leaf[:_ROWS], x)
