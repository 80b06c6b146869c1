"""What a vectorized ensemble holds beside its variables."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _backend
from keras_tricks.ensembles import _vectorized_strategy
from keras_tricks.ensembles._vectorized_evaluate import Evaluation, Metrics
from keras_tricks.ensembles._vectorized_optimizer import MemberOptimizer
from keras_tricks.ensembles._vectorized_step import MemberStep, State


class Core:
    """The template, the variables of all members, and what is compiled for them.

    Keras must not look into it: the template's weights are not the ensemble's.
    """

    def __init__(self, template: Any, members: int, seeds: list[int]) -> None:
        self.template, self.members, self.seeds = template, members, seeds
        self.trainable: list[Any] = []
        self.others: list[Any] = []
        self.optimizer: Any = None
        self.slots: list[Any] = []
        # The rate as compiled; None if it is a schedule.
        self.rate: float | None = None
        # In which epochs of the last `fit` each value was logged.
        self.logged: dict[str, list[int]] = {}
        # How many epochs all fits have had: the next order of rows.
        self.epochs = 0
        self._asked: tuple[Any, Any] = (None, None)
        self._losses: dict[str, Any] = {}
        self._metrics: Any = None
        self._evaluation: Any = None

    @property
    def variables(self) -> list[Any]:
        """All variables, stacked along the members."""
        return [*self.trainable, *self.others]

    def compile(self, optimizer: Any, **given: Any) -> None:
        """Compiles the template; gives every member its slots."""
        self._asked = (given.pop("metrics"), given.pop("weighted_metrics"))
        self._losses = given
        self._compile_template(None)
        self.optimizer = MemberOptimizer(optimizer, self.template.trainable)
        self.rate = None
        if not self.optimizer.scheduled:
            self.rate = float(host(optimizer.learning_rate))
        self.slots = [
            np.repeat(host(variable.value)[None], self.members, axis=0)
            for variable in self.optimizer.variables
        ]
        self._metrics = self._evaluation = None

    def metrics(self, data: Any) -> Metrics:
        """The members' metrics, built for such data."""
        if self._metrics is None:
            plain, weighted = (self._built_metrics(one, data) for one in self._asked)
            outputs = getattr(self.template.model, "output_names", None) or ()
            self._metrics = Metrics(plain, weighted, outputs)
        return self._metrics

    @property
    def built_metrics(self) -> Metrics | None:
        """The members' metrics, if data has been seen."""
        return self._metrics

    def _compile_template(self, metrics: Any) -> None:
        # A metric must leave out the rows that pad a batch: each is given weights.
        self.template.model.compile(
            optimizer=keras.optimizers.SGD(),
            **self._losses,
            weighted_metrics=metrics,
            auto_scale_loss=False,
        )

    def _built_metrics(self, metrics: Any, data: Any) -> Any:
        x, y, weight = keras.tree.map_structure(
            lambda part: None if part is None else part[:2], data
        )
        if weight is None:
            rows = keras.tree.flatten(x)[0].shape[0]
            weight = ops.ones((rows,), keras.config.floatx())
        model = self.template.model
        self._compile_template(metrics)
        try:
            model._symbolic_build(data_batch=(x, y, weight))
        except Exception as error:
            if not metrics:
                raise
            self._compile_template(None)
            model._symbolic_build(data_batch=(x, y, weight))
            # Without metrics it can be done.
            raise ValueError(
                "`metrics` must hold metrics that can be given `sample_weight`, for "
                "the rows that pad a batch have none: a function must return a value "
                f"per row. Received: metrics={metrics!r}, which fail with "
                f"{type(error).__name__}: {error}; leave out the mean over the rows, "
                "or take it over axis=-1"
            ) from error
        return model._compile_metrics if metrics else None

    def evaluate(
        self, rows: Any, data: Any, batch_size: int | None = None
    ) -> dict[str, Any]:
        """The loss and the metrics of every member on its rows."""
        metrics = self.metrics(data)
        return self.evaluation().losses(*self.values(), rows, data, metrics, batch_size)

    def evaluation(self) -> Evaluation:
        """What evaluates and predicts."""
        if self._evaluation is None:
            model = self.template.model
            together = not _vectorized_strategy.better_apart(model)
            self._evaluation = Evaluation(self.step(), together)
        return self._evaluation

    def step(self) -> MemberStep:
        """One member's step, of which only the forward part is used."""
        return MemberStep(self.template.model, self.optimizer, False, False, False)

    def outputs_kept(self, data: Any) -> Any:
        """The outputs of one member for one row, if an epoch's are kept for metrics."""
        model, keep = self.template.model, self.metrics(data).any
        return MemberStep(model, self.optimizer, False, False, keep).output_specs(
            1, data
        )

    def values(self) -> tuple[list[Any], list[Any]]:
        """What the variables hold, as tensors."""
        return (
            [_backend.members_value(v) for v in self.trainable],
            [_backend.members_value(v) for v in self.others],
        )

    def load(self) -> State:
        """The state of a training, from the variables."""
        weights = [host(v.value) for v in self.trainable]
        if self.optimizer.flat:
            weights = [np.concatenate([_lines(w) for w in weights], axis=1)]
        others = [host(v.value) for v in self.others]
        return State(
            *([_tensor(a) for a in part] for part in (weights, others, self.slots))
        )

    def store(self, state: State) -> None:
        """The state of a training, to the variables."""
        weights = [host(w) for w in state.weights]
        if self.optimizer.flat:
            lengths = [int(np.prod(v.shape[1:])) for v in self.trainable]
            weights = np.split(weights[0], np.cumsum(lengths)[:-1], axis=1)
        values = [*weights, *(host(w) for w in state.others)]
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(np.reshape(value, variable.shape))
        # A copy: on some backends the host's array is the device's.
        self.slots = [np.array(host(slot)) for slot in state.slots]
        steps = self.slots[_clock(self.optimizer)] if self.slots else np.zeros(1)
        self.steps = int(steps.max())


def _clock(optimizer: MemberOptimizer) -> int:
    names = [variable.name for variable in optimizer.variables]
    return names.index("iteration")


def _lines(array: Any) -> Any:
    return array.reshape(len(array), -1)


def _tensor(array: Any) -> Any:
    return ops.convert_to_tensor(np.array(array), str(array.dtype))


def host(tensor: Any) -> Any:
    """A tensor as a NumPy array."""
    return np.asarray(ops.convert_to_numpy(tensor))
