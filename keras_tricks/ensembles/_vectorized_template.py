"""The template of the members, and their initial weights without building each."""

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_tricks import _build
from keras_tricks.ensembles import _vectorized_draws

# What differs between two equal models: names, the places that hold them, and seeds.
_NAMES = ("name", "seed", "keras_history", "input_layers", "output_layers")


@dataclass
class Record:
    """A weight as its layer made it."""

    variable: Any
    initializer: Any
    value: Any


@contextmanager
def recording(seed: int) -> Iterator[list[Record]]:
    """Notes each weight that a layer makes in the block; draws it on the host."""
    records: list[Record] = []
    generator = np.random.default_rng(seed)
    original = keras.Layer.add_weight

    def add_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(original).bind(self, *args, **kwargs)
        given = bound.arguments
        initializer = _vectorized_draws.get(
            given.get("initializer"), given.get("dtype")
        )
        record = Record(None, initializer, None)

        def drawn(shape: Any, dtype: Any = None) -> Any:
            if _vectorized_draws.same_for_all(initializer):
                value = initializer(shape, dtype=dtype)
                record.value = np.array(keras.ops.convert_to_numpy(value))
                return value
            record.value = _vectorized_draws.draw(initializer, shape, dtype, generator)
            return keras.ops.convert_to_tensor(record.value, dtype)

        given["initializer"] = drawn
        record.variable = original(*bound.args, **bound.kwargs)
        records.append(record)
        return record.variable

    keras.Layer.add_weight = add_weight
    try:
        yield records
    finally:
        keras.Layer.add_weight = original


def call_build(build: Callable[..., Any], seed: int, member: int) -> Any:
    """A model from the builder, checked, with its weights."""
    model = _build.call(build, seed=seed, member=member)
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`build` must return a keras.Model, compiled or not. Received: build() "
            f"of type {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            "`build` must return a built model. Received: build() that returns "
            f"{model.name!r}, not built; begin it with keras.Input(shape), or call "
            "model.build(input_shape) in `build`"
        )
    return model


class Template:
    """One model that stands for all, and the drawn weights of all.

    Not tracked by Keras: its weights are not the ensemble's.
    """

    def __init__(self, build: Callable[..., Any], seeds: list[int]) -> None:
        self.build = build
        self.seeds = seeds
        with recording(seeds[0]) as self._records:
            self.model = call_build(build, seeds[0], 0)
        if type(self.model).train_step is not keras.Model.train_step:
            raise ValueError(
                "`build` must return a model with Keras's own `train_step`. Received: "
                f"build() of the class {type(self.model).__name__}, which has its own; "
                "train such members one after the other"
            )
        self.trainable = list(self.model.trainable_variables)
        self.others = list(self.model.non_trainable_variables)
        if not self.trainable:
            raise ValueError(
                "`build` must return a model with weights to train. Received: build() "
                f"that returns {self.model.name!r}, which has none"
            )

    def initial_values(self) -> tuple[list[Any], list[Any]]:
        """The members' initial weights, stacked: trainable, and others."""
        variables = [*self.trainable, *self.others]
        known = {id(record.variable): record for record in self._records}
        as_made = all(_is_seed(v) or _as_made(v, known.get(id(v))) for v in variables)
        if as_made and not _asks_for_member(self.build):
            stacked = self._drawn(variables, known)
        else:
            # `build` does more than its layers' initializers say, perhaps at random,
            # or may do another thing for each member.
            stacked = self._built(variables)
        return stacked[: len(self.trainable)], stacked[len(self.trainable) :]

    def _drawn(self, variables: list[Any], known: dict[int, Record]) -> list[Any]:
        generators = [np.random.default_rng(seed) for seed in self.seeds]
        drawn: dict[int, Any] = {}
        # In the order in which the layers made them, as the template's own.
        for record in self._records:
            variable = record.variable
            if _vectorized_draws.same_for_all(record.initializer):
                shape = (len(self.seeds), *record.value.shape)
                drawn[id(variable)] = np.broadcast_to(record.value, shape)
                continue
            dtype = record.value.dtype
            drawn[id(variable)] = np.stack(
                [
                    _vectorized_draws.draw(
                        record.initializer, variable.shape, dtype, generator
                    )
                    for generator in generators
                ]
            )
        seeds = [np.random.default_rng([seed, 1]) for seed in self.seeds]
        return [
            _seed_states(seeds, v) if _is_seed(v) else drawn[id(v)] for v in variables
        ]

    def _built(self, variables: list[Any]) -> list[Any]:
        first = [_numpy(v) for v in variables]
        rows = [first]
        for member, seed in enumerate(self.seeds[1:], 1):
            with recording(seed):
                other = call_build(self.build, seed, member)
            values = [*other.trainable_variables, *other.non_trainable_variables]
            check_like(self.model, variables, other, values)
            check_same(self.model, other, member)
            rows.append([_numpy(v) for v in values])
        seeds = [np.random.default_rng([seed, 1]) for seed in self.seeds]
        return [
            _seed_states(seeds, v) if _is_seed(v) else np.stack(column)
            for v, column in zip(variables, zip(*rows, strict=True), strict=True)
        ]


def check_like(model: Any, variables: Any, other: Any, values: Any) -> None:
    """Refuses a member whose architecture is another one."""
    ours = [tuple(v.shape) for v in variables]
    theirs = [tuple(v.shape) for v in values]
    if ours != theirs:
        different = [
            pair for pair in zip(ours, theirs, strict=False) if len(set(pair)) > 1
        ]
        raise ValueError(
            "`build` must return the same architecture at every call. Received: "
            f"{model.name!r} with {len(ours)} weights and {other.name!r} with "
            f"{len(theirs)}" + (f", first different: {different[0]}" * bool(different))
        )


def check_same(model: Any, other: Any, member: int) -> None:
    """Refuses a member that differs in what its weights do not show."""
    for what, ours, theirs in (
        ("model", _config(model), _config(other)),
        ("optimizer", _compiled(model), _compiled(other)),
    ):
        if ours != theirs:
            raise ValueError(
                f"`build` must return the same {what} at every call. Received: another "
                f"{what} for member {member}; for rates and weight decays of the "
                "members' own give `learning_rates` and `weight_decays`"
            )


def _config(model: Any) -> Any:
    """What a model is, but for the names and the seeds."""
    try:
        return _nameless(model.get_config())
    except NotImplementedError:
        return None


def _compiled(model: Any) -> Any:
    optimizer = model.optimizer if model.compiled else None
    return None if optimizer is None else _nameless(optimizer.get_config())


def _nameless(config: Any) -> Any:
    if isinstance(config, dict):
        return {
            key: _nameless(value) for key, value in config.items() if key not in _NAMES
        }
    if isinstance(config, list | tuple):
        return [_nameless(value) for value in config]
    return repr(config)


def _asks_for_member(build: Any) -> bool:
    try:
        parameters = inspect.signature(build).parameters
    except ValueError:
        return False
    kinds = {parameter.kind for parameter in parameters.values()}
    return "member" in parameters or inspect.Parameter.VAR_KEYWORD in kinds


def own_seeds(seeds: Any, members: int) -> list[int]:
    """One seed per member: those given, or from Python's random numbers."""
    if seeds is None:
        return [random.randrange(2**31) for _ in range(members)]
    return [int(seed) for seed in seeds]


def _is_seed(variable: Any) -> bool:
    return variable.name == "seed_generator_state"


def _as_made(variable: Any, record: Record | None) -> bool:
    if record is None or record.value is None:
        return False
    return bool(np.array_equal(_numpy(variable), record.value))


def _numpy(variable: Any) -> Any:
    return np.array(keras.ops.convert_to_numpy(variable.value))


def _seed_states(generators: Any, variable: Any) -> Any:
    states = [[generator.integers(2**31), 0] for generator in generators]
    return np.array(states, dtype=keras.backend.standardize_dtype(variable.dtype))
