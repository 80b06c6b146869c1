"""Many members' steps in one program: TensorFlow."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

# What a step of one member costs at the least, in seconds.
STEP_OVERHEAD = 2e-4


def better_apart() -> tuple[str, ...]:
    """Words in the names of layers that are better done member by member.

    `tf.vectorized_map` cannot do convolutions whose kernels are the members' own, and
    takes ten seconds to convert a recurrent layer.
    """
    return ("Conv", "LSTM", "GRU", "RNN")


def asks_together() -> bool:
    """Whether small models made alike are asked sooner in one operation.

    Here all of them are one compiled program already.
    """
    return False


def member_gradients(loss_of: Callable[..., Any], weights: Any) -> Any:
    """The loss with its extras, and the gradients of the weights."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss, extras = loss_of(weights)
    gradients = tape.gradient(loss, weights)
    gradients = [
        tf.zeros_like(weight) if gradient is None else tf.convert_to_tensor(gradient)
        for gradient, weight in zip(gradients, weights, strict=True)
    ]
    return (loss, extras), gradients


def member_rows(array: Any, rows: Any) -> Any:
    """Some rows of the data."""
    return tf.gather(array, rows)


def members_value(variable: Any) -> Any:
    """The content of a variable, which later assignments leave alone."""
    return tf.identity(variable.value)


def finished(tensors: Any) -> None:
    """Waits until all is computed, for a measurement."""
    for tensor in tf.nest.flatten(tensors):
        tensor.numpy()


def member_devices(members: int) -> int:
    """Over how many devices so many members are spread."""
    return 1


def free_memory() -> float | None:
    """Bytes that the device has left, where it says so."""
    return None


class MemberProgram:
    """Runs steps of all members by one strategy.

    Everything goes in and out with the members along a leading axis, the rows and the
    counts with the steps before it.
    """

    def __init__(self, step: Any, strategy: str, members: int, loops: bool) -> None:
        self._step, self._members = step, members
        many = {
            "vmap": self._stepwise,
            "unroll": self._stepwise,
            "sequential": self._memberwise,
        }[strategy]
        self._all = self._unrolled if strategy == "unroll" else self._vectorized
        self._many = tf.function(many, autograph=False)

    def run(self, state: Any, phase: Any, start: int, stop: int, inputs: Any) -> Any:
        """Runs the steps from `start` to before `stop`."""
        rows, counts = (tf.constant(part) for part in phase)
        bounds = tf.constant([start, stop])
        *given, data = inputs
        return self._many(state, rows, counts, bounds, given, data)

    def _stepwise(
        self, state: Any, rows: Any, counts: Any, bounds: Any, given: Any, data: Any
    ) -> Any:
        def step(state: Any, s: Any) -> Any:
            return self._all(state, rows[s], counts[s], given, data)

        specs = self._step.output_specs(rows.shape[2], data)
        return _loop(step, state, bounds, specs, (self._members,))

    def _memberwise(
        self, state: Any, rows: Any, counts: Any, bounds: Any, given: Any, data: Any
    ) -> Any:
        specs = self._step.output_specs(rows.shape[2], data)

        def member(mapped: Any) -> Any:
            state, rows, counts, *given = mapped

            def step(state: Any, s: Any) -> Any:
                inputs = self._given(given)
                return self._step(state, rows[s], counts[s], *inputs, data)

            return _loop(step, state, bounds, specs, ())

        self._present = [part is not None for part in given]
        mapped = (
            state,
            tf.transpose(rows, (1, 0, 2)),
            tf.transpose(counts),
            *(part for part in given if part is not None),
        )
        dtype = _loss_dtype(state)
        signature = (
            tf.nest.map_structure(_row_spec, state),
            tf.TensorSpec((None,), dtype),
            tf.nest.map_structure(
                lambda spec: tf.TensorSpec((None, *spec.shape), spec.dtype), specs
            ),
        )
        with _variable_scope_kept():
            state, losses, outputs = tf.map_fn(
                member, mapped, fn_output_signature=signature
            )
        swap = _swap_axes
        return state, swap(losses), tf.nest.map_structure(swap, outputs)

    def _given(self, present: list[Any]) -> list[Any]:
        """Rate and decay, None where all members share one."""
        left = list(present)
        return [left.pop(0) if there else None for there in self._present]

    def _vectorized(
        self, state: Any, rows: Any, counts: Any, given: Any, data: Any
    ) -> Any:
        self._present = [part is not None for part in given]

        def member(mapped: Any) -> Any:
            state, rows, count, *present = mapped
            return self._step(state, rows, count, *self._given(present), data)

        present = [part for part in given if part is not None]
        # What has no vectorized form, the random numbers of Dropout, is done in a loop.
        return tf.vectorized_map(member, (state, rows, counts, *present))

    def _unrolled(
        self, state: Any, rows: Any, counts: Any, given: Any, data: Any
    ) -> Any:
        results = []
        for k in range(self._members):
            inputs = [None if part is None else part[k] for part in given]
            one = tf.nest.map_structure(lambda leaf, k=k: leaf[k], state)
            results.append(self._step(one, rows[k], counts[k], *inputs, data))
        return tf.nest.map_structure(lambda *leaves: tf.stack(leaves), *results)


@contextmanager
def _variable_scope_kept() -> Iterator[None]:
    """A block after which the thread's variable scope is as it was.

    `tf.map_fn` that fails while it is traced leaves a caching device there, and no
    `tf.distribute` strategy can be entered any more.
    """
    scope = tf.compat.v1.get_variable_scope()
    before = scope.caching_device
    try:
        yield
    finally:
        scope.set_caching_device(before)


def _loop(step: Any, state: Any, bounds: Any, specs: Any, leading: Any) -> Any:
    size = bounds[1] - bounds[0]
    loss_dtype, output_specs = _loss_dtype(state), tf.nest.flatten(specs)
    arrays = [
        tf.TensorArray(dtype, size=size)
        for dtype in (loss_dtype, *(spec.dtype for spec in output_specs))
    ]

    def body(s: Any, state: Any, arrays: Any) -> Any:
        state, loss, outputs = step(state, s)
        made = [tf.cast(loss, loss_dtype), *tf.nest.flatten(outputs)]
        arrays = [
            array.write(s - bounds[0], value)
            for array, value in zip(arrays, made, strict=True)
        ]
        return s + 1, state, arrays

    _, state, arrays = tf.while_loop(
        lambda s, *_: s < bounds[1], body, (bounds[0], state, arrays)
    )
    losses, *outputs = [array.stack() for array in arrays]
    losses = tf.ensure_shape(losses, (None, *leading))
    return state, losses, tf.nest.pack_sequence_as(specs, outputs)


def _loss_dtype(state: Any) -> Any:
    return tf.nest.flatten(state)[0].dtype


def _row_spec(tensor: Any) -> Any:
    return tf.TensorSpec(tensor.shape[1:], tensor.dtype)


def _swap_axes(tensor: Any) -> Any:
    rest = range(2, len(tensor.shape))
    return tf.transpose(tensor, (1, 0, *rest))


def member_function(function: Any, together: bool) -> Callable[..., Any]:
    """Calls a function of one member for all: mapped arguments, then shared ones."""

    def all_at_once(mapped: Any, shared: Any) -> Any:
        # A metric may need an operation that only a loop can do, such as argmax.
        return tf.vectorized_map(lambda one: function(*one, *shared), mapped)

    if together:
        return tf.function(all_at_once, autograph=False)
    single = tf.function(
        lambda one, shared: function(*one, *shared),
        autograph=False,
    )

    def in_turn(mapped: Any, shared: Any) -> Any:
        members = len(tf.nest.flatten(mapped)[0])
        results = [
            single(tf.nest.map_structure(lambda leaf, k=k: leaf[k], mapped), shared)
            for k in range(members)
        ]
        return tf.nest.map_structure(lambda *leaves: tf.stack(leaves), *results)

    return in_turn
