"""The epochs of a training of all members."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _backend
from keras_tricks.ensembles import _vectorized_rows, _vectorized_strategy
from keras_tricks.ensembles._vectorized_apart import rows_are_apart
from keras_tricks.ensembles._vectorized_core import host
from keras_tricks.ensembles._vectorized_evaluate import Metrics, joined, mean_loss
from keras_tricks.ensembles._vectorized_optimizer import MemberOptimizer
from keras_tricks.ensembles._vectorized_step import MemberStep, State
from keras_tricks.ensembles._vectorized_strategy import Strategies


class MemberRates:
    """The rate and the weight decay of every member, as inputs of a step."""

    def __init__(
        self, rates: Any, decays: Any, members: int, compiled: float | None
    ) -> None:
        self._rates, self._decays, self._members = rates, decays, members
        # As compiled, not as an earlier `fit` has left it; None if it is a schedule.
        self._first = compiled

    def now(self, optimizer: Any) -> tuple[Any, Any]:
        """Rates (members,) or None, and decays."""
        rates = None
        if self._first is not None:
            # What a callback has made of the rate, it makes of every member's.
            rate = _rate(optimizer)
            rates = np.full(self._members, rate)
            if self._rates is not None:
                share = rate / self._first if self._first else 1.0
                rates = np.asarray(self._rates, "float64") * share
        elif self._rates is not None:
            rates = np.asarray(self._rates, "float64")
        return _tensor(rates), _tensor(self._decays)


def _rate(optimizer: Any) -> float:
    return float(ops.convert_to_numpy(optimizer.learning_rate))


def _tensor(values: Any) -> Any:
    if values is None:
        return None
    return ops.convert_to_tensor(np.asarray(values, keras.config.floatx()))


class Training:
    """Runs epochs; holds the state of all members in between."""

    def __init__(
        self,
        model: Any,
        optimizer: MemberOptimizer,
        metrics: Metrics,
        rows: list[Any],
        seeds: list[int],
        batch_size: int,
        shuffle: bool,
        strategy: str,
        chunks: list[Any],
        data: Any,
    ) -> None:
        self._rows, self._seeds, self._shuffle = rows, seeds, shuffle
        self._batch_size = batch_size
        self._metrics, self._data, self.chunks = metrics, data, chunks
        self._mask = rows_are_apart(model)
        sizes = {len(one) for one in rows}
        partial = any(size % batch_size for size in sizes)
        unequal = len(sizes) > 1
        self.step = MemberStep(
            model,
            optimizer,
            mask=self._mask and partial,
            gate=unequal,
            keep=metrics.any,
        )
        self._gated = MemberStep(
            model, optimizer, mask=self.step.mask, gate=True, keep=metrics.any
        )
        loops = not _vectorized_strategy.better_apart(model)
        self._step_now = self.step
        self._strategies = [
            Strategies(
                strategy,
                model,
                chunk.stop - chunk.start,
                self._maker(chunk.stop - chunk.start, loops),
            )
            for chunk in chunks
        ]
        self.state: list[State] = []
        self._running: Any = None

    def _maker(self, members: int, loops: bool) -> Callable[[str], Any]:
        return lambda name: _backend.MemberProgram(self._step_now, name, members, loops)

    @property
    def report(self) -> Any:
        """What each chunk's strategy has measured."""
        return [one.report for one in self._strategies]

    def load(self, state: State) -> None:
        """Begins from the state of all members."""
        self.state = [
            State(*([leaf[chunk] for leaf in part] for part in state))
            for chunk in self.chunks
        ]

    def whole(self) -> State:
        """The state of all members."""
        if len(self.state) == 1:
            return self.state[0]
        return State(
            *(
                [ops.concatenate(leaves) for leaves in zip(*parts, strict=True)]
                for parts in zip(*self.state, strict=True)
            )
        )

    def epoch(
        self, epoch: int, left: int, active: Any, rates: Any, hooks: Any = None
    ) -> dict[str, Any]:
        """Runs one epoch; the loss and the metrics of every member."""
        orders = [
            _vectorized_rows.order(rows, seed, epoch, self._shuffle)
            for rows, seed in zip(self._rows, self._seeds, strict=True)
        ]
        if not active.all() and self._step_now is not self._gated:
            # From here on members rest, whose steps must not move them.
            self._step_now = self._gated
            for one in self._strategies:
                one.forget()
        phases = _vectorized_rows.phases(orders, active, self._batch_size, self._mask)
        steps = sum(len(phase.rows) for phase in phases)
        if hooks is not None:
            hooks.step = 0
        logs: list[dict[str, Any]] = []
        for number, chunk in enumerate(self.chunks):
            losses: list[Any] = []
            parts: list[Any] = []
            self._running = None
            done = 0
            for phase in phases:
                mine = _vectorized_rows.Phase(
                    phase.rows[:, chunk], phase.counts[:, chunk]
                )
                done += len(phase.rows)
                rest = (steps - done) + steps * left
                self._phase(number, mine, rest, rates, losses, parts, hooks)
            found = {"loss": mean_loss(losses)}
            if self._metrics.any:
                found.update(self._metrics(*joined(parts), self._data))
            logs.append(found)
        return {name: np.concatenate([one[name] for one in logs]) for name in logs[0]}

    def _phase(
        self,
        number: int,
        phase: Any,
        left: int,
        rates: Any,
        losses: Any,
        parts: Any,
        hooks: Any,
    ) -> None:
        strategies = self._strategies[number]
        pieces = [phase]
        if hooks is not None:
            pieces = [
                _vectorized_rows.Phase(phase.rows[s : s + 1], phase.counts[s : s + 1])
                for s in range(len(phase.rows))
            ]
        for piece in pieces:
            if hooks is not None:
                rates = hooks.begin()
                if rates is None:
                    return
            chunk = self.chunks[number]
            own = [None if part is None else part[chunk] for part in rates]
            state, made, stop = strategies.run(
                tuple(self.state[number]), piece, left, (*own, self._data)
            )
            self.state[number] = State(*state)
            if not made:
                continue
            loss = np.concatenate([host(one[0]) for one in made])
            new = list(zip(loss, piece.counts[:stop], strict=True))
            losses += new
            if self._metrics.any:
                outputs = keras.tree.map_structure(
                    lambda *each: np.concatenate([host(one) for one in each]),
                    *[one[1] for one in made],
                )
                parts.append((piece.rows[:stop], piece.counts[:stop], outputs))
            if hooks is not None:
                hooks.end(self._so_far(losses, parts[-1:]))

    def _so_far(self, losses: Any, parts: Any) -> dict[str, float]:
        """The means over the members that have had a batch."""
        found = {"loss": mean_loss(losses)}
        if self._metrics.any:
            rows, counts, outputs = parts[0]
            new, self._running = self._metrics.further(
                self._running, rows, counts, outputs, self._data
            )
            found.update(new)
        had = np.stack([counts for _, counts in losses]).any(axis=0)
        return {name: float(np.mean(value[had])) for name, value in found.items()}
