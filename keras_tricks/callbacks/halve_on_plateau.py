"""Halve on plateau: the rate follows the validation loss down."""

import difflib
import math
import re
import warnings
from pathlib import Path
from typing import Any

from keras_tricks import _arguments, _backend, _state
from keras_tricks._errors import NoEffectWarning
from keras_tricks.callbacks._plateau import Plateau
from keras_tricks.callbacks._resumable import Resumable
from keras_tricks.schedules import _rates

# Metrics that are better when higher, by the words in Keras's names for them.
_HIGHER = re.compile("acc|auc|precision|recall|f1|fbeta|iou|similarity|sensitivity|r2")
# What belongs to the passing of time, not to the weights: a return keeps it.
_CLOCK = ("iteration", "learning_rate")


class HalveOnPlateau(Resumable):
    """Halves the learning rate whenever the validation loss has stopped falling.

    When: plain SGD, started at a high rate (1.0 or 0.1), without a plan of its length.
    Typical: `patience` = 2 to 5 epochs.
    Costs: nothing; with a schedule the training step is traced anew at each halving.
        `on_divergence="rollback"` copies the weights at each new best epoch.
    Beware: a noisy monitor halves too early; raise `patience` or `min_delta`.

    Works with a plain rate, with any schedule (which is scaled, its shape kept), with a
    `LossScaleOptimizer` and with a `MultiOptimizer` (every group is halved). The saved
    model has the rate that was reached. An epoch without the value does not count.

    Args:
        monitor: String, the logged value to watch.
        factor: Float in (0, 1), what the rate is multiplied by.
        patience: Positive integer, epochs without a better value before a halving.
        verbose: 0 or 1; 1 prints each halving.
        mode: "min", "max" or "auto", which goes by the name of the monitor.
        min_delta: Float, a smaller change is no improvement.
        cooldown: Integer, epochs after a halving that do not count.
        min_lr: Float, the highest rate of any group is not taken below it.
        on_divergence: None or "rollback": when the loss is no longer finite, or above
            `explosion` times its best (at first, that of the untrained model), return
            to the weights and optimizer slots of the best epoch and halve. The step
            counter, and with it a schedule, runs on.
        explosion: Float above 1. Defaults to 10, far above what overfitting does.
        backup_dir: Folder of the `keras.callbacks.BackupAndRestore` in the same `fit`,
            or None. With it a training that was killed and is resumed has the same
            rates as one that was not. The state lies in that folder, and goes with it.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range; at the start of `fit` if the
            model must be built for a rollback and is not; on resuming if the state in
            `backup_dir` is damaged.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.5), "mse")
    >>> x = np.zeros((4, 1))
    >>> halve = kt.callbacks.HalveOnPlateau("loss", patience=1)
    >>> history = model.fit(x, x, epochs=4, verbose=0, callbacks=[halve])
    >>> [float(rate) for rate in history.history["learning_rate"]]
    [0.5, 0.5, 0.25, 0.125]

    Reference: the recipe of hand-tuned SGD; arguments as in Keras's
    `ReduceLROnPlateau`.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.5,
        patience: int = 3,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        *,
        on_divergence: str | None = None,
        explosion: float = 10.0,
        backup_dir: str | None = None,
    ) -> None:
        name = re.sub(r"[^a-zA-Z0-9]", "_", monitor)
        super().__init__(backup_dir, f"halve_on_plateau.{name}.json")
        self.monitor = monitor
        self._best: _state.Copies = []
        self._best_epoch = -1
        self._epoch = 0
        self.factor = _arguments.within(
            "factor", factor, 0, 1, open_low=True, open_high=True
        )
        self.patience = _arguments.positive_integer("patience", patience)
        self.verbose = verbose
        self.mode = _arguments.one_of("mode", mode, ("auto", "min", "max"))
        self.min_delta = _arguments.not_negative("min_delta", min_delta)
        self.cooldown = _arguments.integer("cooldown", cooldown, 0, 2**31)
        self.min_lr = _arguments.not_negative("min_lr", min_lr)
        self.on_divergence = _arguments.one_of(
            "on_divergence", on_divergence, (None, "rollback")
        )
        self.explosion = _arguments.within(
            "explosion", explosion, 1, math.inf, open_low=True
        )

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        higher = self.mode == "max" or (
            self.mode == "auto" and bool(_HIGHER.search(self.monitor))
        )
        self._plateau = Plateau(self.patience, self.cooldown, self.min_delta, higher)
        self._lowest_loss = math.inf
        self._observed = self._warned = False
        self._pending = False
        self._used = math.nan
        self._untrained = self.on_divergence == "rollback"
        if self._untrained:
            self._keep_best(-1)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._epoch, self._pending = epoch, True

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # The loss of the untrained model, against which a first epoch may explode.
        # `on_train_batch_end` would have it at once, but makes every step slower.
        if self._untrained and batch > 0:
            self._untrained = False
            loss = _backend.metrics_result(self.model).get("loss", math.inf)
            self._lowest_loss = min(self._lowest_loss, float(loss))

    def on_test_end(self, logs: Any = None) -> None:
        # The validation inside `fit` ends before the first `on_epoch_end`. Acting here
        # makes a backup hold this epoch's rate and state, wherever it is in the list.
        validated = {f"val_{name}": value for name, value in (logs or {}).items()}
        if self.monitor in validated:
            self._observe(validated)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {} if logs is None else logs
        self._observe(logs)
        logs["learning_rate"] = self._used

    def on_train_end(self, logs: Any = None) -> None:
        if not self._observed:
            self._warn_missing({})

    def state(self) -> dict[str, Any]:
        return {
            "rates": _rates.read(self.model.optimizer),
            "best": self._plateau.best,
            "waited": self._plateau.waited,
            "cooling": self._plateau.cooling,
            "lowest_loss": self._lowest_loss,
            "best_epoch": self._best_epoch if self._best else None,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        _rates.write(self.model, state["rates"])
        self._plateau.best = state["best"]
        self._plateau.waited = state["waited"]
        self._plateau.cooling = state["cooling"]
        self._lowest_loss = state["lowest_loss"]
        self._untrained = False
        if self.on_divergence == "rollback" and state["best_epoch"] is not None:
            self._best_epoch = state["best_epoch"]
            path = self._best_path(self._best_epoch)
            self._best = _state.read_copies(path, self._returned())

    def _observe(self, logs: dict[str, Any]) -> None:
        """Learns from an epoch once, at the first hook that knows the value."""
        if not self._pending:
            return
        self._pending = False
        self._used = _rates.highest(self.model.optimizer)
        if self.monitor in logs:
            self._observed = True
            self._judge(logs[self.monitor], logs.get("val_loss", logs.get("loss")))
        else:
            self._warn_missing(logs)
        self.remember(self._epoch)

    def _judge(self, value: float, loss: float | None) -> None:
        loss = value if loss is None else loss
        if self.on_divergence == "rollback" and self._diverged(value, loss):
            _state.assign_variables(self._best)
            self._plateau.rest()
            self._halve(f"the loss diverged; back to {self._best_name()}")
            return
        self._lowest_loss = min(self._lowest_loss, loss)
        if self._plateau.better(value):
            if self.on_divergence == "rollback":
                self._keep_best(self._epoch)
        elif self._plateau.stalled():
            self._halve(f"{self.monitor} did not improve on {self._plateau.best:.4g}")

    def _diverged(self, value: float, loss: float) -> bool:
        if not (math.isfinite(value) and math.isfinite(loss)):
            return True
        # A loss that may be negative has no meaningful multiple.
        return loss > self.explosion * self._lowest_loss > 0

    def _halve(self, why: str) -> None:
        factor = self.factor
        if self.min_lr:
            # At least 1, so that a rate already below is left where it is.
            lowest = self.min_lr / _rates.peak(self.model.optimizer)
            factor = max(factor, min(lowest, 1.0))
        rates = _rates.multiply(_rates.read(self.model.optimizer), factor)
        _rates.write(self.model, rates)
        if self.verbose:
            print(
                f"Epoch {self._epoch + 1}: {why}. Learning rate x {factor:g}, "
                f"now {_rates.highest(self.model.optimizer):.3g}."
            )

    def _returned(self) -> list[Any]:
        """The variables that a rollback gives back."""
        slots = self.model.optimizer.variables
        return [
            *self.model.variables,
            *(variable for variable in slots if variable.name not in _CLOCK),
        ]

    def _keep_best(self, epoch: int) -> None:
        if not self.model.built:
            raise ValueError(
                "`model` must be built before `fit`, so that on_divergence='rollback' "
                "has weights to return to. Received: an unbuilt model; call it on a "
                "batch of data first"
            )
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self._best = _state.copy_variables(self._returned())
        self._best_epoch = epoch

    def _best_name(self) -> str:
        return f"epoch {self._best_epoch + 1}" if self._best_epoch >= 0 else "the start"

    def _best_path(self, epoch: int) -> Path:
        path = self.path()
        return path.with_name(f"{path.stem}.best{epoch + 1}.zip")

    def remember(self, epoch: int) -> None:
        """Saves the state and the best weights, the weights first."""
        if self.backup_dir is not None and self._best:
            path = self._best_path(self._best_epoch)
            if not path.exists():
                _state.write_copies(path, self._best)
        super().remember(epoch)
        if self.backup_dir is not None and self._best:
            kept = {self._best_path(s["best_epoch"]) for s in self.kept_states()}
            for path in self.path().parent.glob(f"{self.path().stem}.best*.zip"):
                if path not in kept:
                    path.unlink(missing_ok=True)

    def _warn_missing(self, logs: dict[str, Any]) -> None:
        """Says so at the first sign that the monitor will never be there."""
        # Without any validation result this may be an epoch that is not validated.
        expected = self.monitor.startswith("val_")
        if self._warned or (
            expected and logs and not any(name.startswith("val_") for name in logs)
        ):
            return
        self._warned = True
        near = difflib.get_close_matches(self.monitor, list(logs), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        seen = f" Received: {sorted(logs)}." if logs else ""
        need = " Pass `validation_data` to `fit`." if expected and not near else ""
        warnings.warn(
            f"HalveOnPlateau has no effect: the logs have no {self.monitor!r}.{seen}"
            f"{hint}{need}",
            NoEffectWarning,
            stacklevel=2,
        )
