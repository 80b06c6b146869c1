"""A new model from an old one, which stays as it is."""

from keras_tricks.surgery.dense_to_highway import dense_to_highway
from keras_tricks.surgery.freeze import freeze, unfreeze
from keras_tricks.surgery.insert_dropout import insert_dropout
from keras_tricks.surgery.lsuv import lsuv
from keras_tricks.surgery.reinitialize import reinitialize
from keras_tricks.surgery.transfer_weights import transfer_weights

__all__ = [
    "dense_to_highway",
    "freeze",
    "insert_dropout",
    "lsuv",
    "reinitialize",
    "transfer_weights",
    "unfreeze",
]
