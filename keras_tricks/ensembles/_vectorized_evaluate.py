"""Losses, metrics and predictions of every member."""

from typing import Any

import keras
import numpy as np

from keras_tricks import _backend
from keras_tricks.ensembles import _vectorized_rows
from keras_tricks.ensembles._vectorized_apart import loss_is_a_mean, rows_are_apart
from keras_tricks.ensembles._vectorized_step import MemberStep, masked

# Rows of all members together in one call; bounds the memory of the activations.
_ROWS = 65536


class Metrics:
    """The compiled metrics of every member, over the outputs of an epoch.

    `plain` do not know the weights of the rows, `weighted` do; each may be None.
    """

    def __init__(self, plain: Any, weighted: Any, outputs: Any = ()) -> None:
        self._plain, self._weighted = plain, weighted
        # With one output its name is no part of a metric's.
        self._outputs = outputs if len(outputs) > 1 else ()
        self._variables = []
        for metrics in (plain, weighted):
            if metrics is not None:
                metrics.reset_state()
                self._variables += metrics.variables
        self._zeros = [_host(v.value) for v in self._variables]
        self.any = bool(self._variables)
        self._all = _backend.member_function(self._one, True)
        self._next = _backend.member_function(self._from, True)

    @property
    def compiled(self) -> list[Any]:
        """The metrics as Keras has compiled them, of which its callbacks ask."""
        return [one for one in (self._plain, self._weighted) if one is not None]

    def higher_is_better(self, name: str) -> bool | None:
        """The direction that the metric of that name in the logs has, if it has one."""
        known = [
            metric
            for metrics in self.compiled
            for metric in metrics.metrics
            if name == metric.name or name.endswith(f"_{metric.name}")
        ]
        if not known:
            return None
        # With several outputs, or weights, there is more before the name.
        longest = max(len(metric.name) for metric in known)
        found = {
            getattr(metric, "_direction", None)
            for metric in known
            if len(metric.name) == longest
        }
        direction = found.pop() if len(found) == 1 else None
        return {"up": True, "down": False}.get(direction or "")

    def _one(self, rows: Any, mask: Any, outputs: Any, y: Any, weight: Any) -> Any:
        start = [keras.ops.convert_to_tensor(zero) for zero in self._zeros]
        return self._from(start, rows, mask, outputs, y, weight)[0]

    def _from(
        self, start: Any, rows: Any, mask: Any, outputs: Any, y: Any, weight: Any
    ) -> Any:
        y = keras.tree.map_structure(lambda part: _backend.member_rows(part, rows), y)
        own = mask
        if weight is not None:
            weight = _backend.member_rows(weight, rows)
            shape = (-1,) + (1,) * (len(weight.shape) - 1)
            own = weight * keras.ops.reshape(mask, shape)
        mapping = list(zip(self._variables, start, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            logs: dict[str, Any] = {}
            for metrics, weights in ((self._plain, mask), (self._weighted, own)):
                if metrics is None:
                    continue
                metrics.update_state(y, outputs, weights)
                for name, value in metrics.result().items():
                    logs[self._second(name) if name in logs else name] = value
        return logs, [scope.get_current_value(v) for v in self._variables]

    def _second(self, name: str) -> str:
        """As Keras names a weighted metric whose name is taken."""
        for output in self._outputs:
            if name.startswith(f"{output}_"):
                return f"{output}_weighted_{name[len(output) + 1 :]}"
        return f"weighted_{name}"

    def __call__(
        self, rows: Any, counts: Any, outputs: Any, data: Any
    ) -> dict[str, Any]:
        """A value per member; everything is (steps, members, batch...)."""
        values = self._all(_mapped(rows, counts, outputs), data[1:])
        return {name: _host(value) for name, value in values.items()}

    def further(
        self, state: Any, rows: Any, counts: Any, outputs: Any, data: Any
    ) -> tuple[dict[str, Any], Any]:
        """The values with some steps more, and the state; None is that of no steps."""
        if state is None:
            members = rows.shape[1]
            state = [
                keras.ops.convert_to_tensor(np.repeat(zero[None], members, axis=0))
                for zero in self._zeros
            ]
        mapped = (state, *_mapped(rows, counts, outputs))
        values, state = self._next(mapped, data[1:])
        return {name: _host(value) for name, value in values.items()}, state


class Evaluation:
    """Evaluates and predicts with all members."""

    def __init__(self, step: MemberStep, together: bool) -> None:
        self._step = step
        self._exact = not rows_are_apart(step.model, training=False)
        self._depends = not loss_is_a_mean(step.model.loss)
        self._all = _backend.member_function(self._one, together)
        self._predict = _backend.member_function(self._outputs, together)

    def _one(self, weights: Any, others: Any, rows: Any, count: Any, data: Any) -> Any:
        x, y, weight = keras.tree.map_structure(
            lambda part: None if part is None else _backend.member_rows(part, rows),
            data,
        )
        if not self._exact:
            weight = masked(weight, count, rows.shape[0])
        loss, (outputs, _) = self._step.forward(
            weights, others, x, y, weight, training=False
        )
        return loss, outputs

    def _outputs(self, weights: Any, others: Any, x: Any) -> Any:
        return self._step.outputs(weights, others, x)

    def losses(
        self,
        weights: Any,
        others: Any,
        rows: list[Any],
        data: Any,
        metrics: Metrics,
        batch_size: int | None = None,
    ) -> dict[str, Any]:
        """The loss and the metrics of every member on its rows.

        Without a `batch_size` it is chosen, for the results do not depend on it but
        where the rows of a batch know of each other: then it is Keras's.
        """
        members = len(rows)
        longest = max(len(one) for one in rows)
        size = 32 if self._depends else max(32, _ROWS // members)
        chunk = min(longest, batch_size or size)
        active = np.ones(members, "int32")
        phases = _vectorized_rows.phases(rows, active, chunk, not self._exact)
        losses: list[Any] = []
        logs: dict[str, Any] = {}
        state = None
        for phase in phases:
            for rows_now, counts in zip(phase.rows, phase.counts, strict=True):
                mapped = (
                    weights,
                    others,
                    keras.ops.convert_to_tensor(rows_now),
                    keras.ops.convert_to_tensor(counts),
                )
                loss, outputs = self._all(mapped, (data,))
                losses.append((_host(loss), counts))
                if metrics.any:
                    # One step after the other: the outputs need not be held.
                    step = keras.tree.map_structure(
                        lambda one: _host(one)[None], outputs
                    )
                    logs, state = metrics.further(
                        state, rows_now[None], counts[None], step, data
                    )
        return {"loss": mean_loss(losses), **logs}

    def predict(
        self, weights: Any, others: Any, x: Any, members: int, batch_size: Any = None
    ) -> Any:
        """Outputs (samples, members, ...) on the host."""
        length = int(keras.tree.flatten(x)[0].shape[0])
        chunk = batch_size or max(32, _ROWS // members)
        parts = []
        for start in range(0, length, chunk):
            stop = start + chunk
            some = keras.tree.map_structure(lambda a, b=start, e=stop: a[b:e], x)
            outputs = self._predict((weights, others), (some,))
            parts.append(
                keras.tree.map_structure(
                    lambda part: np.swapaxes(_host(part), 0, 1), outputs
                )
            )
        return keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)


def mean_loss(steps: list[tuple[Any, Any]]) -> Any:
    """The mean of the batches' losses by their rows, as in Keras, per member."""
    losses = np.stack([loss for loss, _ in steps])
    counts = np.stack([count for _, count in steps])
    with np.errstate(invalid="ignore"):
        total = np.where(counts > 0, losses * counts, 0).sum(axis=0)
        return total / np.maximum(counts.sum(axis=0), 1)


def joined(parts: list[tuple[Any, Any, Any]]) -> tuple[Any, Any, Any]:
    """Steps of several batch shapes as steps of the largest."""
    if len(parts) == 1:
        return parts[0]
    batch = max(rows.shape[2] for rows, _, _ in parts)

    def longer(array: Any) -> Any:
        array = _host(array)
        missing = [(0, 0)] * array.ndim
        missing[2] = (0, batch - array.shape[2])
        return np.pad(array, missing)

    rows = np.concatenate([longer(part[0]) for part in parts])
    counts = np.concatenate([part[1] for part in parts])
    outputs = keras.tree.map_structure(
        lambda *each: np.concatenate([longer(one) for one in each]),
        *[part[2] for part in parts],
    )
    return rows, counts, outputs


def _mapped(rows: Any, counts: Any, outputs: Any) -> Any:
    mask = np.arange(rows.shape[2]) < counts[:, :, None]
    mapped = (
        _memberwise(rows),
        _memberwise(mask.astype(keras.config.floatx())),
        keras.tree.map_structure(lambda part: _memberwise(_host(part)), outputs),
    )
    return keras.tree.map_structure(keras.ops.convert_to_tensor, mapped)


def _memberwise(array: Any) -> Any:
    swapped = np.swapaxes(array, 0, 1)
    return swapped.reshape(swapped.shape[0], -1, *swapped.shape[3:])


def _host(tensor: Any) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(tensor))
