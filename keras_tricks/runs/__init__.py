"""Records of trainings: read, compared, drawn, repeated."""

from keras_tricks.runs.compare import compare
from keras_tricks.runs.list import list  # noqa: A004
from keras_tricks.runs.plot import plot
from keras_tricks.runs.repeat import repeat
from keras_tricks.runs.report import report
from keras_tricks.runs.reproducible import reproducible
from keras_tricks.runs.run import Run
from keras_tricks.runs.to_pandas import to_pandas
from keras_tricks.runs.unstable_layers import unstable_layers

__all__ = [
    "Run",
    "compare",
    "list",
    "plot",
    "repeat",
    "report",
    "reproducible",
    "to_pandas",
    "unstable_layers",
]
