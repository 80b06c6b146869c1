"""From gradient to update: layer-wise rates, lazy Adam, the switch to SGD, clipping."""

from keras_tricks.optimizers.auto_clip import AutoClip
from keras_tricks.optimizers.discriminative import discriminative
from keras_tricks.optimizers.layer_decay import layer_decay
from keras_tricks.optimizers.layerwise_learning_rate import LayerwiseLearningRate
from keras_tricks.optimizers.lazy_adam import LazyAdam
from keras_tricks.optimizers.no_decay import no_decay
from keras_tricks.optimizers.swats import SWATS

__all__ = [
    "SWATS",
    "AutoClip",
    "LayerwiseLearningRate",
    "LazyAdam",
    "discriminative",
    "layer_decay",
    "no_decay",
]
