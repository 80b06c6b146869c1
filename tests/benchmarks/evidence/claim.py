"""What a claim is, and the words that claims share."""

from collections.abc import Callable
from typing import Any, NamedTuple

from . import sides_rates as rates
from .intervals import ACCURACY, RMSE, Metric


class Claim(NamedTuple):
    """What is said, by whom, and the two sides that are compared."""

    name: str
    text: str
    source: str
    tasks: tuple[str, ...]  # the first three are the quick ones
    baseline: tuple[str, Callable[[Any], Any]]
    trick: tuple[str, Callable[[Any], Any]]
    budget: str = "20 epochs, batch 32"
    metric: Metric = ACCURACY
    holds: str = "helps"

    def metric_of(self, task):
        return RMSE if task == "diabetes" else self.metric


OPINION = "opinion of the guide"
DENSE = ("digits", "breast cancer", "diabetes", "wine", "MNIST")
CLASSES = ("digits", "breast cancer", "wine", "MNIST")
LINES = ("digits", "MNIST")
TRANSFER = ("digits 5 to 9", "MNIST 5 to 9")
SENTENCES = ("sentence polarity", "customer reviews")

SGD = ("SGD, momentum 0.9, rate 0.05", rates.constant)
ADAM = ("Adam, rate 0.001", rates.adam)
