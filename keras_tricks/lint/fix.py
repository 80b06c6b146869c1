"""What the linter found, mended where that is safe."""

import warnings
from typing import Any, NamedTuple

from keras_tricks import _arguments, _patterns
from keras_tricks._errors import NoEffectWarning
from keras_tricks._report import Report as Table
from keras_tricks.lint import _repairs
from keras_tricks.lint._rules import RULES
from keras_tricks.lint.report import Report
from keras_tricks.surgery import _rebuild


def fix(model: Any, report: Any, plan: bool = False, verbose: int = 1) -> Any:
    """Makes a new model in which the safe ones of the linter's findings are mended.

    When: after `kt.lint.check`, before the training.
    Typical: `model = kt.lint.fix(model, report)`; `report.filter(code="KT30")` to mend
        some of them only.
    Costs: a new model, with a copy of all weights, for each kind of finding.
    Beware: look at the plan first. What is a matter of taste, of tuning, or of the data
        is left to you: the table says what.

    Safe is what leaves the predictions as they are: Dropout that is put in, taken out
    or made spatial, the loss's `from_logits`, what is decayed; and, of layers that
    nothing has trained yet, the initializer, whose kernels are drawn anew. The old
    model stays as it is. The new one has its weights and names, and is compiled like
    it, with the optimizer's slots.

    Args:
        model: The model that was checked, Sequential or Functional.
        report: The `kt.lint.Report` of it.
        plan: Boolean, whether only to return what would be done. Defaults to False.
        verbose: 0 or 1; 1 prints the table of what was mended and what was not.
            Defaults to 1.

    Returns:
        The new model. With `plan=True` a table instead, that prints itself: a row for
        each finding with `code`, `layer`, `change` ("" if it is left alone) and `why`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `verbose` is unknown, the report names layers that the model does
            not have, or the model is not built, is a subclass whose graph is not known,
            or cannot be copied.

    Example:
    >>> import keras, keras_tricks as kt
    >>> out = keras.layers.Dense(3, "softmax", name="out")
    >>> model = keras.Sequential([keras.Input((4,)), out])
    >>> loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    >>> model.compile("adam", loss)
    >>> report = kt.lint.check(model).filter(severity="error")
    >>> new = kt.lint.fix(model, report)
    1 of 1 findings mended
    code   layer  change             why
    KT301  out    from_logits=False  the predictions stay as they are
    >>> len(kt.lint.check(new).filter(severity="error"))
    0

    Reference: as of the findings.
    """
    _rebuild.check(model)
    _arguments.one_of("verbose", verbose, (0, 1))
    _check_report(model, report)
    rows, work = [], []
    for finding in report:
        repair, change, why = _planned(finding)
        rows.append(_Row(finding.code, finding.layer, change, why))
        if repair is not None:
            work.append((repair, finding))
    table = Table(f"{len(work)} of {len(rows)} findings mended", rows)
    if plan:
        return table
    if not work:
        reasons = "; ".join(f"{row.code}: {row.why}" for row in rows[:5])
        warnings.warn(
            f"fix has no effect on {model.name!r}: {reasons or 'no findings'}. The "
            "copy is like the model.",
            NoEffectWarning,
            stacklevel=2,
        )
        return _rebuild.rebuild(model).finish()
    new = model
    for repair, finding in work:
        new = repair(new, finding)
    if verbose:
        print(table)
    return new


class _Row(NamedTuple):
    code: str
    layer: str
    change: str
    why: str


def _planned(finding: Any) -> tuple[Any, str, str]:
    """How a finding is mended, what that changes, and why, or why not."""
    ours = _repairs.REPAIRS.get(finding.code)
    rule = RULES.get(finding.code)
    own = rule.repair if rule is not None else None
    if not finding.safe:
        known = ours is not None or own is not None
        why = "not safe here" if known else "it is for you to decide"
        return None, "", f"{why}; see its `fix`"
    if ours is not None:
        return ours.function, ours.change(finding), ours.why
    if own is not None:
        return own, "as the rule says", "a rule of your own"
    return None, "", "the rule has no `repair`"


def _check_report(model: Any, report: Any) -> None:
    if not isinstance(report, Report):
        raise TypeError(
            f"`report` must be a kt.lint.Report. Received: report={report!r}; give "
            "what kt.lint.check(model) returns"
        )
    paths = {path for path, _ in _patterns.layer_paths(model)}
    for finding in report:
        strange = [path for path in finding.layers if path not in paths]
        if strange:
            raise ValueError(
                "`report` must be one of this model. Received: a report that names the "
                f"layer {strange[0]!r}, which {model.name!r} does not have; check this "
                "model"
            )
