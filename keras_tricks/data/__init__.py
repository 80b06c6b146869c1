"""Data on their way into `fit`."""

from keras_tricks.data.multi_scale import MultiScale

__all__ = ["MultiScale"]
