"""What rules look at: the model, its graph, its optimizer, the data."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _layer_kinds, _patterns
from keras_tricks.lint import _data, _decayed, _kinds, _losses, _peaks, _traits
from keras_tricks.schedules import _rates
from keras_tricks.surgery import _activations, _calls, _drawn


class Facts:
    """All that a rule may ask, each part found out once and when it is asked for.

    When: you write a rule of your own; `kt.lint.check` makes it.
    Typical: `for path, layer in facts.layers.items()`.
    Costs: a part is computed when the first rule asks for it.
    Beware: look, and change nothing: rules see the user's own model and callbacks.

    Args:
        model: Built model, compiled or not.
        x: Inputs as for `fit`, or None.
        y: Labels as for `fit`, or None.
        batch_size: Positive integer as for `fit`, or None: that of the data set, or
            Keras's 32 with arrays.
        callbacks: Callbacks that `fit` will be given.
        epochs: Positive integer as for `fit`, or None if it is not known.

    Raises:
        Nothing: `kt.lint.check` has checked the arguments.

    Example:
    >>> import keras, keras_tricks as kt
    >>> layers = [keras.layers.Dense(4, "relu", name="a"), keras.layers.Dense(1)]
    >>> facts = kt.lint.Facts(keras.Sequential([keras.Input((2,)), *layers]))
    >>> facts.layers["a"].units, facts.has("graph"), facts.has("compiled")
    (4, True, False)

    Reference: none; the facts of one check.
    """

    def __init__(
        self,
        model: Any,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        callbacks: Sequence[Any] = (),
        epochs: int | None = None,
    ) -> None:
        self.model = model
        self.callbacks = list(callbacks)
        self.epochs = epochs
        self.chosen_batch_size = batch_size
        self._x, self._y = x, y

    def has(self, need: str) -> bool:
        """Whether there is a "graph", a "compiled" optimizer, an "x" or a "y"."""
        if need == "graph":
            return _calls.is_copyable(self.model)
        if need == "compiled":
            return self.optimizer is not None
        return bool(self.data.x if need == "x" else self.data.y)

    # The model ------------------------------------------------------------------------

    @cached_property
    def layers(self) -> dict[str, Any]:
        """Every layer below the model by its path, each once, parents first."""
        found: dict[int, tuple[str, Any]] = {}
        for path, layer in _patterns.layer_paths(self.model):
            found.setdefault(id(layer), (path, layer))
        return dict(found.values())

    def path_of(self, layer: Any) -> str:
        """The path of a layer; "" if it is none of the model's."""
        return next((p for p, one in self.layers.items() if one is layer), "")

    @cached_property
    def calls(self) -> list[Any]:
        """Every call of a layer in the graph, sources first; none if it is unknown."""
        return _calls.calls(self.model) if self.has("graph") else []

    @cached_property
    def following(self) -> dict[int, str | None]:
        """The nonlinearity behind each layer of the graph, by the layer's id."""
        return _drawn.following(self.model) if self.has("graph") else {}

    @property
    def outputs(self) -> list[Any]:
        """The tensors that the model gives; none if its graph is unknown."""
        return list(self.model.outputs) if self.has("graph") else []

    @cached_property
    def heads(self) -> list[Any]:
        """The call that gives each output, in their order, or None."""
        ends = [call for call in self.calls if call.is_output]
        heads = []
        for tensor in self.outputs:
            giving = [c for c in ends if any(t is tensor for t in c.outputs)]
            alone = ends if len(ends) == 1 == len(self.outputs) else []
            heads.append((giving or alone or [None])[-1])
        return heads

    @cached_property
    def head_layers(self) -> set[int]:
        """The ids of layers that no layer with a kernel follows on some way out."""
        return {
            id(_layer_kinds.unwrapped(call.layer))
            for call in self.calls
            if _calls.is_head(call, _activations.has_kernel)
        }

    @cached_property
    def _calls_of(self) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for call in self.calls:
            found.setdefault(id(_layer_kinds.unwrapped(call.layer)), []).append(call)
        return found

    def calls_of(self, layer: Any) -> list[Any]:
        """Every call of a layer in the graph."""
        return list(self._calls_of.get(id(layer), ()))

    def behind(self, layer: Any) -> list[Any]:
        """The calls behind all calls of a layer, up to the next kernels."""
        calls = self.calls_of(layer)
        return [target for call in calls for target in _kinds.until_kernel(call)]

    def is_normalized(self, layer: Any) -> bool:
        """Whether a normalization comes behind a layer, before the next kernel."""
        behind = self.behind(layer)
        return any(_activations.is_normalization(call.layer) for call in behind)

    def is_merged(self, layer: Any) -> bool:
        """Whether a layer's output meets another one before the next kernel."""
        return any(len(call.inputs) > 1 for call in self.behind(layer))

    # The training ---------------------------------------------------------------------

    @cached_property
    def optimizer(self) -> Any:
        """The optimizer, or None."""
        return getattr(self.model, "optimizer", None) if self.model.compiled else None

    @property
    def can_be_recompiled(self) -> bool:
        """Whether a copy can be compiled in Keras's own way, with something changed."""
        return self.has("graph") and type(self.model).compile is keras.Model.compile

    @cached_property
    def groups(self) -> list[Any]:
        """The optimizers that have a learning rate; usually just one."""
        return [] if self.optimizer is None else _rates.groups(self.optimizer)

    @cached_property
    def schedules(self) -> list[tuple[Any, Any]]:
        """Each optimizer with its schedule; None for a number or a function."""
        return [(group, _schedule(group)) for group in self.groups]

    @cached_property
    def peaks(self) -> list[tuple[Any, float]]:
        """Each optimizer with the highest rate that it reaches, where that is known."""
        found = []
        for group, schedule in self.schedules:
            if schedule is not None:
                found.append((group, _peaks.peak(schedule)))
            elif isinstance(group.learning_rate, keras.Variable):
                found.append((group, float(ops.convert_to_numpy(group.learning_rate))))
        return found

    @cached_property
    def losses(self) -> list[_losses.Loss]:
        """The loss at each output, in plain words."""
        return _losses.of(self.model)

    @cached_property
    def decays(self) -> list[float]:
        """The strengths of decoupled weight decay that are not zero."""
        return [decay for group in self.groups if (decay := _decayed.of(group))]

    def head(self, output: int) -> Any:
        """The call that gives an output, or None if it is not known."""
        return self.heads[output] if output < len(self.heads) else None

    def callbacks_that(self, trait: str) -> list[Any]:
        """The callbacks that declare a trait, or are known to have."""
        return [one for one in self.callbacks if _traits.of(one).get(trait)]

    # The data -------------------------------------------------------------------------

    @cached_property
    def data(self) -> _data.Data:
        """A bounded sample of the inputs and labels."""
        return _data.look(self._x, self._y)

    @cached_property
    def reconstructs(self) -> bool:
        """Whether some labels are inputs: an autoencoder is trained."""
        sides = (self.data.x, self.data.y)
        inputs, labels = ([p.values for p in side if p.is_numeric] for side in sides)
        return any(np.array_equal(x, y) for x in inputs for y in labels)

    @cached_property
    def rows(self) -> int | None:
        """How many rows there are, or None."""
        return self.data.rows

    @cached_property
    def batch_size(self) -> int | None:
        """Rows in a batch: as given, as the data set has it, or Keras's own 32."""
        if self.chosen_batch_size is not None:
            return self.chosen_batch_size
        return self.data.batch_size or (32 if self.data.kind == "arrays" else None)

    @cached_property
    def steps(self) -> int | None:
        """Steps of the whole training, or None."""
        if not (self.rows and self.batch_size and self.epochs):
            return None
        return -(-self.rows // self.batch_size) * self.epochs


def _schedule(group: Any) -> Any:
    try:
        return _rates.schedule_of(group)
    except TypeError:  # A function of nothing.
        return None
