"""One member's training step, and its evaluation, as pure functions of its state."""

import inspect
import math
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_tricks import _backend
from keras_tricks.ensembles._vectorized_optimizer import MemberOptimizer


class State(NamedTuple):
    """What one member holds; of all members, along a leading axis."""

    weights: list[Any]
    others: list[Any]
    slots: list[Any]


class MemberStep:
    """The step of one member.

    With `mask` a batch may hold rows that do not count; with `gate` the member may have
    no batch at all, and then nothing of it moves.
    """

    def __init__(
        self,
        model: Any,
        optimizer: MemberOptimizer,
        mask: bool,
        gate: bool,
        keep: bool,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.mask, self.gate, self.keep = mask, gate, keep
        self.trainable = list(model.trainable_variables)
        self.others = list(model.non_trainable_variables)
        parameters = inspect.signature(model.call).parameters.values()
        self._training = any(
            p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters
        )

    def __call__(
        self, state: Any, rows: Any, count: Any, rate: Any, decay: Any, data: Any
    ) -> tuple[Any, Any, Any]:
        """The new state, the loss and, if asked for, the outputs."""
        state = State(*state)
        x, y, weight = keras.tree.map_structure(
            lambda part: None if part is None else _backend.member_rows(part, rows),
            data,
        )
        if self.mask:
            length = int(rows.shape[0])
            weight = masked(weight, count, length)
        weights = self.unpacked(state.weights)

        def loss_of(weights: Any) -> Any:
            return self.forward(weights, state.others, x, y, weight, training=True)

        (loss, (outputs, others)), gradients = _backend.member_gradients(
            loss_of, weights
        )
        moved, slots = self.optimizer.apply(
            state.weights, self.packed(gradients), state.slots, rate, decay
        )
        new = State(moved, others, slots)
        if self.gate:
            new = _gated(count > 0, new, state)
        return tuple(new), loss, outputs if self.keep else ()

    def forward(
        self, weights: Any, others: Any, x: Any, y: Any, weight: Any, training: bool
    ) -> tuple[Any, tuple[Any, list[Any]]]:
        """The loss; the outputs and the other variables as they are then."""
        mapping = [
            *zip(self.trainable, weights, strict=True),
            *zip(self.others, others, strict=True),
        ]
        keywords = {"training": training} if self._training else {}
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            outputs = self.model(x, **keywords)
            loss = self.model.compute_loss(
                x=x, y=y, y_pred=outputs, sample_weight=weight, training=training
            )
        return loss, (outputs, [scope.get_current_value(v) for v in self.others])

    def outputs(self, weights: Any, others: Any, x: Any, training: bool = False) -> Any:
        """What the member says, without a loss."""
        mapping = [
            *zip(self.trainable, weights, strict=True),
            *zip(self.others, others, strict=True),
        ]
        keywords = {"training": training} if self._training else {}
        with keras.StatelessScope(state_mapping=mapping):
            return self.model(x, **keywords)

    def output_specs(self, length: int, data: Any) -> Any:
        """The shapes and dtypes of the outputs for a batch, if they are kept."""
        if not self.keep:
            return ()
        x = keras.tree.map_structure(
            lambda part: keras.KerasTensor((length, *part.shape[1:]), part.dtype),
            data[0],
        )
        return self.model.compute_output_spec(x)

    def packed(self, values: Any) -> list[Any]:
        """Weights, or gradients, as the optimizer holds them."""
        if not self.optimizer.flat:
            return list(values)
        return [ops.concatenate([ops.reshape(value, (-1,)) for value in values])]

    def unpacked(self, values: Any) -> list[Any]:
        """Weights as the model holds them."""
        if not self.optimizer.flat:
            return list(values)
        shapes = [tuple(v.shape) for v in self.trainable]
        ends = [math.prod(shape) for shape in shapes]
        for k in range(1, len(ends)):
            ends[k] += ends[k - 1]
        parts = ops.split(values[0], ends[:-1]) if len(ends) > 1 else values
        return [ops.reshape(p, s) for p, s in zip(parts, shapes, strict=True)]


def _gated(moves: Any, new: State, old: State) -> State:
    return State(
        *(
            [ops.where(moves, a, b) for a, b in zip(ours, theirs, strict=True)]
            for ours, theirs in zip(new, old, strict=True)
        )
    )


def masked(weight: Any, count: Any, length: int) -> Any:
    """Weights of the rows, such that a mean over all is one over those that count."""
    dtype = keras.config.floatx()
    counts = ops.cast(
        ops.arange(length, dtype="int32") < ops.cast(count, "int32"), dtype
    )
    scale = ops.cast(length, dtype) / ops.cast(ops.maximum(count, 1), dtype)
    mask = counts * scale
    if weight is None:
        return mask
    shape = (-1,) + (1,) * (len(weight.shape) - 1)
    return weight * ops.reshape(mask, shape)
