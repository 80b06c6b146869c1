"""Dropout where it belongs, in a model that has none."""

import warnings
from typing import Any

from keras_tricks import _arguments
from keras_tricks._errors import NoEffectWarning
from keras_tricks.surgery import _rebuild
from keras_tricks.surgery._dropout_plan import DropoutPlan


def insert_dropout(
    model: Any, rate: float = 0.5, after: str = "dense", plan: bool = False
) -> Any:
    """Makes a new model with Dropout after its hidden dense and recurrent layers.

    When: the training loss is well below the validation loss.
    Typical: `rate=0.5` after dense layers, 0.2 to 0.3 for recurrent models.
    Costs: a new model, with a copy of all weights; training takes more epochs.
    Beware: dropped units make less of a layer: give the layers more units, or train
        longer. Behind a SELU layer use `keras.layers.AlphaDropout` by hand. After
        convolutions `keras.layers.SpatialDropout2D` is the better one. The new layers
        draw from new seeds.

    The old model stays as it is. The new one has its weights, names, `trainable` flags
    and dtype policies, and is compiled like it, with the optimizer's slots.

    With `after="dense"` Dropout comes

    - after each hidden `Dense` or `Highway` (also in a `TimeDistributed`), behind the
      activation and the normalization that directly follow it: Dense,
      BatchNormalization, ReLU, Dropout;
    - before the input and after the output of each recurrent layer, never on its
      states nor inside it; one that has a `dropout` of its own keeps that at its input.

    It never comes after a convolution, nor after a `Dense` on feature maps (rank 4),
    which is one of 1 x 1; nor where Dropout already follows before the next
    layer with a kernel, or where no layer with a kernel follows before an output. What
    a layer of your own calls inside is not looked into.

    Args:
        model: Built model, Sequential or Functional.
        rate: Float in [0, 1), share of the units that is dropped. Defaults to 0.5.
        after: "dense", or a pattern that names the layers that Dropout comes after:
            a regular expression that matches a layer's whole path, such as
            `"conv.*"` or `"backbone/fc1"`. A model inside gets one after its outputs.
            A single layer that is called "dense" is named by `"(dense)"`.
        plan: Boolean, whether only to return what would be done. Defaults to False.

    Returns:
        The new model. With `plan=True` a table instead, that prints itself: a row for
        each candidate with `layer`, `change` ("" if it is left alone) and `why`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `rate` is out of range, `after` names no layer, or the model is
            not built, is a subclass whose graph is not known, or cannot be copied.

    Example:
    >>> import keras, keras_tricks as kt
    >>> layers = [keras.layers.Dense(8, "relu", name="hidden"), keras.layers.Dense(1)]
    >>> model = keras.Sequential([keras.Input((4,)), *layers])
    >>> [layer.name for layer in kt.surgery.insert_dropout(model, 0.3).layers][:2]
    ['hidden', 'hidden_dropout']

    Reference: Srivastava et al. 2014, JMLR 15; for recurrent layers Zaremba, Sutskever
    and Vinyals 2014, arXiv 1409.2329.
    """
    _rebuild.check(model)
    _arguments.within("rate", rate, 0, 1, open_high=True)
    _arguments.text("after", after)
    work = DropoutPlan(model, rate, after)
    if plan:
        return work.report()
    if not work.insertions:
        warnings.warn(
            f"insert_dropout has no effect on {model.name!r}: "
            f"{work.why_nothing()}. The copy is like the model.",
            NoEffectWarning,
            stacklevel=2,
        )
    return _rebuild.rebuild(model, insertions=work.insertions).finish()
