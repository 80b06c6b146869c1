"""Switch optimizer: begin with one, finish with another, in one `fit`."""

import math
import re
import warnings
from typing import Any

from keras_tricks import _arguments
from keras_tricks._errors import NoEffectWarning
from keras_tricks.callbacks import _backup, _monitor, _switch
from keras_tricks.callbacks._plateau import Plateau
from keras_tricks.callbacks._resumable import Resumable

_PATIENCE = 3


class SwitchOptimizer(Resumable):
    """Trains on with another optimizer from an epoch on, or when a metric stalls.

    When: Adam is fast at first, but SGD ends at a better validation loss.
    Typical: Adam for the first 10 to 50 % of the epochs, then
        `keras.optimizers.SGD(0.01, momentum=0.9)`.
    Costs: the step is compiled once more, and the old slots are given up.
    Beware: the new optimizer starts at its own step 0, its schedule too; find its rate
        in a trial of its own, it is no multiple of Adam's. Callbacks that keep
        `model.optimizer` instead of asking for it change the old one, without effect.

    The switch is made at the start of an epoch, never within. Weights and history go
    on; averaged weights of the old optimizer (`use_ema`) are put into the model first;
    loss scaling goes on around the new one. The model saved afterwards holds the new
    optimizer. In a later `fit` a callback that has switched changes nothing.

    Put it before callbacks that set a rate at the start of an epoch, as
    `LearningRateScheduler` does: they set the new optimizer's then. Put it after
    `SwapEMAWeights`, which must swap with the old optimizer.

    Args:
        optimizer: Optimizer that has not trained yet; or its name or config, as
            `compile` takes them, which may serve several models.
        epoch: Integer, the first epoch of the new optimizer, counted from 0 as Keras's
            callbacks count. Either this or `monitor`.
        monitor: String, the logged value that must stall. The epoch after is the first
            of the new optimizer.
        patience: Positive integer, epochs without a better value before the switch.
            Only with `monitor`; None stands for 3.
        mode: "min", "max" or "auto", which goes by the name of the monitor.
        min_delta: Float, a smaller change is no improvement.
        verbose: 0 or 1; 1 prints the switch.
        backup_dir: Folder of the `keras.callbacks.BackupAndRestore` in the same `fit`,
            or None. With it a training that was killed, before or after the switch, and
            is resumed by the same program is the training that was not killed. Without
            it one that was killed after the switch cannot be resumed.

    `switched_at` is the epoch of the switch, None before.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, both or neither of `epoch` and
            `monitor` are given, or `optimizer` has been used already; at the start of
            `fit` if it is the model's own, or if `epoch` is already over; on resuming
            if the state in `backup_dir` does not fit.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x = np.zeros((4, 1))
    >>> switch = kt.callbacks.SwitchOptimizer(keras.optimizers.SGD(0.05), epoch=2)
    >>> history = model.fit(x, x, epochs=3, verbose=0, callbacks=[switch])
    >>> switch.switched_at, type(model.optimizer).__name__
    (2, 'SGD')

    Reference: Keskar and Socher 2017, arXiv 1712.07628, where a rule picks the moment
    (see `keras_tricks.optimizers.SWATS`); here you or the metric do.
    """

    def __init__(
        self,
        optimizer: Any,
        epoch: int | None = None,
        monitor: str | None = None,
        patience: int | None = None,
        *,
        mode: str = "auto",
        min_delta: float = 1e-4,
        verbose: int = 0,
        backup_dir: str | None = None,
    ) -> None:
        if (epoch is None) == (monitor is None):
            raise ValueError(
                "`epoch` or `monitor` must be given, and not both. Received: "
                f"epoch={epoch!r}, monitor={monitor!r}"
            )
        if epoch is not None:
            _arguments.integer("epoch", epoch, 0, 2**31)
            if patience is not None:
                raise ValueError(
                    "`patience` must be None where `epoch` sets the moment. Received: "
                    f"patience={patience!r}; or give `monitor` instead of `epoch`"
                )
        else:
            _arguments.text("monitor", monitor)
            if patience is not None:
                _arguments.positive_integer("patience", patience)
        words = f"epoch{epoch}" if monitor is None else monitor
        name = re.sub(r"[^a-zA-Z0-9]", "_", words)
        super().__init__(backup_dir, f"switch_optimizer.{name}.json")
        self.optimizer = optimizer
        self.epoch = epoch
        self.monitor = monitor
        self.patience = patience
        self.mode = _arguments.one_of("mode", mode, ("auto", "min", "max"))
        self.min_delta = _arguments.not_negative("min_delta", min_delta)
        self.verbose = _arguments.one_of("verbose", verbose, (0, 1))
        self.switched_at: int | None = None
        self._new = _switch.made(optimizer)
        self._refuse_used()
        # The `compile` whose optimizer was replaced: after another one all is new.
        self._compiled: Any = None
        self._pending = False

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        if self.switched_at is not None and self._compiled is not _compiled(self.model):
            self.switched_at = self._compiled = None
            self._new = _switch.made(self.optimizer)
        if self.backup_dir is not None and self.model.built:
            self._prepare_resume()

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        self._pending = self._observed = self._warned = False
        self._switch_epoch = self.epoch if self.switched_at is None else None
        self._plateau = Plateau(
            patience=self.patience or _PATIENCE,
            cooldown=0,
            min_delta=self.min_delta,
            higher=_monitor.higher_is_better(self.monitor or "loss", self.mode),
        )
        if self.switched_at is None:
            if _switch.share(self._new, self.model.optimizer):
                raise ValueError(
                    "`optimizer` must be another one than the model's own. Received: "
                    f"optimizer={self.optimizer!r}, which `compile` was given too"
                )
            self._refuse_used()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        first = self._first_epoch
        super().on_epoch_begin(epoch, logs)
        due = None if self.switched_at is not None else self._switch_epoch
        if first and due is not None and due < epoch:
            raise ValueError(
                f"`epoch` must not be over when `fit` starts, at epoch {epoch}. "
                f"Received: epoch={due}; leave the callback out if the model was "
                "loaded with its new optimizer, or give the `backup_dir` of "
                "BackupAndRestore if that resumes the training"
            )
        if due == epoch:
            self._switch(epoch)
        self._epoch, self._pending = epoch, True

    def on_test_end(self, logs: Any = None) -> None:
        # The validation inside `fit` ends before the first `on_epoch_end`. To learn now
        # makes a backup find this state written, wherever it is in the list.
        validated = {f"val_{name}": value for name, value in (logs or {}).items()}
        if self.monitor is None or self.monitor in validated:
            self._observe(validated)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._observe(logs or {})

    def on_train_end(self, logs: Any = None) -> None:
        self._pending = False
        if self.switched_at is not None or self._warned:
            return
        if self.monitor is None:
            why = f"`fit` ended before epoch {self.epoch}"
        elif not self._observed:
            why = _monitor.explain_missing(self.monitor, ())
        elif self._switch_epoch is not None:
            why = f"{self.monitor} stalled in the last epoch only"
        else:
            why = f"{self.monitor} never stalled for {self._plateau.patience} epochs"
        self._warn(why)

    def state(self) -> dict[str, Any]:
        switched = self.switched_at is not None
        return {
            "switched": switched,
            "switch_epoch": self.switched_at if switched else self._switch_epoch,
            "best": self._plateau.best,
            "waited": self._plateau.waited,
            "iterations": _switch.steps(self.model.optimizer),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        # A string would do for `float` alone.
        best = float(state["best"] + 0)
        waited, iterations = (
            _arguments.integer(name, state[name], 0, 2**62)
            for name in ("waited", "iterations")
        )
        held = _switch.steps(self.model.optimizer)
        # A backup from inside the epoch of the switch counts the new one's steps.
        if held < iterations and state["switched"] == (self.switched_at is not None):
            raise ValueError(
                f"the backup has {held} steps of {_switch.names(self.model.optimizer)} "
                f"where {iterations} were made"
            )
        self._plateau.best, self._plateau.waited = best, waited
        if self.switched_at is None:
            self._switch_epoch = _epoch_in(state)

    def _prepare_resume(self) -> None:
        """Switches before BackupAndRestore loads slots that are the new optimizer's."""
        start = _backup.start(self.backup_dir)
        if start is None:
            return
        epoch, inside = start
        due = self.epoch
        if self.monitor is not None:
            # The newest state may be of the epoch before: killed between two callbacks.
            states = self._read() if self.path().exists() else {}
            known = max((number for number in states if number <= epoch), default=None)
            with self._naming_the_file():
                due = None if known is None else _epoch_in(states[known])
        switched = due is not None and (due < epoch or (due == epoch and inside))
        if switched and self.switched_at is None:
            self._refuse_used()
            _switch.switch(self.model, self._new, finalize=False)
            self._compiled, self.switched_at = _compiled(self.model), due
        elif self.switched_at is not None and not switched:
            raise ValueError(
                f"`backup_dir` must hold a backup from after the switch, at epoch "
                f"{self.switched_at}, as the model has switched. Received: "
                f"{str(self.backup_dir)!r}, a backup of epoch {epoch}; compile the "
                "model anew and make a new SwitchOptimizer, to resume from there"
            )

    def _refuse_used(self) -> None:
        if self._new.built:
            raise ValueError(
                "`optimizer` must be one that has not been used yet. Received: "
                f"optimizer={self.optimizer!r}, already built for a model; make a new "
                "one, or give its name or config, which may be used again"
            )

    def _observe(self, logs: dict[str, Any]) -> None:
        """Learns from an epoch once, at the first hook that knows the value."""
        if not self._pending:
            return
        self._pending = False
        if self.monitor is not None and self.switched_at is None:
            if self.monitor in logs:
                self._observed = True
                if self._plateau.judge(logs[self.monitor]) == "stalled":
                    self._switch_epoch = self._epoch + 1
            else:
                self._report_missing(logs)
        self.remember(self._epoch)

    def _switch(self, epoch: int) -> None:
        before = _switch.names(self.model.optimizer)
        _switch.switch(self.model, self._new)
        self._compiled, self.switched_at = _compiled(self.model), epoch
        if self.verbose:
            best = self._plateau.best
            why = "" if math.isnan(best) else f"{self.monitor} stalled at {best:.4g}; "
            after = _switch.names(self.model.optimizer)
            print(f"Epoch {epoch + 1}: {why}switched from {before} to {after}.")

    def _report_missing(self, logs: dict[str, Any]) -> None:
        # Without any validation result this may be an epoch that is not validated.
        expected = str(self.monitor).startswith("val_")
        validated = any(name.startswith("val_") for name in logs)
        if self._observed or self._warned or (expected and not validated):
            return
        self._warn(_monitor.explain_missing(str(self.monitor), logs))

    def _warn(self, why: str) -> None:
        self._warned = True
        warnings.warn(
            f"SwitchOptimizer has no effect: {why}", NoEffectWarning, stacklevel=3
        )


def _compiled(model: Any) -> Any:
    """What is another object after each `compile`."""
    return vars(model).get("_compile_config")


def _epoch_in(state: dict[str, Any]) -> int | None:
    """The epoch whose start is the switch, in a state read from a file."""
    epoch: int | None = state["switch_epoch"]
    if epoch is not None:
        _arguments.integer("switch_epoch", epoch, 0, 2**31)
    return epoch
