"""Losses that grow with the batch."""

from collections.abc import Iterator
from typing import Any

from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding


@rule(
    "KT304",
    "The loss is summed over the batch, not averaged.",
    severity="warning",
    why=(
        "The gradient is then not divided by the batch size: another batch size means "
        "another step, and the last, smaller batch counts for less."
    ),
    source="Goyal et al. 2017, section 3, arXiv 1706.02677",
    needs=("compiled",),
)
def summed_loss(facts: Any) -> Iterator[Finding]:
    """Finds losses with `reduction="sum"`.

    It cannot see whether the learning rate was chosen for it, nor what a function of
    one's own does.
    """
    for loss in facts.losses:
        if loss.reduction == "sum":
            head = facts.head(loss.output)
            yield Finding(
                'The loss has reduction="sum": its gradient grows with the batch.',
                layers=(head.path,) if head else (),
                fix=f"keras.losses.{type(loss.given).__name__}("
                'reduction="sum_over_batch_size")',
            )
