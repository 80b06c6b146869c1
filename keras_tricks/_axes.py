"""The one place that asks for matplotlib."""

from typing import Any


def axes(ax: Any = None) -> Any:
    """The given matplotlib axes, or those of a new figure."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "A plot needs matplotlib, which is not installed. "
            'Run `pip install "keras_tricks[plot]"`.'
        ) from error
    return pyplot.subplots(layout="constrained")[1]
