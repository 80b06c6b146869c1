"""Lazy Adam: words that a batch does not have stay where they are."""

from collections.abc import Sequence
from typing import Any

import keras
from keras.optimizers import Adam

from keras_tricks import _arguments, _backend, _owner
from keras_tricks.optimizers import _tables
from keras_tricks.optimizers._adam_rows import AdamStep

# Keras makes an optimizer of its backend's own class, which on PyTorch is the fused
# one, by exact class: a subclass has to start from there.
_BASE: Any = _backend.row_optimizer(type(Adam.__new__(Adam)))

# In place of the index of a variable.
_NONE = -1


@keras.saving.register_keras_serializable("keras_tricks")
class LazyAdam(_BASE):
    """Adam that moves only those rows of an embedding that the batch looked up.

    When: large vocabularies, where most words are in few batches: under Adam they drift
        on old momentum, and each step costs as much as the whole table.
    Typical: as Adam; on TensorFlow together with `kt.layers.Embedding`.
    Costs: less than Adam: at 100,000 rows a fifth on TensorFlow and PyTorch, half on
        JAX. Only TensorFlow's gradients name their rows, so only there a step does not
        grow with the table. At 1,000 rows nothing is won, and a fifth lost on PyTorch.
    Beware: it is not Adam: a rare word keeps its momentum until it is seen again, and
        its first steps are small (they count from the start of the training). On JAX
        and PyTorch a row counts as absent when its gradient is exactly zero: what
        gives every row a gradient (a penalty on the table by `add_loss`, a use of the
        whole table) makes it Adam there, and only weights tied by Keras's
        `ReversibleEmbedding` are noticed; TensorFlow warns in all these cases.

    Rows that are absent from a batch keep their values and moments bit for bit. An id
    that is in a batch many times counts once, with the sum of its gradients. Weight
    decay shrinks the rows of the batch only. All other variables are plain Adam.

    A table is a variable of a name in `table_names`, with two axes or more; Keras's
    embedding layers call theirs "embeddings". Name your own table so
    (`self.add_weight(name="embeddings", ...)`) or list its name. TensorFlow also knows
    the tables that are not listed by their gradients.

    Args:
        learning_rate: Float, schedule or function. Defaults to 0.001.
        beta_1: Float in [0, 1), decay of the first moment. Defaults to 0.9.
        beta_2: Float in [0, 1), decay of the second moment. Defaults to 0.999.
        epsilon: Float, for stability. Defaults to 1e-7.
        amsgrad: Boolean, divide by the largest second moment so far. Defaults to False.
        weight_decay: Float or None, decoupled as in AdamW. Defaults to None.
        clipnorm: Float or None, largest norm of each variable's gradient.
        clipvalue: Float or None, largest magnitude of a number in a gradient.
        global_clipnorm: Float or None, largest norm of all gradients together.
        use_ema: False: an average over all rows would move them all.
        ema_momentum: Float, unused, as Keras has it.
        ema_overwrite_frequency: None, as Keras has it.
        loss_scale_factor: Float or None, what the loss is multiplied by.
        gradient_accumulation_steps: None: it would add up gradients of all rows.
        name: String, the optimizer's name.
        skipped_steps: "global" or "decay", what becomes of a row's moments while it is
            absent: "global" keeps them, "decay" lets them fade by `beta_1` and `beta_2`
            for each step missed, as under Adam, once it comes back. Defaults to
            "global".
        table_names: List or tuple of strings, names of the variables that are tables.
            Defaults to `("embeddings",)`.
        **kwargs: As of `keras.optimizers.Adam`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `use_ema` or `gradient_accumulation_steps` is set; if an argument
            is out of its range; once the model is known, if a table has a regularizer
            or a constraint, which act on all rows.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> words = kt.layers.Embedding(3, 1, embeddings_initializer="ones")
    >>> model = keras.Sequential([words, keras.layers.Flatten()])
    >>> model.compile(kt.optimizers.LazyAdam(0.5), "mse")
    >>> ids = np.array([[1], [1]])
    >>> history = model.fit(ids, np.zeros((2, 1)), verbose=0)
    >>> print(words.get_weights()[0].round(3).ravel())
    [1.  0.5 1. ]

    Reference: Kingma and Ba 2015, arXiv 1412.6980, with the updates of TensorFlow's
    former `LazyAdamOptimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "lazy_adam",
        *,
        skipped_steps: str = "global",
        table_names: Sequence[str] = ("embeddings",),
        **kwargs: Any,
    ) -> None:
        _refuse(use_ema, gradient_accumulation_steps)
        super().__init__(
            learning_rate=learning_rate,
            beta_1=_arguments.within("beta_1", beta_1, 0, 1, open_high=True),
            beta_2=_arguments.within("beta_2", beta_2, 0, 1, open_high=True),
            epsilon=_arguments.not_negative("epsilon", epsilon),
            amsgrad=amsgrad,
            weight_decay=weight_decay
            and _arguments.not_negative("weight_decay", weight_decay),
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
            name=name,
            **kwargs,
        )
        self.skipped_steps = _arguments.one_of(
            "skipped_steps", skipped_steps, ("global", "decay")
        )
        # Read from here alone: a class around this one may count steps by that name.
        self._fading = skipped_steps == "decay"
        self.table_names = _tables.checked_names(table_names)
        # By index of the variable. Those found by their gradients are known as soon as
        # a step is traced, and stay known: nothing here changes from step to step.
        self._tables: tuple[int, ...] = ()
        self._told: tuple[int, ...] = ()

    def build(self, var_list: Any) -> None:
        if self.built:
            return
        super().build(var_list)
        self._tables = tuple(
            index
            for index, variable in enumerate(var_list)
            if _tables.name_of(variable) in self.table_names and len(variable.shape) > 1
        )
        for index in self._tables:
            _tables.check(var_list[index])
        tied = {id(table) for table in _tables.tied(_owner.models_of(var_list, self))}
        for index in self._tables:
            if id(var_list[index]) in tied:
                self._told = (*self._told, index)
                _tables.warn_of_dense_gradient(var_list[index])
        if self._fading:
            self._last_steps = [
                self._last_step_of(variable) if index in self._tables else None
                for index, variable in enumerate(var_list)
            ]

    def _last_step_of(self, table: Any) -> Any:
        path = getattr(table, "path", _tables.name_of(table))
        name = f"{path}_last_step".replace("/", "_")
        return self.add_variable(
            (table.shape[0],), initializer="zeros", dtype="int", name=name
        )

    def takes_rows(self, variable: Any) -> bool:
        """Whether this variable is a table, of which only rows are updated."""
        return self._get_variable_index(variable) in self._tables

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        grads = list(grads)
        variables = self._trainable_variables
        if trainable_variables is not None:
            variables = trainable_variables = list(trainable_variables)
            if grads and not self.built:
                self.build(trainable_variables)
        # Otherwise Keras will say what is wrong.
        if self.built and len(grads) == len(variables):
            self._check_variables_are_known(variables)
            self._look_at(grads, variables)
        # Before anything measures a gradient or squares it.
        super().apply(
            [_backend.sum_duplicates(gradient) for gradient in grads],
            trainable_variables,
        )

    def _look_at(self, grads: list[Any], variables: list[Any]) -> None:
        """Finds tables by their gradients, and what makes the optimizer useless."""
        for gradient, variable in zip(grads, variables, strict=True):
            index = self._get_variable_index(variable)
            if _backend.has_rows(gradient) and index not in self._tables:
                _tables.check(variable)
                if self._fading:
                    raise _tables.not_listed(variable, self.table_names)
                self._tables = (*self._tables, index)
            elif (
                index in self._tables
                and index not in self._told
                and self._is_lost(gradient)
            ):
                self._told = (*self._told, index)
                _tables.warn_of_dense_gradient(variable)
        if not self._tables and _NONE not in self._told:
            self._told = (*self._told, _NONE)
            _tables.warn_of_none(self.table_names)

    def _is_lost(self, gradient: Any) -> bool:
        """Whether it should hold a few rows and does not."""
        if gradient is None or not _backend.GIVES_ROWS:
            return False
        return not _backend.has_rows(gradient)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Adam's step for a variable; for a table, for the rows of the gradient."""
        if not self.takes_rows(variable):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        rows = {
            "weight": variable,
            "momentum": self._momentums[index],
            "velocity": self._velocities[index],
        }
        if self.amsgrad:
            rows["velocity_hat"] = self._velocity_hats[index]
        if self._fading:
            rows["last_step"] = self._last_steps[index]
        decays = self._use_weight_decay(variable)
        step = AdamStep(
            number=self.iterations + 1,
            learning_rate=learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay if decays else None,
        )
        _backend.change_rows(gradient, rows, step.rows)

    def _clip_gradients(self, grads: Any) -> Any:
        return _backend.on_values(super()._clip_gradients, grads)

    def _apply_weight_decay(self, variables: Any) -> None:
        # The rows of a table decay in their step, at its rate. What is excluded is
        # left out here, too: PyTorch's fused decay fails when nothing is left.
        rest = [v for v in variables if not self.takes_rows(v)]
        rest = [v for v in rest if self._use_weight_decay(v)]
        if rest:
            super()._apply_weight_decay(rest)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "skipped_steps": "decay" if self._fading else "global",
            "table_names": list(self.table_names),
        }


def _refuse(use_ema: Any, gradient_accumulation_steps: Any) -> None:
    if use_ema:
        raise ValueError(
            "`use_ema` must be False: the average is kept and written for every row "
            f"of a table. Received: use_ema={use_ema!r}; average the weights in a "
            "callback, or use keras.optimizers.Adam"
        )
    if gradient_accumulation_steps:
        raise ValueError(
            "`gradient_accumulation_steps` must be None: the sum has a gradient for "
            "every row of a table. Received: gradient_accumulation_steps="
            f"{gradient_accumulation_steps!r}; use larger batches, or "
            "keras.optimizers.Adam"
        )
