"""scikit-learn estimators that train Keras models."""

from keras_tricks.wrappers.keras_classifier import KerasClassifier
from keras_tricks.wrappers.keras_regressor import KerasRegressor

__all__ = ["KerasClassifier", "KerasRegressor"]
