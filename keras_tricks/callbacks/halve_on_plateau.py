"""Halve on plateau: the rate follows the validation loss down."""

import math
import re
import warnings
from typing import Any

from keras_tricks import _arguments, _backend
from keras_tricks._errors import NoEffectWarning
from keras_tricks.callbacks import _best_weights, _monitor, _switch
from keras_tricks.callbacks._best_weights import BestWeights
from keras_tricks.callbacks._plateau import Plateau
from keras_tricks.callbacks._resumable import Resumable
from keras_tricks.schedules import _rates


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
            `explosion` times its best (in a first epoch, `explosion` squared times the
            loss of the first batch), return
            to the weights and optimizer slots of the best epoch and halve. The step
            counter, and with it a schedule, runs on.
        explosion: Float above 1. Defaults to 10, far above what overfitting does.
        backup_dir: Folder of the `keras.callbacks.BackupAndRestore` in the same `fit`,
            or None. With it a training that was killed and is resumed has the same
            rates as one that was not. The state lies in that folder, and goes with it.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range; at the start of `fit` if the
            model must be built for a rollback and is not (`fit` builds it before only
            on JAX and PyTorch); on resuming if the state in `backup_dir` is damaged.

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
        self.monitor = _arguments.text("monitor", monitor)
        name = re.sub(r"[^a-zA-Z0-9]", "_", monitor)
        super().__init__(backup_dir, f"halve_on_plateau.{name}.json")
        self.factor = _arguments.within(
            "factor", factor, 0, 1, open_low=True, open_high=True
        )
        self.patience = _arguments.positive_integer("patience", patience)
        self.verbose = _arguments.one_of("verbose", verbose, (0, 1))
        self.mode = _arguments.one_of("mode", mode, ("auto", "min", "max"))
        self.min_delta = _arguments.not_negative("min_delta", min_delta)
        self.cooldown = _arguments.integer("cooldown", cooldown, 0, 2**31)
        self.min_lr = _arguments.not_negative("min_lr", min_lr)
        self.on_divergence = _arguments.one_of(
            "on_divergence", on_divergence, (None, "rollback")
        )
        self.explosion = _arguments.within(
            "explosion", explosion, 1, math.inf, open_low=True, open_high=True
        )
        # Outside of `fit`, in a plain `evaluate`, no epoch waits to be judged.
        self._pending = False

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        higher = _monitor.higher_is_better(self.monitor, self.mode)
        self._plateau = Plateau(self.patience, self.cooldown, self.min_delta, higher)
        self._untrained_loss = self._exploded_loss = self._lowest_loss = math.inf
        self._observed = self._warned = self._pending = False
        self._used = math.nan
        self._best: BestWeights | None = None
        if self.on_divergence == "rollback":
            self._best = BestWeights(self.model, -1)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._epoch, self._pending = epoch, True

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # `on_train_batch_end` would know the first loss at once, but slows all steps.
        if batch > 0:
            self._note_untrained_loss()
        elif self._best is not None:
            # Whoever changes the optimizer does it at the beginning of an epoch.
            self._best.notice_optimizer()

    def on_test_begin(self, logs: Any = None) -> None:
        if self._pending:
            self._note_untrained_loss()

    def on_test_end(self, logs: Any = None) -> None:
        # The validation inside `fit` ends before the first `on_epoch_end`. Acting here
        # makes a backup hold this epoch's rate and state, wherever it is in the list.
        validated = {f"val_{name}": value for name, value in (logs or {}).items()}
        if self.monitor in validated:
            self._observe(validated)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {} if logs is None else logs
        self._note_untrained_loss()
        self._observe(logs)
        logs["learning_rate"] = self._used

    def on_train_end(self, logs: Any = None) -> None:
        self._warn_missing({})

    def state(self) -> dict[str, Any]:
        return {
            "rates": _rates.read(self.model.optimizer),
            "best": self._plateau.best,
            "waited": self._plateau.waited,
            "cooling": self._plateau.cooling,
            "lowest_loss": self._lowest_loss,
            "untrained_loss": self._untrained_loss,
            "exploded_loss": self._exploded_loss,
            "best_epoch": self._best.epoch if self._best else None,
            "changes": self._best.changes if self._best else 0,
            "iterations": _switch.steps(self.model.optimizer),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        best, lowest, untrained, exploded = (
            float(state[name] + 0)  # A string would do for `float` alone.
            for name in ("best", "lowest_loss", "untrained_loss", "exploded_loss")
        )
        waited, cooling, changes, iterations = (
            _arguments.integer(name, state[name], 0, 2**62)
            for name in ("waited", "cooling", "changes", "iterations")
        )
        # The state is of the end of an epoch; SwitchOptimizer may have been here since.
        changed = _switch.steps(self.model.optimizer) < iterations
        if self._best is not None and state["best_epoch"] is not None:
            epoch = _arguments.integer("best_epoch", state["best_epoch"], -1, 2**31)
            self._best.load(self.path(), epoch, changes, changed=changed)
        if not changed:
            rates = _rates.checked(self.model.optimizer, state["rates"])
            _rates.write(self.model, rates)
        self._plateau.best = best
        self._plateau.waited, self._plateau.cooling = waited, cooling
        self._lowest_loss = lowest
        self._untrained_loss, self._exploded_loss = untrained, exploded

    def remember(self, epoch: int) -> None:
        """Saves the state and the best weights, the weights first."""
        if self.backup_dir is None or self._best is None:
            super().remember(epoch)
            return
        self._best.save(self.path())
        super().remember(epoch)
        states = [s for s in self.kept_states() if s["best_epoch"] is not None]
        kept = {(state["best_epoch"], state["changes"]) for state in states}
        _best_weights.remove_all_but(self.path(), kept)

    def _note_untrained_loss(self) -> None:
        """Reads the loss once, as early as it is known: a first epoch may explode."""
        if self._best is not None and math.isinf(self._untrained_loss):
            loss = float(_backend.metrics_result(self.model).get("loss", math.nan))
            self._untrained_loss = loss if math.isfinite(loss) else math.nan

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
        if self._best is not None and self._diverged(value, loss):
            self._best.give_back()
            self._plateau.rest()
            self._halve(f"the loss diverged; back to {self._best.describe()}")
            return
        self._lowest_loss = min(self._lowest_loss, loss)
        verdict = self._plateau.judge(value)
        if verdict == "better" and self._best is not None:
            self._best.keep(self._epoch)
        elif verdict == "stalled":
            self._halve(f"{self.monitor} did not improve on {self._plateau.best:.4g}")

    def _diverged(self, value: float, loss: float) -> bool:
        if not (math.isfinite(value) and math.isfinite(loss)):
            return True
        # A loss that may be negative has no meaningful multiple.
        if math.isfinite(self._lowest_loss):
            return loss > self.explosion * self._lowest_loss > 0
        # Before the first good epoch there is only the loss of one batch, which may
        # have been a lucky one. Then the same loss comes again at half the rate.
        if not loss > self.explosion**2 * self._untrained_loss > 0:
            return False
        before, self._exploded_loss = self._exploded_loss, loss
        return not loss > 0.5 * before

    def _halve(self, why: str) -> None:
        factor = self.factor
        if self.min_lr:
            peak = _rates.peak(self.model.optimizer)
            if peak <= self.min_lr:
                return
            factor = max(factor, self.min_lr / peak)
        rates = _rates.multiply(_rates.read(self.model.optimizer), factor)
        _rates.write(self.model, rates)
        if self.verbose:
            print(
                f"Epoch {self._epoch + 1}: {why}. Learning rate x {factor:g}, "
                f"now {_rates.highest(self.model.optimizer):.3g}."
            )

    def _warn_missing(self, logs: dict[str, Any]) -> None:
        """Says so at the first sign that the monitor will never be there."""
        # Without any validation result this may be an epoch that is not validated.
        expected = self.monitor.startswith("val_")
        validated = any(name.startswith("val_") for name in logs)
        if self._observed or self._warned or (expected and logs and not validated):
            return
        self._warned = True
        warnings.warn(
            "HalveOnPlateau has no effect: "
            f"{_monitor.explain_missing(self.monitor, logs)}",
            NoEffectWarning,
            stacklevel=2,
        )
