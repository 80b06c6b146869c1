"""Tricks that act during `fit`."""

from keras_tricks.callbacks.activation_monitor import ActivationMonitor
from keras_tricks.callbacks.gradient_monitor import GradientMonitor
from keras_tricks.callbacks.gradual_unfreezing import GradualUnfreezing
from keras_tricks.callbacks.halve_on_plateau import HalveOnPlateau
from keras_tricks.callbacks.run_recorder import RunRecorder
from keras_tricks.callbacks.scale_learning_rate import ScaleLearningRate
from keras_tricks.callbacks.snapshots import Snapshots
from keras_tricks.callbacks.stochastic_weight_average import StochasticWeightAverage
from keras_tricks.callbacks.switch_optimizer import SwitchOptimizer

__all__ = [
    "ActivationMonitor",
    "GradientMonitor",
    "GradualUnfreezing",
    "HalveOnPlateau",
    "RunRecorder",
    "ScaleLearningRate",
    "Snapshots",
    "StochasticWeightAverage",
    "SwitchOptimizer",
]
