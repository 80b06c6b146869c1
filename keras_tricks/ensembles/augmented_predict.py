"""Predictions for several views of the same data, as one."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _state
from keras_tricks._errors import NoEffectWarning
from keras_tricks.ensembles import _answers, _fusions, _outputs, _random, _truth

_OF_CLASSES = ("probabilities", "geometric", "vote")


def augmented_predict(
    model: Any,
    x: Any,
    augmentations: Sequence[Any],
    fusion: Any = "probabilities",
    include_original: bool = True,
    batch_size: int = 32,
    seed: int | None = None,
) -> Any:
    """Predicts for the data and for changed copies of it, and fuses the answers.

    When: images have no preferred side, position or brightness, and the model was
        trained with such changes.
    Typical: the mirror image alone, or two to ten draws of the training's own
        augmentation.
    Costs: one more `predict` for each augmentation, which itself runs eagerly, and
        the memory of one changed copy of `x`.
    Beware: changes that the model has not seen in training mostly harm: a mirrored 3
        is no 3. Outputs that move with the image (masks, boxes) are not moved back.
        What a function around a layer draws is not had again from the same seed: give
        the layer itself.

    A layer is called as in training. One that is listed several times draws anew each
    time. Functions that draw from NumPy's, Python's or the backend's global random
    numbers follow `seed` too. The layers, and global random numbers, are given back.

    Args:
        model: Built keras.Model. It predicts as it always does.
        x: Array, (samples, ...), or list or dict of arrays.
        augmentations: List of Keras layers, such as
            `keras.layers.RandomFlip("horizontal")`, or functions from a batch of `x`
            to one of as many samples.
        fusion: "probabilities" (their mean), "geometric", "vote", "mean" or "median"
            (for regression), or a function of kt.fusion, or your own: it takes the
            list of predictions, that of `x` first, and returns one. The first three
            ask for probabilities and make them of logits, which they find as
            `kt.ensembles.Ensemble` does; a function gets the outputs as they are, half
            precision made single. Weights are given
            by `functools.partial(kt.fusion.mean_probability, weights=[2, 1, 1])`.
            Defaults to "probabilities".
        include_original: Boolean, whether the prediction for `x` itself is among them.
            Defaults to True.
        batch_size: Positive integer, for the augmentations and for `predict`.
            Defaults to 32.
        seed: Non-negative integer, or None for one that `set_random_seed` decides on.
            The same seed and batch size give the same changes. Defaults to None.

    Returns:
        NumPy array, what `fusion` makes of the predictions; a list or dict of such
        where the model has several outputs, each fused by itself.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, `augmentations` is empty, one
            of them changes the number of samples, or the fusion does not fit what the
            model gives.

    Warns:
        NoEffectWarning: If an augmentation that draws nothing changes nothing.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
    >>> x = np.log([[0.8, 0.2]])
    >>> flip = lambda batch: batch[:, ::-1]
    >>> fused = kt.ensembles.augmented_predict(model, x, [flip])
    >>> fused.round(3).tolist()
    [[0.5, 0.5]]

    Reference: Krizhevsky, Sutskever and Hinton 2012, section 4.1; Simonyan and
    Zisserman 2014, arXiv 1409.1556, section 3.2.
    """
    _arguments.built_model("model", model)
    _arguments.positive_integer("batch_size", batch_size)
    count = _truth.samples(x)
    augmentations = _checked(augmentations)
    fuse = _function(fusion)
    kinds = _kinds(model, fusion)
    seed = _random.drawn(seed)
    layers = [part for part in augmentations if isinstance(part, keras.Layer)]
    # All of them: BatchNormalization among them moves too.
    before = _state.copy_variables(v for layer in layers for v in layer.variables)
    predictions = []
    try:
        with _state.seeded(seed):
            _random.reseed([variable for variable, _ in before], seed)
            if include_original:
                predictions.append(model.predict(x, batch_size=batch_size, verbose=0))
            for position, augmentation in enumerate(augmentations):
                changed = _augmented(augmentation, x, count, batch_size, position)
                predictions.append(
                    model.predict(changed, batch_size=batch_size, verbose=0)
                )
    finally:
        _state.assign_variables(before)
    outputs = [keras.tree.flatten(prediction) for prediction in predictions]
    kinds = kinds if len(kinds) > 1 else kinds * len(outputs[0])
    fused = [
        _numpy(fuse([_answers.finished(member, kind) for member in members]))
        for kind, *members in zip(kinds, *outputs, strict=True)
    ]
    return keras.tree.pack_sequence_as(predictions[0], fused)


def _kinds(model: Any, fusion: Any) -> list[str]:
    """What each output is, or what all are, for a fusion that asks for it."""
    if fusion not in _OF_CLASSES:
        return ["values"]
    several = isinstance(model, keras.Function) and len(model.outputs) > 1
    parts = [model]
    if several:
        parts = [keras.Model(model.inputs, tensor) for tensor in model.outputs]
    kinds = []
    for part in parts:
        try:
            kinds.append(_answers.kind(part))
        except ValueError as error:
            seen = str(error).replace("models[0]", "the model")
            raise ValueError(
                "`fusion` must be a function where it cannot be found whether the "
                f"model gives probabilities or logits. Received: {seen}; give "
                "kt.fusion.mean_probability if it gives probabilities, 'mean' if "
                "values"
            ) from error
        if fusion != "probabilities":
            _check_one_class(kinds[-1], part, fusion)
    return kinds


def _check_one_class(kind: str, model: Any, fusion: str) -> None:
    if kind in _outputs.MULTILABEL and _outputs.columns(model) != 1:
        raise ValueError(
            "`fusion` must be 'probabilities' where every column is a question of its "
            f"own. Received: fusion={fusion!r} for a model with several sigmoids; if "
            "exactly one class is true for a row, give the function of kt.fusion"
        )


def _checked(augmentations: Any) -> list[Any]:
    expected = "`augmentations` must be a list of Keras layers or functions"
    if not isinstance(augmentations, list | tuple):
        remedy = "; put it into a list" if callable(augmentations) else ""
        raise TypeError(
            f"{expected}. Received: augmentations={augmentations!r}{remedy}"
        )
    for part in augmentations:
        if not callable(part):
            raise TypeError(f"{expected}. Received: {part!r} in it")
    if not augmentations:
        raise ValueError(
            f"{expected}, at least one. Received: an empty one; without any it is "
            "model.predict(x)"
        )
    return list(augmentations)


def _function(fusion: Any) -> Callable[[list[Any]], Any]:
    if callable(fusion):
        return fusion
    if not isinstance(fusion, str):
        raise TypeError(
            "`fusion` must be the name of a fusion or a function of kt.fusion. "
            f"Received: fusion={fusion!r}"
        )
    return _fusions.NAMED[_arguments.one_of("fusion", fusion, _fusions.NAMED)]


def _augmented(
    augmentation: Any, x: Any, count: int, batch_size: int, position: int
) -> Any:
    """What an augmentation makes of all samples."""
    arguments = {}
    if isinstance(augmentation, keras.Layer):
        parameters = inspect.signature(augmentation.call).parameters
        arguments = {"training": True} if "training" in parameters else {}
    parts = []
    for start in range(0, count, batch_size):
        batch = keras.tree.map_structure(
            lambda leaf, start=start: leaf[start : start + batch_size], x
        )
        parts.append(keras.tree.map_structure(_numpy, augmentation(batch, **arguments)))
    changed = keras.tree.map_structure(lambda *leaves: np.concatenate(leaves), *parts)
    leaves = keras.tree.flatten(changed)
    if any(len(leaf) != count for leaf in leaves):
        raise ValueError(
            "`augmentations` must give as many samples as they get. Received: "
            f"augmentations[{position}], which makes {len(leaves[0])} of {count}"
        )
    same = [
        np.array_equal(_numpy(old), new)
        for old, new in zip(keras.tree.flatten(x), leaves, strict=False)
    ]
    # One that draws may well draw no change.
    draws = _random.seed_states(getattr(augmentation, "variables", ()))
    if all(same) and not draws:
        warnings.warn(
            f"augmented_predict: augmentations[{position}] has no effect on `x`.",
            NoEffectWarning,
            stacklevel=3,
        )
    return changed


def _numpy(value: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(value))
