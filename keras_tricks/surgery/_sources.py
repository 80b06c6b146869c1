"""Where what a call reads comes from."""

from keras_tricks import _layer_kinds
from keras_tricks.surgery import _activations
from keras_tricks.surgery._calls import Call


def passes(call: Call) -> bool:
    """Whether a call does no more to its one input than to scale or to reshape it."""
    if call.is_model:
        return len(call.inputs) == 1
    return len(call.inputs) <= 1 and not _activations.has_kernel(call.layer)


def comes_from_convolution(call: Call) -> bool:
    """Whether the last layer with a kernel before a call is a convolution."""
    source = call.first_source
    while source is not None and passes(source):
        source = source.first_source
    inner = source and _layer_kinds.unwrapped(source.layer)
    return inner is not None and _layer_kinds.is_convolution(inner)
