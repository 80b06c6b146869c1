"""Settings and results of runs, and which of them differ."""

from typing import Any

from keras_tricks.runs import _flat, _model
from keras_tricks.runs.run import Run

# Names that Keras makes, digests of what is compared itself, and states of random
# numbers, which are never the same.
_DIGESTS = ("model.architecture", "model.shapes")
_VOLATILE = (
    *_DIGESTS,
    "model.name",
    "optimizer.config.name",
    "seeds.python_state",
    "seeds.numpy_state",
    "seeds.backend_state",
    "seeds.seed_generators",
)


def settings(one: Run, other: Run) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, with both values."""
    first, second = _all_settings(one), _all_settings(other)
    pairs = {n: (first.get(n), second.get(n)) for n in {**first, **second}}
    return {name: pair for name, pair in pairs.items() if not same(*pair)}


def _all_settings(run: Run) -> dict[str, Any]:
    found = {n: v for n, v in run.settings.items() if n not in _VOLATILE}
    layers = run.architecture
    if layers is not None:
        found |= _flat.flat(_model.nameless(layers), "model")
    else:
        found |= {n: run.settings.get(n) for n in _DIGESTS if n in run.settings}
    return found


def results(run: Run) -> dict[str, Any]:
    """What came out of a run."""
    told: dict[str, Any] = {"state": run.state}
    if run.error:
        told["error"] = f"{run.error['type']}: {run.error['message']}"
    told["epochs"] = len(run.history.get("epoch", ()))
    told |= {metric: run.last(metric) for metric in run.metrics}
    seconds = run.manifest.get("seconds")
    if isinstance(seconds, float | int):
        told["seconds"] = float(seconds)
    return told


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are equal, of one type; NaN is equal to NaN."""
    if isinstance(a, float) and isinstance(b, float) and a != a and b != b:
        return True
    return type(a) is type(b) and bool(a == b)
