"""Watches the steps of a training, at next to no cost while none fails.

On the way it keeps a copy of all that the model holds, in host memory, and the batches
since. So what was before a step that went wrong can be computed again.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_tricks import _backend, _state

# Losses are read this many steps late: to wait for the newest would stop the device.
_LAG = 8
# A copy is made when at least this many times its cost has passed since the last one.
_RARELY = 200.0
# The batches since are dropped beyond either.
_MOST_BATCHES, _MOST_BYTES = 512, 256 << 20


class NotFiniteError(ArithmeticError):
    """The loss of a step was not a finite number."""


class Record(NamedTuple):
    """A step whose loss has not been read yet."""

    step: int
    training: bool
    batches: list[Any]
    loss: Any


class Failure(NamedTuple):
    """What is known about the step that failed."""

    step: int
    training: bool
    batches: list[Any]
    # What the model held before it, if that could still be read.
    values: _state.Copies | None


class Guard:
    """Runs inside every call of a train or test function."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.begin()

    def begin(self) -> None:
        """Forgets all: a new `fit` begins."""
        self.step = 0
        # Whether nothing but steps moves the model between two epochs.
        self.only_steps = True
        self._new_epoch = self._built = False
        self.failure: Failure | None = None
        self.before: _state.Copies | None = None
        self.copies: _state.Copies | None = None
        self.copied_at = 0
        self._copied_time = self._copy_cost = 0.0
        self._since: deque[tuple[int, list[Any], int]] = deque()
        self._bytes = 0
        self._waiting: list[Record] = []

    def epoch_begins(self) -> None:
        """To be called where callbacks may have changed the model."""
        self._new_epoch = self.only_steps

    def guarded(self, function: Callable[..., Any], training: bool) -> Any:
        """The function, watched; `guarded_function` of it is the one given."""

        def around(take: Any, values: Any, run: Any) -> Any:
            return self._around(take, values, run, training)

        watched = _backend.watch(self.model, function, around, training)
        watched.guarded_function = function
        return watched

    def _around(self, take: Any, values: Any, run: Any, training: bool) -> Any:
        try:
            batches = take()
        except StopIteration:
            raise
        except BaseException:
            # The data failed. On JAX the model's variables are empty at the moment.
            self.before = _readable(values)
            raise
        step = self.step + 1
        self._build(batches, training)
        if training:
            if self._is_due():
                try:
                    self._copy(values())
                except NotFiniteError:
                    self.before = _readable(values)
                    raise
            self._keep(step, batches)
        try:
            logs, result = run()
        except StopIteration:
            raise
        except BaseException:
            self.before = _readable(values)
            self.failure = Failure(step, training, batches, self.before)
            raise
        if training:
            self.step = step
        loss = _loss_of(logs)
        if loss is not None:
            self._waiting.append(Record(step, training, batches, loss))
            if len(self._waiting) >= 2 * _LAG:
                try:
                    self.look(_LAG)
                except NotFiniteError:
                    self.before = _readable(lambda: values(result))
                    raise
        return result

    def _build(self, batches: list[Any], training: bool) -> None:
        """Makes weights and slots before the first step, that they outlive its failure.

        TensorFlow would make them within it: after the first copy, and without values
        if the step fails.
        """
        if not self.model.built and not self._built:
            self._built = True
            # If that fails the step will tell; or it does not need a `call`.
            with suppress(Exception):
                self.model(keras.utils.unpack_x_y_sample_weight(batches[0])[0])
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None or not training or not self.model.built:
            return
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)

    def look(self, lag: int = 0) -> None:
        """Reads all losses but the last `lag`.

        Raises:
            NotFiniteError: If one is not finite. `failure` says which.
        """
        ready = self._waiting[: len(self._waiting) - lag]
        del self._waiting[: len(ready)]
        for record in ready:
            if not _finite(record.loss):
                step, training, batches, _ = record
                self.failure = Failure(step, training, batches, None)
                raise NotFiniteError(f"the loss of step {step} was not finite")

    def replay(
        self, run: Callable[..., Any]
    ) -> tuple[Failure, _state.Copies | None, int]:
        """Computes again what was before the step that failed.

        Args:
            run: The training function, not watched.

        Returns:
            The failure, narrowed down to one batch if there were several in the call;
            what the model held before it; and of how many steps before that is.
        """
        assert self.failure is not None
        failure, copies = self.failure, self.copies
        if not failure.training or copies is None:
            # A validation moves no weights.
            return failure, failure.values or self.before, 0
        held = [(step, b) for step, b, _ in self._since if step <= failure.step]
        wanted = range(self.copied_at + 1, failure.step + 1)
        if self.only_steps and [step for step, _ in held] == list(wanted):
            found = self._run_again(run, copies, held)
            if found is not None:
                return found
        if failure.values is not None:
            return failure, failure.values, 0
        return failure, copies, failure.step - 1 - self.copied_at

    def _run_again(
        self, run: Any, copies: _state.Copies, held: list[tuple[int, list[Any]]]
    ) -> tuple[Failure, _state.Copies, int] | None:
        """The first step that fails when all are made again, or None."""
        variables = [variable for variable, _ in copies]
        try:
            _state.assign_variables(copies)
            for step, batches in held:
                # One by one, to know which batch of the call it was.
                for batch in batches:
                    before = _state.copy_variables(variables)
                    if not self._is_sound_after(run, batch):
                        return Failure(step, True, [batch], before), before, 0
        except Exception:  # The device is lost.
            pass
        return None

    def _is_sound_after(self, run: Any, batch: Any) -> bool:
        """Makes one step; false if it fails."""
        try:
            loss = _loss_of(_backend.run_step(self.model, run, [batch]))
        except Exception:
            return False
        # A finite loss may have gradients that are not.
        return (loss is None or _finite(loss)) and self._is_sound()

    def _is_sound(self) -> bool:
        """Whether all trainable weights are finite."""
        return all(_finite(v.value) for v in self.model.trainable_variables)

    def finish(self) -> None:
        """To be called when nothing has failed: looks at the last steps.

        Raises:
            NotFiniteError: If a loss is not finite, or a weight after training.
        """
        self.look()
        if self.only_steps and self.step and not self._is_sound():
            self._weights_failed()

    def _weights_failed(self) -> None:
        step, batches, _ = self._since[-1] if self._since else (self.step, [], 0)
        self.failure = Failure(step, True, batches, None)
        raise NotFiniteError(f"after step {step} a weight was not finite")

    def _is_due(self) -> bool:
        if self.copies is None or self._new_epoch:
            return True
        return time.perf_counter() - self._copied_time > _RARELY * self._copy_cost

    def _copy(self, pairs: list[tuple[Any, Any]]) -> None:
        # Earlier losses first: what is copied must be sound.
        self.look()
        start = time.perf_counter()
        copies = _copied(pairs)
        trained = {id(variable) for variable in self.model.trainable_variables}
        sound = all(_finite(value) for v, value in copies if id(v) in trained)
        # Weights that were not finite before the training are told by its first loss.
        if not sound and self.copies is not None:
            # Some layers turn NaN into numbers, so that no loss ever tells.
            self._weights_failed()
        self.copies = copies
        self._new_epoch = False
        self._copied_time = time.perf_counter()
        self._copy_cost = self._copied_time - start
        self.copied_at = self.step
        self._since.clear()
        self._bytes = 0

    def _keep(self, step: int, batches: list[Any]) -> None:
        size = sum(
            getattr(leaf, "nbytes", 0)
            for leaf in itertools.chain(*map(keras.tree.flatten, batches))
        )
        self._since.append((step, batches, size))
        self._bytes += size
        while len(self._since) > 1 and (
            len(self._since) > _MOST_BATCHES or self._bytes > _MOST_BYTES
        ):
            self._bytes -= self._since.popleft()[2]


def _copied(pairs: list[tuple[Any, Any]]) -> _state.Copies:
    return [(v, np.array(ops.convert_to_numpy(value))) for v, value in pairs]


def _finite(value: Any) -> bool:
    array = np.asarray(ops.convert_to_numpy(value))
    return bool(np.isfinite(array.astype("float32")).all())


def _readable(values: Callable[[], Any]) -> _state.Copies | None:
    """Copies, or None if the device has lost some of the values."""
    try:
        return _copied(values())
    except Exception:
        return None


def _loss_of(logs: Any) -> Any:
    """The loss in the logs of a step, or what comes first in them."""
    if not isinstance(logs, dict):
        return None
    if "loss" in logs:
        return logs["loss"]
    return next(iter(keras.tree.flatten(logs)), None)
