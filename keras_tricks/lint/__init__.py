"""The tuning guide as rules that look at a compiled model before it is trained."""

from keras_tricks.lint.check import check
from keras_tricks.lint.facts import Facts
from keras_tricks.lint.finding import Finding
from keras_tricks.lint.fix import fix
from keras_tricks.lint.register import register, unregister
from keras_tricks.lint.report import Report
from keras_tricks.lint.rules import rules

__all__ = [
    "Facts",
    "Finding",
    "Report",
    "check",
    "fix",
    "register",
    "rules",
    "unregister",
]
