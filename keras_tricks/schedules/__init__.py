"""Learning rates as pure functions of the step."""

from keras_tricks.schedules.cosine_restarts import CosineRestarts
from keras_tricks.schedules.cyclical import Cyclical
from keras_tricks.schedules.one_cycle import OneCycle
from keras_tricks.schedules.plot import plot
from keras_tricks.schedules.preview import preview
from keras_tricks.schedules.scale_adam import scale_adam
from keras_tricks.schedules.scale_learning_rate import scale_learning_rate
from keras_tricks.schedules.scaled import Scaled, scaled
from keras_tricks.schedules.slanted_triangular import SlantedTriangular
from keras_tricks.schedules.warmup import Warmup

__all__ = [
    "CosineRestarts",
    "Cyclical",
    "OneCycle",
    "Scaled",
    "SlantedTriangular",
    "Warmup",
    "plot",
    "preview",
    "scale_adam",
    "scale_learning_rate",
    "scaled",
]
