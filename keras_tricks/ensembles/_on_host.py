"""An ensemble with members from scikit-learn: asked on the host, never traced."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from keras import ops

from keras_tricks import _arguments
from keras_tricks.ensembles import _estimators, _scores

# What needs a gradient, a traced function, or weights that Keras knows.
_REFUSED = {
    "compile": "compile an ensemble of its Keras members",
    "fit": "fit the members one by one",
    "train_on_batch": "fit the members one by one",
    "test_on_batch": "use `evaluate`",
    "predict_on_batch": "use `predict`",
    "export": "export an ensemble of its Keras members, or save a '.zip' archive",
    "quantize": "quantize the Keras members",
    "save_weights": "save a '.zip' archive with `save`",
    "load_weights": "load a '.zip' archive with kt.ensembles.load",
}
_DEFAULT = {"values": ("squared_error",)}
_LOSSES = ("log_loss", "squared_error")


class OnHost:
    """What an `Ensemble` does otherwise when a member is no Keras model."""

    # Made by `Ensemble`, or its other bases.
    models: Any
    name: Any
    threshold: Any
    member_weights: Any
    _columns: Any
    _fuse: Any
    _answer_kind: Any
    _tempered: Any
    _predictions: Any
    _one_answer: Any
    _true: Any
    _metric: Any
    # The first member from scikit-learn, at any level.
    _estimator: Any = None

    def _stay_on_host(self) -> None:
        """Refuses what cannot be; where all members are Keras's, nothing changes."""
        self._estimator = _estimators.first(self.models)
        if self._estimator is None:
            return
        for method, remedy in _REFUSED.items():
            # Not in the class: Keras asks whether that has a `compile` of its own. Not
            # by `setattr`: Keras would track it.
            object.__setattr__(self, method, self._refusing(method, remedy))

    def _refusing(self, method: str, remedy: str) -> Callable[..., NoReturn]:
        def refuse(*args: Any, **kwargs: Any) -> NoReturn:
            self._refuse(method, remedy)

        return refuse

    def _refuse(self, method: str, remedy: str) -> NoReturn:
        raise ValueError(
            f"`{method}` needs Keras models only: an ensemble with a member from "
            "scikit-learn predicts, evaluates and selects, and saves as a '.zip' "
            f"archive. Received: ensemble {self.name!r} with a "
            f"{type(self._estimator).__name__}; {remedy}"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._estimator is not None:
            self._refuse("__call__", "use `predict`, on arrays")
        base: Any = super()
        return base.__call__(*args, **kwargs)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        if self._estimator is None:
            base: Any = super()
            return base.predict(x, batch_size, verbose, steps, callbacks)
        self._check_unused("predict", steps=steps, callbacks=callbacks)
        return self._fused(self._predictions(x, batch_size), self.member_weights)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Returns the loss and metrics, as Keras's `evaluate`.

        With a member from scikit-learn, which cannot be compiled, `metrics` says which:
        a list of "log_loss", "accuracy" (of `decide`), "squared_error", or functions of
        `y`, with column numbers for labels, and an answer. Defaults to the first two,
        or to "squared_error" of values.
        """
        if self._estimator is None:
            base: Any = super()
            return base.evaluate(
                x,
                y,
                batch_size,
                verbose,
                sample_weight,
                steps,
                callbacks,
                return_dict,
                **kwargs,
            )
        metrics = kwargs.pop("metrics", None)
        self._check_unused(
            "evaluate",
            sample_weight=sample_weight,
            steps=steps,
            callbacks=callbacks,
            **kwargs,
        )
        if metrics is None:
            metrics = _DEFAULT.get(self._answer_kind, ("log_loss", "accuracy"))
        elif isinstance(metrics, str) or callable(metrics):
            metrics = [metrics]
        answer = self._one_answer(x, batch_size)
        found = {_scores.name(m): self._measured(m, y, answer) for m in metrics}
        if return_dict:
            return found
        values = list(found.values())
        return values[0] if len(values) == 1 else values

    def _measured(self, metric: Any, y: Any, answer: np.ndarray) -> float:
        if not callable(metric):
            _arguments.one_of("metrics", metric, _scores.BY_SAMPLE)
        y = self._true(y, answer, self._metric(metric))
        kind, threshold = self._answer_kind, self.threshold
        value = _scores.score(metric, y, answer, kind, threshold)
        # As Keras gives it: what is a loss is not negated here.
        return -value if metric in _LOSSES else value

    def _check_unused(self, method: str, **given: Any) -> None:
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"`{name}` must be None in the `{method}` of an ensemble with a "
                    f"member from scikit-learn. Received: {name}={value!r}"
                )

    def _fused(self, answers: Sequence[np.ndarray], shares: Any) -> np.ndarray:
        """The answer of the ensemble for its members' answers, on the host."""
        answer = _estimators.fused(self._fuse, list(answers), shares, self._columns)
        tempered = self._tempered(ops.convert_to_tensor(answer))
        return np.asarray(ops.convert_to_numpy(tempered))

    def _side_by_side(self, answers: list[np.ndarray]) -> list[np.ndarray]:
        """The members' answers with as many columns, where one gives one of two."""
        if self._estimator is None:
            return answers
        answers = [a[:, None] if a.ndim == 1 else a for a in answers]
        told = self._columns is not None or self._fuse.code is not None
        if told or self._answer_kind == "multilabel":
            return answers
        widths = [answer.shape[-1] for answer in answers]
        narrow = _estimators.one_column(self.models, widths)
        return [
            answer[..., 1:] if cut else answer
            for answer, cut in zip(answers, narrow, strict=True)
        ]

    def save(
        self,
        filepath: Any,
        overwrite: bool = True,
        zipped: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Saves a `.keras` file, or a `.zip` archive for `kt.ensembles.load`.

        An archive can hold members from scikit-learn, written with skops. The layers
        that Keras members share are separate ones when it is loaded, and their
        optimizers and losses are gone.
        """
        if Path(str(filepath)).suffix.lower() != ".zip":
            if self._estimator is not None:
                self._refuse("save", f"end {str(filepath)!r} in '.zip'")
            base: Any = super()
            base.save(filepath, overwrite, zipped, **kwargs)
            return
        from keras_tricks.ensembles import _archive

        self._check_unused("save", **kwargs)
        _archive.write(self, Path(str(filepath)), overwrite)
