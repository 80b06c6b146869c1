"""Tricks that act during `fit`."""

from keras_tricks.callbacks.halve_on_plateau import HalveOnPlateau

__all__ = ["HalveOnPlateau"]
