"""What `fusion` may be, and how the members' answers become one."""

import difflib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_tricks import fusion as kt_fusion

NAMED: dict[str, Callable[..., Any]] = {
    "probabilities": kt_fusion.mean_probability,
    "geometric": kt_fusion.geometric_mean,
    "vote": kt_fusion.majority_vote,
    "mean": kt_fusion.mean,
    "median": kt_fusion.median,
}
_LINEAR = ("probabilities", "mean")
_RANKS = (
    "ranks depend on the whole set of samples, and a model sees one batch; give the "
    "members' predictions for all samples to kt.fusion.rank_average"
)
_VARIANCES = (
    "it takes variances beside the means; give the members' predictions to "
    "kt.fusion.mean_and_variance"
)
_CALIBRATES = "it changes one model's answer; use the method `calibrate`"
# What `kt.fusion` has beside the functions above.
_OTHERS = {
    "rank_average": _RANKS,
    "mean_and_variance": _VARIANCES,
    "decode_answers": "it needs a code table; give the table itself as `fusion`",
    "fit_linear_weights": "it gives weights; use the method `fit_weights`",
    "greedy_selection": "it gives weights; use the method `select`",
    "apply_temperature": _CALIBRATES,
    "fit_temperature": _CALIBRATES,
    "fit_threshold": "it gives a threshold; use the method of that name",
}


class Fusion:
    """One of the named fusions, a code table, or a function of the user's."""

    def __init__(self, given: Any, members: int | None = None) -> None:
        self.name, self.code, self.function = _resolved(given)
        if members is None or self.code is None:
            return
        if self.code.shape[1] != members:
            raise ValueError(
                "`fusion` must have one column per member where it is a code table. "
                f"Received: a table of {self.code.shape[1]} columns, {members} models"
            )

    @property
    def of_classes(self) -> bool:
        """Whether it asks for probabilities, not for numbers of any kind."""
        return self.code is not None or self.name in (
            "probabilities",
            "geometric",
            "vote",
        )

    @property
    def per_row(self) -> bool:
        """Whether exactly one class of a row is true in its arithmetic."""
        return self.name in ("geometric", "vote")

    @property
    def linear(self) -> bool:
        """Whether the answer is the weighted mean."""
        return self.name in _LINEAR

    @property
    def config(self) -> Any:
        """What a file keeps: a name, a table, or the name of a registered function.

        Raises:
            ValueError: If a function is not registered.
        """
        if self.code is not None:
            return self.code.tolist()
        if self.name is not None:
            return self.name
        name = keras.saving.get_registered_name(self.function)
        if keras.saving.get_registered_object(name) is not self.function:
            raise ValueError(
                "`fusion` must be registered to be saved, with "
                "keras.saving.register_keras_serializable. Received: "
                f"fusion={self.function!r}"
            )
        return keras.saving.serialize_keras_object(self.function)

    def __call__(self, answers: list[Any], weights: Any, classes: Any) -> Any:
        """Fuses arrays to an array, or tensors to a tensor."""
        if self.code is not None:
            return kt_fusion.decode_answers(answers, self.code, weights)
        if classes is not None:
            return self.function(answers, weights, classes=classes)
        return self.function(answers, weights)


def _resolved(given: Any) -> tuple[str | None, Any, Any]:
    if isinstance(given, str):
        if given in ("rank", "ranks", "rank_average"):
            raise _refused(given, _RANKS)
        if given not in NAMED:
            raise ValueError(_unknown(given))
        return given, None, NAMED[given]
    if callable(given):
        for other, reason in _OTHERS.items():
            if given is getattr(kt_fusion, other):
                raise _refused(other, reason)
        name = next((name for name, f in NAMED.items() if f is given), None)
        return name, None, given
    return None, _code(given), None


def _refused(given: str, reason: str) -> ValueError:
    return ValueError(
        "`fusion` must make one answer of the members', a batch at a time. Received: "
        f"fusion={given!r}, but {reason}"
    )


def _unknown(given: str) -> str:
    words = ", ".join(map(repr, NAMED))
    near = difflib.get_close_matches(given, NAMED, 1)
    hint = f". Did you mean {near[0]!r}?" if near else ""
    return (
        f"`fusion` must be one of {words}, a function of kt.fusion, or a code table. "
        f"Received: fusion={given!r}{hint}"
    )


def _code(given: Any) -> Any:
    expected = (
        f"`fusion` must be one of {', '.join(map(repr, NAMED))}, a function of "
        "kt.fusion, or a code table: integers, one row per class, one column per member"
    )
    try:
        code = np.asarray(given)
    except ValueError:
        code = np.empty(0)
    if code.ndim != 2 or code.dtype.kind not in "iu" or not code.size:
        raise TypeError(f"{expected}. Received: fusion={given!r}")
    return code
