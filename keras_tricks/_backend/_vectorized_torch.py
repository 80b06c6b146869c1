"""Many members' steps in one program: PyTorch."""

from collections.abc import Callable
from typing import Any

import torch
import torch.utils._pytree as pytree

# What a step of one member costs at the least, in seconds.
STEP_OVERHEAD = 1e-3


def better_apart() -> tuple[str, ...]:
    """Words in the names of layers that are better done member by member.

    `torch.vmap` refuses Keras's convolutions.
    """
    return ("Conv",)


def asks_together() -> bool:
    """Whether small models made alike are asked sooner in one operation.

    Not where gradients are wanted, as in training.
    """
    return not torch.is_grad_enabled()


def member_gradients(loss_of: Callable[..., Any], weights: Any) -> Any:
    """The loss with its extras, and the gradients of the weights."""
    gradients, (loss, extras) = torch.func.grad_and_value(loss_of, has_aux=True)(
        weights
    )
    return (loss, extras), gradients


def member_rows(array: Any, rows: Any) -> Any:
    """Some rows of the data."""
    return array[rows]


def members_value(variable: Any) -> Any:
    """The content of a variable, which later assignments leave alone."""
    return variable.value.detach().clone()


def finished(tensors: Any) -> None:
    """Waits until all is computed, for a measurement."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def member_devices(members: int) -> int:
    """Over how many devices so many members are spread."""
    return 1


def free_memory() -> float | None:
    """Bytes that the device has left, where it says so."""
    return float(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None


class MemberProgram:
    """Runs steps of all members by one strategy.

    Everything goes in and out with the members along a leading axis, the rows and the
    counts with the steps before it. The step is traced once: what runs then are the
    bare operations, without Keras around them.
    """

    def __init__(self, step: Any, strategy: str, members: int, loops: bool) -> None:
        self._members = members
        self._traced: dict[Any, Any] = {}
        self._together = strategy == "vmap"
        self._step = step

    def run(self, state: Any, phase: Any, start: int, stop: int, inputs: Any) -> Any:
        """Runs the steps from `start` to before `stop`."""
        device = pytree.tree_leaves(state)[0].device
        rows, counts = (torch.as_tensor(part, device=device).long() for part in phase)
        bounds = range(start, stop)
        with torch.no_grad():
            if self._together:
                return self._run(state, rows, counts, bounds, inputs)
            *given, data = inputs
            results = []
            for k in range(self._members):
                one, mine = _member((state, given), k)
                busy = phase.counts[:, k]
                inputs = (*mine, data)
                results.append(
                    self._run(one, rows[:, k], counts[:, k], bounds, inputs, busy)
                )
            state = _stack([result[0] for result in results], 0)
            return state, *_stack([tuple(result[1:]) for result in results], 1)

    def _run(
        self,
        state: Any,
        rows: Any,
        counts: Any,
        bounds: range,
        inputs: Any,
        busy: Any = None,
    ) -> Any:
        """Runs some steps; of one member those alone in which it is busy."""
        made: list[Any] = []
        for s in bounds:
            if busy is not None and not busy[s] and made:
                made.append(made[-1])
                continue
            new, *results = self._call((state, rows[s], counts[s], *inputs))
            if busy is None or busy[s]:
                state = new
            made.append(tuple(results))
        return state, *_stack(made, 0)

    def _call(self, inputs: Any) -> Any:
        leaves, spec = pytree.tree_flatten(inputs)
        tensors = [leaf for leaf in leaves if leaf is not None]
        key = tuple(inputs[1].shape)
        if key not in self._traced:
            step = self._step
            if self._together:
                mapped = [None if part is None else 0 for part in inputs[:5]]
                step = torch.vmap(step, in_dims=(*mapped, None), randomness="different")
            try:
                self._traced[key] = _trace(step, leaves, spec)
            except Exception:
                if self._together:
                    raise
                # A step that reads a number from the device, as that of a layer with
                # noise does, cannot be traced; one member's can be run as it is.
                self._traced[key] = (None, None)
        run, made = self._traced[key]
        if run is None:
            return self._step(*inputs)
        return pytree.tree_unflatten(run(*tensors), made)


def _trace(step: Any, leaves: list[Any], spec: Any) -> tuple[Any, Any]:
    """The bare operations of a step, as a function of its tensors."""
    # Not at the top: it takes half a second to import.
    from torch.fx.experimental.proxy_tensor import make_fx

    made: list[Any] = []

    def flat(*tensors: Any) -> list[Any]:
        left = iter(tensors)
        whole = [None if leaf is None else next(left) for leaf in leaves]
        results, out = pytree.tree_flatten(step(*pytree.tree_unflatten(whole, spec)))
        made[:] = [out]
        return results

    traced = make_fx(flat)(*[leaf for leaf in leaves if leaf is not None])
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced, made[0]


def _member(tree: Any, k: int) -> Any:
    return pytree.tree_map(lambda leaf: None if leaf is None else leaf[k], tree)


def _stack(results: list[Any], dim: int) -> Any:
    return pytree.tree_map(lambda *leaves: torch.stack(leaves, dim), *results)


def member_function(function: Any, together: bool) -> Callable[..., Any]:
    """Calls a function of one member for all: mapped arguments, then shared ones."""

    def all_at_once(mapped: Any, shared: Any) -> Any:
        with torch.no_grad():
            return torch.vmap(
                lambda one: function(*one, *shared), randomness="different"
            )(mapped)

    def in_turn(mapped: Any, shared: Any) -> Any:
        members = len(pytree.tree_leaves(mapped)[0])
        with torch.no_grad():
            results = [function(*_member(mapped, k), *shared) for k in range(members)]
        return _stack(results, 0)

    return all_at_once if together else in_turn
