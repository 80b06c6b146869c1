"""Weight-decay groups: biases, normalisation and embeddings are not decayed."""

import warnings
from collections.abc import Iterable
from typing import Any

import keras

from keras_tricks import _arguments, _patterns
from keras_tricks._errors import NoEffectWarning
from keras_tricks.optimizers import _kinds
from keras_tricks.optimizers._no_decay import NoDecay


def no_decay(
    optimizer: Any, model: Any, patterns: str | Iterable[str] | None = None
) -> Any:
    """Leaves biases, normalisation scales and embeddings out of weight decay.

    When: any optimizer with `weight_decay`: AdamW, Lion, SGD with decay.
    Typical: always; timm and most transformer recipes do it.
    Costs: nothing.
    Beware: it is about decoupled decay (`weight_decay=`). Regularizers of layers
        (`kernel_regularizer=l2()`) are losses and stay as they are.

    The result is the given optimizer with one thing changed. Unlike Keras's
    `exclude_from_weight_decay`, the choice is saved and loaded with the model.

    Args:
        optimizer: A new Keras optimizer, which becomes part of the result.
        model: The built model that it will train.
        patterns: String or list of strings, patterns of further layers to leave out
            with all their weights. Defaults to None: only biases and other vectors,
            normalisation layers, PReLU, embeddings, and what transformers call
            position embeddings and class tokens.

    Returns:
        An optimizer of the same class, for `model.compile`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model is not built, a pattern names no layer of it, or the
            optimizer cannot be extended; when it is built on another model.

    Example:
    >>> import keras, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> optimizer = kt.optimizers.no_decay(keras.optimizers.AdamW(1e-3), model)
    >>> model.compile(optimizer, "mse")
    >>> [model.trainable_variables[i].name for i in optimizer.excluded]
    ['bias']

    Reference: timm's `param_groups_weight_decay`; He et al. 2019, section 3.1,
    arXiv 1812.01187.
    """
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            f"`optimizer` must be a Keras optimizer. Received: optimizer={optimizer!r}"
        )
    _arguments.built_model("model", model)
    by_path = dict(_patterns.layer_paths(model))
    further: dict[str, Any] = {}
    if patterns is not None:
        further = _patterns.layers("patterns", patterns, model)
    places = {id(v): paths for v, paths in _patterns.variable_paths(model)}

    def left_out(variable: Any) -> bool:
        layers = [by_path[path] for path in places[id(variable)] if path in by_path]
        return (
            _kinds.is_bias(variable)
            or _kinds.is_token(variable)
            or any(isinstance(x, (*_kinds.EMBEDDINGS, *_kinds.SCALES)) for x in layers)
            or any(path in further for path in places[id(variable)])
        )

    variables = model.trainable_variables
    excluded = [index for index, v in enumerate(variables) if left_out(v)]
    _warn_without_effect(optimizer, excluded)
    return NoDecay(optimizer, excluded, [variable.shape for variable in variables])


def _warn_without_effect(optimizer: Any, excluded: list[int]) -> None:
    decays = ("weight_decay", "adam_weight_decay")
    if not any(getattr(optimizer, name, None) for name in decays):
        problem = f"{type(optimizer).__name__} has no `weight_decay`"
    elif not excluded:
        problem = "the model has no variables to leave out"
    else:
        return
    warnings.warn(f"no_decay has no effect: {problem}.", NoEffectWarning, stacklevel=3)
