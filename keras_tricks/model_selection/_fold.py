"""One fold: a new model, trained on some rows and judged by others."""

import threading
import time
from typing import Any

import keras
import numpy as np
from sklearn.base import clone

from keras_tricks import _build, _state
from keras_tricks.ensembles import _initial_weights, _random
from keras_tricks.model_selection import _answers, _callbacks, _data, _scoring
from keras_tricks.model_selection._reuse import Reused
from keras_tricks.model_selection._task import Outcome, Task

# The random numbers that a fold borrows are those of the whole process.
_ONE_AT_A_TIME = threading.RLock()


def run(task: Task, data: Any, split: Any, fold: int, reused: Reused) -> Outcome:
    """Trains a fold's model and says how good it is on rows that it has not seen."""
    with _ONE_AT_A_TIME:
        started = time.perf_counter()
        try:
            outcome = _run(task, data, split, fold, reused)
        except BaseException:
            reused.forget()
            raise
        outcome.seconds = time.perf_counter() - started
    return outcome


def _run(task: Task, data: Any, split: Any, fold: int, reused: Reused) -> Outcome:
    train, test = split
    seed = task.seed_of(fold)
    with _state.seeded(seed):
        prepared = Prepared(task, data, train)
    # As `fit` pads nothing, every row counts once.
    x_test, y_test, weight_test = prepared.rows(test)
    x_train, y_train, weight_train = prepared.train
    with _state.seeded(seed), _initial_weights.drawn_anew(seed):
        model = reused.take(_build.model(task.build, seed=seed, fold=fold))
        history = _fit(
            model,
            (x_train, y_train, weight_train),
            seed,
            task,
            reused=reused,
            callbacks=_callbacks.own(task.callbacks, seed=seed, fold=fold),
            validation_data=(x_test, y_test)
            if weight_test is None
            else (x_test, y_test, weight_test),
        )
        kind = _answers.kind_of(model)
        scores, predictions = _judged(
            task, model, kind, data, test, (x_test, y_test, weight_test)
        )
        if task.train_scores:
            found, _ = _judged(
                task, model, kind, data, train, (x_train, y_train, weight_train)
            )
            scores.update({f"train_{name}": value for name, value in found.items()})
    weights = None
    if task.keep_models:
        weights = [value for _, value in _state.copy_variables(model.variables)]
    return Outcome(fold, scores, history, predictions, weights, kind, 0.0)


class Prepared:
    """The rows of a fold after the preprocessing that was fitted to its training."""

    def __init__(self, task: Task, data: Any, train: Any) -> None:
        self._data, self.transformer = data, None
        x, y, weight = (_data.rows(part, train) for part in data)
        if task.preprocess is not None:
            self.transformer = clone(task.preprocess)
            x = dense(self.transformer.fit_transform(x, y))
        self.train = (x, y, weight)

    def rows(self, index: Any) -> tuple[Any, Any, Any]:
        """Other rows, which the preprocessing has not seen."""
        x, y, weight = (_data.rows(part, index) for part in self._data)
        if self.transformer is not None:
            x = dense(self.transformer.transform(x))
        return x, y, weight


def dense(x: Any) -> Any:
    """What a transformer gives, as an array."""
    x = x.toarray() if hasattr(x, "toarray") else x
    return x.to_numpy() if hasattr(x, "to_numpy") else x


def _fit(
    model: Any,
    data: tuple[Any, Any, Any],
    seed: int,
    task: Task,
    *,
    reused: Reused | None = None,
    epochs: int | None = None,
    callbacks: Any = (),
    validation_data: Any = None,
) -> dict[str, list[float]]:
    start = _Start(_random.derived(seed, 1), reused)
    _state.seed(start.seed)
    x, y, weight = data
    arguments = {"verbose": 0, **task.fit_arguments}
    if validation_data is None:
        arguments.pop("validation_freq", None)
        arguments.pop("validation_batch_size", None)
    made = model.fit(
        x,
        y,
        sample_weight=weight,
        batch_size=task.batch_size,
        epochs=task.epochs if epochs is None else epochs,
        callbacks=[start, *callbacks],
        validation_data=validation_data,
        **arguments,
    )
    return {
        name: [float(value) for value in values]
        for name, values in _scoring.canonical(model, made.history).items()
    }


def train(task: Task, data: Any, number: int, epochs: int, callbacks: Any) -> Any:
    """A model that is trained on all rows, and judged by none."""
    seed = task.seed_of(number)
    with _ONE_AT_A_TIME, _state.seeded(seed), _initial_weights.drawn_anew(seed):
        prepared = Prepared(task, data, np.arange(len(data)))
        model = _build.model(task.build, seed=seed, fold=number)
        own = _callbacks.own(callbacks, seed=seed, fold=number)
        _fit(model, prepared.train, seed, task, epochs=epochs, callbacks=own)
    return model


def not_one_output(what: str) -> TypeError:
    """The error of models that answer more than one question."""
    return TypeError(
        f"`build` must return a model with one output. Received: one that {what}"
    )


def _judged(
    task: Task, model: Any, kind: str, data: Any, index: Any, rows: Any
) -> tuple[dict[str, float], Any]:
    x, y, weight = rows
    logs = model.evaluate(
        x,
        y,
        sample_weight=weight,
        batch_size=task.batch_size,
        verbose=0,
        return_dict=True,
    )
    predictions = model.predict(x, batch_size=task.batch_size, verbose=0)
    if not isinstance(predictions, np.ndarray):
        raise not_one_output(f"predicts a {type(predictions).__name__}")
    scores = {k: float(v) for k, v in _scoring.canonical(model, logs).items()}
    # A scorer may look at the inputs: at those of the user.
    given = _data.rows(data.x, index)
    return {**scores, **task.judge(given, y, predictions, kind)}, predictions


class _Start(keras.callbacks.Callback):
    """Seeds the training as it begins, whatever was drawn before.

    `fit` draws random numbers when it first builds a model's metrics, and a model may
    have no layers until then.
    """

    def __init__(self, seed: int, reused: Reused | None) -> None:
        super().__init__()
        self.seed = seed
        self._reused = reused

    def on_train_begin(self, logs: Any = None) -> None:
        _state.seed(self.seed)
        _random.reseed(self.model.variables, self.seed)
        if self._reused is not None:
            self._reused.started(self.model)
