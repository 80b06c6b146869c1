"""One model from several: the average of the weights that go well together."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_tricks import _arguments
from keras_tricks._errors import NoEffectWarning
from keras_tricks._report import Report
from keras_tricks.ensembles import _soup_scores, _truth

_MODES = ("greedy", "uniform")


class _Row(NamedTuple):
    """A model in the order of trying: its score, and that of the soup with it."""

    model: int
    score: float
    soup_score: float
    kept: bool


def soup(
    models: Sequence[Any],
    x: Any,
    y: Any,
    metric: str | Callable[[Any, Any], float] = "accuracy",
    batch_size: int = 32,
    *,
    mode: str = "greedy",
    recalibrate: Any = None,
    report: bool = False,
) -> Any:
    """Averages the weights of models that were trained from the same start.

    When: one pre-trained model was fine-tuned several times, with other rates, seeds
        or augmentation; or snapshots of the end of one training.
    Typical: 5 to 20 models; held-out data that no training has seen.
    Costs: two predictions on `x` for each model; the average in float64 in host memory.
        The result predicts at the cost of one model.
    Beware: models that began from other initial weights do not average: their units
        stand in other places (use `kt.ensembles.Ensemble`). The score is chosen on
        `x`, so it flatters: test on other data. The mean and variance of
        BatchNormalization are averaged too, and do not fit the averaged weights: give
        `recalibrate`, or call `kt.ensembles.recalibrate` on the result.

    The models are sorted by their score. The greedy soup begins with the best one and
    keeps another only if the average with it scores strictly better, so it is never
    worse than the best model. Numbers that are not floating (counters, seeds) and the
    optimizer's slots are those of the best model. The models stay as they are.

    Args:
        models: List of at least two built models of one architecture. Names, Dropout
            and training options may differ.
        x: Array, or list or dict of arrays, what the models take; held-out data.
        y: Array of labels, one-hot rows or values, one per sample.
        metric: "accuracy", "log_loss" or "squared_error" (the last two negated), or a
            function of `y` and predictions that returns a number, greater is better.
            Defaults to "accuracy".
        batch_size: Positive integer for the predictions. Defaults to 32.
        mode: "greedy" or "uniform", the average of all. Defaults to "greedy".
        recalibrate: Training data, as `kt.ensembles.recalibrate` takes them: each
            average gets the moments of BatchNormalization on them before it is scored.
            Defaults to None, averaged moments.
        report: Boolean, whether to return a table as well. Defaults to False.

    Returns:
        A new model, compiled like the best one where that was; with `report=True` the
        pair of it and a table that prints itself, a row for each model in the order of
        trying: `model` (its position), `score`, `soup_score` and `kept`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, the models are not made alike,
            cannot be copied, or a score is no number.

    Warns:
        NoEffectWarning: If the greedy soup is nothing but the best model.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> models = []
    >>> for weight in (1.0, 3.0, 9.0):
    ...     layer = keras.layers.Dense(1, use_bias=False)
    ...     models.append(keras.Sequential([keras.Input((1,)), layer]))
    ...     models[-1].set_weights([np.array([[weight]])])
    >>> x = np.ones((4, 1))
    >>> one, table = kt.ensembles.soup(models, x, 2 * x, "squared_error", report=True)
    >>> one.get_weights()[0].item(), [row.model for row in table if row.kept]
    (2.0, [0, 1])

    Reference: Wortsman et al. 2022, arXiv 2203.05482 (there a model that ties is kept).
    """
    # Late: with them comes all of surgery, which most programs do not need.
    from keras_tricks.ensembles import _architecture, _average

    models = _checked(models)
    _architecture.check(models)
    _arguments.positive_integer("batch_size", batch_size)
    _arguments.one_of("mode", mode, _MODES)
    count = _truth.samples(x)
    scorer = _soup_scores.Scorer(models[0], metric, x, y, count, batch_size)
    average = _average.Average(models, _rows(x, batch_size), recalibrate)
    alone = [_score(scorer, average, [index]) for index in range(len(models))]
    # Equal ones in the order in which they were given.
    order = sorted(range(len(models)), key=lambda index: -alone[index])
    best = alone[order[0]]
    if mode == "uniform":
        kept = list(order)
        soup_score = _score(scorer, average, kept)
        rows = [_Row(index, alone[index], soup_score, True) for index in order]
    else:
        kept, soup_score = [order[0]], best
        rows = [_Row(order[0], best, best, True)]
        for index in order[1:]:
            score = _score(scorer, average, [*kept, index])
            rows.append(_Row(index, alone[index], score, score > soup_score))
            if score > soup_score:
                kept.append(index)
                soup_score = score
        if len(kept) == 1:
            warnings.warn(
                f"soup has no effect: no average with models[{order[0]}] scores "
                f"better than it alone ({best:.4g}). The result is a copy of it.",
                NoEffectWarning,
                stacklevel=2,
            )
    new = average.finished(kept)
    table = Report(
        f"{len(kept)} of {len(models)} models, {scorer.name} {soup_score:.4g}; the "
        f"best one alone {best:.4g}",
        rows,
    )
    return (new, table) if report else new


def _checked(models: Any) -> list[Any]:
    if isinstance(models, keras.Model) or not isinstance(models, Sequence):
        raise TypeError(
            "`models` must be a list of built keras.Models. "
            f"Received: models={models!r}"
        )
    if len(models) < 2:
        raise ValueError(
            f"`models` must be at least two models. Received: {len(models)}"
        )
    return list(models)


def _rows(x: Any, count: int) -> Any:
    return keras.tree.map_structure(lambda leaf: leaf[:count], x)


def _score(scorer: Any, average: Any, chosen: list[int]) -> float:
    score = float(scorer(average.of(chosen)))
    if np.isnan(score):
        names = ", ".join(f"models[{index}]" for index in chosen)
        raise ValueError(
            f"`metric` must give a number for every model. Received: NaN for {names}; "
            "leave out models whose training has diverged"
        )
    return score
