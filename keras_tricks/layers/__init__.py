"""Layers that drop in for Keras's own."""

from keras_tricks.layers.embedding import Embedding
from keras_tricks.layers.highway import Highway
from keras_tricks.layers.highway_conv1d import HighwayConv1D
from keras_tricks.layers.highway_conv2d import HighwayConv2D

__all__ = ["Embedding", "Highway", "HighwayConv1D", "HighwayConv2D"]
