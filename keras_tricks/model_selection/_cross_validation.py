"""What a cross-validation has found."""

from typing import Any, NamedTuple

import numpy as np

from keras_tricks import _arguments, _state
from keras_tricks._axes import axes
from keras_tricks._report import Report
from keras_tricks.ensembles import _fusions
from keras_tricks.ensembles.ensemble import Ensemble
from keras_tricks.model_selection import _answers, _fold, _progress
from keras_tricks.model_selection._models import Models
from keras_tricks.model_selection._plan import Plan
from keras_tricks.model_selection._task import Outcome


class Score(NamedTuple):
    """A score of every fold, their mean and its standard error (NaN for one fold)."""

    folds: np.ndarray
    mean: float
    standard_error: float


class Row(NamedTuple):
    """A line of the summary."""

    score: str
    mean: float
    standard_error: float
    lowest: float
    highest: float


class CrossValidation:
    """The folds of a cross-validation: scores, predictions, models.

    It is made by `cross_validate`, and keeps the data for `models` and `refit`.

    Attributes:
        scores: Dict from a name to a `Score` with `folds`, `mean` and `standard_error`.
        histories: List with the dict of every fold's values per epoch, those of its
            held-out rows as `val_...`.
        folds: List with the pair of arrays of rows, to train on and to judge by.
        seconds: List with the time of every fold.
        how: String, how the folds were trained, and why so.
    """

    def __init__(self, plan: Plan, outcomes: list[Outcome]) -> None:
        self._plan, self._outcomes = plan, outcomes
        self._models = Models(plan, outcomes)
        self.how = plan.how or "one after the other"
        self.folds = plan.splits
        self.histories = [outcome.history for outcome in outcomes]
        self.seconds = [outcome.seconds for outcome in outcomes]
        names = outcomes[0].scores
        self.scores = {
            name: scored([outcome.scores.get(name, np.nan) for outcome in outcomes])
            for name in names
        }

    def __repr__(self) -> str:
        return f"<CrossValidation {self._headline()}>"

    def _headline(self) -> str:
        name, score = next(iter(self.scores.items()))
        error = f" ± {score.standard_error:.2g}" if len(self.folds) > 1 else ""
        return (
            f"{len(self.folds)} folds of {len(self._plan.data)} rows in "
            f"{_progress.text(sum(self.seconds))}, {name} {score.mean:.4g}{error}"
        )

    @property
    def out_of_fold(self) -> np.ndarray:
        """Each row's prediction by a model that has not seen it, as of `predict`.

        The mean where a row was held out several times, NaN where it never was.
        """
        first = self._outcomes[0].predictions
        total = np.zeros((len(self._plan.data), *first.shape[1:]))
        counts = np.zeros(len(total))
        for (_, test), outcome in zip(self.folds, self._outcomes, strict=True):
            np.add.at(total, test, outcome.predictions.astype("float64"))
            np.add.at(counts, test, 1)
        counts = counts.reshape((-1, *[1] * (total.ndim - 1)))
        with np.errstate(invalid="ignore"):
            mean = np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
        kind = first.dtype if first.dtype.kind == "f" else np.dtype("float64")
        return mean.astype(kind)

    @property
    def models(self) -> Models:
        """The trained model of every fold, compiled as by `build`: a sequence.

        Each is made when it is first asked for. Their optimizers start anew.

        Raises:
            ValueError: On access, if the weights were not kept.
        """
        return self._models

    def forget_models(self) -> None:
        """Lets go of the weights and models that are in memory."""
        self._models.forget()

    def _prepared(self, fold: int) -> Any:
        with _state.seeded(self._plan.task.seed_of(fold)):
            return _fold.Prepared(self._plan.task, self._plan.data, self.folds[fold][0])

    @property
    def preprocessors(self) -> list[Any]:
        """The transformer of every fold, fitted again on its rows; None without."""
        return [self._prepared(fold).transformer for fold in range(len(self.folds))]

    @property
    def preprocessor(self) -> Any:
        """The transformer fitted on all rows, for the model of `refit`."""
        plan = self._plan
        with _state.seeded(plan.task.seed_of(len(self.folds))):
            rows = np.arange(len(plan.data))
            return _fold.Prepared(plan.task, plan.data, rows).transformer

    def ensemble(self, fusion: Any = None) -> Any:
        """All folds' models as one, to be judged on other data.

        Args:
            fusion: As of `kt.ensembles.Ensemble`. Defaults to None: "probabilities"
                where the models tell classes apart, else "mean".

        Returns:
            An `Ensemble`.

        Raises:
            ValueError: If every fold has a preprocessing of its own.
        """
        if self._plan.task.preprocess is not None:
            raise ValueError(
                "`ensemble` needs models that take the same inputs. Received: folds "
                "with a preprocessing each; ask all of them by `predict`"
            )
        return Ensemble([*self.models], self._fusion(fusion))

    def _fusion(self, fusion: Any) -> Any:
        if fusion is not None:
            return fusion
        return "mean" if self._plan.kind == "values" else "probabilities"

    def predict(self, x: Any, fusion: Any = None) -> np.ndarray:
        """The folds' models as one on new rows, each after its own preprocessing.

        Args:
            x: Inputs as of `cross_validate`.
            fusion: As of `ensemble`.

        Returns:
            Array with a row for each of `x`.
        """
        transformers = self.preprocessors
        answers = []
        for model, transformer in zip(self.models, transformers, strict=True):
            inputs = x if transformer is None else _fold.dense(transformer.transform(x))
            kind = self._plan.kind
            found = model.predict(inputs, batch_size=4096, verbose=0)
            answers.append(_answers.probabilities(found, kind))
        fuse = _fusions.Fusion(self._fusion(fusion), len(answers))
        return np.asarray(fuse(answers, None, None))

    def best_epochs(self, monitor: str = "val_loss", mode: str = "min") -> list[int]:
        """How many epochs were best for each fold.

        Args:
            monitor: String, a name in `histories`. Defaults to "val_loss".
            mode: "min" or "max", which is better. Defaults to "min".

        Returns:
            List of integers, the first epoch being 1.

        Raises:
            ValueError: If there is no such value.
        """
        _arguments.one_of("mode", mode, ("min", "max"))
        best = []
        for history in self.histories:
            if monitor not in history:
                raise ValueError(
                    f"`monitor` must be one of {', '.join(map(repr, history))}. "
                    f"Received: monitor={monitor!r}"
                )
            values = np.asarray(history[monitor]) * (1 if mode == "min" else -1)
            at = 0 if np.isnan(values).all() else int(np.nanargmin(values))
            # Where only some epochs were validated.
            every = len(history["loss"]) / len(values)
            best.append(round((at + 1) * every))
        return best

    def refit(self, *, epochs: int | None = None, callbacks: Any = None) -> Any:
        """A model that is trained on all rows.

        Args:
            epochs: Positive integer. Defaults to None: the mean of `best_epochs()`.
            callbacks: List, or a function that returns one. Defaults to None: none,
                because those of the folds watch rows that are held out.

        Returns:
            The trained model. With preprocessing it wants `preprocessor.transform(x)`.
        """
        if epochs is None:
            epochs = max(1, round(float(np.mean(self.best_epochs()))))
        _arguments.positive_integer("epochs", epochs)
        plan = self._plan
        return _fold.train(plan.task, plan.data, len(self.folds), epochs, callbacks)

    def summary(self) -> Report:
        """A table of the scores, which prints itself."""
        rows = [
            Row(
                name,
                score.mean,
                score.standard_error,
                float(score.folds.min()),
                float(score.folds.max()),
            )
            for name, score in self.scores.items()
        ]
        return Report(self._headline(), rows)

    def plot(self, ax: Any = None, metric: str = "loss") -> Any:
        """Draws how a value went over the epochs, of every fold and their mean.

        Args:
            ax: Matplotlib axes, or None to make a figure.
            metric: String, a name in `histories`. Defaults to "loss".

        Returns:
            The axes.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: If there is no such value.
        """
        if metric not in self.histories[0]:
            raise ValueError(
                f"`metric` must be one of {', '.join(map(repr, self.histories[0]))}. "
                f"Received: metric={metric!r}"
            )
        ax = axes(ax)
        for name, colour, label in (
            (metric, "tab:blue", "training"),
            (f"val_{metric}", "tab:orange", "held out"),
        ):
            curves = [h[name] for h in self.histories if name in h]
            for curve in curves:
                ax.plot(range(1, len(curve) + 1), curve, color=colour, alpha=0.3, lw=1)
            if curves:
                # Of those folds that were not stopped before.
                table = np.full((len(curves), max(map(len, curves))), np.nan)
                for row, curve in zip(table, curves, strict=True):
                    row[: len(curve)] = curve
                mean = np.nanmean(table, axis=0)
                ax.plot(range(1, len(mean) + 1), mean, color=colour, lw=2, label=label)
        ax.set(xlabel="epoch", ylabel=metric, title=f"{len(self.folds)} folds")
        ax.legend()
        return ax


def scored(values: Any) -> Score:
    """Values of folds with their mean and its standard error."""
    folds = np.asarray(values, "float64")
    error = np.nan
    if len(folds) > 1:
        error = float(folds.std(ddof=1) / np.sqrt(len(folds)))
    return Score(folds, float(folds.mean()), error)


def probabilities(result: CrossValidation) -> np.ndarray:
    """The out-of-fold predictions as an ensemble would see them."""
    return np.asarray(_answers.probabilities(result.out_of_fold, result._plan.kind))
