"""What the classifier and the regressor have in common: one training."""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from keras_tricks import _arguments
from keras_tricks._errors import NoEffectWarning
from keras_tricks.wrappers import (
    _callbacks,
    _inputs,
    _models,
    _outputs,
    _pickling,
    _predictions,
    _randomness,
)
from keras_tricks.wrappers._parameters import BuildParameters, signature


class KerasEstimator(BuildParameters):
    """An estimator that trains a Keras model.

    A subclass says what the targets are: `_prepare` notes them, `_meta` tells `build`
    of them, `_encode` gives them to the model.
    """

    epochs: int
    batch_size: int
    callbacks: Any
    validation_fraction: float
    random_state: Any
    verbose: Any
    model_: Any
    history_: dict[str, list[float]]
    input_shape_: Any

    def _prepare(self, y: Any, first: bool, classes: Any) -> np.ndarray:
        raise NotImplementedError

    def _encode(self, y: np.ndarray, model: Any, units: int) -> np.ndarray:
        raise NotImplementedError

    def _meta(self) -> dict[str, Any]:
        """What `build` is told about the data."""
        names = ("n_outputs_", "target_type_", "input_shape_", "n_features_in_")
        own = vars(self)
        return {name: own[name] for name in names if name in own}

    def _weighted(
        self, weights: np.ndarray | None, targets: np.ndarray, partial: bool
    ) -> np.ndarray | None:
        """Weights of the rows, times those of their classes where there are such."""
        return weights

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        """What a validation set must hold in the same shares."""
        return None

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags

    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        go_on: bool,
        partial: bool = False,
        classes: Any = None,
    ) -> Self:
        before = dict(vars(self))
        try:
            self._train_anew_or_on(X, y, sample_weight, go_on, partial, classes)
        except BaseException:
            # All or nothing: new labels would be read into the old model's outputs.
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _train_anew_or_on(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        go_on: bool,
        partial: bool,
        classes: Any,
    ) -> None:
        self._check_parameters()
        first = not (go_on and self.__sklearn_is_fitted__())
        X, y = _inputs.checked(self, X, y, reset=first)
        # Labels are known from all rows, also from those without weight.
        targets = self._prepare(y, first, classes)
        weights = self._weighted(_inputs.weights(sample_weight, y), targets, partial)
        if weights is not None:
            X, targets, weights = _inputs.with_weight(X, targets, weights)
        if weights is not None and not partial:
            # All the same is the same as none.
            weights = weights / weights.mean() if np.ptp(weights) else None
        strata = self._strata(targets)
        if first:
            self._made_with = _plain(self._build_arguments)
            self._generator = (
                None
                if self.random_state is None
                else check_random_state(self.random_state)
            )
        else:
            self._warn_of_changes()
        seed = self._generator and _randomness.drawn(self._generator)
        with _randomness.seeded(seed):
            model = self._made(seed) if first else self.model_
            targets = self._encode(targets, model, _outputs.units(model, X))
            before = {} if first else self.history_
            done = max(map(len, before.values()), default=0)
            history = self._fit_model(model, X, targets, weights, strata, partial, done)
        self.model_ = model
        self.history_ = {
            name: [*before.get(name, []), *history.get(name, [])]
            for name in {**before, **history}
        }

    def _warn_of_changes(self) -> None:
        now, then = _plain(self._build_arguments), vars(self).get("_made_with", {})
        changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        if changed:
            warnings.warn(
                f"`{changed[0]}` has no effect on the model that there is, which is "
                f"trained on. Received: {changed[0]}={now.get(changed[0])!r}; `fit` "
                "without warm_start makes a new one",
                NoEffectWarning,
                stacklevel=5,
            )

    def _check_parameters(self) -> None:
        _arguments.positive_integer("epochs", self.epochs)
        _arguments.positive_integer("batch_size", self.batch_size)
        _arguments.within(
            "validation_fraction", self.validation_fraction, 0, 1, open_high=True
        )

    def _made(self, seed: int | None) -> Any:
        """A new model; `build` may ask by name for the estimator's own parameters."""
        own = self.get_params(deep=False)
        offered = {name: own[name] for name in self._get_param_names()}
        if seed is None and "seed" in signature(self.build):
            seed = int(np.random.randint(2**31 - 1))
        offered |= {"meta": self._meta(), "seed": seed}
        optimizer, loss = offered.pop("optimizer"), offered.pop("loss")
        return _models.make(
            self.build,
            self._of_build(),
            offered,
            optimizer,
            self._of_optimizer(),
            loss,
        )

    def _fit_model(
        self,
        model: Any,
        x: Any,
        targets: np.ndarray,
        weights: np.ndarray | None,
        strata: np.ndarray | None,
        partial: bool,
        done: int,
    ) -> dict[str, list[float]]:
        validation: tuple[Any, ...] | None = None
        if self.validation_fraction and not partial:
            # From the global random numbers, which are seeded here.
            train, held = train_test_split(
                np.arange(len(targets)),
                test_size=self.validation_fraction,
                stratify=strata,
            )
            validation = (_inputs.rows(x, held), targets[held])
            if weights is not None:
                validation = (*validation, weights[held])
                weights = weights[train]
            x, targets = _inputs.rows(x, train), targets[train]
        history = model.fit(
            x,
            targets,
            batch_size=self.batch_size,
            # Schedules of callbacks go on where they were.
            initial_epoch=done,
            epochs=done + (1 if partial else self.epochs),
            verbose=self.verbose,
            callbacks=_callbacks.fresh(self.callbacks),
            validation_data=validation,
            sample_weight=weights,
        ).history
        return {name: [float(v) for v in values] for name, values in history.items()}

    def _raw(self, X: Any) -> np.ndarray:
        """The model's outputs for the rows of X."""
        check_is_fitted(self)
        x, _ = _inputs.checked(self, X, reset=False)
        with _randomness.alone():
            return _predictions.predicted(self.model_, x, self.batch_size)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        return {name: _pickling.packed(value) for name, value in state.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(
            {name: _pickling.unpacked(value) for name, value in state.items()}
        )


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those that can be compared, also after a pickle."""
    kinds = (bool, int, float, str, type(None))
    return {name: v for name, v in arguments.items() if isinstance(v, kinds)}
