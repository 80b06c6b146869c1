"""Plot: a schedule's rates as a curve."""

from typing import Any

from keras.optimizers.schedules import LearningRateSchedule

from keras_tricks._axes import axes
from keras_tricks.schedules.preview import preview


def plot(
    schedule: LearningRateSchedule | float, steps: int, ax: Any = None, **kwargs: Any
) -> Any:
    """Draws the rates of the first steps.

    When: always, before you train with a schedule.
    Typical: `steps` = epochs times steps per epoch.
    Costs: as `preview`; needs matplotlib.
    Beware: `steps` counts optimizer steps, not epochs.

    Args:
        schedule: Schedule, or a float for a constant rate.
        steps: Positive integer, in optimizer steps.
        ax: `matplotlib.axes.Axes` to draw on. Defaults to those of a new figure.
        **kwargs: Passed on to `Axes.plot`, for example `label="SGDR"`.

    Returns:
        The `matplotlib.axes.Axes`.

    Raises:
        ImportError: If matplotlib is not installed and `ax` is not given.
        TypeError: As `preview`.
        ValueError: As `preview`.

    Example:
    >>> from matplotlib.figure import Figure
    >>> import keras_tricks as kt
    >>> ax = kt.schedules.plot(kt.schedules.Warmup(0.1, 4), 6, Figure().subplots())
    >>> ax.get_ylabel()
    'learning rate'

    Reference: none.
    """
    rates = preview(schedule, steps)
    ax = axes(ax)
    ax.plot(rates, **kwargs)
    ax.set(xlabel="optimizer step", ylabel="learning rate")
    ax.set_ylim(bottom=0.0)
    ax.margins(x=0.0)
    return ax
