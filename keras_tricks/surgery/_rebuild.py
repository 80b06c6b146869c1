"""A model made anew, layer by layer, with layers put in or replaced on the way."""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras

from keras_tricks import _arguments, _patterns
from keras_tricks.surgery import _calls, _carry, _compiled_like

Place = tuple[int, int]


class Insertion(NamedTuple):
    """A layer, made by `make`, that comes into the graph at a place.

    It changes the outputs of the call there, those at `indices`; or the first argument
    of the call, with `before`.
    """

    make: Callable[[], Any]
    before: bool = False
    indices: tuple[int, ...] = (0,)


@dataclasses.dataclass(eq=False)
class Copy:
    """A new model, and which of its layers and weights stand for which old ones.

    `pairs` are the old and the new layers that do the same, parents first. `origin`
    gives the old variable of a new one, by the new one's id.
    """

    old: Any
    model: Any
    pairs: list[tuple[Any, Any]]
    replaced: list[tuple[Any, Any]]
    origin: dict[int, Any] = dataclasses.field(default_factory=dict)

    def carry(self, old: Any, new: Any) -> None:
        """Gives a new variable the value of an old one, bit by bit, and its flag."""
        _carry.assign(new, old)
        if new.trainable != old.trainable:
            new.trainable = old.trainable
        self.origin[id(new)] = old

    def finish(self) -> Any:
        """Compiles the new model like the old one, when that is compiled."""
        _compiled_like.compile_like(self.old, self.model, self.origin)
        return self.model


def check(model: Any) -> Any:
    """Checks for a model that can be made anew.

    Raises:
        TypeError: If it is no model.
        ValueError: If it is not built, or does not say what it is made of.
    """
    _arguments.built_model("model", model)
    if _calls.is_copyable(model):
        return model
    kind = type(model).__name__
    if isinstance(model, keras.Sequential):
        remedy = "begin it with keras.Input(shape), so that its graph is known"
    elif isinstance(model, keras.Function):
        remedy = (
            f"{kind}.__init__ takes other arguments than (inputs, outputs, name); give "
            "keras.Model(model.inputs, model.outputs), which has the same weights"
        )
    else:
        remedy = (
            "what its `call` does cannot be read; call the same layers on a "
            "keras.Input and give keras.Model(inputs, outputs)"
        )
    raise ValueError(
        "`model` must be a Sequential or Functional model. Received: model "
        f"{model.name!r} of the class {kind}; {remedy}"
    )


def rebuild(
    model: Any,
    *,
    insertions: Mapping[Place, list[Insertion]] | None = None,
    replace: Callable[[Any], Any] | None = None,
    fresh: Callable[[Any], bool] | None = None,
) -> Copy:
    """Makes the model anew, with all its weights and flags, not compiled.

    Args:
        model: Checked model.
        insertions: What comes into the graph at each place.
        replace: Gives the layer that comes instead of one, or None for a copy.
        fresh: Whether the weights of a layer stay as they are drawn for the copy.
    """
    builder = _Builder(insertions or {}, replace or (lambda layer: None))
    new = builder.model(model)
    pairs = list(_pairs(model, new, builder))
    result = Copy(model, new, pairs, builder.replaced)
    _carry.carry_all(result, fresh or (lambda layer: False))
    _copy_flags(result)
    return result


def _pairs(old: Any, new: Any, builder: "_Builder") -> Iterator[tuple[Any, Any]]:
    yield old, new
    inside = _patterns.children(old)
    if builder.has(old):
        replaced = {id(layer) for layer, _ in builder.replaced}
        both = [
            (layer, builder.copies[id(layer)])
            for layer in inside
            if id(layer) in builder.copies and id(layer) not in replaced
        ]
    else:
        both = list(zip(inside, _patterns.children(new), strict=False))
    for old_child, new_child in both:
        yield from _pairs(old_child, new_child, builder)


def _copy_flags(result: Copy) -> None:
    # A flag that is set is set for all below: so parents come first, weights last.
    for old, new in [*result.pairs, *result.replaced]:
        if new.trainable != old.trainable:
            new.trainable = old.trainable
    for variable in result.model.variables:
        old = result.origin.get(id(variable))
        if old is not None and variable.trainable != old.trainable:
            variable.trainable = old.trainable


class _Builder:
    """Copies models and layers, each once, wherever they are used."""

    def __init__(
        self,
        insertions: Mapping[Place, list[Insertion]],
        replace: Callable[[Any], Any],
    ) -> None:
        self._insertions = insertions
        self._replace = replace
        self.copies: dict[int, Any] = {}
        self._models: set[int] = set()
        self.replaced: list[tuple[Any, Any]] = []

    def has(self, layer: Any) -> bool:
        """Whether a layer is a model that was made anew layer by layer."""
        return id(layer) in self._models

    def model(self, model: Any) -> Any:
        self._models.add(id(model))
        if isinstance(model, keras.Sequential):
            new = self._sequential(model)
        else:
            new = self._functional(model)
        if new.dtype_policy != model.dtype_policy:
            new.dtype_policy = model.dtype_policy
        return new

    def layer(self, layer: Any) -> Any:
        if id(layer) not in self.copies:
            self.copies[id(layer)] = self._new(layer)
        return self.copies[id(layer)]

    def _new(self, layer: Any) -> Any:
        if _calls.is_copyable(layer):
            return self.model(layer)
        other = self._replace(layer)
        if other is None:
            return copied(layer)
        self.replaced.append((layer, other))
        return other

    def _inserted(self, place: Place, before: bool) -> Iterator[tuple[Any, Any]]:
        for insertion in self._insertions.get(place, []):
            if insertion.before == before:
                yield insertion, insertion.make()

    def _sequential(self, model: Any) -> Any:
        tensor = model.inputs[0]
        layers = [_input_like(model, tensor)]
        for position, layer in enumerate(model.layers):
            place = (id(model), position)
            layers += [new for _, new in self._inserted(place, before=True)]
            layers.append(self.layer(layer))
            layers += [new for _, new in self._inserted(place, before=False)]
        return type(model)(layers, name=model.name)

    def _functional(self, model: Any) -> Any:
        # Keras would compile the clone too, with what it reads from a config.
        plain = keras.Model(model.input, model.output, name=model.name)
        queues: dict[int, collections.deque[Any]] = collections.defaultdict(
            collections.deque
        )
        for node in _calls.nodes(plain):
            queues[id(node.operation)].append(node)
        running: dict[int, Any] = {}

        def clone(layer: Any) -> Any:
            new = self.layer(layer)
            running[id(new)] = layer
            return new

        def call(new: Any, *args: Any, **kwargs: Any) -> Any:
            node = queues[id(running[id(new)])].popleft()
            place = (id(model), id(node))
            for _, inserted in self._inserted(place, before=True):
                if args:
                    args = (inserted(args[0]), *args[1:])
                else:
                    name = _calls.first_keyword(kwargs)
                    kwargs = {**kwargs, name: inserted(kwargs[name])}
            outputs = new(*args, **kwargs)
            for insertion, inserted in self._inserted(place, before=False):
                outputs = _at(outputs, insertion.indices, inserted)
            return outputs

        inputs = keras.tree.map_structure(
            lambda tensor: _input_like(model, tensor), model.input
        )
        new = keras.models.clone_model(
            plain, input_tensors=inputs, clone_function=clone, call_function=call
        )
        if type(new) is type(model):
            return new
        return type(model)(inputs=new.input, outputs=new.output, name=model.name)


def _at(outputs: Any, indices: tuple[int, ...], layer: Any) -> Any:
    flat = keras.tree.flatten(outputs)
    changed = [layer(x) if i in indices else x for i, x in enumerate(flat)]
    return keras.tree.pack_sequence_as(outputs, changed)


def _input_like(model: Any, tensor: Any) -> Any:
    """An input with the name and all else that the model's has."""
    # A Sequential model does not list its own among its `layers`.
    old = next(
        layer
        for layer in _patterns.children(model)
        if isinstance(layer, keras.layers.InputLayer) and layer.output is tensor
    )
    return keras.layers.InputLayer.from_config(old.get_config()).output


def copied(layer: Any) -> Any:
    """A layer of the same class and configuration, not built.

    Raises:
        ValueError: If its configuration does not say all.
    """
    kinds: dict[str, Any] = {}
    for part in _below(layer):
        kinds |= {type(part).__name__: type(part), **_named(part)}
    options = {}
    if isinstance(layer, keras.layers.Lambda):
        options["safe_mode"] = False
    try:
        with keras.saving.custom_object_scope(kinds):
            new = type(layer).from_config(layer.get_config(), **options)
    except Exception as error:
        raise ValueError(
            "`model` must have layers that can be copied. Received: the layer "
            f"{layer.name!r} of the class {type(layer).__name__}, which cannot "
            f"({_carry.first_line(error)}); give the class a `get_config` that returns "
            "all arguments of its constructor, and register what it holds with "
            "keras.saving.register_keras_serializable"
        ) from error
    if isinstance(layer, keras.layers.Lambda):
        # What is read back has lost the names that the function's module gives it.
        new.function = layer.function
    return new


def _named(layer: Any) -> dict[str, Any]:
    """What a configuration names though nobody has registered it."""
    found: dict[str, Any] = {}
    for value in vars(layer).values():
        if isinstance(value, keras.Layer):
            continue
        if hasattr(value, "get_config"):
            found[type(value).__name__] = type(value)
        elif callable(value) and hasattr(value, "__name__"):
            found[value.__name__] = value
    return found


def _below(layer: Any) -> Iterator[Any]:
    yield layer
    if isinstance(layer, keras.Layer):
        for child in _patterns.children(layer):
            yield from _below(child)
