"""The tuning guide, read over a model before it is trained."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _backend
from keras_tricks.lint import _codes, _notes, _rule
from keras_tricks.lint._rules import RULES
from keras_tricks.lint.facts import Facts
from keras_tricks.lint.finding import Finding
from keras_tricks.lint.report import Report

_FAILED = "KT001"


def check(
    model: Any,
    x: Any = None,
    y: Any = None,
    *,
    batch_size: int | None = None,
    callbacks: Sequence[Any] = (),
    epochs: int | None = None,
    ignore: str | Sequence[str] = (),
) -> Report:
    """Looks for common mistakes in a model, its training and its data.

    When: before a long training, and when one goes badly.
    Typical: `print(kt.lint.check(model, x, y, batch_size=64, callbacks=callbacks))`;
        with `report.raise_if("error")` in a test of your project.
    Costs: nothing is trained or run; well under a second for ResNet50. With data, the
        time to read some 2,000 rows; large arrays are searched for NaN as well.
    Beware: it knows rules, not your task. "info" is worth a thought and no more, and a
        report without findings promises nothing. Reading a shuffled `tf.data` pipeline
        draws its next order.

    The model, its random numbers and its callbacks stay as they are. Of data sets a few
    batches are read; generators and iterators are not read at all. What could not be
    looked at (a subclass whose graph is unknown, missing data) is said in the report's
    `notes`. `kt.lint.rules()` lists the rules. A rule that fails is reported itself, as
    KT001, and hides no other.

    Callbacks of your own are known by what their class declares as `lint_traits`, a
    dict with any of "sets_learning_rate", "starts_learning_rate" (from the first epoch
    on), "clips_gradients", "averages_weights" and "refreshes_batch_norm", each with
    True, and "patterns" with the name of the attribute that holds patterns of layers.

    Args:
        model: Built model, compiled or not; the rules on loss and optimizer need it
            compiled. Of a subclass only the layers are known, not how they follow on
            each other.
        x: Inputs as for `fit`: an array, or a dict or list of such, a
            `tf.data.Dataset`, a `PyDataset` or a torch `DataLoader`. Defaults to None.
        y: Labels as for `fit`, or None.
        batch_size: Positive integer as for `fit`. Defaults to None: that of the data
            set, or 32 with arrays.
        callbacks: List of the callbacks that `fit` will be given.
        epochs: Positive integer as for `fit`. Defaults to None, not known.
        ignore: Code, or list of codes, such as "KT101", or how they begin, such as
            "KT1", of rules that are not asked.

    Returns:
        A `kt.lint.Report`: a list of `kt.lint.Finding` that prints itself.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the model is not built, a number is not positive, or `ignore`
            names no rule.

    Example:
    >>> import keras, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    >>> loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    >>> model.compile(keras.optimizers.Adam(0.3), loss)
    >>> report = kt.lint.check(model).filter(severity="warning")
    >>> [(finding.code, finding.severity) for finding in report]
    [('KT301', 'error'), ('KT310', 'warning')]

    Reference: each finding names its source.
    """
    _arguments.built_model("model", model)
    if batch_size is not None:
        _arguments.positive_integer("batch_size", batch_size)
    if epochs is not None:
        _arguments.positive_integer("epochs", epochs)
    callbacks = _callbacks(callbacks)
    left_out = _codes.ignored(ignore, [_FAILED, *RULES])
    asked = [RULES[code] for code in sorted(RULES) if code not in left_out]
    with _random_numbers_kept(model):
        facts = Facts(model, x, y, batch_size, callbacks, epochs)
        return _ask(asked, facts, tell_failures=_FAILED not in left_out)


def _callbacks(callbacks: Any) -> list[Any]:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    if isinstance(callbacks, keras.callbacks.Callback):
        return [callbacks]
    if callbacks is None or isinstance(callbacks, str) or not _is_list(callbacks):
        raise TypeError(
            "`callbacks` must be a list of callbacks. "
            f"Received: callbacks={callbacks!r}"
        )
    return list(callbacks)


def _is_list(value: Any) -> bool:
    return hasattr(value, "__iter__")


def _ask(asked: list[_rule.Rule], facts: Facts, *, tell_failures: bool) -> Report:
    findings: list[Finding] = []
    missing: dict[str, list[str]] = {}
    for rule in asked:
        lacks = [need for need in rule.needs if not facts.has(need)]
        for need in lacks:
            missing.setdefault(need, []).append(rule.code)
        if lacks:
            continue
        try:
            findings += rule(facts)
        except Exception as error:  # One rule must not hide what others find.
            if tell_failures:
                findings.append(_failure(rule, error))
    return Report(findings, _notes.of(facts, missing))


def _failure(rule: _rule.Rule, error: Exception) -> Finding:
    return Finding(
        f"The rule {rule.code} itself failed: {type(error).__name__}: {error}",
        code=_FAILED,
        severity="warning",
        why="A rule that fails says nothing about the model, neither good nor bad.",
        fix=f"kt.lint.check(model, ignore=[{rule.code!r}])",
    )


@contextmanager
def _random_numbers_kept(model: Any) -> Iterator[None]:
    """Gives the random numbers back that a data set of the user's draws."""
    python, numpy = random.getstate(), np.random.get_state()
    extras: Callable[[], None] = _backend.borrow_extras(model)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        extras()
