"""Layer-sequential unit variance: initial weights that fit the data."""

import warnings
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _backend
from keras_tricks._errors import NoEffectWarning
from keras_tricks._report import Report
from keras_tricks.surgery import _rebuild, _scaling


def lsuv(
    model: keras.Model,
    x: Any,
    tolerance: float = 0.1,
    max_iterations: int = 10,
    seed: int | None = None,
    *,
    report: bool = False,
) -> Any:
    """Initialises layer by layer, until each gives outputs of unit variance on `x`.

    When: a deep network that does not begin to learn, or not with its activation;
        before the first training.
    Typical: `x` of a few hundred samples of the training data, as the model gets them.
    Costs: one call of each layer per iteration (two for most layers), and the memory
        of `model(x)`.
    Beware: what a layer has learned is lost; freeze what shall stay. BatchNormalization
        does much the same, at every step.

    Each kernel becomes orthonormal, and is then divided by the standard deviation of
    what the layer gives its activation, in inference mode, over all samples and units.
    The layers go in the order in which the model runs them, each on what those before
    it give by then. A shared layer is scaled where it is used first. These layers are:
    Dense, Conv1D to 3D and their transposes, DepthwiseConv and SeparableConv (both
    kernels orthonormal, the pointwise one divided), alone or in a TimeDistributed.
    Biases stay, and so do all other layers (recurrent, attention, normalization,
    Highway, EinsumDense) and those that are not trainable. A constraint on a kernel
    acts again at the first training step.

    Args:
        model: Built Functional or Sequential model, nested or not. It stays as it is.
        x: Array, or list or dict of arrays, one batch of what the model takes.
        tolerance: Positive float, how far from 1 the standard deviation may stay.
            Defaults to 0.1, as in the paper.
        max_iterations: Positive integer, the most divisions of one kernel. Defaults
            to 10. A layer without a bias of its own needs one.
        seed: Integer or None, for the orthonormal kernels. They are the same on every
            backend. None goes by `keras.utils.set_random_seed`. Defaults to None.
        report: Boolean, whether to return a table as well. Defaults to False.

    Returns:
        A new model, compiled like the old one where that was; with `report=True` the
        pair of it and a table that prints itself, one row per layer in the order of
        running them: `layer`, `std_before` (with the orthonormal kernel), `std_after`,
        `iterations` and `converged`. A layer whose outputs are all equal keeps its
        orthonormal kernel and has not converged.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, the model cannot be copied, or
            `x` gives activations that are not finite.

    Warns:
        NoEffectWarning: If the model has no such layer.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(16, activation="relu", name="first"),
    ...     keras.layers.Dense(16, activation="relu", name="second"),
    ... ])
    >>> x = 5.0 * np.random.default_rng(0).normal(size=(200, 8))
    >>> model, table = kt.surgery.lsuv(model, x, seed=0, report=True)
    >>> [(row.layer, round(row.std_after, 2), row.iterations) for row in table]
    [('first', 1.0, 1), ('second', 1.0, 1)]

    Reference: Mishkin and Matas 2015, arXiv 1511.06422.
    """
    _arguments.positive("tolerance", tolerance)
    _arguments.positive_integer("max_iterations", max_iterations)
    if seed is not None:
        _arguments.integer("seed", seed, 0, 2**63 - 1)
    copy = _rebuild.rebuild(_rebuild.check(model))
    chosen = _scaling.targets(copy.model)
    rows: list[_scaling.Row] = []
    if chosen:
        # NumPy's global numbers, which `keras.utils.set_random_seed` sets.
        drawn = np.random.randint(2**31 - 1) if seed is None else seed
        random = np.random.default_rng(drawn)
        with (
            _backend.without_gradients(copy.model.variables),
            _scaling.scaling(chosen, tolerance, max_iterations, random, rows.append),
        ):
            copy.model(_structured(x, copy.model), training=False)
    else:
        warnings.warn(
            f"Nothing was scaled: model {model.name!r} has no trainable Dense or "
            "convolution layer.",
            NoEffectWarning,
            stacklevel=2,
        )
    for target in chosen:
        for kernel, _ in _scaling.kernels(target.layer):
            # What an optimizer knows of the kernel is of the old one.
            copy.origin.pop(id(kernel), None)
    new = copy.finish()
    table = Report(_summary(rows), rows)
    return (new, table) if report else new


def _structured(x: Any, model: Any) -> Any:
    """A single array in the list or dict that the model takes, as `predict` does it."""
    several = isinstance(x, list | tuple | dict) or len(model.inputs) != 1
    if several or isinstance(model, keras.Sequential):
        return x
    return keras.tree.pack_sequence_as(model.input, [x])


def _summary(rows: list[_scaling.Row]) -> str:
    done = sum(row.converged for row in rows)
    return f"{len(rows)} layers, {done} with unit variance"
