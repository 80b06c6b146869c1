"""Short experiments before the long one."""

from keras_tricks.probes.find_learning_rate import find_learning_rate
from keras_tricks.probes.forecast import Forecast
from keras_tricks.probes.learning_rate_curve import LearningRateCurve
from keras_tricks.probes.pilot_run import pilot_run

__all__ = ["Forecast", "LearningRateCurve", "find_learning_rate", "pilot_run"]
