"""What the records of gradients add up to, on the host."""

from typing import Any

import numpy as np

from keras_tricks import _patterns
from keras_tricks.callbacks._gradient_record import Layout

Array = np.ndarray[Any, np.dtype[np.float64]]

# A norm computed in another order is not quite the same.
_ROUNDING = 1.0 + 1e-5


class Totals:
    """All updates seen: their norms one by one, their layers epoch by epoch."""

    def __init__(self, model: Any) -> None:
        self._paths = {
            id(variable): paths[0] if paths and paths[0] else model.name
            for variable, paths in _patterns.variable_paths(model)
        }
        self._name = model.name
        self.steps: list[int] = []
        self.norms: list[float] = []
        self.ratios: list[float] = []
        self.clipped: list[float] = []
        self.begin_epoch()

    def begin_epoch(self) -> None:
        self._first = len(self.norms)
        self._layers: dict[str, list[Array]] = {}

    def add(self, layout: Layout, steps: list[int], records: Array) -> None:
        """Takes records that one layout explains; rows of steps that made no update."""
        parts = layout.split(records.astype("float64"))
        squares = {
            # Missing ones count as not measured.
            kind: [
                _squares(part.get(kind, -np.ones_like(part["gradient"])))
                for part in parts
            ]
            for kind in ("gradient", "weight", "change")
        }
        # A step that was skipped has moved nothing, which says nothing of the others.
        for change, gradient in zip(
            squares["change"], squares["gradient"], strict=True
        ):
            change[~np.isfinite(gradient.sum(axis=1))] = np.nan
        total = {k: np.sum([s.sum(1) for s in v], axis=0) for k, v in squares.items()}
        norms = np.sqrt(total["gradient"])
        updates = np.any([part["update"] > 0 for part in parts], axis=0)
        # A skipped update is none, but what it was skipped for counts.
        kept = updates | ~np.isfinite(norms)
        self.steps += np.array(steps)[kept].tolist()
        self.norms += norms[kept].tolist()
        self.ratios += _ratio(total["change"], total["weight"])[kept].tolist()
        clipped = np.max([_clipped(part) for part in parts], axis=0)
        self.clipped += np.where(np.isfinite(norms), clipped, np.nan)[kept].tolist()
        for number, part in enumerate(parts):
            places: dict[str, list[int]] = {}
            for index, variable in enumerate(part["variables"]):
                path = self._paths.get(id(variable), self._name)
                places.setdefault(path, []).append(index)
            for path, at in places.items():
                sums = [squares[kind][number][kept][:, at].sum(1) for kind in squares]
                missing = np.all(part["gradient"][kept][:, at] == -1, axis=1)
                seen = np.stack([np.sqrt(sums[0]), _ratio(sums[2], sums[1])], axis=1)
                self._layers.setdefault(path, []).append(seen[~missing])

    def epoch(self) -> tuple[dict[str, float], dict[str, float]]:
        """The logs of the epoch so far: those of all weights, and those by layer."""
        norms = np.array(self.norms[self._first :])
        finite = norms[np.isfinite(norms)]
        logs = {
            "gradient_norm": _mean(norms),
            "gradient_norm_max": float(finite.max()) if finite.size else np.nan,
            "update_ratio": _mean(np.array(self.ratios[self._first :])),
            "nonfinite_gradients": float(norms.size - finite.size),
        }
        clipped = np.array(self.clipped[self._first :])
        if np.isfinite(clipped).any():
            logs["clip_rate"] = _mean(clipped)
        by_layer = {}
        for path, blocks in self._layers.items():
            seen = np.concatenate(blocks)
            by_layer[f"gradient_norm/{path}"] = _mean(seen[:, 0])
            by_layer[f"update_ratio/{path}"] = _mean(seen[:, 1])
        return logs, by_layer


def _squares(norms: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.where(norms == -1, 0.0, np.square(norms))


def _ratio(change: Array, weight: Array) -> Array:
    """The ratio of two norms, given their squares; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight > 0, np.sqrt(change / weight), np.nan)


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def clips(group: Any) -> bool:
    """Whether it can be told of an optimizer when it clips."""
    limits = (group.clipnorm, group.global_clipnorm, group.clipvalue)
    return any(limit is not None for limit in limits)


def _clipped(part: dict[str, Any]) -> Array:
    """1 where the optimizer clipped, 0 where not, NaN where it never does."""
    group = part["group"]
    norm = np.sqrt(_squares(part["gradient"]).sum(axis=1))
    if group.clipnorm is not None:
        found = np.any(part["gradient"] > group.clipnorm, axis=1)
    elif group.global_clipnorm is not None:
        found = norm > group.global_clipnorm
    elif group.clipvalue is not None:
        found = np.any(part["largest"] > group.clipvalue, axis=1)
    else:
        automatic = norm > part["threshold"] * _ROUNDING
        return np.where(part["threshold"] < 0, np.nan, automatic)
    return found.astype("float64")
