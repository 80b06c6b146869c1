"""KerasClassifier: a Keras model as a scikit-learn classifier."""

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if

from keras_tricks.wrappers import _class_weights, _labels, _outputs
from keras_tricks.wrappers._estimator import KerasEstimator


def _gives_probabilities(estimator: Any) -> bool:
    """A model that was trained on a hinge loss gives none."""
    return getattr(estimator, "_outputs_are", None) != "margins"


class KerasClassifier(ClassifierMixin, KerasEstimator):
    """Trains a Keras model as a classifier of scikit-learn.

    When: pipelines, grid searches, voting, stacking or calibration with a Keras model.
    Typical: `KerasClassifier(build, epochs=20, random_state=0)` at the end of a
        pipeline that scales the inputs.
    Costs: each `fit` builds and compiles a new model, up to 1 s; a fitted estimator is
        pickled with its model and its optimizer.
    Beware: mini-batches in float32 make whole `sample_weight`s nearly, not exactly,
        the same as repeated rows. With an integer `random_state` the global random
        numbers are as before, except for those of `keras.random` without a seed.
        Weights whose initializer has a seed are the same in each fit. Inputs in a
        dictionary cannot go through scikit-learn's own cross-validation.

    The labels may be of any type, `y` also columns of 0 and 1 (several labels at once,
    or one-hot; predictions have the same form). They are encoded as the loss wants
    them: integers if its name has "sparse" in it; one column for a single sigmoid
    unit; one-hot else. Inputs are tables, arrays of more axes, or a dictionary of
    arrays; sparse ones are refused. Weights are scaled to a mean of 1 over the fit, and
    rows of zero weight left out.

    Attributes of a fitted one: `model_`, `history_` (of all epochs that the model was
    trained for), `classes_`, `n_classes_`, `n_outputs_`, `target_type_`,
    `input_shape_` (without the rows), `n_features_in_`, `feature_names_in_`.

    Args:
        build: Function that returns a new model, compiled unless `loss` is given; or a
            compiled model, which is not changed but cloned with fresh weights, except
            those of frozen and adapted layers; or a configuration, as
            `keras.saving.serialize_keras_object(model)` and `model.to_json()` give
            it. The function gets the `build_arguments`, and what
            else it names of: the parameters below; `seed`, an integer; `meta`, a
            dictionary with "n_classes_", "classes_", "n_outputs_", "target_type_",
            "input_shape_" and "n_features_in_". Defaults to None, a network with one
            hidden layer of `units=64`.
        epochs: Positive integer, epochs of a `fit`; `partial_fit` trains for one.
        batch_size: Positive integer, rows in a batch, also of predictions.
        optimizer: None for the one that `build` compiles with; else a name, a class, a
            configuration or an optimizer, of which each fit uses a copy. Its
            arguments are parameters too, as `optimizer__learning_rate`, also if it is
            None.
        loss: None for the one that `build` compiles with, else a Keras loss.
        callbacks: None, a callback or a list, of which each fit uses copies; or a
            function without arguments that returns the list to use as it is.
        class_weight: None, "balanced", or a dictionary from label to weight.
        validation_fraction: Float in [0, 1), share of the rows that is held out, with
            the classes in their shares. `history_` then has "val_loss". Defaults to 0.
        warm_start: Boolean, whether `fit` goes on training the model that there is.
        random_state: None, an integer or a `numpy.random.RandomState`. Two fits with
            one integer are equal bit for bit on the CPU.
        verbose: As in `keras.Model.fit`. Defaults to 0.
        build_arguments: Arguments of `build`, each a parameter of the estimator, for
            `set_params` and grids as `units` or `build__units`.

    Raises:
        TypeError: In `fit`, if an argument has the wrong type or the inputs are sparse.
        ValueError: In `fit`, if an argument is out of its range, `build` does not know
            one, or the model does not fit `y`; in predictions, if the outputs are no
            probabilities and the loss does not say that they are logits.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> def build(meta, units=8):
    ...     outputs = keras.layers.Dense(meta["n_classes_"], activation="softmax")
    ...     model = keras.Sequential([keras.layers.Dense(units), outputs])
    ...     model.compile("adam", "sparse_categorical_crossentropy")
    ...     return model
    >>> x = np.repeat(np.eye(3), 20, axis=0)
    >>> y = np.repeat(["cat", "dog", "emu"], 20)
    >>> classifier = kt.wrappers.KerasClassifier(
    ...     build, epochs=3, batch_size=4, optimizer__learning_rate=0.1, random_state=0
    ... )
    >>> classifier.fit(x, y).predict(np.eye(3)).tolist()
    ['cat', 'dog', 'emu']
    >>> classifier.set_params(units=16).get_params()["units"]
    16

    Reference: the estimator interface of scikit-learn, Buitinck et al. 2013,
    arXiv 1309.0238.
    """

    classes_: np.ndarray
    n_classes_: int

    def __init__(
        self,
        build: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        optimizer: Any = None,
        loss: Any = None,
        callbacks: Any = None,
        class_weight: Any = None,
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
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self._set_build_arguments(build_arguments)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains a new model, or with `warm_start` the one that there is."""
        return self._train(X, y, sample_weight, go_on=self.warm_start)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """Trains for one more epoch; the first call may name all classes to come.

        Weights are not scaled: those of different calls can be compared.
        """
        return self._train(
            X, y, sample_weight, go_on=True, partial=True, classes=classes
        )

    def predict(self, X: Any) -> np.ndarray:
        """Returns the likeliest label of each row, or each label that is likely."""
        scores = self.decision_function(X)
        return self._labels.decode(scores, exclusive=self._exclusive)

    @available_if(_gives_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns the probabilities, (rows, classes), in the order of `classes_`."""
        found = _outputs.probabilities(
            self._raw(X), self._outputs_are, exclusive=self._exclusive
        )
        if found.shape[1] == len(self.classes_):
            return found
        return np.hstack([1 - found, found])

    def decision_function(self, X: Any) -> np.ndarray:
        """Returns logits, logarithms of probabilities, or margins, (rows, classes).

        Of two classes one column, which is above 0 for the second one.
        """
        raw = self._raw(X)
        scores = _outputs.scores(raw, self._outputs_are, exclusive=self._exclusive)
        if self._labels.multilabel or len(self.classes_) > 2:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _prepare(self, y: Any, first: bool, classes: Any) -> np.ndarray:
        y = _labels.checked(y)
        if first:
            self._labels = _labels.found(y, classes)
            self.classes_ = self._labels.classes
            self.n_classes_ = len(self.classes_)
            self.n_outputs_ = self._labels.n_outputs
            self.target_type_ = self._labels.target_type
        return self._labels.codes(y)

    def _weighted(
        self, weights: np.ndarray | None, targets: np.ndarray, partial: bool
    ) -> np.ndarray | None:
        given = self.class_weight
        if given is None:
            return weights
        if self._labels.multilabel:
            raise ValueError(
                "`class_weight` must be None for a multilabel `y`. Received: "
                f"class_weight={given!r}; use `sample_weight`"
            )
        if partial and isinstance(given, str):
            raise ValueError(
                "`class_weight` must be None or a dictionary for `partial_fit`, which "
                f"does not see all rows. Received: class_weight={given!r}"
            )
        return _class_weights.weighted(given, self.classes_, targets, weights)

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        return None if self._labels.multilabel else targets

    def _meta(self) -> dict[str, Any]:
        own = {"n_classes_": self.n_classes_, "classes_": self.classes_}
        return super()._meta() | own

    def _encode(self, y: np.ndarray, model: Any, units: int) -> np.ndarray:
        encoded = self._labels.encode(y, model, units)
        self._outputs_are = _outputs.kind(model)
        self._exclusive = units > 1 and (
            not self._labels.multilabel or _outputs.one_of_many(model)
        )
        return encoded
