"""The step of `_backend.moment_step` on PyTorch, where each call has its price."""

from typing import Any

import torch


@torch.no_grad()
def moment_step(
    variables: list[Any],
    gradients: list[Any],
    momentums: list[Any],
    velocities: list[Any],
    factors: Any,
) -> tuple[Any, Any]:
    """Moves the moments and the variables, all at once.

    Returns:
        The sum of the squares of the steps, and that of steps times gradients.
    """
    m = [slot.value for slot in momentums]
    a = [slot.value for slot in velocities]
    g = [grad.to(slot.dtype) for grad, slot in zip(gradients, m, strict=True)]
    torch._foreach_mul_(m, factors.decay)
    torch._foreach_add_(m, torch._foreach_mul(g, factors.gain))
    change = torch._foreach_mul(g, g)
    torch._foreach_sub_(change, a)
    torch._foreach_mul_(change, factors.mix)
    torch._foreach_add_(a, change)
    below = torch._foreach_sqrt(a)
    torch._foreach_mul_(below, factors.keep)
    torch._foreach_add_(below, factors.offset)
    steps = torch._foreach_mul(m, -factors.rate)
    torch._foreach_div_(steps, below)
    torch._foreach_add_([v.value for v in variables], steps)
    squares = torch.stack(torch._foreach_norm(steps)).square().sum()
    products = [
        torch.dot(step.flatten(), grad.flatten())
        for step, grad in zip(steps, g, strict=True)
    ]
    return squares, torch.stack(products).sum()
