"""The average of the weights of models that are made alike."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_tricks.ensembles import _architecture, _stateful
from keras_tricks.ensembles.recalibrate import recalibrate
from keras_tricks.surgery import _calls, _carry, _compiled_like, _rebuild

Copied = tuple[Any, list[tuple[Any, Any]], Callable[[], Any]]


class Average:
    """Puts averages into one working copy, which so compiles only once."""

    def __init__(self, models: Sequence[Any], batch: Any, data: Any) -> None:
        self._models = list(models)
        self._batch = batch
        self._data = data
        self._held = [_architecture.variables(model) for model in models]
        self._work, self._places, _ = self._copy(0)
        # The sum of all but the last models of an average: the next one mostly begins
        # with the same.
        self._summed: tuple[list[int], list[Any] | None] = ([], None)
        for index in range(len(self._models)):
            self._fill(self._work, self._places, [index])
            _architecture.check_same_answers(
                self._models, index, self._work, self._batch
            )

    def of(self, chosen: list[int]) -> Any:
        """The working copy with the average of these models' weights."""
        self._fill(self._work, self._places, chosen)
        self._mend(self._work, chosen)
        _stateful.reset(self._work)
        return self._work

    def finished(self, chosen: list[int]) -> Any:
        """A new model, like the first of the chosen ones but for the average."""
        new, places, finish = self._copy(chosen[0])
        self._fill(new, places, chosen)
        self._mend(new, chosen)
        new = finish() or new
        _start_averages(new)
        return new

    def _mend(self, model: Any, chosen: list[int]) -> None:
        # One model alone has the moments of its own training.
        if self._data is not None and len(chosen) > 1:
            recalibrate(model, self._data)

    def _copy(self, index: int) -> Copied:
        """A copy, its variables with their positions, and what compiles it."""
        model = self._models[index]
        position = {id(v): i for i, v in enumerate(self._held[index])}
        if _calls.is_copyable(model):
            made = _rebuild.rebuild(model)
            new, origin, finish = made.model, made.origin, made.finish
        else:
            new = _rebuild.copied(model)
            _build_derived(model, new)
            new(self._batch)
            origin = _carried(model, new)

            def finish() -> None:
                _compiled_like.compile_like(model, new, origin)

        places = [
            (v, position[id(origin[id(v)])])
            for v in _architecture.variables(new)
            if id(v) in origin
        ]
        return new, places, finish

    def _fill(
        self, model: Any, places: list[tuple[Any, Any]], chosen: list[int]
    ) -> None:
        before, last = chosen[:-1], chosen[-1]
        known, total = self._summed
        if known != before[: len(known)]:
            known, total = [], None
        for index in before[len(known) :]:
            total = self._plus(total, index)
        self._summed = (before, total)
        total = self._plus(total, last)
        for variable, place in places:
            if _is_float(variable):
                value = total[place] / len(chosen)
                variable.assign(value.astype(_numpy_type(variable)))
            else:
                _carry.assign(variable, self._held[chosen[0]][place])
        _derive(model)

    def _plus(self, total: list[Any] | None, index: int) -> list[Any]:
        """A sum of floating numbers with those of one more model."""
        held = self._held[index]
        values = [_carry.host(v).astype("float64") if _is_float(v) else 0 for v in held]
        if total is None:
            return values
        return [old + new for old, new in zip(total, values, strict=True)]


def _is_float(variable: Any) -> bool:
    return bool(keras.backend.is_float_dtype(variable.dtype))


def _numpy_type(variable: Any) -> str:
    # NumPy has no bfloat16; Keras rounds it.
    return "float64" if variable.dtype == "float64" else "float32"


def _carried(old: Any, new: Any) -> dict[int, Any]:
    """Carries all over to the copy of a subclass, whose graph is not known."""
    ours, theirs = _architecture.variables(old), _architecture.variables(new)
    if [tuple(v.shape) for v in ours] != [tuple(v.shape) for v in theirs]:
        raise ValueError(
            "`models` must be models that can be copied. Received: the model "
            f"{old.name!r} of the class {type(old).__name__}, whose copy has other "
            "weights; let its `get_config` return all that decides on them"
        )
    for one, other in zip(ours, theirs, strict=True):
        _carry.assign(other, one)
        if other.trainable != one.trainable:
            other.trainable = one.trainable
    pairs = zip(_architecture.layers(old), _architecture.layers(new), strict=False)
    for (_, one), (_, other) in pairs:
        _carry._carry_state(one, other)
    return {id(other): one for one, other in zip(ours, theirs, strict=True)}


def _keeps_more(layer: Any) -> bool:
    """Whether a layer works out values from its variables and keeps them beside.

    As `Normalization` does: it then has a hook of its own for loading.
    """
    kind = type(layer)
    own = kind.load_own_variables is not keras.layers.Layer.load_own_variables
    ours = not kind.__module__.startswith("keras.")
    return own and (ours or hasattr(layer, "finalize_state"))


def _derive(model: Any) -> None:
    """Lets layers work out anew what they keep beside their variables."""
    found = [layer for _, layer in _architecture.layers(model) if _keeps_more(layer)]
    for layer in found:
        store: dict[str, Any] = {}
        layer.save_own_variables(store)
        layer.load_own_variables({k: _carry.host(v) for k, v in store.items()})
    if found:
        # Compiled steps hold such values as constants.
        model.predict_function = None


def _build_derived(old: Any, new: Any) -> None:
    """Builds such layers of a copy first.

    Within the first call, JAX would leave them values of a trace.
    """
    pairs = zip(_architecture.layers(old), _architecture.layers(new), strict=False)
    for (_, one), (_, other) in pairs:
        if _keeps_more(one) and one.built and not other.built and one is not old:
            config = one.get_build_config()
            if config:
                other.build_from_config(config)


def _start_averages(model: Any) -> None:
    """The running averages of an optimizer begin at the weights of the soup.

    Those of the best model's training would come back over them.
    """
    optimizer = getattr(model, "optimizer", None)
    for leaf in [] if optimizer is None else _compiled_like._leaves(optimizer):
        count = len(getattr(leaf, "_trainable_variables", ()))
        if count:
            _compiled_like._start_averages(leaf, [None] * count)
