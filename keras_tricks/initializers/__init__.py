"""Where weights begin."""

from keras_tricks.initializers.word_vectors import WordVectors

__all__ = ["WordVectors"]
