"""Layers that drop in for Keras's own."""

from keras_tricks.layers.embedding import Embedding

__all__ = ["Embedding"]
