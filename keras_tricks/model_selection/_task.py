"""All that a fold needs beside its rows; it can be sent to another process."""

import dataclasses
from typing import Any

import numpy as np

from keras_tricks.ensembles import _random
from keras_tricks.model_selection._scoring import Judge


@dataclasses.dataclass
class Task:
    """What one configuration is trained with."""

    build: Any
    epochs: int
    batch_size: int
    seed: int
    judge: Judge
    callbacks: Any = None
    preprocess: Any = None
    train_scores: bool = False
    keep_models: bool = True
    fit_arguments: dict[str, Any] = dataclasses.field(default_factory=dict)

    def seed_of(self, fold: int) -> int:
        """The seed of a fold: of its weights, order, Dropout and callbacks."""
        return _random.derived(self.seed, fold)


@dataclasses.dataclass
class Outcome:
    """What is left of a fold."""

    fold: int
    scores: dict[str, float]
    history: dict[str, list[float]]
    predictions: np.ndarray
    weights: list[np.ndarray] | None
    kind: str
    seconds: float
