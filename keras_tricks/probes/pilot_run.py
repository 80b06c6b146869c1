"""Pilot runs: train on a hundredth and a tenth of the data, forecast all of it."""

import inspect
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _build, _state
from keras_tricks.probes import _samples
from keras_tricks.probes._pilot_times import Clock, Run
from keras_tricks.probes.forecast import Forecast

# What is held out of the data where no validation data are given.
_HELD, _MOST_HELD = 0.1, 10_000
_LARGEST_SEED = 2**31 - 1


def pilot_run(
    build: Callable[..., keras.Model],
    x: Any,
    y: Any,
    *,
    fractions: Sequence[float] = (0.01, 0.1),
    epochs: int,
    batch_size: int = 32,
    validation_data: Any = None,
    repeats: int = 3,
    metrics: str | Sequence[str] | None = None,
    seed: int | None = None,
) -> Forecast:
    """Trains on parts of the data and forecasts what all of them will cost and give.

    When: before a training that takes an hour or more, or to ask whether more data
        would help.
    Typical: the defaults, with the epochs of the full run.
    Costs: 13 % of the steps of the full run: each fraction `repeats` times but the
        largest, which runs once. One compilation, and one validation per run.
    Beware: a forecast holds for this model, this number of epochs and this batch size.
        If the full run uses a schedule, let `build` take `total_steps`, so that each
        run passes through all of it.

    The samples are stratified by the labels (by tenths of the range where those are
    numbers) and nested: the small ones are separate parts of the largest. All runs
    share one compiled model, which gets the first weights of a newly built one; where
    `build` takes `total_steps` there is one for each size. The global random numbers
    are given back.

    Args:
        build: Function that returns a new compiled model. It is called with those of
            `seed`, `total_steps` and `epochs` that it takes.
        x: Array, or a list or dict of arrays, of all training data.
        y: Targets, as for `fit`.
        fractions: Rising floats in (0, 1), parts of the data. Defaults to a hundredth
            and a tenth. A third one between narrows the interval.
        epochs: Positive integer, of each run, and of the full run.
        batch_size: Positive integer. Defaults to 32.
        validation_data: Tuple `(x, y)` or `(x, y, sample_weight)`, on which the metrics
            are measured; the full run is then taken to validate after each epoch.
            Defaults to None: a tenth of the data, at most 10,000 rows, is held out.
        repeats: Positive integer, runs of each fraction but the largest. They tell the
            noise. Defaults to 3.
        metrics: Name or list of names out of what `evaluate` gives ("loss",
            "accuracy"). Defaults to None: all.
        seed: Integer or None, for the samples and the models.

    Returns:
        A `Forecast`.

    Raises:
        TypeError: If an argument has the wrong type, or the data are no arrays.
        ValueError: If an argument is out of its range, the data have not one row per
            sample, or are too few; if `build` returns no compiled model, or there is no
            such metric.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> def build():
    ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(0.05), "mse")
    ...     return model
    >>> random = np.random.default_rng(0)
    >>> x = random.normal(size=(4000, 4))
    >>> y = x.sum(axis=1) + random.normal(size=4000)
    >>> forecast = kt.probes.pilot_run(build, x, y, epochs=2, batch_size=8, seed=0)
    >>> found = forecast.metrics["loss"]
    >>> forecast.sizes, found.low < found.estimate < found.high
    ([40, 400], True)

    Reference: Hestness et al. 2017, arXiv 1712.00409, for the power law.
    """
    fractions = _checked_fractions(fractions)
    _arguments.positive_integer("epochs", epochs)
    _arguments.positive_integer("batch_size", batch_size)
    _arguments.positive_integer("repeats", repeats)
    if seed is not None:
        _arguments.integer("seed", seed, 0, _LARGEST_SEED)
    metrics = _checked_metrics(metrics)
    x, y, rows = _checked_data(x, y)
    first = int(np.random.randint(_LARGEST_SEED)) if seed is None else int(seed)
    random = np.random.default_rng(first)
    classes = _samples.strata(y, rows)
    order = _samples.order(classes, random)
    validates = validation_data is not None
    if validates:
        validation = _checked_validation(validation_data)
    else:
        held = min(max(int(rows * _HELD), 1), _MOST_HELD)
        validation = _samples.take((x, y), order[:held])
        order = order[held:]
    sizes = [
        min(_size(fraction, rows, batch_size), len(order)) for fraction in fractions
    ]
    plan = _plan(order, classes, sizes, repeats, random)
    programs = _Programs(build, epochs, batch_size)
    runs = []
    for number, indices in enumerate(plan):
        own_seed = (first + number) % _LARGEST_SEED
        with _state.seeded(own_seed):
            runs.append(
                _run(programs, _samples.take((x, y), indices), validation, own_seed)
            )
        # What `evaluate` gives is known only now, but not as late as at the end.
        for name in metrics or ():
            _arguments.one_of("metrics", name, list(runs[0].metrics))
    return Forecast(
        runs,
        rows=rows,
        epochs=epochs,
        batch_size=batch_size,
        validation_rows=_samples.rows(validation[0]),
        validates=validates,
        metrics=metrics,
    )


def _size(fraction: float, rows: int, batch_size: int) -> int:
    """A part of the rows whose last batch is as large as the last one of all rows.

    A batch of another size would be compiled once more.
    """
    size = max(round(fraction * rows), 1)
    rest = rows % batch_size
    if size <= rest or size < batch_size:
        return size
    return rest + round((size - rest) / batch_size) * batch_size


def _plan(
    order: Any, classes: Any, sizes: Sequence[int], repeats: int, random: Any
) -> list[Any]:
    """The rows of each run, the smallest first."""
    largest = sizes[-1]
    plan = []
    for size in sizes[:-1]:
        for repeat in range(repeats):
            start = repeat * size
            part = order[start : start + size]
            if start + size > largest:
                # They do not all fit side by side into the largest sample.
                inside = order[:largest]
                part = inside[_samples.order(classes[inside], random)][:size]
            plan.append(part)
    return [*plan, order[:largest]]


class _Programs:
    """The compiled models: one, or one for each number of steps that `build` takes."""

    def __init__(self, build: Any, epochs: int, batch_size: int) -> None:
        self.build, self.epochs, self.batch_size = build, epochs, batch_size
        self._known: dict[int, Any] = {}

    def model(self, rows: int, seed: int) -> tuple[Any, bool]:
        """A model with new weights, and whether it is compiled already."""
        steps = self.epochs * -(-rows // self.batch_size)
        made = _build.model(
            self.build, seed=seed, total_steps=steps, epochs=self.epochs
        )
        key = steps if _takes_steps(self.build) else 0
        known = self._known.get(key)
        if known is not None and _draw_anew(known, made):
            return known, True
        self._known[key] = made
        return made, False


def _takes_steps(build: Any) -> bool:
    try:
        parameters = inspect.signature(build).parameters.values()
    except ValueError:
        return False
    return any(p.name == "total_steps" or p.kind is p.VAR_KEYWORD for p in parameters)


def _draw_anew(known: Any, made: Any) -> bool:
    """Gives a compiled model all that a new one starts with, if they are alike."""
    if not (made.built and all(layer.built for layer in made.layers)):
        return False
    for model in (known, made):
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
    ours = [*known.variables, *known.optimizer.variables]
    theirs = [*made.variables, *made.optimizer.variables]
    if [tuple(v.shape) for v in ours] != [tuple(v.shape) for v in theirs]:
        return False
    values = [value for _, value in _state.copy_variables(theirs)]
    if len(values) != len(ours):
        return False
    _state.assign_variables(list(zip(ours, values, strict=True)))
    return True


def _run(programs: _Programs, data: Any, validation: Any, seed: int) -> Run:
    x, y = data
    rows = _samples.rows(x)
    model, compiled = programs.model(rows, seed)
    # `build` may have seeded the global numbers, or drawn from them.
    _state.seed(seed)
    clock = Clock()
    start = time.perf_counter()
    model.fit(
        x,
        y,
        batch_size=programs.batch_size,
        epochs=programs.epochs,
        verbose=0,
        callbacks=[clock],
    )
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    reached = model.evaluate(
        *validation[:2],
        sample_weight=validation[2] if len(validation) > 2 else None,
        batch_size=programs.batch_size,
        verbose=0,
        return_dict=True,
    )
    return Run(
        rows=rows,
        seconds=seconds,
        epochs=clock.epochs,
        first=clock.first,
        evaluation=time.perf_counter() - start,
        compiled=not compiled,
        metrics={name: float(value) for name, value in reached.items()},
    )


def _checked_fractions(fractions: Any) -> list[float]:
    if isinstance(fractions, int | float | str) or not hasattr(fractions, "__iter__"):
        raise TypeError(
            "`fractions` must be a list of parts of the data. Received: "
            f"fractions={fractions!r}; give two or more, such as (0.01, 0.1)"
        )
    found = list(fractions)
    for fraction in found:
        _arguments.within("fractions", fraction, 0, 1, open_low=True, open_high=True)
    if not found or any(a >= b for a, b in itertools.pairwise(found)):
        raise ValueError(
            "`fractions` must be one or more parts of the data, rising. Received: "
            f"fractions={fractions!r}"
        )
    return [float(fraction) for fraction in found]


def _checked_metrics(metrics: Any) -> list[str] | None:
    if metrics is None or isinstance(metrics, str):
        return metrics if metrics is None else [metrics]
    found = list(metrics) if isinstance(metrics, list | tuple) else []
    if not found or not all(isinstance(name, str) for name in found):
        raise TypeError(
            "`metrics` must be None, a name or a list of names. Received: "
            f"metrics={metrics!r}; give names such as 'accuracy', or None for all"
        )
    return found


def _checked_data(x: Any, y: Any) -> tuple[Any, Any, int]:
    # A table is an array to Keras, but a dict of columns to `keras.tree`.
    x, y = (d.to_numpy() if hasattr(d, "iloc") else d for d in (x, y))
    leaves = keras.tree.flatten((x, y))
    if y is None or not all(hasattr(leaf, "shape") for leaf in leaves):
        kinds = ", ".join(sorted({type(leaf).__name__ for leaf in leaves}))
        raise TypeError(
            "`x` and `y` must be arrays, or lists or dicts of arrays, of which samples "
            f"can be taken. Received: {kinds}; read the data set into arrays"
        )
    counts = {leaf.shape[0] if leaf.shape else None for leaf in leaves}
    if len(counts) > 1 or None in counts:
        raise ValueError(
            "`x` and `y` must be arrays with one row per sample. Received: shapes "
            f"{[tuple(leaf.shape) for leaf in leaves]}"
        )
    rows = int(counts.pop() or 0)
    if rows < 2:
        raise ValueError(
            f"`x` must hold at least two samples. Received: {rows}; give all the data"
        )
    return x, y, rows


def _checked_validation(data: Any) -> tuple[Any, ...]:
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise TypeError(
            "`validation_data` must be a tuple (x, y) or (x, y, sample_weight) of "
            f"arrays. Received: {type(data).__name__}"
        )
    x, y, _ = _checked_data(data[0], data[1])
    return (x, y, *data[2:])
