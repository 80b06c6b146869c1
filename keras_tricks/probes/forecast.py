"""What pilot runs say about the full run: its seconds, its metrics, and how surely."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_tricks import _arguments, _direction
from keras_tricks._axes import axes
from keras_tricks.probes import _learning_curve, _pilot_times
from keras_tricks.probes._learning_curve import Extrapolation
from keras_tricks.probes._pilot_times import Run

# Fewer steps than this have not begun to train.
_FEWEST_STEPS = 10
# An interval whose ends differ by more says hardly anything.
_WIDEST = 4.0
# Repeats that differ by more than this share of the gain hide it.
_NOISIEST = 0.5
# Of an error that was never seen among the rows of the validation: half of one.
_UNSEEN = 0.5


class _Metric(NamedTuple):
    """A metric of the full run with an 80 % interval."""

    estimate: float
    low: float
    high: float
    verdict: str
    reason: str
    curve: Extrapolation | None


class Forecast:
    """The seconds and the metrics of a full run, with 80 % intervals.

    When: returned by `pilot_run`.
    Typical: `print(forecast.summary())`, `forecast.plot()`.
    Costs: nothing.
    Beware: look at `verdict` before you trust a metric. An interval is about one full
        run, not about the mean of many.

    Args:
        runs: List of the runs, as `pilot_run` makes them.
        rows: Positive integer, rows of all data.
        epochs: Positive integer, epochs of each run, and of the full one.
        batch_size: Positive integer, that of each run.
        validation_rows: Positive integer, what the metrics were measured on.
        validates: Boolean, whether the full run will validate after each epoch on
            those rows. Defaults to False.
        metrics: List of names, or None for all that the runs have.

    Attributes:
        seconds: Float, of a full `fit`; `seconds_interval`: (low, high).
        one_off_seconds: Float, the part of it that no step takes: tracing, compiling.
        step_seconds: Float, of one step.
        pilot_seconds: Float, what the pilot took in all.
        metrics: Dict from the name to a tuple of `estimate`, `low`, `high`, `verdict`,
            `reason` and `curve` (`alpha * rows**beta + gamma`, of 1 - metric if higher
            is better).
        verdict: "enough evidence" if that holds for each metric, or "not enough".
        reason: String, why.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If there is no run, or a metric is in none of them.

    Example:
    >>> import keras_tricks as kt
    >>> from keras_tricks.probes._pilot_times import Run
    >>> errors = {100: (0.40, 0.42), 1000: (0.20,)}
    >>> runs = [
    ...     Run(rows, 4.0, [2.0, 1.0], [0.5, 0.1], 0.1, True, {"loss": error})
    ...     for rows, several in errors.items()
    ...     for error in several
    ... ]
    >>> forecast = kt.probes.Forecast(
    ...     runs, rows=10_000, epochs=2, batch_size=10, validation_rows=500
    ... )
    >>> forecast.verdict, 0.09 < forecast.metrics["loss"].estimate < 0.17
    ('enough evidence', True)

    Reference: Hestness et al. 2017, arXiv 1712.00409.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        rows: int,
        epochs: int,
        batch_size: int,
        validation_rows: int,
        validates: bool = False,
        metrics: Sequence[str] | None = None,
    ) -> None:
        self.runs = list(runs)
        if not self.runs:
            raise ValueError(
                "`runs` must hold at least one run. Received: runs=[]; use pilot_run"
            )
        self.rows = _arguments.positive_integer("rows", rows)
        self.epochs = _arguments.positive_integer("epochs", epochs)
        self.batch_size = _arguments.positive_integer("batch_size", batch_size)
        self.validation_rows = _arguments.positive_integer(
            "validation_rows", validation_rows
        )
        self.validates = validates
        times = _pilot_times.forecast(
            self.runs, rows, epochs=epochs, batch_size=batch_size, validates=validates
        )
        self.seconds = times.seconds
        self.seconds_interval = (times.low, times.high)
        self.one_off_seconds = times.one_off
        self.step_seconds = times.step
        self.pilot_seconds = sum(run.seconds + run.evaluation for run in self.runs)
        known = list(self.runs[0].metrics)
        names = known if metrics is None else list(metrics)
        for name in names:
            _arguments.one_of("metrics", name, known)
        self.metrics = {name: self._metric(name) for name in names}
        unsure = {n: m for n, m in self.metrics.items() if m.verdict == "not enough"}
        self.verdict = "not enough" if unsure else "enough evidence"
        self.reason = "; ".join(f"{n}: {m.reason}" for n, m in unsure.items()) or (
            "the errors fall from sample to sample by more than the repeats differ"
        )

    @property
    def sizes(self) -> list[int]:
        """The rows of the samples."""
        return sorted({run.rows for run in self.runs})

    def values(self, name: str) -> list[np.ndarray]:
        """What the runs reached in a metric, an array for each of `sizes`."""
        return [
            np.array([run.metrics[name] for run in self.runs if run.rows == size])
            for size in self.sizes
        ]

    def _metric(self, name: str) -> _Metric:
        nan = float("nan")
        values = self.values(name)
        flat = np.concatenate(values)
        higher = _direction.higher_is_better(name)

        def not_enough(reason: str) -> _Metric:
            return _Metric(nan, nan, nan, "not enough", reason, None)

        if not np.isfinite(flat).all():
            return not_enough("a run diverged, its value is not finite")
        if len(values) < 2:
            return not_enough("too few points, all samples have one size")
        counted = higher and bool(np.all((flat >= 0) & (flat <= 1)))
        errors = [1.0 - v if higher else v for v in values]
        if counted:
            # None wrong among so many says only that errors are few.
            unseen = _UNSEEN / self.validation_rows
            errors = [np.maximum(error, unseen) for error in errors]
        if min(float(error.min()) for error in errors) <= 0:
            return not_enough("no power law: values below zero, or of zero")
        found = _learning_curve.extrapolate(
            self.sizes,
            errors,
            self.rows,
            1.0 / self.validation_rows if counted else 0.0,
        )
        reason = self._doubt(errors, found)
        verdict = "not enough" if reason else "enough evidence"
        # More than all cannot be wrong.
        most = 1.0 if counted else np.inf
        low, error, high = (min(e, most) for e in found[:3])
        ends = (1.0 - error, 1.0 - high, 1.0 - low) if higher else (error, low, high)
        return _Metric(*ends, verdict, reason, found)

    def _doubt(self, errors: list[np.ndarray], found: Extrapolation) -> str:
        """Why the evidence is not enough, or nothing."""
        steps = self.epochs * -(-self.sizes[0] // self.batch_size)
        if steps < _FEWEST_STEPS:
            return (
                f"too few points, the sample of {self.sizes[0]} rows trains for "
                f"{steps} steps only; take larger fractions or more epochs"
            )
        means = [float(np.log(error).mean()) for error in errors]
        for index, (one, other) in enumerate(itertools.pairwise(means)):
            if other >= one:
                return (
                    f"crossing curves, {self.sizes[index + 1]} rows are no better than "
                    f"{self.sizes[index]}; take larger fractions"
                )
        if found.noise > _NOISIEST * (means[0] - means[-1]):
            return (
                f"noise, repeats differ by {found.noise:.0%} and the samples by "
                f"{means[0] - means[-1]:.0%}; take more repeats or larger fractions"
            )
        if found.high > _WIDEST * found.low:
            return (
                "too few points, the interval spans a factor of "
                f"{found.high / found.low:.1f}; add a fraction between"
            )
        return ""

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={m.estimate:.3g} ({m.low:.3g} .. {m.high:.3g})"
            for name, m in self.metrics.items()
        )
        low, high = self.seconds_interval
        return (
            f"<Forecast {self.seconds:.3g} s ({low:.3g} .. {high:.3g}), {shown}; "
            f"{self.verdict}: {self.reason}>"
        )

    def summary(self) -> str:
        """The forecast as text, a line for each number."""
        low, high = self.seconds_interval
        lines = [
            f"Full run: {self.rows:,} rows, {self.epochs} epochs, batches of "
            f"{self.batch_size}",
            f"  seconds  {self.seconds:.3g} ({low:.3g} .. {high:.3g}): "
            f"{self.one_off_seconds:.3g} once, {1e3 * self.step_seconds:.3g} ms a step"
            + (", validation after each epoch" if self.validates else ""),
        ]
        for name, m in self.metrics.items():
            sure = f": not enough ({m.reason})" if m.reason else ""
            lines.append(
                f"  {name}  {m.estimate:.4g} ({m.low:.4g} .. {m.high:.4g}){sure}"
            )
        share = self.pilot_seconds / self.seconds if self.seconds else float("nan")
        sizes = ", ".join(f"{size:,}" for size in self.sizes)
        lines += [
            f"Pilot: {len(self.runs)} runs on {sizes} rows, "
            f"{self.pilot_seconds:.3g} s, {share:.0%} of the full run",
            f"Verdict: {self.verdict} ({self.reason})",
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings and lists, ready for JSON."""
        metrics = {}
        for name, m in self.metrics.items():
            curve = None if m.curve is None else m.curve._asdict()
            numbers = {
                key: value if np.isfinite(value) else None
                for key, value in (
                    ("estimate", m.estimate),
                    ("low", m.low),
                    ("high", m.high),
                )
            }
            words = {"verdict": m.verdict, "reason": m.reason}
            metrics[name] = {**numbers, **words, "curve": curve}
        return {
            "rows": int(self.rows),
            "epochs": int(self.epochs),
            "batch_size": int(self.batch_size),
            "seconds": self.seconds,
            "seconds_interval": list(self.seconds_interval),
            "one_off_seconds": self.one_off_seconds,
            "step_seconds": self.step_seconds,
            "pilot_seconds": self.pilot_seconds,
            "metrics": metrics,
            "verdict": self.verdict,
            "reason": self.reason,
            "runs": [run.to_dict() for run in self.runs],
        }

    def plot(self, ax: Any = None, metric: str | None = None) -> Any:
        """Draws a metric over the rows: the runs, the curve and the forecast.

        Args:
            ax: Matplotlib axes, or None to make a figure.
            metric: Name, or None for the last one.

        Returns:
            The axes.

        Raises:
            ValueError: If the forecast has no such metric.
            ImportError: If matplotlib is not installed.
        """
        names = list(self.metrics)
        name = names[-1] if metric is None else metric
        _arguments.one_of("metric", name, names)
        ax = axes(ax)
        for size, values in zip(self.sizes, self.values(name), strict=True):
            ax.plot([size] * len(values), values, "o", color="tab:blue")
        found = self.metrics[name]
        if found.curve is not None:
            at = np.geomspace(self.sizes[0], self.rows, 100)
            curve = found.curve.alpha * at**found.curve.beta + found.curve.gamma
            if _direction.higher_is_better(name):
                curve = 1.0 - curve
            ax.plot(at, curve, color="tab:blue", lw=1)
            ends = [[found.estimate - found.low], [found.high - found.estimate]]
            label = (
                f"full run {found.estimate:.3g} ({found.low:.3g} .. {found.high:.3g})"
            )
            ax.errorbar(
                [self.rows],
                [found.estimate],
                yerr=np.maximum(ends, 0.0),
                fmt="s",
                color="tab:red",
                capsize=4,
                label=label,
            )
            ax.legend(fontsize="small")
        ax.set(
            xscale="log",
            xlabel="rows",
            ylabel=name,
            title=f"Pilot runs: {found.verdict}",
        )
        return ax
