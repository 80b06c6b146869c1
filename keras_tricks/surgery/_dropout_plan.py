"""Where Dropout belongs in a model, and why not elsewhere."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from keras_tricks import _patterns
from keras_tricks._layer_kinds import DROPOUTS, is_convolution, unwrapped
from keras_tricks._report import Report
from keras_tricks.layers.highway import Highway
from keras_tricks.surgery import _activations, _sources
from keras_tricks.surgery._calls import Call, calls, is_head
from keras_tricks.surgery._rebuild import Insertion, Place

_DENSE = (keras.layers.Dense, Highway)
_SHOWN = 5

End = tuple[Call, tuple[int, ...]]


class Row(NamedTuple):
    """One candidate, and what is done about it."""

    layer: str
    change: str
    why: str


class DropoutPlan:
    """What comes into the model, by place, and a row for every candidate."""

    def __init__(self, model: Any, rate: float, after: str) -> None:
        self.insertions: dict[Place, list[Insertion]] = {}
        self._rows: list[tuple[int, Row]] = []
        self._rate = rate
        self._calls = calls(model)
        self._order = {call: number for number, call in enumerate(self._calls)}
        paths = [path for path, _ in _patterns.layer_paths(model)]
        self._names = set(paths)
        self._dropped: set[Call] = set()
        if after == "dense":
            self._by_kind()
        else:
            _patterns.matching("after", [after], paths)
            self._by_pattern(_patterns.compiled("after", [after])[after])

    def report(self) -> Report:
        """The plan as a table."""
        count = sum(len(found) for found in self.insertions.values())
        rows = [row for _, row in sorted(self._rows, key=lambda entry: entry[0])]
        return Report(f"{count} x Dropout({self._rate:g})", rows)

    def why_nothing(self) -> str:
        """The reasons against the candidates that there are."""
        reasons = [f"{row.layer}: {row.why}" for row in self.report()]
        return "; ".join(reasons[:_SHOWN]) or "no such layer stands in its graph"

    # Which layers ---------------------------------------------------------------------

    def _by_kind(self) -> None:
        recurrent = []
        for same in self._by_place():
            layer = same[0].layer
            if _is_recurrent(layer):
                recurrent.append(same)
                self._after(same, _recurrent_end)
            elif isinstance(unwrapped(layer), _DENSE):
                if any(len(tensor.shape) > 3 for tensor in same[0].outputs):
                    why = "on feature maps it is a convolution"
                    self._row(same[0], same[0].path, "", why)
                else:
                    self._after(same, _end)
        # Later: what comes after a layer may be all that the next one's input needs.
        for same in recurrent:
            self._before(same)

    def _by_pattern(self, pattern: Any) -> None:
        for same in self._by_place():
            layer = same[0].layer
            if pattern.fullmatch(same[0].path) and not isinstance(layer, DROPOUTS):
                self._after(same, _recurrent_end if _is_recurrent(layer) else _end)

    def _by_place(self) -> list[list[Call]]:
        """The calls at each place, from the last to the first.

        So what is planned for the end is known as a Dropout that follows.
        """
        groups: dict[Place, list[Call]] = {}
        for call in reversed(self._calls):
            groups.setdefault(call.place, []).append(call)
        return list(groups.values())

    # Where ----------------------------------------------------------------------------

    def _after(self, same: list[Call], end_of: Callable[[Call], End]) -> None:
        call = same[0]
        if any(is_head(one, _activations.has_kernel) for one in same):
            self._row(call, call.path, "", "no layer with a kernel before an output")
            return
        if any(self._is_followed(one) for one in same):
            self._row(call, call.path, "", "Dropout follows already")
            return
        ends = [end_of(one) for one in same]
        if len({end.place for end, _ in ends}) > 1:
            # Inside a model that is called twice, and goes on in two ways.
            ends = [(one, end_of(one)[1]) for one in same]
        end, indices = ends[0]
        if not any(end.fed(index) for index in indices):
            self._row(call, call.path, "", "only its states are used")
            return
        self._dropped.update(end for end, _ in ends)
        name = self._add(end.place, call, "dropout", Insertion(_none, False, indices))
        why = "hidden layer" if end is call else f"behind {end.path}"
        self._row(call, call.path, f"after: {name}", why)

    def _before(self, same: list[Call]) -> None:
        call = same[0]
        path = f"{call.path} (input)"
        if _has_own_dropout(unwrapped(call.layer)):
            self._row(call, path, "", "it has a dropout of its own")
        elif any(self._is_dropped(one) for one in same):
            self._row(call, path, "", "Dropout comes before it already")
        elif any(_sources.comes_from_convolution(one) for one in same):
            self._row(call, path, "", "it comes from a convolution")
        else:
            name = self._add(call.place, call, "input_dropout", Insertion(_none, True))
            self._row(call, path, f"before: {name}", "input of a recurrent layer")

    def _row(self, call: Call, *entries: str) -> None:
        self._rows.append((self._order[call], Row(*entries)))

    def _add(self, place: Place, call: Call, suffix: str, where: Insertion) -> str:
        name = self._name(f"{call.path}_{suffix}")
        rate, policy = self._rate, getattr(call.layer, "dtype_policy", None)
        if policy is not None and getattr(policy, "quantization_mode", None):
            policy = policy.compute_dtype

        def make() -> Any:
            return keras.layers.Dropout(rate, name=name, dtype=policy)

        self.insertions.setdefault(place, []).append(where._replace(make=make))
        return name

    def _name(self, path: str) -> str:
        taken, count = path, 1
        while taken in self._names:
            taken, count = f"{path}_{count}", count + 1
        self._names.add(taken)
        return taken.rsplit("/", 1)[-1]

    # What is there --------------------------------------------------------------------

    def _is_followed(self, call: Call) -> bool:
        """Whether some way from the call meets Dropout before a kernel or a merge."""
        return call in self._dropped or any(
            isinstance(target.layer, DROPOUTS)
            or (_sources.passes(target) and self._is_followed(target))
            for target in call.fed()
        )

    def _is_dropped(self, call: Call) -> bool:
        """Whether what a call reads first comes from Dropout."""
        source = call.first_source
        while source is not None:
            if isinstance(source.layer, DROPOUTS) or source in self._dropped:
                return True
            source = source.first_source if _sources.passes(source) else None
        return False


def _none() -> None:
    """Stands where the layer's name is not known yet."""


def _end(call: Call) -> End:
    """The last of a call and the normalization and activation directly after it."""
    if call.is_model:
        return call, tuple(range(len(call.inputs)))
    bent, end = _activations.own(call.layer) is not None, call
    while len(call.fed()) == 1 and not call.is_output:
        (call,) = call.fed()
        if call.is_model and len(call.inputs) == 1:
            continue
        is_activation = _activations.is_activation(call.layer)
        if len(call.inputs) != 1 or (is_activation and bent):
            break
        if not is_activation and not _activations.is_normalization(call.layer):
            break
        bent, end = bent or is_activation, call
    return end, (0,)


def _recurrent_end(call: Call) -> End:
    merges = getattr(call.layer, "merge_mode", "concat") is not None
    return call, ((0,) if merges else (0, 1))


def _is_recurrent(layer: Any) -> bool:
    inner = unwrapped(layer)
    return isinstance(inner, keras.layers.RNN) and not is_convolution(inner)


def _has_own_dropout(layer: Any) -> bool:
    """Whether a recurrent layer, or its lowest cell, drops some of its input."""
    cell = getattr(layer, "cell", None)
    lowest = getattr(cell, "cells", [cell])[0]
    return any(getattr(part, "dropout", 0) for part in (layer, lowest))
