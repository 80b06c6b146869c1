"""One model whose compiled steps serve many folds."""

from typing import Any

from keras_tricks import _state
from keras_tricks.model_selection import _program


class Reused:
    """Trains each fold's new model, in the body of an earlier one where that is safe.

    A new model would be traced and compiled anew, which takes longer than a small
    training, and TensorFlow keeps some memory of each. So everything that a new model
    holds is copied into one that is compiled already, if both run the same program.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Lets go of the model: a training failed, and it may be left half way."""
        self._model: Any = None
        self._key: Any = None
        self._optimizer: Any = None
        self._function: Any = None

    def take(self, fresh: Any) -> Any:
        """The new model, or an earlier one that is now as the new one."""
        key = _program.key(fresh)
        if key is None:
            self.forget()
            return fresh
        if not self._fits(key):
            self._model, self._key = fresh, key
            self._optimizer, self._function = fresh.optimizer, None
        optimizer = fresh.optimizer
        optimizer.build(fresh.trainable_variables)
        # Also from a first model to itself: JAX would compile once more for values
        # that came from elsewhere.
        pairs = [
            *zip(self._model.variables, fresh.variables, strict=True),
            *zip(self._optimizer.variables, optimizer.variables, strict=True),
        ]
        copies = _state.copy_variables([new for _, new in pairs])
        values = {id(variable): value for variable, value in copies}
        for old, new in pairs:
            old.assign(values[id(new)])
        self._model.reset_metrics()
        return self._model

    def started(self, model: Any) -> None:
        """Notes the compiled step as the training begins."""
        if model is self._model and self._function is None:
            self._function = model.train_function

    def _fits(self, key: Any) -> bool:
        """Whether the earlier model runs that program, and no callback changed it."""
        model = self._model
        return (
            model is not None
            and key == self._key
            and model.optimizer is self._optimizer
            and self._function is not None
            and model.train_function is self._function
            and _program.key(model) == key
        )
