"""The same run for tools that others know, each through its own library."""

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_tricks import _arguments
from keras_tricks.runs import _flat

_MOST_PARAMETERS = 100
_LONGEST_PARAMETER = 500


def checked(also: Any) -> tuple[str, ...]:
    """The names of the tools, each of which can be imported.

    Raises:
        ImportError: If the library of one is not installed.
        ValueError: If there is no such tool.
    """
    names = (also,) if isinstance(also, str) else tuple(also)
    for name in names:
        _arguments.one_of("also", name, _LOGGERS)
        _LOGGERS[name].library()
    return names


def started(names: tuple[str, ...], path: Path, settings: dict[str, Any]) -> list[Any]:
    """Begins a run in each of the tools."""
    begun = []
    for name in names:
        with _guarded(name):
            begun.append(_Guarded(name, _LOGGERS[name](path, _flat.flat(settings))))
    return begun


class _Guarded:
    """A tool that, once it fails, is asked no more."""

    def __init__(self, name: str, logger: Any) -> None:
        self._name, self._logger, self._works = name, logger, True

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        self._do("epoch", epoch, values)

    def end(self, state: str) -> None:
        self._do("end", state)

    def _do(self, what: str, *arguments: Any) -> None:
        if self._works:
            self._works = False
            with _guarded(self._name):
                getattr(self._logger, what)(*arguments)
                self._works = True


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    """A server that is not there must not end a training."""
    try:
        yield
    except Exception as error:
        warnings.warn(
            f"The run is not logged by {name} any further, the training goes on: "
            f"{type(error).__name__}: {error}",
            stacklevel=3,
        )


def _missing(name: str, package: str) -> ImportError:
    return ImportError(
        f'`also="{name}"` needs {package}, which is not installed. Run `pip install '
        f"{package}`."
    )


class _TensorBoard:
    """Scalars in the event files of TensorBoard, in the folder of the run."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._writer = self.library()(str(path / "tensorboard"))

    @staticmethod
    def library() -> Any:
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise _missing("tensorboard", "tensorboard") from error
        return Writer

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def end(self, state: str) -> None:
        self._writer.close()


class _Mlflow:
    """Parameters and metrics in a run of MLflow: the active one, or one of its own."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        mlflow = self.library()
        self._client = mlflow.MlflowClient()
        active = mlflow.active_run()
        self._own = active is None
        if active is None:
            experiment = self._client.get_experiment_by_name("Default")
            number = experiment.experiment_id if experiment else "0"
            active = self._client.create_run(number, run_name=path.name)
        self._run = active.info.run_id
        for name, value in list(settings.items())[:_MOST_PARAMETERS]:
            text = _flat.short(value, _LONGEST_PARAMETER)
            self._client.log_param(self._run, _key(name), text)

    @staticmethod
    def library() -> Any:
        try:
            import mlflow
        except ImportError as error:
            raise _missing("mlflow", "mlflow") from error
        return mlflow

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            if math.isfinite(value):
                self._client.log_metric(self._run, _key(name), value, step=epoch)

    def end(self, state: str) -> None:
        if self._own:
            told = {"finished": "FINISHED", "stopped": "KILLED"}.get(state, "FAILED")
            self._client.set_terminated(self._run, told)


def _key(name: str) -> str:
    """MLflow knows fewer characters."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]


_LOGGERS: dict[str, Any] = {"mlflow": _Mlflow, "tensorboard": _TensorBoard}
