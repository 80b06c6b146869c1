"""Cross-validation: how good a model is on rows that it has not seen."""

from collections.abc import Callable
from typing import Any

from keras_tricks.model_selection import _plan, _progress
from keras_tricks.model_selection._cross_validation import CrossValidation


def cross_validate(
    build: Callable[..., Any],
    x: Any,
    y: Any,
    *,
    epochs: int,
    cv: Any = 5,
    groups: Any = None,
    batch_size: int = 32,
    metrics: Any = None,
    scoring: Any = None,
    return_train_score: bool = False,
    preprocess: Any = None,
    callbacks: Any = None,
    sample_weight: Any = None,
    keep_models: bool = True,
    vectorized: Any = "auto",
    n_jobs: int | None = None,
    directory: Any = None,
    seed: int | None = None,
    verbose: Any = "auto",
    **fit_arguments: Any,
) -> CrossValidation:
    """Trains a model once per fold, each time without the rows that it is judged by.

    When: to compare models or settings on few data; to know how much a score depends
        on the split; to get an ensemble, or predictions for stacking, on the way.
    Typical: 5 or 10 folds; `LeaveOneOut()` up to some hundred rows; a single
        `ShuffleSplit(1, test_size=0.1)` where data are plenty.
    Costs: a training per fold, less its compilation after the first one; much less
        where `kt.ensembles.VectorizedEnsemble` takes all folds as one program. The
        weights of every fold are kept in memory, or in `directory`.
    Beware: there is no place for a test set here, on purpose. Keep one apart, and look
        at it once: whoever chooses by these scores has used the rows up. A callback
        that chooses by `val_loss` (EarlyStopping) makes the fold's score too good. The
        folds' scores share rows, so their standard error is somewhat too small.

    Every fold starts from fresh weights, drawn from its own seed also where an
    initializer carries one, and with a fresh optimizer, order and Dropout masks.
    Python's, NumPy's and the backend's global random numbers are given back. The rows
    that are held out are also `validation_data`, so `histories` has their curves.
    Name your metric objects: Keras calls a second unnamed `AUC` `auc_1`, which is put
    right in the results but not for callbacks.

    Args:
        build: Function that returns a new compiled model at each call. It is called
            with those of `seed` and `fold` (0, 1, ...) that its signature accepts, once
            more than there are folds.
        x: Array, or a structure of arrays, with one row per sample; with `preprocess`
            also a table of pandas.
        y: Array of numbers, as for `fit`.
        epochs: Positive integer, for each fold.
        cv: Integer, the number of folds, shuffled, with classes in equal shares where
            the model tells classes apart; or a splitter of scikit-learn; or a list of
            pairs (rows to train on, rows to judge by). Defaults to 5.
        groups: Array with a group per row: with an integer `cv` none of them is split;
            a splitter gets it. Defaults to None.
        batch_size: Positive integer. Defaults to 32.
        metrics: List of Keras metrics, as in `compile`, for the scores of the held-out
            rows, beside those that the model is compiled with. Defaults to None.
        scoring: A scorer of scikit-learn by its name, a callable (estimator, x, y), a
            list of names or a dict. The estimator answers for this `x` alone. Defaults
            to None.
        return_train_score: Boolean, whether the scores of the rows that were trained on
            are there too, as `train_...`. Defaults to False.
        preprocess: Transformer of scikit-learn; a copy is fitted to the training rows
            of every fold. Defaults to None.
        callbacks: Function that returns new callbacks, called as `build` is; or a list,
            of which every fold gets copies. Callbacks that write files need the
            function, for a path by `fold`. Defaults to None.
        sample_weight: Array with a weight per row, for the training and, as in Keras,
            for the loss and `weighted_metrics` of the held-out rows; not for `metrics`
            and `scoring`. Defaults to None.
        keep_models: Boolean, whether the weights are kept. Defaults to True.
        vectorized: True, False or "auto": whether all folds are trained as one
            program. The results agree within the spread of seeds; `how` says what was
            done. "auto" does not with `directory`, several jobs, or fewer than a
            hundred updates in all. Defaults to "auto".
        n_jobs: Integer, how many processes, by joblib's rules; -1 is all cores. Inside
            `joblib.parallel_config` another backend can be chosen, like "dask". A
            worker that dies is replaced. `build` and the data travel to the workers,
            who get their share of the cores' threads.
            Defaults to None: 1, or what the config says.
        directory: Path of a folder for finished folds. After a crash the same call goes
            on with the fold that was not finished. A folder made with other data,
            another model or other settings is refused; what a function of callbacks
            does cannot be told. Defaults to None.
        seed: Integer that folds and trainings come from. None goes by
            `keras.utils.set_random_seed`, and with a `directory` by what was drawn
            then. Defaults to None.
        verbose: 0 is silent, 1 a progress line with the time left, 2 a line per fold.
            Defaults to "auto": 1 in a terminal, else 2.
        fit_arguments: More that `fit` takes: `class_weight`, `shuffle`, ...

    Returns:
        A result with `scores` (per fold, mean, standard error), `out_of_fold`
        predictions in the order of `x`, `models` (each made when it is asked for),
        `histories`, `folds`, and the methods `ensemble(fusion)`, `predict(x)`,
        `refit()`, `summary()` and `plot()`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, a fold is empty or judged by
            rows that it is trained on, or `directory` holds something else.
        RuntimeError: If worker processes die again and again.

    Example:
    >>> import keras, numpy as np
    >>> from keras_tricks.model_selection import cross_validate
    >>> def build():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> x, y = np.ones((6, 2)), np.arange(6.0)
    >>> result = cross_validate(build, x, y, cv=3, epochs=1, seed=1, verbose=0)
    >>> result.scores["loss"].folds.shape
    (3,)
    >>> result.out_of_fold.shape
    (6, 1)

    Reference: Stone 1974, "Cross-validatory choice and assessment of statistical
    predictions"; Varma and Simon 2006 on the bias of what is chosen by it.
    """
    plan = _plan.checked(
        build,
        x,
        y,
        cv=cv,
        groups=groups,
        epochs=epochs,
        batch_size=batch_size,
        metrics=metrics,
        scoring=scoring,
        return_train_score=return_train_score,
        preprocess=preprocess,
        callbacks=callbacks,
        sample_weight=sample_weight,
        keep_models=keep_models,
        vectorized=vectorized,
        n_jobs=n_jobs,
        directory=directory,
        seed=seed,
        fit_arguments=fit_arguments,
    )
    progress = _progress.Progress(len(plan.splits), _progress.check(verbose))
    return CrossValidation(plan, plan.run(progress))
