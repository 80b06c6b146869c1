"""Many models, trained as one program."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _arguments
from keras_tricks.ensembles import (
    _vectorized_data,
    _vectorized_fit,
    _vectorized_members,
    _vectorized_optimizer,
    _vectorized_rows,
    _vectorized_stopping,
    _vectorized_strategy,
    _vectorized_template,
)
from keras_tricks.ensembles._vectorized_arguments import Given, Value, per_member
from keras_tricks.ensembles._vectorized_core import Core
from keras_tricks.ensembles._vectorized_saving import Saving

_STRATEGIES = ("auto", *_vectorized_strategy.NAMES)


@keras.saving.register_keras_serializable("keras_tricks")
class VectorizedEnsemble(Saving):
    """Trains many models of one architecture as one program, each as if it were alone.

    When: leave-one-out, k-fold, bagging, many seeds, a sweep of rates: small models,
        each of which leaves the machine idle.
    Typical: 5 to 200 members.
    Costs: the weights and slots of all members at once, one copy of the data.
    Beware: on a CPU convolutions gain little; large models gain nothing.

    A member ends with the same weights as a model trained alone with the same initial
    weights, optimizer and order of rows. With Dropout it draws its own masks, and on
    TensorFlow Keras's own Adam takes too long a step where a batch has an id twice.

    Callbacks hear of every epoch; of every batch too if one of them overrides a batch
    hook, and then the steps run one by one, which costs. The logs are means over the
    members; `history` has every member's values beside them as `member_loss` and so
    on, an array per epoch. What a callback makes of `optimizer.learning_rate`, it makes
    of every member's rate. Optimizers: SGD, Adam, AdamW, Adamax, Adagrad, Adadelta,
    Nadam, RMSprop, Lion, Ftrl, Lamb and Adafactor of Keras.

    On JAX the members are spread over as many local devices as divide their number;
    on TensorFlow and PyTorch they are on one.

    Args:
        build: Callable that returns a built model, compiled or not. Every member has
            its architecture and its initializers. It is called with `seed` and
            `member` by name, where its signature has them; one that takes `member` is
            called for every member, and must return the same model each time.
        members: Positive integer, how many.
        seeds: None, or an integer per member, for its initial weights and the order of
            its rows. Defaults to None, from Python's random numbers.
        strategy: "auto", "vmap" (all in one operation), "unroll" (one after the other
            in one program; on PyTorch in turn) or "sequential" (each member's own
            step in turn). The results are the same. "auto" measures during the first
            steps, and says so in `strategy_report`.
        learning_rates: None, or a rate per member. With a schedule it is what the
            schedule is multiplied by.
        weight_decays: None, or a weight decay per member.
        members_per_chunk: "auto", or how many members run together. Fewer need less
            memory at a time; "auto" splits where the estimate exceeds what is free.
        name: String, or None.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> from keras_tricks.ensembles import VectorizedEnsemble
    >>> def build():
    ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> x, y = np.ones((6, 4)), np.zeros((6, 1))
    >>> many = VectorizedEnsemble(build, members=3)
    >>> history = many.fit(x, y, epochs=2, verbose=0)
    >>> many.predict(x, verbose=0).shape
    (6, 3, 1)
    >>> [loss.shape for loss in history.history["member_loss"]]
    [(3,), (3,)]

    Reference: the vectorized map of Bradbury et al., JAX, 2018; ensembles as in
    Lakshminarayanan et al. 2017, arXiv 1612.01474.
    """

    def __init__(
        self,
        build: Callable[..., Any],
        members: int,
        *,
        seeds: Any = None,
        strategy: str = "auto",
        learning_rates: Any = None,
        weight_decays: Any = None,
        members_per_chunk: Any = "auto",
        name: str | None = None,
    ) -> None:
        if not callable(build):
            raise TypeError(
                "`build` must be a callable that returns a keras.Model. Received: "
                f"build={build!r}"
            )
        super().__init__(name=name)
        self.n_members = _arguments.positive_integer("members", members)
        if members_per_chunk != "auto":
            _arguments.positive_integer(
                "members_per_chunk", members_per_chunk, ', or "auto"'
            )
        self.strategy = _arguments.one_of("strategy", strategy, _STRATEGIES)
        self.members_per_chunk = members_per_chunk
        self._given = Given(
            per_member("seeds", seeds, members, integers=True),
            per_member("learning_rates", learning_rates, members),
            per_member("weight_decays", weight_decays, members),
        )
        own = _vectorized_template.own_seeds(seeds, members)
        template = _vectorized_template.Template(build, own)
        self._core = Core(template, members, own)
        trainable, others = template.initial_values()
        self._core.trainable = self._stacked(template.trainable, trainable, True)
        self._core.others = self._stacked(template.others, others, False)
        self.built = True
        self.member_logs: dict[str, Any] = {}
        self.strategy_report: dict[str, Any] = {}
        if template.model.compiled:
            given = dict(template.model._compile_config.config)
            self.compile(**{**given, "optimizer": template.model.optimizer})

    def _stacked(self, like: Any, values: Any, trainable: bool) -> list[Any]:
        return [
            self.add_weight(
                shape=value.shape,
                initializer=Value(value),
                dtype=variable.dtype,
                trainable=trainable,
                autocast=False,
                name=variable.path.replace("/", "_"),
            )
            for variable, value in zip(like, values, strict=True)
        ]

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """As of a `keras.Model`; what a compiled `build` was given is the default."""
        if run_eagerly:
            raise ValueError(
                "`run_eagerly` must be False: all members are one compiled program. "
                "Received: run_eagerly=True; debug one member, `members()[0]`"
            )
        if steps_per_execution != 1:
            raise ValueError(
                "`steps_per_execution` must be 1: an epoch is one execution already. "
                f"Received: steps_per_execution={steps_per_execution}"
            )
        optimizer = keras.optimizers.get(optimizer)
        _vectorized_optimizer.check(optimizer)
        given = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }
        super().compile(
            optimizer=optimizer, **given, jit_compile=jit_compile, auto_scale_loss=False
        )
        self._core.compile(optimizer, **given)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Outputs (samples, members, ...)."""
        step = self._core.step()
        outputs = [
            step.outputs(
                [v.value[k] for v in self._core.trainable],
                [v.value[k] for v in self._core.others],
                inputs,
                training,
            )
            for k in range(self.n_members)
        ]
        return keras.tree.map_structure(lambda *each: ops.stack(each, axis=1), *outputs)

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        return keras.tree.map_structure(
            lambda one: keras.KerasTensor(
                (one.shape[0], self.n_members, *one.shape[1:]), one.dtype
            ),
            self._core.template.model.compute_output_spec(inputs),
        )

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: Any = None,
        validation_steps: Any = None,
        validation_batch_size: Any = None,
        validation_freq: int = 1,
        *,
        rows: Any = None,
        validation_rows: Any = None,
        early_stopping: Any = None,
    ) -> Any:
        """As of a `keras.Model`, on arrays.

        `rows` and `validation_rows` are None or a list of an array of row numbers of
        `x` per member. `early_stopping` is a keras.callbacks.EarlyStopping that acts
        on every member by itself: on its own values, with its own best weights.
        """
        self._assert_compiled("fit")
        plan = _vectorized_fit.Plan(
            self,
            self._core,
            self._given,
            batch_size=batch_size,
            epochs=(self._initial_epoch or initial_epoch, epochs),
            shuffle=shuffle,
            validation_freq=validation_freq,
        )
        plan.refuse(steps_per_epoch=steps_per_epoch, validation_steps=validation_steps)
        plan.take_data(x, y, sample_weight, class_weight, rows)
        plan.take_validation(
            validation_data, validation_rows, validation_split, validation_batch_size
        )
        plan.take_callbacks(callbacks, verbose, early_stopping)
        return plan.run()

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: Any = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: Any = None,
        callbacks: Any = None,
        return_dict: bool = False,
        *,
        rows: Any = None,
    ) -> Any:
        """The means over the members; every member's values are in `member_logs`."""
        self._assert_compiled("evaluate")
        _vectorized_data.check_whole(batch_size, steps)
        data = _vectorized_data.on_device(x, y, sample_weight)
        samples = _vectorized_data.samples(data)
        rows = _vectorized_rows.checked("rows", rows, self.n_members, samples)
        found = self.member_logs = self._core.evaluate(rows, data, batch_size)
        logs = {name: float(np.mean(value)) for name, value in found.items()}
        if return_dict:
            return logs
        return list(logs.values()) if len(logs) > 1 else logs["loss"]

    def predict(
        self,
        x: Any,
        batch_size: Any = None,
        verbose: Any = "auto",
        steps: Any = None,
        callbacks: Any = None,
    ) -> Any:
        """An array (samples, members, ...)."""
        _vectorized_data.check_whole(batch_size, steps)
        inputs = _vectorized_data.inputs_on_device(x)
        evaluation, values = self._core.evaluation(), self._core.values()
        return evaluation.predict(*values, inputs, self.n_members, batch_size)

    def member(self, index: int) -> Any:
        """One member as an ordinary model, with its weights as they are now."""
        _arguments.integer("index", index, 0, self.n_members - 1)
        return _vectorized_members.member(self._core, index, self._compiled_with())

    def members(self) -> list[Any]:
        """All members as ordinary models, independent of each other and of this."""
        return [self.member(k) for k in range(self.n_members)]

    def scores(self, metric: str = "val_loss") -> Any:
        """Every member's last value of a metric: with `early_stopping` of its best."""
        return _vectorized_members.scores(self, metric)

    def best(self, metric: str = "val_loss", mode: str = "auto") -> Any:
        """The member with the best last value of a metric, as an ordinary model."""
        values = self.scores(metric)
        known = self._core.built_metrics
        higher = _vectorized_stopping.higher_is_better(metric, mode, known)
        best = np.nanargmax(values) if higher else np.nanargmin(values)
        return self.member(int(best))

    def ensemble(self, fusion: Any = "probabilities") -> Any:
        """An `Ensemble` of all members."""
        module = importlib.import_module("keras_tricks.ensembles.ensemble")
        return module.Ensemble(self.members(), fusion)
