"""Tells how a `fit` ends, which Keras does not tell callbacks when it fails.

`fit` is found among the callers, and so are its arguments, the list of callbacks and
the iterator over the data that it has made. Whatever may fail is wrapped: the methods
of that list and the iterator, which die with `fit`, and the model's `train_function`
and `evaluate`, which are given back. What fails elsewhere (Ctrl-C between two steps) is
found when the list of callbacks dies, or as Python ends.

All this rests on names inside of `fit`, which tests/test_canaries.py watches. Where one
is missing, or anything fails here, a warning says so and the training goes on without.
"""

import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import keras

from keras_tricks.runs._fit_end import METHODS, End, Ended, Wrapper, callers, links


class FitWatch:
    """Follows one `fit`, from `on_train_begin` on.

    Args:
        model: The model in training.
        ended: Called at most once, with the error, or None where nobody tells it.
        sink: Called with the logs of each call of the training step, on the device.

    Attributes:
        arguments: Dict of what `fit` was called with, empty if it is not found. A
            `validation_split` has already been cut off `x` and `y`.
        callbacks: List of the callbacks in use.
    """

    def __init__(self, model: Any, ended: Ended, sink: Callable[[Any], None]) -> None:
        self._model, self._sink = model, sink
        self.arguments: dict[str, Any] = {}
        self.callbacks: list[Any] = []
        self._hooks: dict[str, Wrapper] = {}
        self._guard: Any = None
        self._end = End(ended)
        try:
            self._begin()
        except Exception as error:
            self._give_up(error)

    def _begin(self) -> None:
        frame, end = _fit_frame(self._model), self._end
        if frame is None:
            raise LookupError("no `fit` of the model is among the callers")
        end.call = frame.f_back
        found = frame.f_locals
        self.arguments = {name: found.get(name) for name in _ARGUMENTS}
        owner = found.get("callbacks")
        if isinstance(owner, keras.callbacks.CallbackList):
            self.callbacks = list(owner.callbacks)
            self._guard = weakref.finalize(owner, end.found_dead)
            for name in METHODS:
                setattr(owner, name, end.watched(_held_weakly(owner, name)))
        _watch_iterator(found.get("epoch_iterator"), end)

    def hook(self) -> None:
        """Wraps what the model does, as far as it is not wrapped."""
        if self._end.over:
            return
        try:
            step, evaluate = self._model.train_function, self._model.evaluate
            # What stands there for one call gives back what it found.
            if step is not None and not hasattr(step, "usual"):
                self._wrap("train_function", step, self._sink)
            self._wrap("evaluate", evaluate, lambda logs: None)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.close()
        warnings.warn(
            "`fit` cannot be followed, so that the record holds what callbacks are "
            "told: maybe neither its arguments nor the first steps, nor how it fails. "
            f"The reason: {type(error).__name__}: {error}",
            stacklevel=4,
        )

    def _wrap(self, name: str, inner: Any, sink: Callable[[Any], None]) -> None:
        if self._hooks.get(name) in links(inner):
            return
        # Not by `setattr`: Keras would look for variables in it.
        self._hooks[name] = Wrapper(inner, self._end, sink)
        vars(self._model)[name] = self._hooks[name]

    def _unhook(self) -> None:
        """Takes each wrapper out, also from below that of another recorder."""
        own = vars(self._model)
        for name, wrapper in self._hooks.items():
            if own.get(name) is not wrapper:
                for outer in links(own.get(name)):
                    for place in ("inner", "usual"):
                        if getattr(outer, place, None) is wrapper:
                            setattr(outer, place, wrapper.inner)
            elif getattr(wrapper.inner, "__self__", None) is self._model:
                # The method of the class.
                del own[name]
            else:
                own[name] = wrapper.inner
        self._hooks = {}

    def close(self) -> None:
        """Ends the watch: `fit` has told its end."""
        self._end.over = True
        self._unhook()
        self._end.call = None
        if self._guard is not None:
            self._guard.detach()


_ARGUMENTS = (
    "x",
    "y",
    "sample_weight",
    "batch_size",
    "epochs",
    "shuffle",
    "class_weight",
    "initial_epoch",
    "steps_per_epoch",
    "validation_data",
    "validation_split",
    "validation_steps",
    "validation_batch_size",
    "validation_freq",
)


def _held_weakly(owner: Any, name: str) -> Callable[..., Any]:
    """A method that does not keep its object alive: its death tells an end."""
    if name in vars(owner):
        # That of another recorder.
        return vars(owner)[name]
    method = weakref.WeakMethod(getattr(owner, name))

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = method()
        return bound(*args, **kwargs) if bound is not None else None

    return call


def _fit_frame(model: Any) -> FrameType | None:
    for frame in callers():
        if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model:
            return frame
    return None


def _watch_iterator(iterator: Any, end: End) -> None:
    """Has the iterator over the batches tell of errors in the data."""
    if iterator is None:
        return
    kind = type(iterator)
    if not hasattr(kind, "__next__"):
        return

    def watched(self: Any) -> Any:
        return end.watched(kind.__next__)(self)

    # Where Python refuses the exchange, the data are not watched.
    with suppress(TypeError, AttributeError):
        iterator.__class__ = type(kind.__name__, (kind,), {"__next__": watched})
