"""Whether the rows of a batch know nothing of each other.

Only then may a batch be padded with rows of weight 0. It is a list of what is known to
be so: whatever else there is, is trained on batches of their own lengths.
"""

from typing import Any

import keras

_LAYER_NAMES = """
Activation AlphaDropout Add Attention AdditiveAttention Average AveragePooling1D
AveragePooling2D AveragePooling3D Bidirectional Concatenate Conv1D Conv1DTranspose
Conv2D Conv2DTranspose Conv3D Conv3DTranspose Cropping1D Cropping2D Cropping3D Dense
DepthwiseConv1D DepthwiseConv2D Dropout EinsumDense ELU Embedding Flatten
GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
GroupNormalization GroupQueryAttention GRU GRUCell Identity InputLayer
LayerNormalization LeakyReLU LSTM LSTMCell Maximum MaxPooling1D MaxPooling2D
MaxPooling3D Minimum MultiHeadAttention Multiply Normalization Permute PReLU ReLU
RepeatVector Rescaling Reshape RMSNormalization SeparableConv1D SeparableConv2D
SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D
Subtract TimeDistributed UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
ZeroPadding2D ZeroPadding3D
"""
_LOSS_NAMES = """
BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy
CategoricalFocalCrossentropy CategoricalHinge Hinge Huber
KLDivergence LogCosh MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError
MeanSquaredLogarithmicError Poisson SparseCategoricalCrossentropy SquaredHinge
"""
_FUNCTION_NAMES = """
binary_crossentropy binary_focal_crossentropy categorical_crossentropy
categorical_focal_crossentropy categorical_hinge cosine_similarity hinge huber
kl_divergence log_cosh mean_absolute_error mean_absolute_percentage_error
mean_squared_error mean_squared_logarithmic_error poisson
sparse_categorical_crossentropy squared_hinge
"""
_LAYERS = frozenset(
    getattr(keras.layers, name)
    for name in _LAYER_NAMES.split()
    if hasattr(keras.layers, name)
)
_LOSS_CLASSES = frozenset(getattr(keras.losses, name) for name in _LOSS_NAMES.split())
_LOSS_FUNCTIONS = frozenset(
    getattr(keras.losses, name) for name in _FUNCTION_NAMES.split()
)
_MEANS = ("sum_over_batch_size", "mean")
_FUNCTIONS = ("activation", "recurrent_activation")


def rows_are_apart(model: Any, training: bool = True) -> bool:
    """Whether rows of weight 0 change nothing else: then a batch may be padded."""
    # An output of one number per row has no last axis of its own to be averaged over.
    outputs = getattr(model, "outputs", None) or ()
    return (
        model_is_apart(model, training)
        and all(len(output.shape) > 1 for output in outputs)
        and loss_is_a_mean(model.loss)
    )


def model_is_apart(model: Any, training: bool) -> bool:
    """Whether it is made of known layers, each of which keeps the rows apart."""
    if not _is_plain(model):
        return False
    # Of a functional model also the operations that are no layers.
    own = model.layers if isinstance(model, keras.Sequential) else model.operations
    return all(_is_apart(one, training) for one in own) and all(
        _is_apart(one, training)
        for one in model._flatten_layers(include_self=False)
        if one not in own
    )


def _is_plain(model: Any) -> bool:
    """Whether it is a model of Keras's own two kinds, and no subclass."""
    kind = type(model)
    return kind.__module__.startswith("keras.") and (
        kind.__name__ in ("Functional", "Sequential")
    )


def _is_apart(layer: Any, training: bool) -> bool:
    if isinstance(layer, keras.Model):
        return model_is_apart(layer, training)
    if not training and type(layer) is keras.layers.BatchNormalization:
        return True
    return (
        type(layer) in _LAYERS
        and getattr(layer, "activity_regularizer", None) is None
        and not getattr(layer, "mask_zero", False)
        and not getattr(layer, "stateful", False)
        and not _names_rows(getattr(layer, "axis", None))
        and all(_is_own(getattr(layer, name, None)) for name in _FUNCTIONS)
        and _keeps_rows(getattr(layer, "equation", None))
    )


def _names_rows(axis: Any) -> bool:
    """Whether an axis is, or may be, that of the rows."""
    axes = axis if isinstance(axis, list | tuple) else [axis]
    return any(one is not None and int(one) < 1 and int(one) != -1 for one in axes)


def _is_own(function: Any) -> bool:
    """Whether it is none, or a function of Keras: each of them is along the last axis.

    A layer in its place is looked at among the layers.
    """
    if function is None or isinstance(function, keras.Layer):
        return True
    return str(getattr(function, "__module__", "")).startswith("keras.")


def _keeps_rows(equation: Any) -> bool:
    """Whether the rows of an `EinsumDense` are those of its output alone."""
    if equation is None:
        return True
    given, result = equation.replace(" ", "").split("->")
    rows, weights = given.split(",")
    return bool(result[:1] == rows[:1] and rows[0] not in weights.replace("...", ""))


def loss_is_a_mean(loss: Any) -> bool:
    """Whether a loss is the mean of the rows' losses, times the rows' weights."""
    if isinstance(loss, dict):
        return all(loss_is_a_mean(part) for part in loss.values())
    if isinstance(loss, list | tuple):
        return all(loss_is_a_mean(part) for part in loss)
    if loss is None:
        return True
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if not isinstance(loss, keras.losses.Loss):
        return loss in _LOSS_FUNCTIONS
    if type(loss) not in _LOSS_CLASSES or loss.reduction not in _MEANS:
        return False
    config = loss.get_config()
    return config.get("axis", -1) == -1 and config.get("ignore_class") is None
