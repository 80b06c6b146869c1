"""Several models that answer as one, and ways to get them."""

from keras_tricks.ensembles.augmented_predict import augmented_predict
from keras_tricks.ensembles.ensemble import Ensemble
from keras_tricks.ensembles.load import load
from keras_tricks.ensembles.monte_carlo_predict import monte_carlo_predict
from keras_tricks.ensembles.recalibrate import recalibrate
from keras_tricks.ensembles.soup import soup
from keras_tricks.ensembles.train_members import train_members
from keras_tricks.ensembles.vectorized_ensemble import VectorizedEnsemble

__all__ = [
    "Ensemble",
    "VectorizedEnsemble",
    "augmented_predict",
    "load",
    "monte_carlo_predict",
    "recalibrate",
    "soup",
    "train_members",
]
