"""JAX's way to look at the steps of a training from outside."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import keras

# What a call is given it does not change, not even if it fails.
VALUES_BEFORE = True


def watch(model: Any, function: Callable[..., Any], around: Any, training: bool) -> Any:
    """A train or test function that runs each call inside `around`.

    That is given three functions: one that takes the batches of the call, one that
    gives the pairs of a variable and its value before it (or after it, from what it
    returned), one that makes the call and returns its logs and what is to be returned.
    """

    def watched(state: Any, iterator: Any) -> Any:
        batches: list[Any] = []

        def take() -> list[Any]:
            batches.extend(itertools.islice(iterator, model.steps_per_execution))
            if not batches:
                raise StopIteration
            return batches

        def values(result: Any = None) -> list[tuple[Any, Any]]:
            held = state if result is None else result[1]
            return [
                pair
                for variables, part in zip(_groups(model, training), held, strict=True)
                for pair in zip(variables, part, strict=True)
            ]

        def run() -> tuple[Any, Any]:
            logs, after = function(state, iter(batches))
            return logs, (logs, after)

        return around(take, values, run)

    return watched


def _groups(model: Any, training: bool) -> list[list[Any]]:
    optimizer = [model.optimizer.variables] if training else []
    return [
        model.trainable_variables,
        model.non_trainable_variables,
        *optimizer,
        model.metrics_variables,
    ]


def run_step(model: Any, function: Callable[..., Any], batches: list[Any]) -> Any:
    """One call of a training function, on the model's own variables; its logs."""
    groups = _groups(model, True)
    state = tuple([variable.value for variable in group] for group in groups)
    logs, after = function(state, iter(batches))
    for variables, values in zip(groups, after, strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    return logs


def gradients(model: Any, x: Any, y: Any, sample_weight: Any) -> list[Any]:
    """The gradients of the trainable variables, not compiled."""
    trainable, rest, optimizer, metrics = (
        [variable.value for variable in group] for group in _groups(model, True)
    )

    def loss(trainable: Any) -> Any:
        found, _ = model.compute_loss_and_updates(
            trainable,
            rest,
            metrics,
            x,
            y,
            sample_weight,
            training=True,
            optimizer_variables=optimizer,
        )
        return found

    return list(jax.grad(loss)([keras.ops.convert_to_tensor(v) for v in trainable]))


def accelerated() -> bool:
    """Whether the model runs on something else than the CPU."""
    return jax.default_backend() != "cpu"
