"""Many members' steps in one program: JAX."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# What a step of one member costs at the least, in seconds.
STEP_OVERHEAD = 1e-4


def better_apart() -> tuple[str, ...]:
    """Words in the names of layers that are better done member by member.

    On XLA's CPU a convolution of stacked kernels is 7 times slower, and one inside a
    loop 3 to 10 times.
    """
    return ("Conv",) if jax.default_backend() == "cpu" else ()


def asks_together() -> bool:
    """Whether small models made alike are asked sooner in one operation.

    Here stacking their weights takes 0.8 to 4 times what all of them take in turn.
    """
    return False


def member_gradients(loss_of: Callable[..., Any], weights: Any) -> Any:
    """The loss with its extras, and the gradients of the weights."""
    return jax.value_and_grad(loss_of, has_aux=True)(weights)


def member_rows(array: Any, rows: Any) -> Any:
    """Some rows of the data."""
    return jnp.take(array, rows, axis=0, mode="clip")


def members_value(variable: Any) -> Any:
    """The content of a variable, which later assignments leave alone."""
    return variable.value


def finished(tensors: Any) -> None:
    """Waits until all is computed, for a measurement."""
    jax.block_until_ready(tensors)


def member_devices(members: int) -> int:
    """Over how many devices so many members are spread."""
    most = len(jax.local_devices())
    return max(n for n in range(1, most + 1) if members % n == 0)


def free_memory() -> float | None:
    """Bytes that the device has left, where it says so."""
    stats = jax.local_devices()[0].memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    return float(stats["bytes_limit"] - stats["bytes_in_use"])


class MemberProgram:
    """Runs steps of all members by one strategy.

    Everything goes in and out with the members along a leading axis, the rows and the
    counts with the steps before it.
    """

    def __init__(self, step: Any, strategy: str, members: int, loops: bool) -> None:
        self._loops = loops
        self._members = members
        run = {
            "vmap": self._together,
            "unroll": self._unrolled,
            "sequential": self._in_turn,
        }
        self.run = run[strategy]
        if strategy == "vmap":
            together = jax.vmap(step, in_axes=(0, 0, 0, 0, 0, None))
            self._many = jax.jit(functools.partial(_loop, together))
        elif strategy == "unroll":
            self._step = jax.jit(functools.partial(_unroll, step, members))
        elif loops:
            self._many = jax.jit(functools.partial(_loop, step))
        else:
            self._step = jax.jit(step)

    def _together(
        self, state: Any, phase: Any, start: int, stop: int, inputs: Any
    ) -> Any:
        if (mesh := _mesh(self._members)) is not None:
            first, second = PartitionSpec("members"), PartitionSpec(None, "members")
            *given, data = inputs
            state, given = jax.device_put((state, given), NamedSharding(mesh, first))
            phase = jax.device_put(phase, NamedSharding(mesh, second))
            data = jax.device_put(data, NamedSharding(mesh, PartitionSpec()))
            inputs = (*given, data)
        state, losses, outputs = self._many(state, phase, inputs, start, stop)
        # Host views: no operation is compiled to cut them.
        cut = functools.partial(_cut, start, stop)
        return state, cut(losses), jax.tree.map(cut, outputs)

    def _unrolled(
        self, state: Any, phase: Any, start: int, stop: int, inputs: Any
    ) -> Any:
        made = []
        for s in range(start, stop):
            state, loss, outputs = self._step(
                state, phase.rows[s], phase.counts[s], inputs
            )
            made.append((loss, outputs))
        return state, *_stacked(made)

    def _in_turn(
        self, state: Any, phase: Any, start: int, stop: int, inputs: Any
    ) -> Any:
        states = _apart(state, self._members)
        *given, data = inputs

        def one(k: int) -> Any:
            mine = type(phase)(phase.rows[:, k], phase.counts[:, k])
            inputs = (*(None if part is None else part[k] for part in given), data)
            if self._loops:
                return self._many(states[k], mine, inputs, start, stop)
            state, made, last = states[k], [], None
            for s in range(start, stop):
                # What has no batch in this step makes none, but has to say something.
                if mine.counts[s] or last is None:
                    new, *last = self._step(
                        state, mine.rows[s], mine.counts[s], *inputs
                    )
                    state = new if mine.counts[s] else state
                made.append(tuple(last))
            return jax.block_until_ready((state, *_stacked(made)))

        # Small steps leave cores idle; what one member waits for, another one uses.
        workers = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
        if workers == 1:
            results = [one(k) for k in range(self._members)]
        else:
            with ThreadPoolExecutor(min(workers, self._members)) as pool:
                # The first one compiles.
                results = [one(0), *pool.map(one, range(1, self._members))]
        together = _together([result[0] for result in results])
        losses = np.stack([np.asarray(result[1]) for result in results], axis=1)
        outputs = jax.tree.map(
            lambda *parts: np.stack([np.asarray(p) for p in parts], axis=1),
            *[result[2] for result in results],
        )
        if not self._loops:
            return together, losses, outputs
        cut = functools.partial(_cut, start, stop)
        return together, cut(losses), jax.tree.map(cut, outputs)


def _cut(start: int, stop: int, array: Any) -> Any:
    return np.asarray(array)[start:stop]


def _loop(step: Any, state: Any, phase: Any, inputs: Any, start: Any, stop: Any) -> Any:
    rows, counts = phase
    one = jax.eval_shape(step, state, rows[0], counts[0], *inputs)
    empty = jax.tree.map(
        lambda leaf: jnp.zeros((rows.shape[0], *leaf.shape), leaf.dtype), one[1:]
    )

    def body(s: Any, carried: Any) -> Any:
        state, kept = carried
        state, *made = step(state, rows[s], counts[s], *inputs)
        kept = jax.tree.map(lambda whole, new: whole.at[s].set(new), kept, tuple(made))
        return state, kept

    state, (losses, outputs) = jax.lax.fori_loop(start, stop, body, (state, empty))
    return state, losses, outputs


def _unroll(
    step: Any, members: int, state: Any, rows: Any, counts: Any, inputs: Any
) -> Any:
    *given, data = inputs
    mapped = (state, rows, counts, *given)
    results = [
        step(*jax.tree.map(lambda leaf, k=k: leaf[k], mapped), data)
        for k in range(members)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


@functools.partial(jax.jit, static_argnums=1)
def _apart(state: Any, members: int) -> Any:
    return [jax.tree.map(lambda leaf, k=k: leaf[k], state) for k in range(members)]


@jax.jit
def _together(states: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def _stacked(made: list[Any]) -> Any:
    return jax.tree.map(
        lambda *leaves: np.stack([np.asarray(p) for p in leaves]), *made
    )


def _mesh(members: int) -> Any:
    devices = member_devices(members)
    if devices == 1:
        return None
    return Mesh(np.array(jax.local_devices()[:devices]), ("members",))


def member_function(function: Any, together: bool) -> Callable[..., Any]:
    """Calls a function of one member for all: mapped arguments, then shared ones."""
    if together:
        return jax.jit(
            lambda mapped, shared: jax.vmap(lambda one: function(*one, *shared))(mapped)
        )
    single = jax.jit(lambda one, shared: function(*one, *shared))

    def in_turn(mapped: Any, shared: Any) -> Any:
        members = len(jax.tree.leaves(mapped)[0])
        results = [
            single(jax.tree.map(lambda leaf, k=k: leaf[k], mapped), shared)
            for k in range(members)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

    return in_turn
