"""KerasRegressor: a Keras model as a scikit-learn regressor."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from keras_tricks.wrappers._estimator import KerasEstimator


class KerasRegressor(RegressorMixin, KerasEstimator):
    """Trains a Keras model as a regressor of scikit-learn.

    When: pipelines, grid searches, voting or stacking with a Keras model.
    Typical: `KerasRegressor(build, epochs=50, random_state=0)` after a scaler, inside
        a `TransformedTargetRegressor` that scales `y`.
    Costs: each `fit` builds and compiles a new model, up to 1 s; a fitted estimator is
        pickled with its model and its optimizer.
    Beware: targets of a large scale train slowly. Otherwise as for `KerasClassifier`.

    `y` may have several columns, one for each output unit. Predictions have the form of
    `y`, in float64, or float32 if `y` was. Inputs, weights and attributes are those of
    `KerasClassifier`, without the classes.

    Args:
        build: Function that returns a new model, compiled unless `loss` is given; or a
            compiled model, which is not changed but cloned with fresh weights, except
            those of frozen and adapted layers; or a configuration, as
            `keras.saving.serialize_keras_object(model)` and `model.to_json()` give
            it. The function gets the `build_arguments`, and what
            else it names of: the parameters below; `seed`, an integer; `meta`, a
            dictionary with "n_outputs_", "target_type_", "input_shape_" and
            "n_features_in_". Defaults to None, a network with one hidden layer of
            `units=64`.
        epochs: Positive integer, epochs of a `fit`; `partial_fit` trains for one.
        batch_size: Positive integer, rows in a batch, also of predictions.
        optimizer: None for the one that `build` compiles with; else a name, a class, a
            configuration or an optimizer, of which each fit uses a copy. Its
            arguments are parameters too, as `optimizer__learning_rate`, also if it is
            None.
        loss: None for the one that `build` compiles with, else a Keras loss.
        callbacks: None, a callback or a list, of which each fit uses copies; or a
            function without arguments that returns the list to use as it is.
        validation_fraction: Float in [0, 1), share of the rows that is held out.
            `history_` then has "val_loss". Defaults to 0.
        warm_start: Boolean, whether `fit` goes on training the model that there is.
        random_state: None, an integer or a `numpy.random.RandomState`. Two fits with
            one integer are equal bit for bit on the CPU.
        verbose: As in `keras.Model.fit`. Defaults to 0.
        build_arguments: Arguments of `build`, each a parameter of the estimator, for
            `set_params` and grids as `units` or `build__units`.

    Raises:
        TypeError: In `fit`, if an argument has the wrong type or the inputs are sparse.
        ValueError: In `fit`, if an argument is out of its range, `build` does not know
            one, or the model does not have an output unit for each column of `y`.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> def build(learning_rate=0.5):
    ...     model = keras.Sequential([keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
    ...     return model
    >>> x = np.array([[-1.0], [1.0]])
    >>> regressor = kt.wrappers.KerasRegressor(build, epochs=5, learning_rate=0.5)
    >>> regressor.fit(x, [1.0, 5.0]).predict([[0.0], [2.0]]).round(2).tolist()
    [3.0, 7.0]

    Reference: the estimator interface of scikit-learn, Buitinck et al. 2013,
    arXiv 1309.0238.
    """

    def __init__(
        self,
        build: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        optimizer: Any = None,
        loss: Any = None,
        callbacks: Any = None,
        validation_fraction: float = 0.0,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: Any = 0,
        **build_arguments: Any,
    ) -> None:
        self.build = build
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.loss = loss
        self.callbacks = callbacks
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self._set_build_arguments(build_arguments)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains a new model, or with `warm_start` the one that there is."""
        return self._train(X, y, sample_weight, go_on=self.warm_start)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains for one more epoch.

        Weights are not scaled: those of different calls can be compared.
        """
        return self._train(X, y, sample_weight, go_on=True, partial=True)

    def predict(self, X: Any) -> np.ndarray:
        """Returns the outputs, (rows,) or (rows, columns), as `y` was."""
        found = self._raw(X).astype(self._dtype)
        return found[:, 0] if self._columns is None else found

    def _prepare(self, y: Any, first: bool, classes: Any) -> np.ndarray:
        columns = y.shape[1] if y.ndim == 2 else None
        if first:
            self._columns = columns
            self._dtype = np.float32 if y.dtype == np.float32 else np.float64
            self.n_outputs_ = columns or 1
            several = self.n_outputs_ > 1
            self.target_type_ = "continuous-multioutput" if several else "continuous"
        elif columns != self._columns:
            raise ValueError(
                f"`y` must have the shape {self._shape_text(self._columns)}, as in the "
                f"first fit. Received: {self._shape_text(columns)}"
            )
        return y.reshape(len(y), -1)

    @staticmethod
    def _shape_text(columns: int | None) -> str:
        return "(rows,)" if columns is None else f"(rows, {columns})"

    def _encode(self, y: np.ndarray, model: Any, units: int) -> np.ndarray:
        if units != self.n_outputs_:
            # Keras would spread one column over all units, silently.
            raise ValueError(
                "`build` must give a model with one output unit for each column of "
                f"`y`, {self.n_outputs_}. Received: {units} units; let `build` take "
                '`meta`, and use meta["n_outputs_"]'
            )
        return y
