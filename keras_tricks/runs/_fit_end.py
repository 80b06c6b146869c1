"""What tells the end of a `fit` once, from wherever it fails, and wrappers that ask."""

import sys
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import keras

Ended = Callable[[BaseException | None], None]

# All that `fit` and `evaluate` call of a list of callbacks.
METHODS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_epoch_end",
    "on_train_end",
)


class End:
    """Calls `ended` once."""

    def __init__(self, ended: Ended) -> None:
        self._ended, self.over = ended, False
        self.call: FrameType | None = None

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
            try:
                self._ended(error)
            except Exception as own:
                # The error of the training is the one to be seen.
                told = f"{type(own).__name__}: {own}"
                warnings.warn(
                    f"The end of a run cannot be recorded: {told}", stacklevel=3
                )

    def found_dead(self) -> None:
        """To be called when what lives as long as `fit` is no more."""
        for error in (sys.exc_info()[1], getattr(sys, "last_value", None)):
            if error is not None and _left_by(error, self.call):
                self.now(error)
                return
        self.now(None)


class Wrapper:
    """A function of the model's, whose errors end the training.

    Its logs go to `sink`. Several recorders wrap each other.
    """

    def __init__(self, inner: Any, end: End, sink: Callable[[Any], None]) -> None:
        self.inner, self._end, self._sink = inner, end, sink

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.follow(unwatched(self), *args, **kwargs)

    def follow(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs a function in the place of the innermost one."""
        inner = self.inner
        try:
            if isinstance(inner, Wrapper):
                result = inner.follow(function, *args, **kwargs)
            else:
                result = function(*args, **kwargs)
        except BaseException as error:
            # What a callback called, it may catch.
            if _ends_fit(error) and not _in_callback():
                self._end.now(error)
            raise
        if not self._end.over:
            self._sink(_logs(result))
        return result


def unwatched(function: Any) -> Any:
    """The innermost function, below all wrappers."""
    while isinstance(function, Wrapper):
        function = function.inner
    return function


def in_its_place(watched: Any, function: Any, *args: Any) -> Any:
    """Calls a function as the innermost one would be called, wrappers and all."""
    if isinstance(watched, Wrapper):
        return watched.follow(function, *args)
    return function(*args)


def links(function: Any) -> list[Any]:
    """A function and what it stands before, the outermost first."""
    found: list[Any] = []
    while function is not None and function not in found:
        found.append(function)
        stands_before = "inner" if isinstance(function, Wrapper) else "usual"
        function = getattr(function, stands_before, None)
    return found


def _in_callback() -> bool:
    """Whether what runs was called by a callback, not by `fit` itself."""
    for frame in callers():
        if frame.f_code.co_name == "fit":
            return False
        if frame.f_code.co_name in METHODS and isinstance(
            frame.f_locals.get("self"), keras.callbacks.CallbackList
        ):
            return True
    return False


def _left_by(error: BaseException, call: FrameType | None) -> bool:
    """Whether an error is on its way through a call, or was when it was caught."""
    if call is None:
        return False
    frames = (*_frames_of(error.__traceback__), *callers())
    return any(frame is call for frame in frames)


def _frames_of(traceback: Any) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _ends_fit(error: BaseException) -> bool:
    # With these the data of an epoch end.
    data = isinstance(error, StopIteration) or type(error).__name__ == "OutOfRangeError"
    return not data


def _logs(result: Any) -> dict[str, Any]:
    parts = result if isinstance(result, tuple) else (result,)
    return next((part for part in parts if isinstance(part, dict)), {})
