"""A step run layer by layer, not compiled, to see where it goes wrong."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _backend, _patterns, _state
from keras_tricks._backend import _own
from keras_tricks.debug import _data_check
from keras_tricks.debug._finding import Finding, plain, text_of

# So many samples are tried one by one.
_TRIED = 256
_SMALLER = (
    "lower the learning rate (a tenth is a start), clip the gradients "
    "(`global_clipnorm`), and scale the inputs to about 1"
)


def find(model: Any, x: Any, y: Any, sample_weight: Any, training: bool) -> Any:
    """The first thing that goes wrong, or None. The model is as before."""
    found = _weights(model)
    if found:
        return found
    with _state.borrowed(model):
        tensors = [_on_device(part) for part in (x, y, sample_weight)]
        watcher = Watcher(model)
        try:
            with watcher.watching():
                y_pred = model(tensors[0], training=training)
        except Exception as error:
            return watcher.failed(error)
        answers = keras.tree.map_structure(ops.convert_to_numpy, y_pred)
        if y is None:
            return watcher.found
        return (
            watcher.found
            or _data_check.check_labels(model, y, answers)
            or _loss(model, tensors, y_pred, answers, watcher)
            or (_gradients(model, tensors) if training else None)
        )


def _on_device(part: Any) -> Any:
    """Tensors, as Keras's own step has them."""

    def convert(array: Any) -> Any:
        if array is None or array.dtype.kind in "US":
            return array
        return ops.convert_to_tensor(array)

    return keras.tree.map_structure(convert, part)


def _weights(model: Any) -> Finding | None:
    for variable, paths in _patterns.variable_paths(model):
        value = ops.convert_to_numpy(variable.value)
        if keras.backend.is_float_dtype(variable.dtype) and _bad(value) is not None:
            layer = paths[0] if paths else None
            return Finding(
                f"{variable.name!r} of layer {layer!r} holds {_bad(value)} before "
                "the step: the update of an earlier step made it so",
                f"go back to weights that are finite, and {_SMALLER}",
                layer=layer,
                value=_bad(value),
            )
    return None


def _bad(value: Any) -> float | None:
    array = np.asarray(value)
    if array.dtype.kind not in "fcV":
        return None
    array = array.astype("float32") if array.dtype.kind == "V" else array
    wrong = ~np.isfinite(array)
    return float(plain(array[wrong][0])) if wrong.any() else None


class Watcher:
    """Looks at what goes into each layer and what comes out."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.found: Finding | None = None
        self.culprit: tuple[str, Any, Any, Any, Any] | None = None
        self.largest: tuple[float, str | None] = (0.0, None)

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            seen: set[int] = set()
            for path, layer in _patterns.layer_paths(self.model):
                if id(layer) not in seen:
                    seen.add(id(layer))
                    call = self._watched(path, layer, layer.call)
                    # A model that is not built yet asks its layers for shapes only.
                    spec = self._noting(path, layer, layer.compute_output_spec)
                    hooks = {"call": call, "compute_output_spec": spec}
                    stack.enter_context(_own.attributes(layer, **hooks))
            yield

    def _watched(self, path: str, layer: Any, call: Callable[..., Any]) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.found is None:
                self.found = _tokens(path, layer, args)
            outputs = noting(*args, **kwargs)
            if self.found is None:
                self.found = self._outputs(path, layer, (args, kwargs), outputs)
            return outputs

        noting = self._noting(path, layer, call)
        return watched

    def _noting(self, path: str, layer: Any, call: Callable[..., Any]) -> Any:
        def noting(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            except Exception as error:
                # The innermost layer comes first.
                if self.culprit is None:
                    self.culprit = (path, layer, call, (args, kwargs), error)
                raise

        return noting

    def _outputs(
        self, path: str, layer: Any, inputs: Any, outputs: Any
    ) -> Finding | None:
        after = _arrays(outputs)
        for array in after:
            finite = np.abs(array[np.isfinite(array)])
            if finite.size and finite.max() > self.largest[0]:
                self.largest = (float(finite.max()), path)
        for array in after:
            bad = _bad(array)
            if bad is None or any(_bad(a) is not None for a in _arrays(inputs)):
                continue
            place = np.argwhere(~np.isfinite(array))[0]
            sample = int(place[0]) if array.ndim else None
            into = max(
                (float(np.abs(a).max()) for a in _arrays(inputs) if a.size), default=0
            )
            return Finding(
                f"layer {path!r} ({type(layer).__name__}) makes {bad} for sample "
                f"{sample}, of inputs that are finite (up to {into:.3g})",
                _SMALLER
                + "; in a layer of your own, look for divisions, roots and logarithms "
                "of 0",
                layer=path,
                sample=sample,
                value=bad,
            )
        return None

    def failed(self, error: Exception) -> Finding:
        """What is known about a run that ended in an error."""
        if self.found is not None:
            return self.found
        if self.culprit is None:
            return Finding(
                f"the model's own `call` fails: {text_of(error)}",
                "run model(x) on the batch of this error, and go through its `call`",
            )
        path, layer, call, (args, kwargs), inner = self.culprit
        shapes = [
            tuple(leaf.shape)
            for leaf in keras.tree.flatten((args, kwargs))
            if ops.is_tensor(leaf) or isinstance(leaf, keras.KerasTensor)
        ]
        sample = _lone_sample(call, args, kwargs)
        where = "" if sample is None else f" for sample {sample}, and not for others"
        return Finding(
            f"layer {path!r} ({type(layer).__name__}) fails{where} on inputs of shape "
            f"{', '.join(map(str, shapes))}: {text_of(inner)}",
            "compare these shapes with those that the layer was built for; the cause "
            "is the layer's input, or what it was constructed with",
            layer=path,
            sample=sample,
        )


def _arrays(structure: Any) -> list[np.ndarray]:
    """The arrays of numbers in it, as far as they can be looked at."""
    found = []
    for leaf in keras.tree.flatten(structure):
        if not ops.is_tensor(leaf):
            continue
        try:
            array = ops.convert_to_numpy(leaf)
        except Exception:  # Inside a loop that is compiled.
            continue
        array = array.astype("float32") if array.dtype.kind == "V" else array
        if array.dtype.kind in "biuf":
            found.append(array)
    return found


def _tokens(path: str, layer: Any, args: Any) -> Finding | None:
    if not isinstance(layer, keras.layers.Embedding):
        return None
    for array in _arrays(args[:1]):
        bad = np.argwhere((array < 0) | (array >= layer.input_dim))
        if len(bad):
            place = tuple(int(i) for i in bad[0])
            token = int(array[place])
            return Finding(
                f"token {token} of sample {place[0] if place else None}, at {place}, "
                f"is not from 0 to {layer.input_dim - 1}, which layer {path!r} "
                f"(Embedding, input_dim={layer.input_dim}) has vectors for",
                "build the Embedding with the size of the vocabulary plus the tokens "
                "for padding and unknown words, or map such tokens to the unknown one",
                layer=path,
                sample=place[0] if place else None,
                value=token,
            )
    return None


def _lone_sample(call: Callable[..., Any], args: Any, kwargs: Any) -> int | None:
    """The sample without which a layer would not fail, if there is one."""
    if len(args) != 1 or not ops.is_tensor(args[0]) or not args[0].shape:
        return None
    count = int(args[0].shape[0])
    if not 1 < count <= _TRIED:
        return None
    failing = []
    for sample in range(count):
        try:
            call(args[0][sample : sample + 1], **kwargs)
        except Exception:
            failing.append(sample)
    return failing[0] if 0 < len(failing) < count else None


def _loss(
    model: Any, tensors: list[Any], y_pred: Any, answers: Any, watcher: Watcher
) -> Finding | None:
    x, y, weight = tensors
    shapes = [tuple(a.shape) for a in keras.tree.flatten(answers)]
    labels = [tuple(a.shape) for a in keras.tree.flatten(y)]
    try:
        loss = model.compute_loss(x, y, y_pred, weight, training=True)
    except Exception as error:
        return Finding(
            f"the loss {_named(model.loss)} fails on labels of shape {_joined(labels)} "
            f"and answers of shape {_joined(shapes)}: {text_of(error)}",
            "compare the two shapes, and choose the loss for that kind of labels",
        )
    bad = _bad(ops.convert_to_numpy(loss))
    if bad is None:
        return None
    sample = None
    for row in range(min(_TRIED, len(keras.tree.flatten(answers)[0]))):
        part = [_row(value, row) for value in (x, y, y_pred, weight)]
        try:
            own = model.compute_loss(*part, training=True)
        except Exception:
            break
        if _bad(ops.convert_to_numpy(own)) is not None:
            sample = row
            break
    size, path = watcher.largest
    return Finding(
        f"the loss {_named(model.loss)} is {bad}"
        + ("" if sample is None else f" for sample {sample}")
        + ", of answers that are finite; the largest number that any layer made is "
        f"{size:.3g}, by layer {path!r}",
        _SMALLER + "; a loss of your own must not divide by 0 or take its logarithm",
        layer=path,
        sample=sample,
        value=bad,
    )


def _gradients(model: Any, tensors: list[Any]) -> Finding | None:
    try:
        found = _backend.gradients(model, *tensors)
    except Exception as error:
        return Finding(
            f"the gradients of the loss cannot be computed: {text_of(error)}",
            "look for operations that have no derivative in layers or losses of "
            "your own",
        )
    paths = {id(v): path for v, path in _patterns.variable_paths(model)}
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        if gradient is None:
            continue
        bad = _bad(ops.convert_to_numpy(gradient))
        if bad is not None:
            path = next(iter(paths.get(id(variable), ())), None)
            return Finding(
                f"the gradient of {variable.name!r} of layer {path!r} is {bad}, though "
                "the loss is finite",
                "look for the root, the norm, the logarithm or the division of 0 in "
                f"this layer or after it; or {_SMALLER}",
                layer=path,
                value=bad,
            )
    return None


def _row(value: Any, row: int) -> Any:
    return keras.tree.map_structure(
        lambda tensor: None if tensor is None else tensor[row : row + 1], value
    )


def _joined(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))


def _named(loss: Any) -> str:
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", None)
    return repr(name or type(loss).__name__)
