"""Tools for a training that fails."""

from keras_tricks.debug.explain_failure import explain_failure
from keras_tricks.debug.rerun_on_cpu import rerun_on_cpu
from keras_tricks.debug.step_error import StepError

__all__ = ["StepError", "explain_failure", "rerun_on_cpu"]
