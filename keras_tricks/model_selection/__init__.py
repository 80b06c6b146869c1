"""Which model is better: cross-validation, leave-one-out, leaderboards."""

from keras_tricks.model_selection.cross_validate import cross_validate
from keras_tricks.model_selection.leaderboard import leaderboard
from keras_tricks.model_selection.suggest_configurations import suggest_configurations

__all__ = ["cross_validate", "leaderboard", "suggest_configurations"]
