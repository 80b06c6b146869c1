"""The axes of a weight over which the norm of a unit is taken."""

from typing import Any

import keras

from keras_tricks import _patterns
from keras_tricks.optimizers import _kinds


def axes(variables: Any, model: Any) -> list[tuple[int, ...]]:
    """For each variable the axes that lie inside a unit; the others number the units.

    A unit is what makes one number of a layer's output: with most kernels the last
    axis numbers them. `model` holds the variables, or is None.
    """
    owners: dict[int, Any] = {}
    if model is not None:
        layers = dict(_patterns.layer_paths(model))
        owners = {
            id(variable): layers[paths[0]]
            for variable, paths in _patterns.variable_paths(model)
            if paths and paths[0] in layers
        }
    return [_inside(variable, owners.get(id(variable))) for variable in variables]


def _inside(variable: Any, layer: Any) -> tuple[int, ...]:
    every = tuple(range(len(variable.shape)))
    if _kinds.is_bias(variable):
        return every
    kinds = keras.layers
    if isinstance(layer, kinds.DepthwiseConv1D | kinds.DepthwiseConv2D) or (
        str(variable.name) == "depthwise_kernel"
    ):
        # (..., channels, multiplier): each of them has an output of its own.
        return every[:-2]
    if isinstance(
        layer, kinds.Conv1DTranspose | kinds.Conv2DTranspose | kinds.Conv3DTranspose
    ):
        # (..., outputs, inputs)
        return (*every[:-2], every[-1])
    if isinstance(layer, kinds.EinsumDense):
        # As in attention: "abc,cde->abde" sums over the axis c alone.
        kernel = layer.equation.split("->")[0].split(",")[1].strip()
        output = layer.equation.split("->")[1]
        return tuple(axis for axis in every if kernel[axis] not in output)
    return every[:-1]
