"""Learning rates far from where their optimizer usually works."""

from collections.abc import Iterator
from typing import Any

from keras_tricks import _layer_kinds
from keras_tricks.lint import _kinds
from keras_tricks.lint._rule import rule
from keras_tricks.lint.finding import Finding

# Lowest and highest rate that published recipes use, and a good start.
_USUAL = {
    "Adadelta": (1e-2, 10.0, 1.0),
    "Adafactor": (1e-5, 0.3, 1e-2),
    "Adagrad": (1e-4, 1.0, 1e-2),
    "Ftrl": (1e-4, 5.0, 1e-1),
    "Lamb": (1e-5, 0.1, 1e-3),
    "Lion": (1e-7, 3e-3, 1e-4),
    "Muon": (1e-4, 0.3, 2e-2),
    "RMSprop": (1e-6, 3e-2, 1e-3),
    "SGD": (1e-5, 5.0, 1e-2),
    "ScheduleFreeAdamW": (1e-6, 0.1, 2.5e-3),
    **dict.fromkeys(_kinds.ADAMS, (1e-6, 3e-2, 1e-3)),
}
# What Keras starts with, for its own batches of 32.
_DEFAULTS = {"SGD": 1e-2, "Adam": 1e-3, "RMSprop": 1e-3, "Lion": 1e-3}
_KERAS_BATCH = 32
_RAISED = 8


@rule(
    "KT310",
    "The learning rate is far from what the optimizer usually works with.",
    severity="warning",
    why="Too high a rate diverges or kills ReLUs; too low a one looks like a model "
    "that cannot learn.",
    source="the optimizers' papers; Keras's documentation (Adadelta: 1.0)",
    needs=("compiled",),
)
def unusual_rate(facts: Any) -> Iterator[Finding]:
    """Compares the highest rate that each optimizer reaches with its usual range.

    The ranges are wide: what is outside is ten times off the recipes, or more. A rate
    of zero is an error. With a `LearningRateScheduler` it says nothing: that sets the
    rate from the first epoch on.

    It cannot see optimizers of one's own, rates that are given by a function, nor what
    a callback sets later.
    """
    for group, peak in _compiled_rates(facts):
        usual = _looked_up(_USUAL, group)
        name = type(group).__name__
        if peak == 0:
            message = f"{name} has a learning rate of 0: nothing is trained."
            yield Finding(message, severity="error", fix=_find())
        elif usual and not usual[0] <= peak <= usual[1]:
            far = "low" if peak < usual[0] else "high"
            yield Finding(
                f"A learning rate of {peak:g} is very {far} for {name}; "
                f"{usual[2]:g} is a good start.",
                fix=_find(),
            )


def _compiled_rates(facts: Any) -> list[tuple[Any, float]]:
    """The rates that the training works with; none if a callback sets them all."""
    return [] if facts.callbacks_that("starts_learning_rate") else facts.peaks


def _find() -> str:
    return (
        "curve = kt.probes.find_learning_rate(model, x, y)\n"
        "model.optimizer.learning_rate = curve.suggestion"
    )


def _looked_up(table: dict[str, Any], group: Any) -> Any:
    return next(
        (table[name] for name in _layer_kinds.class_names(group) if name in table), None
    )


@rule(
    "KT311",
    "The batch is many times Keras's own, and the learning rate is not.",
    severity="info",
    why=(
        "A larger batch has a steadier gradient and takes fewer steps in an epoch: the "
        "rate may grow with it, by k for SGD, by its root for Adam."
    ),
    source="Goyal et al. 2017, arXiv 1706.02677; Malladi et al. 2022, 2205.10287",
    needs=("compiled",),
)
def batch_without_rate(facts: Any) -> Iterator[Finding]:
    """Finds batches of 256 rows or more with just the rate that Keras starts with.

    It cannot see for which batch size the rate was found: hence "info".
    """
    size = facts.batch_size
    if not size or size < _RAISED * _KERAS_BATCH:
        return
    for group, peak in _compiled_rates(facts):
        default = _looked_up(_DEFAULTS, group)
        # A rate is stored in float32.
        if default and abs(peak - default) < 1e-6 * default:
            rule = "linear" if "SGD" in _layer_kinds.class_names(group) else "sqrt"
            yield Finding(
                f"Batches of {size} rows with the default rate of {default:g}, which "
                "suits small ones.",
                fix=f"kt.schedules.scale_learning_rate({default:g}, {size}, "
                f'{_KERAS_BATCH}, rule="{rule}")',
            )
