"""Rerun on CPU: a step that fails is repeated and explained."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from keras_tricks import _arguments, _backend, _state
from keras_tricks._backend import _own
from keras_tricks.debug import _batch_file, _explain, _repeat
from keras_tricks.debug._finding import Finding
from keras_tricks.debug._guard import Failure, Guard, NotFiniteError
from keras_tricks.debug.step_error import StepError

_METHODS = ("fit", "evaluate", "train_on_batch", "test_on_batch")
_WHOLE = ("fit", "evaluate")
_MAKERS = {
    "make_train_function": "train_function",
    "make_test_function": "test_function",
}


@contextmanager
def rerun_on_cpu(
    model: keras.Model,
    *,
    save_to: str | Path | None = None,
    new_process: bool | None = None,
) -> Iterator[None]:
    """Explains a step that fails inside the block, and gives the weights back.

    When: a training dies with an error of the backend that names no layer; or its loss
        becomes NaN; or it runs over night and must leave a trace.
    Typical: `with kt.debug.rerun_on_cpu(model, save_to="failed.npz"): model.fit(...)`.
    Costs: while nothing fails at most 2 % of a step of some milliseconds; a copy of the
        model and the optimizer in host memory, made anew now and then and for each
        epoch, and the batches since (at most 256 MB); on TensorFlow a compilation.
    Beware: losses are read up to 16 steps late, to not wait for the device, so a
        training stops that much after its first NaN.

    A `fit`, `evaluate`, `train_on_batch` or `test_on_batch` that fails in a step, also
    in the first one or in a validation, ends with a `StepError` that names layer,
    sample, value and remedy, as `explain_failure` finds them; the backend's error is
    its cause. Then the model has the weights, statistics and optimizer slots from
    before that step. On JAX a failing first step would leave it empty.

    A loss that is not finite is such a failure too, and a weight. What was before the
    step is computed again then, from the copy and the batches since. Where that is not
    possible (with `train_on_batch`, between whose calls anything may happen) the copy
    is given back, and the error says how old it is.

    What fails outside of a step (callbacks, the data, Ctrl-C) is raised as it is, and
    the weights are given back then too.

    Args:
        model: Compiled model, built or not, of any kind.
        save_to: Path of an `.npz` file for the failing batch, or None. An existing file
            is replaced.
        new_process: As in `explain_failure`: None takes a new process where there is an
            accelerator, because that may be in no state to go on.

    Yields:
        Nothing.

    Returns:
        A context manager.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model is not compiled.
        StepError: If a step inside the block fails.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(1e30), "mse")
    >>> x = np.ones((64, 1))
    >>> try:
    ...     with kt.debug.rerun_on_cpu(model):
    ...         history = model.fit(x, x, batch_size=8, epochs=3, verbose=0)
    ... except kt.debug.StepError as error:
    ...     print(error.age, bool(np.isfinite(model.get_weights()[0]).all()))
    0 True

    Reference: none; it is what one does by hand.
    """
    _arguments.compiled_model("model", model)
    _arguments.one_of("new_process", new_process, (None, True, False))
    if save_to is not None and not isinstance(save_to, Path):
        _arguments.text("save_to", save_to)
    path = None if save_to is None else Path(save_to)
    rerun = _Rerun(model, path, new_process)
    hooks: dict[str, Any] = {name: rerun.method(name) for name in _METHODS}
    hooks.update({name: rerun.maker(name) for name in _MAKERS})
    hooks["reset_metrics"] = rerun.reset_metrics(model.reset_metrics)
    try:
        with _own.attributes(model, **hooks):
            yield
    finally:
        for name in _MAKERS.values():
            function = vars(model).get(name)
            if hasattr(function, "guarded_function"):
                vars(model)[name] = function.guarded_function


class _Rerun:
    """The hooks of one block."""

    def __init__(self, model: Any, path: Path | None, new_process: bool | None) -> None:
        self.model, self.path, self.new_process = model, path, new_process
        self.guard = Guard(model)
        self.running = False

    def maker(self, name: str) -> Callable[..., Any]:
        """A `make_train_function` or `make_test_function` whose result is watched."""
        make, attribute = getattr(self.model, name), _MAKERS[name]
        training = attribute == "train_function"

        def make_function(*args: Any, **kwargs: Any) -> Any:
            make(*args, **kwargs)
            own = vars(self.model)
            if not hasattr(own[attribute], "guarded_function"):
                own[attribute] = self.guard.guarded(own[attribute], training)
            return own[attribute]

        return make_function

    def reset_metrics(self, reset: Callable[[], None]) -> Callable[[], None]:
        """What `fit` calls as an epoch begins."""

        def reset_metrics() -> None:
            reset()
            self.guard.epoch_begins()

        return reset_metrics

    def method(self, name: str) -> Callable[..., Any]:
        """A `fit` and the like that explains what fails in it."""
        method = getattr(self.model, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.running:
                return method(*args, **kwargs)
            self.running = True
            whole = name in _WHOLE
            if whole:
                self.guard.begin()
            # In a loop of one's own much may happen between two steps.
            self.guard.only_steps = whole
            try:
                result = method(*args, **kwargs)
                self.guard.finish()
                return result
            except Exception as error:
                explained = self.explain(error, args, kwargs)
                self.guard.begin()
                if explained is None:
                    raise
                cause = None if isinstance(error, NotFiniteError) else error
                raise explained from cause
            except BaseException:
                self.give_back(self.guard.before)
                raise
            finally:
                self.running = False
                if whole:
                    self.guard.begin()

        return call

    def give_back(self, copies: _state.Copies | None) -> bool:
        """Puts values into the model; False if the device takes none any more."""
        try:
            _state.assign_variables(copies or [])
        except Exception:
            return False
        return True

    def explain(self, error: Exception, args: Any, kwargs: Any) -> StepError | None:
        """The error to raise instead, or None for what was no step."""
        guard = self.guard
        failure = guard.failure
        if failure is None:
            self.give_back(guard.before)
            return self.at_the_start(error, args, kwargs) if not guard.step else None
        values, age = failure.values, 0
        if not (_backend.VALUES_BEFORE and values is not None):
            function = self.model.train_function
            function = getattr(function, "guarded_function", function)
            failure, values, age = guard.replay(function)
        alive = self.give_back(values)
        batches = [_batch_file.on_host(batch) for batch in failure.batches]
        found, batch = self.found(batches, error, failure, values, alive)
        return self.made(found, batch, failure.step, age, failure.training)

    def at_the_start(
        self, error: Exception, args: Any, kwargs: Any
    ) -> StepError | None:
        """Keras looks at the first batch before any step: that may fail, too."""
        try:
            batch = _first_batch(*args, **kwargs)
        except Exception:  # The data failed; that is what is told then.
            return None
        if batch is None:
            return None
        # A model that cannot be built had no weights yet.
        age = 0 if self.model.built else None
        batch = _batch_file.on_host(batch)
        try:
            found = _repeat.find(
                self.model, batch, training=True, new_process=self.new_process
            )
        except Exception:
            return None
        return None if found is None else self.made(found, batch, 1, age, True)

    def found(
        self,
        batches: list[Any],
        error: Exception,
        failure: Failure,
        copies: _state.Copies | None,
        alive: bool,
    ) -> tuple[Finding, Any]:
        """What is wrong, and in which batch."""
        original = None if isinstance(error, NotFiniteError) else error
        new_process = self.new_process if alive else True
        values = None
        if copies is not None:
            known = {id(variable): value for variable, value in copies}
            if all(id(v) in known for v in self.model.variables):
                values = [known[id(v)] for v in self.model.variables]
        for batch in batches:
            try:
                found = _repeat.find(
                    self.model,
                    batch,
                    training=failure.training,
                    new_process=new_process,
                    weights=values,
                )
            except Exception:
                continue
            if found is not None:
                return found, batch
        if _explain.ran_out_of_memory(original):
            return _explain.memory(batches[0], error), batches[0]
        return _explain.unknown(original), batches[-1]

    def made(
        self, found: Finding, batch: Any, step: int, age: int | None, training: bool
    ) -> StepError:
        """The error, and the file of its batch."""
        path = self.path
        if path is not None:
            try:
                _batch_file.write(path, batch)
            except Exception as problem:
                note = f"the batch could not be written to {str(path)!r} ({problem})"
                found = found._replace(problem=f"{found.problem}; {note}")
                path = None
        return StepError(found, batch, step, age, path, training)


def _first_batch(
    x: Any = None, y: Any = None, batch_size: int | None = None, *_: Any, **kwargs: Any
) -> Any:
    """The first batch of what `fit` or `train_on_batch` was given, if it can be had."""
    size = int(batch_size) if isinstance(batch_size, int) else 32
    if isinstance(x, keras.utils.PyDataset):
        return x[0]
    if hasattr(x, "__next__"):
        return None
    if not hasattr(x, "shape") and hasattr(x, "__iter__") and y is None:
        return next(iter(x), None) if not isinstance(x, dict | list | tuple) else None
    parts = (x, y, kwargs.get("sample_weight"))
    try:
        return keras.tree.map_structure(
            lambda array: None if array is None else array[:size], parts
        )
    except Exception:
        return None
