"""Some layers begin anew, the others keep what they have learned."""

import difflib
import random
import warnings
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _patterns
from keras_tricks._errors import NoEffectWarning
from keras_tricks.surgery import _activations, _carry, _drawn, _rebuild

_SHOWN = 5
# The weights that a given initializer draws.
_DRAWN = ("kernel", "embeddings")


def reinitialize(
    model: Any, layers: Any, initializer: Any = None, seed: int | None = None
) -> Any:
    """Makes a new model in which some layers have fresh weights.

    When: a pre-trained model is trained on, and its last fully connected layers know
        too much of the old task; or a layer has died.
    Typical: the last one or two fully connected layers.
    Costs: a new model, with a copy of all weights.
    Beware: the layers below get large gradients from a random head. Train it alone
        first (`kt.surgery.freeze`).

    The old model stays as it is. The new one has its other weights, its names,
    `trainable` flags and dtype policies, and is compiled like it. The optimizer keeps
    its slots, but for the fresh weights, where they start anew too.

    Without an `initializer` the kernels of Dense, Conv1D to 3D and Highway layers are
    drawn for the nonlinearity that follows, in the layer or after it: HeNormal
    (Kaiming) for relu, relu6, leaky_relu, PReLU, elu, celu, gelu, silu, hard_silu and
    mish; LecunNormal for selu; GlorotNormal (Xavier) for tanh, sigmoid, softmax, linear
    and the rest. All other weights (biases, embeddings, kernels of recurrent,
    attention, depthwise, separable and transposed layers, scales and statistics of
    BatchNormalization) begin as the layer's own initializers say. Layers
    that learn by `adapt` keep what they have.

    Args:
        model: Built model, Sequential or Functional.
        layers: String, a regular expression that matches the whole path of the layers,
            such as `"head_.*"` or `"backbone/fc1"`; it covers all below. Or a list of
            such.
        initializer: Initializer, its name or its config, for all weights that are
            called "kernel" or "embeddings". An unseeded one draws other numbers for
            each. Defaults to None, by the nonlinearity.
        seed: Non-negative integer that makes the draw the same each time, and another
            one for each layer; it also takes the place of the initializer's seed.
            Defaults to None, new numbers at each call.

    Returns:
        The new model.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `layers` names no layer, or the model is not built, is a
            subclass whose graph is not known, or cannot be copied, or a layer is
            quantized.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(1, name="top")]
    >>> model = keras.Sequential([keras.Input((4,)), *layers])
    >>> new = kt.surgery.reinitialize(model, "top", seed=1)
    >>> pairs = zip(model.get_weights(), new.get_weights())
    >>> [np.array_equal(old, fresh) for old, fresh in pairs]
    [True, True, False, True]

    Reference: He et al. 2015, arXiv 1502.01852; Glorot and Bengio 2010; Klambauer et
    al. 2017, arXiv 1706.02515.
    """
    _rebuild.check(model)
    if seed is not None:
        _arguments.integer("seed", seed, 0, 2**62)
    given = None if initializer is None else _checked(initializer)
    chosen = _chosen(model, layers)
    for path, layer in chosen.items():
        if getattr(layer, "quantization_mode", None):
            raise ValueError(
                "`layers` must name layers of floating numbers. Received: "
                f"{layers!r}, which names {path!r}, quantized to "
                f"{layer.quantization_mode}; begin from the model before `quantize`"
            )
    if not any(layer.weights for layer in chosen.values()):
        warnings.warn(
            f"reinitialize has no effect on {model.name!r}: the layers that {layers!r} "
            "names have no weights to draw. The copy is like the model.",
            NoEffectWarning,
            stacklevel=2,
        )
    ids = {id(layer) for layer in chosen.values()}
    # Initializers without a seed take one from here when they are made.
    before = random.getstate()
    try:
        if seed is not None:
            random.seed(seed)
        result = _rebuild.rebuild(model, fresh=lambda layer: id(layer) in ids)
        _draw(result, ids, given, _drawn.following(model), seed)
    finally:
        if seed is not None:
            random.setstate(before)
    return result.finish()


def _chosen(model: Any, layers: Any) -> dict[str, Any]:
    try:
        found = _patterns.layers("layers", layers, model)
    except ValueError as error:
        dense = [
            path
            for path, layer in _patterns.layer_paths(model)
            if isinstance(layer, keras.layers.Dense)
        ]
        if not dense:
            raise
        last = ", ".join(dense[: -_SHOWN - 1 : -1])
        raise ValueError(
            f"{error} The last fully connected layers, from the output down: {last}."
        ) from error
    # What a layer has learned by `adapt` is no weight that a training would find again.
    return {path: layer for path, layer in found.items() if not hasattr(layer, "adapt")}


def _checked(initializer: Any) -> Any:
    try:
        return keras.initializers.get(initializer)
    except Exception as error:
        known = [n for n in vars(keras.initializers) if n[:1].isupper()]
        near = difflib.get_close_matches(str(initializer), known, 1, 0.5)
        hint = f". Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            "`initializer` must be a Keras initializer, its name or its config, or "
            f"None. Received: initializer={initializer!r}{hint}"
        ) from error


def _draw(result: Any, ids: set[int], given: Any, following: Any, seed: Any) -> None:
    """Draws the kernels; all else is as the copied layers have drawn it."""
    drawn: set[int] = set(result.origin)
    for number, (old, new) in enumerate(result.pairs):
        for variable in _carry.own_variables(new) if id(old) in ids else ():
            if id(variable) in drawn or variable.name not in _DRAWN:
                continue
            drawn.add(id(variable))
            initializer = given
            if given is None and isinstance(old, _drawn.KINDS):
                name = following.get(id(old), _activations.own(old))
                initializer = _drawn.for_activation(name)
            if initializer is not None:
                initializer = _seeded(initializer, seed, number)
                variable.assign(initializer(tuple(variable.shape), variable.dtype))


def _seeded(initializer: Any, seed: int | None, number: int) -> Any:
    """Another initializer like this one, for the layer with this number."""
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if "seed" in config and seed is not None:
        state = np.random.SeedSequence([seed, number]).generate_state(1)
        config["seed"] = int(state[0]) % 2**31
    # Without a seed a new one is drawn here: one object draws the same at each call.
    return type(initializer).from_config(config)
