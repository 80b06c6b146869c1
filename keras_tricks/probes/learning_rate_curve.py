"""What a range test returns: the curve, the suggested rate, and how sure it is."""

from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments
from keras_tricks._axes import axes
from keras_tricks.probes import _suggestion
from keras_tricks.schedules import _rates

_COLOURS = {
    "segment": "tab:green",
    "steepest": "tab:purple",
    "valley": "tab:brown",
    "minimum": "tab:orange",
}


class LearningRateCurve:
    """Loss against learning rate, with the suggestions of four methods.

    When: returned by `find_learning_rate`; made by hand from a recorded test.
    Typical: `curve.suggestion`, `curve.plot()`, `curve.apply(model)`.
    Costs: nothing.
    Beware: look at `verdict` before you trust `suggestion`.

    Args:
        learning_rates: Floats, shape (steps,), the rate of each update.
        losses: Floats, shape (steps,), the loss of each update's own batch. The curve
            ends before the first that is not finite.
        smoothing: Float in [0, 1), weight of the past in `smoothed`.
        diverged: Boolean, whether a loss came next that was not finite. It is left out
            of `losses`.
        ended: String, why the test ended.
        seconds: Float, how long the test took.
        first_step_seconds: Float, the part of it before the first step was done:
            tracing and compiling.

    Attributes:
        smoothed: Floats, shape (steps,), exponential moving average of `losses`
            without the bias of its start.
        suggestions: Dict from method to rate, NaN where a method has no answer.
            "segment": near the foot of the steepest straight fall, fitted in log rate;
            "steepest": where the smoothed loss falls fastest; "valley": the middle of
            its longest fall; "minimum": a tenth of the rate at its lowest point.
        suggestion: Float or None: the middle one of "segment", "minimum" and a third
            of the rate at which the loss turned upwards, where two of them agree.
        verdict: "clear" or "inconclusive".
        reason: String, why.

    Raises:
        ValueError: If the two arrays are not of one length, or `smoothing` is out of
            its range.

    Example:
    >>> import numpy as np, keras_tricks as kt
    >>> rates = np.geomspace(1e-5, 1.0, 100)
    >>> losses = 2.0 + np.random.default_rng(0).normal(scale=0.1, size=100)
    >>> kt.probes.LearningRateCurve(rates, losses).verdict
    'inconclusive'

    Reference: Smith 2015, arXiv 1506.01186.
    """

    def __init__(
        self,
        learning_rates: Any,
        losses: Any,
        *,
        smoothing: float = 0.98,
        diverged: bool = False,
        ended: str = "",
        seconds: float = 0.0,
        first_step_seconds: float = 0.0,
    ) -> None:
        _arguments.within("smoothing", smoothing, 0, 1, open_high=True)
        self.learning_rates = np.asarray(learning_rates, dtype="float64")
        self.losses = np.asarray(losses, dtype="float64")
        if self.learning_rates.ndim != 1 or (
            self.learning_rates.shape != self.losses.shape
        ):
            raise ValueError(
                "`learning_rates` and `losses` must be two lists of one length. "
                f"Received: shapes {self.learning_rates.shape} and {self.losses.shape}"
            )
        finite = np.cumprod(np.isfinite(self.losses)).astype(bool)
        self.learning_rates = self.learning_rates[finite]
        self.losses = self.losses[finite]
        self.smoothing = smoothing
        self.diverged = bool(diverged or not finite.all())
        self.ended = ended
        self.seconds = seconds
        self.first_step_seconds = first_step_seconds
        self.smoothed = _suggestion.smooth(self.losses, smoothing)
        answer = _suggestion.consensus(
            self.learning_rates, self.losses, smoothing, diverged=self.diverged
        )
        self.suggestions = answer.suggestions
        self.suggestion = answer.suggestion
        self.verdict = answer.verdict
        self.reason = answer.reason

    def __repr__(self) -> str:
        if self.suggestion is None:
            rate = "no suggestion"
        else:
            rate = f"suggestion={self.suggestion:.2g}"
        methods = ", ".join(f"{k}={v:.2g}" for k, v in self.suggestions.items())
        steps = f"{len(self.losses)} steps"
        if len(self.losses):
            low, high = self.learning_rates[[0, -1]]
            steps += f" from {low:.2g} to {high:.2g}"
        ended = f", {self.ended}" if self.ended else ""
        return (
            f"<LearningRateCurve {rate}, {self.verdict}: {self.reason} ({methods}); "
            f"{steps}{ended}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings and lists, ready for JSON.

        A method without an answer has None.
        """
        suggestions = {
            name: rate if np.isfinite(rate) else None
            for name, rate in self.suggestions.items()
        }
        return {
            "learning_rates": self.learning_rates.tolist(),
            "losses": self.losses.tolist(),
            "smoothed": self.smoothed.tolist(),
            "smoothing": self.smoothing,
            "diverged": self.diverged,
            "suggestions": suggestions,
            "suggestion": self.suggestion,
            "verdict": self.verdict,
            "reason": self.reason,
            "ended": self.ended,
            "seconds": self.seconds,
            "first_step_seconds": self.first_step_seconds,
        }

    def apply(self, model: keras.Model, learning_rate: float | None = None) -> float:
        """Gives the model the suggested rate.

        A plain rate is set. A schedule keeps its shape and is scaled, so that its
        highest rate is the suggestion; with several groups the highest of them is,
        and the others keep their ratio to it (a `MultiOptimizer` is built for that).

        Args:
            model: Compiled model.
            learning_rate: Float or None. Another rate than the suggestion.

        Returns:
            The rate that was set.

        Raises:
            ValueError: If the test was inconclusive and no rate is given, or the
                model is not compiled.
        """
        rate = self.suggestion if learning_rate is None else learning_rate
        if rate is None:
            raise ValueError(
                "`learning_rate` must be given, because the range test was "
                f"inconclusive: {self.reason}. Received: learning_rate=None"
            )
        _arguments.compiled_model("model", model)
        _arguments.positive("learning_rate", rate)
        _rates.set_peak(model, rate)
        return rate

    def plot(self, ax: Any = None) -> Any:
        """Draws the loss over the rate, the answers of the methods and the suggestion.

        Args:
            ax: Matplotlib axes, or None to make a figure.

        Returns:
            The axes.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        ax = axes(ax)
        ax.plot(
            self.learning_rates, self.losses, ".", ms=3, color="0.75", label="batch"
        )
        ax.plot(self.learning_rates, self.smoothed, color="tab:blue", label="smoothed")
        for name, rate in self.suggestions.items():
            if np.isfinite(rate):
                ax.axvline(rate, ls="--", lw=1.2, color=_COLOURS.get(name), label=name)
        if self.suggestion is not None:
            label = f"suggestion {self.suggestion:.2g}"
            ax.axvline(self.suggestion, color="tab:red", lw=2, label=label)
        ax.set(
            xscale="log",
            xlabel="learning rate",
            ylabel="loss",
            title=f"Range test: {self.verdict}",
        )
        if len(self.losses):
            # What happens beyond the divergence would flatten the part that matters.
            low = min(self.smoothed.min(), np.quantile(self.losses, 0.02))
            high = np.quantile(self.losses[: len(self.losses) // 2 + 1], 0.98)
            margin = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
            ax.set_ylim(low - margin, high + 3 * margin)
        ax.legend(fontsize="small", loc="lower left")
        return ax
