"""Tells how a `fit` ends, which Keras does not tell callbacks when it fails.

`fit` is found among the callers, and so are its arguments, the list of callbacks and
the iterator over the data that it has made. Whatever may fail is wrapped: the methods
of that list and the iterator, which die with `fit`, and the model's `train_function`
and `evaluate`, which are given back. What fails elsewhere (Ctrl-C between two steps) is
found when the list of callbacks dies, or as Python ends.
"""

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import keras

Ended = Callable[[BaseException | None], None]


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
        self._hooks: dict[str, _Wrapper] = {}
        frame = _fit_frame(model)
        self._end = end = _End(ended, frame.f_back if frame else None)
        self._guard = None
        if frame is None:
            return
        found = frame.f_locals
        self.arguments = {name: found.get(name) for name in _ARGUMENTS}
        owner = found.get("callbacks")
        if isinstance(owner, keras.callbacks.CallbackList):
            self.callbacks = list(owner.callbacks)
            self._guard = weakref.finalize(owner, end.found_dead)
            for name in _METHODS:
                setattr(owner, name, end.watched(getattr(owner, name)))
        _watch_iterator(found.get("epoch_iterator"), end)

    def hook(self) -> None:
        """Wraps what the model does, as far as it is not wrapped."""
        if self._end.over:
            return
        step, evaluate = self._model.train_function, self._model.evaluate
        if step is not None:
            self._wrap("train_function", step, self._sink)
        self._wrap("evaluate", evaluate, lambda logs: None)

    def _wrap(self, name: str, inner: Any, sink: Callable[[Any], None]) -> None:
        if self._hooks.get(name) in _chain(inner):
            return
        # Not by `setattr`: Keras would look for variables in it.
        self._hooks[name] = _Wrapper(inner, self._end, sink)
        vars(self._model)[name] = self._hooks[name]

    def _unhook(self) -> None:
        """Takes each wrapper out, also from below that of another recorder."""
        own = vars(self._model)
        for name, wrapper in self._hooks.items():
            if own.get(name) is not wrapper:
                for outer in _chain(own.get(name)):
                    if outer.inner is wrapper:
                        outer.inner = wrapper.inner
            elif getattr(wrapper.inner, "__self__", None) is self._model:
                # The method of the class.
                del own[name]
            else:
                own[name] = wrapper.inner
        self._hooks = {}

    def close(self) -> None:
        """Ends the watch: `fit` has told its end."""
        self._unhook()
        self._end.over = True
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


# All that `fit` and `evaluate` call of a list of callbacks.
_METHODS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_epoch_end",
    "on_train_end",
)


class _End:
    """Calls `ended` once."""

    def __init__(self, ended: Ended, call: FrameType | None) -> None:
        self._ended, self.call, self.over = ended, call, False

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose errors end the training."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                if _ends_fit(error):
                    self.now(error)
                raise

        return watched

    def now(self, error: BaseException | None) -> None:
        if not self.over:
            self.over = True
            self.call = None
            self._ended(error)

    def found_dead(self) -> None:
        """To be called when what lives as long as `fit` is no more."""
        for error in (sys.exc_info()[1], getattr(sys, "last_value", None)):
            if error is not None and _left_by(error, self.call):
                self.now(error)
                return
        self.now(None)


class _Wrapper:
    """A function of the model's, whose errors end the training.

    Its logs go to `sink`. Several recorders wrap each other.
    """

    def __init__(self, inner: Any, end: _End, sink: Callable[[Any], None]) -> None:
        self.inner, self._end, self._sink = inner, end, sink

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self._end.watched(self.inner)(*args, **kwargs)
        self._sink(_logs(result))
        return result


def _chain(function: Any) -> list[_Wrapper]:
    """The wrappers around a function, the outermost first."""
    found = []
    while isinstance(function, _Wrapper):
        found.append(function)
        function = function.inner
    return found


def _left_by(error: BaseException, call: FrameType | None) -> bool:
    """Whether an error is on its way through a call, or was when it was caught."""
    if call is None:
        return False
    frames = (*_frames_of(error.__traceback__), *_callers())
    return any(frame is call for frame in frames)


def _frames_of(traceback: Any) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _fit_frame(model: Any) -> FrameType | None:
    for frame in _callers():
        if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model:
            return frame
    return None


def _watch_iterator(iterator: Any, end: _End) -> None:
    """Has the iterator over the batches tell of errors in the data."""
    if iterator is None:
        return
    kind = type(iterator)
    if not hasattr(kind, "__next__"):
        return

    def watched(self: Any) -> Any:
        return end.watched(kind.__next__)(self)

    # Where Python refuses the exchange, the data are not watched.
    with contextlib.suppress(TypeError):
        iterator.__class__ = type(kind.__name__, (kind,), {"__next__": watched})


def _ends_fit(error: BaseException) -> bool:
    # With these the data of an epoch end.
    data = isinstance(error, StopIteration) or type(error).__name__ == "OutOfRangeError"
    return not data


def _logs(result: Any) -> dict[str, Any]:
    parts = result if isinstance(result, tuple) else (result,)
    return next((part for part in parts if isinstance(part, dict)), {})
