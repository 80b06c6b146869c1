"""Dropout where it harms more than it helps."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_tricks import _layer_kinds
from keras_tricks.lint import _kinds
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding
from keras_tricks.surgery import _activations, _sources

_layers = keras.layers
# They drop single numbers; the spatial ones drop whole maps.
_PLAIN = (_layers.Dropout, _layers.AlphaDropout, _layers.GaussianDropout)


@rule(
    "KT201",
    "Dropout drops single pixels of a convolution's maps.",
    severity="warning",
    why=(
        "Neighbouring pixels of a map say nearly the same, so what is dropped is known "
        "from beside it: the training gets slower and hardly any more robust."
    ),
    source="Tompson et al. 2015, arXiv 1411.4280",
    needs=("graph",),
)
def dropout_on_convolution(facts: Any) -> Iterator[Finding]:
    """Finds Dropout between a convolution and what reads its maps.

    Maps of one pixel, Dropout with a `noise_shape` (stochastic depth), what comes
    behind a merge and what a `Conv1D` of kernel 1 gives (a dense layer at each step)
    are left alone. Other convolutions of one pixel, before or behind it, mix no
    neighbours: "info".

    It cannot see Dropout inside layers of one's own. A few sound networks (wide
    ResNets) do drop pixels between two convolutions.
    """
    found = [call for call in facts.calls if _drops_pixels(call)]
    groups: dict[tuple[str, str], list[Any]] = {}
    for call in found:
        mild = _is_pointwise(_convolution(call)) or _feeds_points(call)
        kind = (_spatial(call), "info" if mild else "")
        groups.setdefault(kind, []).append(call)
    for (template, severity), calls in groups.items():
        yield Finding(
            "Dropout on the maps of a convolution; drop whole maps, or nothing.",
            layers=tuple(dict.fromkeys(call.path for call in calls)),
            fix=template.format(rate=f"{_kinds.drop_of(calls[0].layer):g}"),
            severity=severity,
            safe=all(
                _can_be_spatial(call) and _is_nowhere_else(facts, call.layer, calls)
                for call in calls
            ),
        )


def _source(call: Any) -> Any:
    """The call that made the maps."""
    source = call.first_source
    while _sources.passes(source):
        source = source.first_source
    return source


def _convolution(call: Any) -> Any:
    return _layer_kinds.unwrapped(_source(call).layer)


def _is_pointwise(layer: Any) -> bool:
    sizes = getattr(layer, "kernel_size", None)
    return _layer_kinds.is_convolution(layer) and set(sizes or (0,)) == {1}


def _feeds_points(call: Any) -> bool:
    """Whether all that reads the maps next looks at single pixels."""
    behind = [_layer_kinds.unwrapped(c.layer) for c in _kinds.until_kernel(call)]
    readers = [layer for layer in behind if _activations.has_kernel(layer)]
    return bool(readers) and all(map(_is_pointwise, readers))


def _spatial(call: Any) -> str:
    """What to write instead, with the rate left open."""
    rank = getattr(_convolution(call), "rank", len(_shape(call)) - 2)
    text = f"keras.layers.SpatialDropout{rank}D({{rate}})"
    for _ in range(len(_shape(call)) - 2 - rank):
        # A convolution at each step: whole maps of a step.
        text = f"keras.layers.TimeDistributed({text})"
    return text


def _can_be_spatial(call: Any) -> bool:
    """Whether it is Keras's plain Dropout, and the channels are the last axis."""
    layer, rank = _convolution(call), len(_shape(call)) - 2
    last = getattr(layer, "data_format", None) == "channels_last"
    fits = getattr(layer, "rank", rank) == rank <= 3
    return last and fits and type(call.layer) is _layers.Dropout


def _is_nowhere_else(facts: Any, layer: Any, calls: list[Any]) -> bool:
    """Whether a layer is called in these places only."""
    return all(call in calls for call in facts.calls_of(layer))


def _shape(call: Any) -> tuple[int | None, ...]:
    return tuple(call.outputs[0].shape)


def _drops_pixels(call: Any) -> bool:
    layer = call.layer
    spatial = (_layers.SpatialDropout1D, _layers.SpatialDropout2D)
    plain = isinstance(layer, _PLAIN) and not isinstance(
        layer, (*spatial, _layers.SpatialDropout3D)
    )
    if not plain or not _kinds.drop_of(layer) or not call.outputs:
        return False
    shape = _shape(call)
    if getattr(layer, "noise_shape", None) is not None or len(shape) < 3:
        return False
    if all(size == 1 for size in shape[1:-1]) or all(size == 1 for size in shape[2:]):
        return False
    if not _sources.comes_from_convolution(call) or not _keeps_rank(call, len(shape)):
        return False
    return len(shape) > 3 or not _is_pointwise(_convolution(call))


def _keeps_rank(call: Any, rank: int) -> bool:
    """Whether nothing has flattened the maps, as the patches of a ViT are."""
    source = call.first_source
    while source is not None and _sources.passes(source):
        if source.outputs and len(source.outputs[0].shape) != rank:
            return False
        source = source.first_source
    return source is not None and all(len(t.shape) == rank for t in source.outputs)


@rule(
    "KT202",
    "Dropout works inside the recurrence.",
    severity="warning",
    why=(
        "Dropout on the state makes a recurrent layer forget at each step. It belongs "
        "on the way in and out; besides, `recurrent_dropout` keeps the fast kernels "
        "off."
    ),
    source="Zaremba, Sutskever and Vinyals 2014, arXiv 1409.2329",
)
def recurrent_dropout(facts: Any) -> Iterator[Finding]:
    """Finds recurrent layers with a `recurrent_dropout`.

    Gal and Ghahramani (2016) defend it with one mask for all steps, which is what Keras
    does: ignore the rule if you follow them.

    It cannot see what cells of one's own drop.
    """
    found = {
        path: layer
        for path, layer in facts.layers.items()
        if isinstance(layer, _layers.RNN) and _kinds.recurrent_dropout(layer)
    }
    if found:
        first = _kinds.recurrent_dropout(next(iter(found.values())))
        yield Finding(
            f"recurrent_dropout={first:g} drops the state from step to step.",
            layers=tuple(found),
            fix="keras.layers.LSTM(units, dropout=0.2, recurrent_dropout=0.0)",
            safe=all(
                id(layer) in _replaceable(facts) and _kinds.has_known_cells(layer)
                for layer in found.values()
            ),
        )


def _replaceable(facts: Any) -> set[int]:
    """The ids of layers that the graph names, by themselves or in a Bidirectional."""
    held = [call.layer for call in facts.calls]
    both = [layer for layer in held if isinstance(layer, _layers.Bidirectional)]
    inside = [
        one for layer in both for one in (layer.forward_layer, layer.backward_layer)
    ]
    return {id(layer) for layer in held + inside}


@rule(
    "KT203",
    "Dropout comes between the last layer and the output.",
    severity="error",
    why=(
        "The loss is then computed from predictions that are zero at random: the model "
        "cannot learn to be right."
    ),
    source="Srivastava et al. 2014, JMLR 15",
    needs=("graph", "compiled"),
)
def dropout_before_output(facts: Any) -> Iterator[Finding]:
    """Finds Dropout behind the last layer with a kernel, at an output with a loss.

    It cannot see Dropout behind a merge (there it may be a residual branch), and says
    nothing about outputs without a loss: features may well be dropped.
    """
    found: dict[str, None] = {}
    calls: list[Any] = []
    for loss in facts.losses:
        call = facts.head(loss.output)
        while call is not None:
            if _kinds.drop_of(call.layer):
                found[call.path] = None
                calls.append(call)
            stops = not call.is_model and _activations.has_kernel(call.layer)
            if stops or len(call.inputs) != 1 or call.inputs[0] is None:
                break
            call = call.inputs[0][0]
    # Without any layer that is trained it is no prediction.
    if found and facts.model.trainable_variables:
        yield Finding(
            "Dropout drops the predictions themselves.",
            layers=tuple(found),
            fix="# leave it out, or put it before the last Dense",
            # One that hidden layers share would be taken out there too.
            safe=all(_is_nowhere_else(facts, call.layer, calls) for call in calls),
        )
