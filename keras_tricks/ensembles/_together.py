"""Members made alike, asked in one operation where that is faster.

On TensorFlow and JAX all members are one compiled program already, and stacking their
weights takes longer than it saves. On PyTorch each operation costs as much as some
thousand numbers do: twenty small members answer a batch of 32 in an eighth of the time.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_tricks import _backend
from keras_tricks.ensembles import _members, _vectorized_apart, _vectorized_strategy

# Above either, as measured, the arithmetic counts and no longer the number of calls.
_WEIGHTS = 100_000
_WEIGHTS_TIMES_ROWS = 10_000_000
_PLACES = ("name", "keras_history", "input_layers", "output_layers")
_LEFT_OUT = ("seed", "trainable", "dtype", "build_config", "compile_config")


class Together:
    """Finds members made alike, once, and asks them together."""

    def __init__(self, models: Sequence[Any]) -> None:
        self._models = tuple(models)
        self._groups: list[list[int]] | None = None

    def answers(self, inputs: Any) -> dict[int, Any]:
        """Raw answers by the id of a member, of those that were asked together."""
        if not _backend.asks_together():
            return {}
        if self._groups is None:
            self._groups = _groups(self._models)
        found: dict[int, Any] = {}
        for group in list(self._groups):
            models = [self._models[index] for index in group]
            given = _members.inputs_of(models[0], inputs)
            if not _worth_it(models[0], given) or any(map(_is_changed, models)):
                continue
            try:
                answers = _ask(models, given)
            except Exception:
                # Whatever it is, each member says it better, or has no trouble.
                self._groups.remove(group)
                continue
            found.update(zip(map(id, models), answers, strict=True))
        return found


def _ask(models: list[Any], inputs: Any) -> list[Any]:
    first = models[0].variables
    stacked = [
        ops.stack([model.variables[k].value for model in models])
        for k in range(len(first))
    ]

    def one(values: Any, inputs: Any) -> Any:
        mapping = list(zip(first, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return models[0](inputs)

    answers = _backend.member_function(one, True)((stacked,), (inputs,))
    return [answers[k] for k in range(len(models))]


def _worth_it(model: Any, inputs: Any) -> bool:
    weights = sum(math.prod(variable.shape) for variable in model.variables)
    rows = int(keras.tree.flatten(inputs)[0].shape[0])
    return weights <= _WEIGHTS and weights * rows <= _WEIGHTS_TIMES_ROWS


def _is_changed(model: Any) -> bool:
    """Whether a layer is called in a way of its own, as by `monte_carlo_predict`."""
    layers = model._flatten_layers()
    return any("call" in vars(layer) for layer in layers)


def _groups(models: Sequence[Any]) -> list[list[int]]:
    """Places of members made alike, two or more each; each member once."""
    made: dict[Any, list[int]] = {}
    for index, model in enumerate(models):
        known = index != next(k for k, other in enumerate(models) if other is model)
        if known or not _can_be_stacked(model):
            continue
        made.setdefault(_as_made(model), []).append(index)
    return [places for places in made.values() if len(places) > 1]


def _can_be_stacked(model: Any) -> bool:
    return (
        isinstance(model, keras.Model)
        and _vectorized_apart.model_is_apart(model, training=False)
        and not _vectorized_strategy.better_apart(model)
        and not any(
            # What it has adapted to is more than its variables.
            isinstance(layer, keras.layers.Normalization)
            or getattr(layer, "quantization_mode", None)
            or getattr(layer, "lora_enabled", False)
            for layer in model._flatten_layers()
        )
    )


def _as_made(model: Any) -> str:
    """What a model is, whatever its layers are called."""
    numbers: dict[str, int] = {}
    shapes = [(tuple(v.shape), str(v.dtype)) for v in model.variables]
    dtypes = [layer.dtype_policy.name for layer in model._flatten_layers()]
    plan = _nameless(model.get_config(), numbers)
    return repr((type(model).__name__, plan, shapes, dtypes))


def _nameless(config: Any, numbers: dict[str, int]) -> Any:
    if isinstance(config, dict):
        return {
            key: _place(value, numbers) if key in _PLACES else _nameless(value, numbers)
            for key, value in config.items()
            if key not in _LEFT_OUT and not key.endswith("_initializer")
        }
    if isinstance(config, list | tuple):
        return [_nameless(value, numbers) for value in config]
    return config


def _place(where: Any, numbers: dict[str, int]) -> Any:
    """A place in the graph, its layer counted in the order of first mention."""
    if isinstance(where, str):
        return numbers.setdefault(where, len(numbers))
    if isinstance(where, list | tuple):
        return [_place(one, numbers) for one in where]
    if isinstance(where, dict):
        return {key: _place(value, numbers) for key, value in where.items()}
    return where
