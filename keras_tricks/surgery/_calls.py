"""Every call of a layer in a model, with the calls that feed it and that it feeds.

Models inside models are looked into: the graph is that of the whole. What a layer
calls inside itself (the cell of an RNN, the layer of a TimeDistributed) is not in it.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras

Source = tuple["Call", int] | None


@dataclasses.dataclass(eq=False)
class Call:
    """One call of a layer, or the end of a model inside, which is called too.

    `place` is where the call stands: the model whose graph holds it, and the node of
    that graph. A model that is called twice has its calls twice, at the same places.
    """

    path: str
    layer: Any
    place: tuple[int, int]
    inputs: list[Source]
    arguments: int
    is_model: bool = False
    is_output: bool = False
    outputs: list[Any] = dataclasses.field(default_factory=list)
    feeds: list[tuple[int, "Call"]] = dataclasses.field(default_factory=list)

    def fed(self, index: int | None = None) -> list["Call"]:
        """The calls that take an output, or any of them, each once."""
        found = [c for i, c in self.feeds if index is None or i == index]
        return list(dict.fromkeys(found))

    @property
    def first_source(self) -> "Call | None":
        """The call that gives the first argument; None for an input of the model."""
        source = self.inputs[0] if self.inputs and self.arguments else None
        return source[0] if source else None


def is_copyable(model: Any) -> bool:
    """Whether a model is made of nothing but its inputs, its outputs and a name."""
    if isinstance(model, keras.Sequential):
        return hasattr(model, "inputs") and _takes(model, "layers")
    functional = isinstance(model, keras.Model) and isinstance(model, keras.Function)
    return functional and _takes(model, "inputs", "outputs")


def _takes(model: Any, *names: str) -> bool:
    """Whether the constructor of its class is that of Keras."""
    parameters = inspect.signature(type(model).__init__).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds:
        return True
    return list(parameters)[1 : 1 + len(names)] == list(names) and "name" in parameters


def nodes(model: Any) -> list[Any]:
    """The nodes of a Functional model in the order in which Keras runs them."""
    # There is no public way to the edges of a model's graph.
    by_depth = model._nodes_by_depth
    depths = sorted(by_depth, reverse=True)
    found = [node for depth in depths for node in by_depth[depth]]
    return [node for node in found if node.operation and not node.is_input]


def calls(model: Any) -> list[Call]:
    """The calls that an output depends on, sources first."""
    found: list[Call] = []
    inputs: list[Source] = [None] * len(model.inputs)
    for source in _walk(model, "", inputs, found):
        if source is not None:
            source[0].is_output = True
    return _used(found)


def _used(found: list[Call]) -> list[Call]:
    """Leaves out what ends nowhere, such as the calls that only compute masks."""
    used: set[Call] = set()
    for call in reversed(found):
        if call.is_output or any(target in used for target in call.fed()):
            used.add(call)
    for call in found:
        call.feeds = [(i, target) for i, target in call.feeds if target in used]
    return [call for call in found if call in used]


def _walk(
    model: Any, prefix: str, inputs: list[Source], found: list[Call]
) -> list[Source]:
    if isinstance(model, keras.Sequential):
        sources = inputs
        for position, layer in enumerate(model.layers):
            place = (id(model), position)
            # Not known here for a layer that is used elsewhere too.
            outputs = _tensors(getattr(layer, "output", None))
            sources = _call(layer, prefix, place, sources, 1, outputs, found)
        return sources
    ends: dict[int, Source] = {
        id(tensor): source for tensor, source in zip(model.inputs, inputs, strict=True)
    }
    for node in nodes(model):
        first, others = _arguments(node)
        sources = [ends.get(id(tensor)) for tensor in first + others]
        results = _call(
            node.operation,
            prefix,
            (id(model), id(node)),
            sources,
            len(first),
            node.outputs,
            found,
        )
        ends.update(zip(map(id, node.outputs), results, strict=True))
    return [ends.get(id(tensor)) for tensor in model.outputs]


def _arguments(node: Any) -> tuple[list[Any], list[Any]]:
    """The tensors of the first argument and of the others, without masks."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    data = {name: value for name, value in kwargs.items() if not name.endswith("mask")}
    if not args and (name := first_keyword(kwargs)):
        args = (data.pop(name),)
    first, others = (args[0] if args else None), [*args[1:], *data.values()]
    return _tensors(first), _tensors(others)


def first_keyword(arguments: dict[str, Any]) -> str:
    """The name of the first tensors of a call by keywords only, if there are any."""
    names = (
        n
        for n, value in arguments.items()
        if not n.endswith("mask") and _tensors(value)
    )
    return next(names, "")


def _tensors(value: Any) -> list[Any]:
    flat = keras.tree.flatten(value)
    return [item for item in flat if isinstance(item, keras.KerasTensor)]


def _call(
    layer: Any,
    prefix: str,
    place: tuple[int, int],
    sources: list[Source],
    arguments: int,
    outputs: list[Any],
    found: list[Call],
) -> list[Source]:
    path = prefix + layer.name
    is_model = is_copyable(layer)
    if is_model:
        # An optional input may be left out: nobody could say which.
        inside: list[Source] = [None] * len(layer.inputs)
        if arguments == len(inside):
            inside = sources[:arguments]
        sources = _walk(layer, f"{path}/", inside, found)
        arguments = len(sources)
    call = Call(path, layer, place, sources, arguments, is_model, outputs=outputs)
    for source in sources:
        if source is not None:
            source[0].feeds.append((source[1], call))
    found.append(call)
    return [(call, index) for index in range(max(len(outputs), 1))]


def is_head(call: Call, has_kernel: Callable[[Any], bool]) -> bool:
    """Whether some way from a call to an output meets no layer with a kernel."""
    seen: set[Call] = set()
    waiting = [call]
    while waiting:
        here = waiting.pop()
        if here.is_output:
            return True
        seen.add(here)
        waiting += [
            target
            for target in here.fed()
            if target not in seen and (target.is_model or not has_kernel(target.layer))
        ]
    return False
