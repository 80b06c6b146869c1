"""How the members' steps are put into programs, and which way is the fastest here."""

import re
import time
from collections.abc import Callable
from typing import Any

from keras_tricks import _backend

NAMES = ("vmap", "unroll", "sequential")
_MEASURED = 4
# A further way costs about what the first cost to compile, and may save half.
_WORTH = 4.0
# Steps of a way that is this much slower at the first are not measured on.
_HOPELESS = 3.0


def candidates(model: Any, members: int) -> list[str]:
    """The ways worth a try, the most promising first."""
    if members == 1:
        return ["sequential"]
    if better_apart(model):
        # A try of another would cost more than it could ever save.
        return ["sequential"]
    return ["vmap", "sequential"]


def better_apart(model: Any) -> bool:
    """Whether a layer is better done member by member, by its name: so many classes."""
    kinds = [type(layer).__name__ for layer in model._flatten_layers()]
    return any(word in kind for word in _backend.better_apart() for kind in kinds)


class Strategies:
    """Runs steps in the way that was asked for, or in the fastest.

    Measured are steps of the training itself: every way gives the same results, so
    nothing is done in vain but the compilation.
    """

    def __init__(
        self, wanted: str, model: Any, members: int, program: Callable[[str], Any]
    ) -> None:
        self._model, self._members = model, members
        self._make = program
        self._programs: dict[str, Any] = {}
        self._left = [wanted] if wanted != "auto" else candidates(model, members)
        self.chosen = wanted if wanted != "auto" else None
        self.report: dict[str, Any] = {
            "asked": wanted,
            "chosen": self.chosen,
            "measured": {},
            "failed": {},
            "reason": "asked for" if self.chosen else "",
            "devices": 1,
        }

    def run(self, state: Any, phase: Any, left: int, inputs: Any) -> Any:
        """Runs a phase. `left` is the number of steps that follow it in the training.

        Returns the state and lists of losses and of outputs, piece by piece.
        """
        start, stop = 0, _last(phase.counts)
        pieces: list[Any] = []

        def piece(name: str, start: int, stop: int) -> None:
            nonlocal state
            program = self._program(name)
            state, *made = program.run(state, phase, start, stop, inputs)
            pieces.append(made)

        while self.chosen is None and start < stop:
            start = self._try(piece, start, stop, left)
        if start < stop:
            try:
                piece(self.chosen or "", start, stop)
            except Exception as error:
                if self._programs and self.report["asked"] == "auto":
                    raise
                raise self._explained(error) from error
        return state, pieces, stop

    def forget(self) -> None:
        """Makes the programs anew: the step is another one."""
        self._programs.clear()

    def _program(self, name: str) -> Any:
        if name not in self._programs:
            self._programs[name] = self._make(name)
            together = name == "vmap"
            count = _backend.member_devices(self._members) if together else 1
            self.report["devices"] = count
        return self._programs[name]

    def _try(self, piece: Any, start: int, stop: int, left: int) -> int:
        """Takes one candidate for some steps; the first step that is left."""
        if not self._left:
            alone = len(self.report["measured"]) == 1 and not self.report["failed"]
            self._decide(
                "the only one worth a try on this backend"
                if alone
                else "the fastest of those measured"
            )
            return start
        name = self._left[0]
        known = self.report["measured"]
        if known:
            best = min(known.values(), key=lambda one: one["seconds_per_step"])
            rest = best["seconds_per_step"] * (stop - start + left)
            cost = next(iter(known.values()))["first_step_seconds"]
            # No step of one member takes less than its dispatch.
            floor = _backend.STEP_OVERHEAD * self._members * (name == "sequential")
            if rest < _WORTH * cost or best["seconds_per_step"] < floor:
                self._decide("no other way could save what it costs to try")
                return start
        self._left.pop(0)
        begun = time.perf_counter()
        try:
            piece(name, start, start + 1)
        except Exception as error:
            self.report["failed"][name] = _short(error)
            self._programs.pop(name, None)
            if not self._left and not known:
                raise self._explained(error) from error
            return start
        first = time.perf_counter() - begun
        start += 1
        # Always some steps more: the first one says nothing of the second.
        end = min(start + _MEASURED, stop)
        done, begun, taken = 0, time.perf_counter(), first
        while start + done < end:
            piece(name, start + done, start + done + 1)
            done += 1
            taken = (time.perf_counter() - begun) / done
            if known and taken > _HOPELESS * best["seconds_per_step"]:
                break
        end = start + done
        known[name] = {
            "first_step_seconds": first,
            "seconds_per_step": taken,
        }
        return end

    def _decide(self, reason: str) -> None:
        known = self.report["measured"]
        self.chosen = min(known, key=lambda name: known[name]["seconds_per_step"])
        self.report.update(chosen=self.chosen, reason=reason)
        for name in list(self._programs):
            if name != self.chosen:
                del self._programs[name]

    def _explained(self, error: Exception) -> Exception:
        """Names the layer, where the message does."""
        text = "\n".join([str(error), *getattr(error, "__notes__", [])])
        kinds = {type(layer).__name__ for layer in self._model._flatten_layers()}
        named = sorted(kind for kind in kinds if f"{kind}.call()" in text)
        where = f" at the layer {', '.join(named)}" if named else ""
        asked = self.report["asked"]
        return ValueError(
            f"`strategy`={asked!r} cannot train this model: its step fails{where}. "
            f"Received: {type(error).__name__}: {_short(error)}; take "
            '`strategy`="sequential", or train the members one after the other'
        )


def _short(error: Exception) -> str:
    """The first two lines of a message, without Keras's bold type."""
    plain = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return " ".join(lines[:2])[:300]


def _last(counts: Any) -> int:
    """One more than the last step in which some member has a batch."""
    busy = counts.any(axis=1).nonzero()[0]
    return int(busy[-1]) + 1 if len(busy) else 0
