"""Norms inside the training step on PyTorch."""

from typing import Any

import keras
import torch


@torch.no_grad()
def snapshot(variables: list[Any]) -> list[Any]:
    """The values as they are now, whatever is assigned later; None for None."""
    return [
        None if v is None else torch.clone(keras.ops.convert_to_tensor(v))
        for v in variables
    ]


@torch.no_grad()
def norms(tensors: list[Any]) -> Any:
    """The norm of each tensor as one vector in float32; -1 for None."""
    present = [tensor for tensor in tensors if tensor is not None]
    # In float32: a norm of half precision overflows at 65504.
    found = torch._foreach_norm(present, dtype=torch.float32) if present else []
    return _placed(found, tensors)


@torch.no_grad()
def difference_norms(ones: list[Any], others: list[Any]) -> Any:
    """The norm of each difference, as `norms` gives it."""
    present = [(a, b) for a, b in zip(ones, others, strict=True) if a is not None]
    if not present:
        return norms(ones)
    left, right = map(list, zip(*present, strict=True))
    found = iter(torch._foreach_sub(left, right))
    return norms([None if one is None else next(found) for one in ones])


@torch.no_grad()
def largest(tensors: list[Any]) -> Any:
    """The largest size of an element of each tensor; -1 for None."""
    present = [tensor for tensor in tensors if tensor is not None]
    found = [t.abs().max().float() for t in present]
    return _placed(found, tensors)


def _placed(found: Any, tensors: list[Any]) -> Any:
    if len(found) == len(tensors):
        return torch.stack(list(found))
    values = iter(found)
    missing = torch.tensor(-1.0, device=found[0].device if found else None)
    return torch.stack([missing if t is None else next(values) for t in tensors])


def has_value(tensor: Any) -> bool:
    """Whether the elements can be read now, and not only in a vectorized map."""
    return not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
