"""What a training step notes of its gradients, inside the compiled step.

Each optimizer leaves one vector on the device: some numbers of the step, then the norms
of its variables. `Layout` knows what stands where.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers import LossScaleOptimizer

from keras_tricks import _backend
from keras_tricks._backend import _own
from keras_tricks.optimizers import auto_clip
from keras_tricks.schedules import _rates

# The numbers that come before those of the variables.
UPDATE, THRESHOLD = range(2)
# In this order, each for all variables; -1 where there is none.
KINDS = ("gradient", "largest", "weight", "change")


class Layout:
    """The optimizers of a step with their variables, in the order of the record.

    Args:
        changes: Whether weights and their changes are noted too, which takes a copy of
            the weights and three times the reading.
    """

    def __init__(self, changes: bool) -> None:
        self._changes = changes
        self.parts: list[tuple[Any, list[Any]]] = []
        self._vectors: list[Any] = []

    @contextmanager
    def recording(self, optimizer: Any) -> Iterator[None]:
        """A block in which each update by the optimizer is noted."""
        self.parts, self._vectors = [], []
        with ExitStack() as stack:
            for hook in self._hooks(optimizer):
                stack.enter_context(hook)
            yield

    def record(self) -> Any:
        """All that was noted, as one vector, or None."""
        if not self._vectors:
            return None
        vectors, self._vectors = self._vectors, []
        return ops.concatenate(vectors) if len(vectors) > 1 else vectors[0]

    def _hooks(self, optimizer: Any) -> list[AbstractContextManager[None]]:
        if not isinstance(optimizer, LossScaleOptimizer):
            return [self._hooked(group) for group in _rates.groups(optimizer)]
        # Not inside, where steps that are skipped do not come.
        return [self._hooked_loss_scale(optimizer)]

    def _hooked(self, group: Any) -> AbstractContextManager[None]:
        inner = group.apply

        def apply(grads: Any, trainable_variables: Any = None) -> None:
            variables = _variables(group, trainable_variables)
            scale = group.loss_scale_factor or 1.0
            finish = self._begin(group, list(grads), variables, scale)
            inner(grads, trainable_variables)
            finish(variables)

        return _own.attributes(group, apply=apply)

    def _hooked_loss_scale(self, optimizer: Any) -> AbstractContextManager[None]:
        group = optimizer.inner_optimizer
        apply, stateless_apply = optimizer.apply, optimizer.stateless_apply

        def measured_apply(grads: Any, trainable_variables: Any = None) -> None:
            variables = _variables(optimizer, trainable_variables)
            if not optimizer.built:
                optimizer.build(variables)
            scale = ops.convert_to_tensor(optimizer.dynamic_scale) * 1
            finish = self._begin(group, list(grads), variables, scale)
            apply(grads, trainable_variables)
            finish(variables)

        def measured_stateless_apply(
            optimizer_variables: Any, grads: Any, trainable_variables: Any
        ) -> Any:
            known, values = optimizer._trainable_variables, trainable_variables
            own = list(optimizer.variables)
            mapping = [
                *zip(own, optimizer_variables, strict=True),
                *zip(known, values, strict=True),
            ]
            with keras.StatelessScope(state_mapping=mapping):
                scale = ops.convert_to_tensor(optimizer.dynamic_scale)
                finish = self._begin(group, list(grads), known, scale)
            result = stateless_apply(optimizer_variables, grads, trainable_variables)
            mapping = [
                *zip(known, result[0], strict=True),
                *zip(own, result[1], strict=True),
            ]
            with keras.StatelessScope(state_mapping=mapping):
                finish(known)
            return result

        return _own.attributes(
            optimizer, apply=measured_apply, stateless_apply=measured_stateless_apply
        )

    def _begin(
        self, group: Any, grads: list[Any], variables: list[Any], scale: Any
    ) -> Callable[[list[Any]], None]:
        """Notes what is known before an update; the function it returns, the rest."""
        if not group.built:
            # As Keras does it, but before the update, which needs its variables.
            group.build(variables)
        steps = int(group.gradient_accumulation_steps or 1)
        is_update = _is_update(group, steps)
        # Tables whose gradients are rows are not read as a whole.
        read = [
            None if gradient is None or _backend.has_rows(gradient) else variable
            for gradient, variable in zip(grads, variables, strict=True)
        ]
        before = _backend.snapshot(read) if self._changes else []
        if steps > 1:
            grads, divisor = _accumulated(group, grads, variables, scale), steps
        else:
            divisor = scale
        found = [_unscaled(_backend.norms(grads), divisor)]
        if group.clipvalue is not None:
            found.append(_unscaled(_backend.largest(grads), divisor))
        if self._changes:
            found.append(_backend.norms(before))

        def finish(variables: list[Any]) -> None:
            numbers = ops.stack([is_update, ops.cast(_threshold(group), "float32")])
            vectors = [numbers, *found]
            if self._changes:
                pairs = zip(read, variables, strict=True)
                after = [
                    None if r is None else ops.convert_to_tensor(v) for r, v in pairs
                ]
                vectors.append(_backend.difference_norms(after, before))
            self.parts.append((group, variables))
            self._vectors.append(ops.concatenate(vectors))

        return finish

    def split(self, records: np.ndarray) -> list[dict[str, Any]]:
        """What stands in several records, one of them per row."""
        found, start = [], 0
        for group, variables in self.parts:
            part: dict[str, Any] = {"group": group, "variables": variables}
            part["update"] = records[:, start + UPDATE]
            part["threshold"] = records[:, start + THRESHOLD]
            start += 2
            for kind in self._kinds(group):
                part[kind] = records[:, start : start + len(variables)]
                start += len(variables)
            found.append(part)
        return found

    def _kinds(self, group: Any) -> list[str]:
        absent = set() if self._changes else {"weight", "change"}
        if group.clipvalue is None:
            absent.add("largest")
        return [kind for kind in KINDS if kind not in absent]


def _variables(optimizer: Any, given: Any) -> list[Any]:
    return list(optimizer._trainable_variables if given is None else given)


def _is_update(group: Any, steps: int) -> Any:
    """1 for the step that ends an accumulation, 0 for others."""
    if steps == 1:
        return ops.ones((), "float32")
    counter = next(v for v in group.variables if v.name == "iteration")
    made = ops.convert_to_tensor(counter) + 1
    return ops.cast(ops.equal(ops.mod(made, steps), 0), "float32")


def _accumulated(
    group: Any, grads: list[Any], variables: list[Any], scale: Any
) -> list[Any]:
    """The sums of the gradients since the last update."""
    sums = group._accumulated_gradients
    return [
        None
        if gradient is None
        else ops.cast(_backend.dense(gradient), "float32") / scale
        + ops.cast(
            ops.convert_to_tensor(sums[group._get_variable_index(variable)]), "float32"
        )
        for gradient, variable in zip(grads, variables, strict=True)
    ]


def _unscaled(norms: Any, divisor: Any) -> Any:
    """The norms of gradients that are divided by a number; a missing one stays -1."""
    if isinstance(divisor, float | int) and divisor == 1:
        return norms
    return ops.where(norms < 0, norms, norms / divisor)


def _threshold(group: Any) -> Any:
    """The norm above which AutoClip clipped; -1 without it."""
    if not isinstance(group, auto_clip.AutoClip) or group.mode != "percentile":
        return -1.0
    return group._threshold()
