"""The answers of several models as one: pure functions on arrays and tensors."""

from keras_tricks.fusion.apply_temperature import apply_temperature
from keras_tricks.fusion.decode_answers import decode_answers
from keras_tricks.fusion.fit_linear_weights import fit_linear_weights
from keras_tricks.fusion.fit_temperature import fit_temperature
from keras_tricks.fusion.fit_threshold import fit_threshold
from keras_tricks.fusion.geometric_mean import geometric_mean
from keras_tricks.fusion.greedy_selection import greedy_selection
from keras_tricks.fusion.majority_vote import majority_vote
from keras_tricks.fusion.mean import mean
from keras_tricks.fusion.mean_and_variance import mean_and_variance
from keras_tricks.fusion.mean_probability import mean_probability
from keras_tricks.fusion.median import median
from keras_tricks.fusion.rank_average import rank_average

__all__ = [
    "apply_temperature",
    "decode_answers",
    "fit_linear_weights",
    "fit_temperature",
    "fit_threshold",
    "geometric_mean",
    "greedy_selection",
    "majority_vote",
    "mean",
    "mean_and_variance",
    "mean_probability",
    "median",
    "rank_average",
]
