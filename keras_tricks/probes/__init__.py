"""Short experiments before the long one."""

from keras_tricks.probes.find_learning_rate import find_learning_rate
from keras_tricks.probes.learning_rate_curve import LearningRateCurve

__all__ = ["LearningRateCurve", "find_learning_rate"]
