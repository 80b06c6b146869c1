"""GradientMonitor: what the gradients of a training are like, at no extra pass."""

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _backend
from keras_tricks._axes import axes
from keras_tricks._errors import NoEffectWarning
from keras_tricks.callbacks import (
    _gradient_plot,
    _gradient_record,
    _one_call,
    _update_watch,
)
from keras_tricks.callbacks._gradient_totals import Array, Totals

# Records are read this many late, when the device has long finished them.
_LAG = 32
# The weights and their changes are read at every so many-th look only: that costs more
# than the gradients do.
_CHANGES_EVERY = 10
# Fewer norms are no distribution.
_FEWEST = 20


class GradientMonitor(keras.callbacks.Callback):
    """Tells the norms of the gradients, what is clipped, and how far weights move.

    When: a training is unstable or slow; before a threshold for clipping is chosen;
        recurrent networks.
    Typical: `GradientMonitor()` for an epoch or two, then
        `global_clipnorm=monitor.suggest_global_clipnorm()`. A global `update_ratio`
        near 1e-3 is healthy; 1e-5 hardly trains, and 1e-1 rattles.
    Costs: the norm of each gradient inside the compiled step, and at every tenth look
        those of the weights and of their change: no second pass, no wait for the
        device, 2 to 11 % of a step of 10 ms. Two compilations.
    Beware: with `steps_per_execution=k` only the last step of each call is seen, and
        `every` counts calls. Adam is nearly blind to the size of gradients: what
        clipping takes from it are outliers.

    Into the logs of an epoch, and so into the history, go `gradient_norm` (the mean of
    the global norms, before clipping), `gradient_norm_max`, `update_ratio` (the mean of
    |change| / |weights| at every tenth look), `nonfinite_gradients` (how many updates
    had NaN, infinity or a norm above 1e19) and, if the optimizer clips (AutoClip by
    percentile too), `clip_rate`, the share of updates that it clipped. Layer by layer
    they go into the history only, as `gradient_norm/<path>` and `update_ratio/<path>`:
    a progress bar has no room for them.

    Under gradient accumulation the gradient is the mean that an update is made with;
    under loss scaling it is unscaled, and updates that are skipped count as not
    finite. Frozen weights (`GradualUnfreezing`) are left out. Tables whose gradients
    are rows (TensorFlow) have a norm, but no ratio. In a `MultiOptimizer` an update
    counts as clipped if any of its optimizers clipped.

    Neither the model nor the optimizer is changed: the step is another one for the
    length of a call, also if `fit` fails; `norms` then has what came before. A second
    `fit` starts afresh.

    Args:
        every: Positive integer. Looks at every so many-th update. Defaults to 1.
        per_layer: Boolean, whether the history gets the numbers of each layer.
            Defaults to True.

    Attributes:
        steps: Integers, shape (updates seen,), the batches since `fit` began.
        norms: Floats of that shape, global norms before clipping.
        update_ratios: Floats of that shape, NaN where the weights were not read.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `every` is below 1; at the start of `fit`, if the model has no
            optimizer or a `tf.distribute` strategy has several replicas; in the first
            step, if the model's own `train_step` returns no dict.

    Warns:
        NoEffectWarning: If no update was seen in the whole training.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.01, global_clipnorm=1e-3), "mse")
    >>> monitor = kt.callbacks.GradientMonitor()
    >>> x = np.random.default_rng(0).normal(size=(320, 2))
    >>> fit = model.fit(x, x.sum(1), batch_size=8, verbose=0, callbacks=[monitor])
    >>> fit.history["clip_rate"], monitor.norms.shape
    ([1.0], (40,))
    >>> bool(monitor.suggest_global_clipnorm() > np.median(monitor.norms))
    True

    Reference: the global norm of Pascanu et al. 2013, arXiv 1211.5063; its 90th
    percentile as threshold from Google's Deep Learning Tuning Playbook.
    """

    def __init__(self, every: int = 1, per_layer: bool = True) -> None:
        super().__init__()
        self.every = _arguments.positive_integer("every", every)
        if not isinstance(per_layer, bool):
            raise TypeError(
                f"`per_layer` must be True or False. Received: per_layer={per_layer!r}"
            )
        self.per_layer = per_layer
        self._waiting: list[tuple[Any, int, Any]] = []
        self._totals: Totals | None = None
        self._epochs: list[dict[str, float]] = []
        self._trained: Any = None
        self._key = f"keras_tricks_gradients_{id(self)}"
        self._light, self._full = self._look(False), self._look(True)

    def on_train_begin(self, logs: Any = None) -> None:
        if (count := _backend.replicas(self.model)) > 1:
            raise ValueError(
                "GradientMonitor works on one replica only. Received: a model in a "
                f"strategy with {count} replicas; train without the strategy"
            )
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None:
            raise ValueError(
                "`model` must be compiled with an optimizer, whose gradients are seen. "
                f"Received: model {self.model.name!r} with optimizer=None"
            )
        if self.model.built and not optimizer.built:
            # TensorFlow would build it inside the step.
            optimizer.build(self.model.trainable_variables)
        # On JAX, `self.model` writes the state of a running epoch back.
        self._trained = self.model
        self._waiting, self._totals, self._epochs = [], None, []
        self._batches = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._made, self._per_update = _update_watch.made(self.model.optimizer)
        self._calls = 0
        self._first: int | None = None
        if self._totals is not None:
            self._totals.begin_epoch()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # Not `on_train_batch_end`, which would slow down all steps on JAX.
        per_call = self._trained.steps_per_execution
        update = (self._made + self._calls * per_call) // self._per_update
        self._calls += 1
        self._batches += per_call
        # All steps of an accumulation: which one ends it is known in there.
        look, rest = divmod(update // per_call, self.every)
        if rest == 0:
            self._first = look if self._first is None else self._first
            full = (look - self._first) % _CHANGES_EVERY == 0
            change = self._full if full else self._light
            _one_call.for_one_call(self._trained, change)
        if len(self._waiting) >= 2 * _LAG:
            self._read(_LAG)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._read(0)
        if self._totals is None:
            return
        found, by_layer = self._totals.epoch()
        self._epochs.append(by_layer)
        if logs is not None:
            logs.update(found)
        history = getattr(self.model, "history", None)
        if self.per_layer and history is not None:
            for name, value in by_layer.items():
                history.history.setdefault(name, []).append(value)

    def on_train_end(self, logs: Any = None) -> None:
        self._read(0)
        if not len(self.norms):
            warnings.warn(
                "GradientMonitor saw no update. If the model has a `train_step` of its "
                "own, let that update by `self.optimizer`; else train for longer, or "
                "with a lower `every`",
                NoEffectWarning,
                stacklevel=2,
            )

    def _look(self, changes: bool) -> _one_call.StepChange:
        layouts: list[_gradient_record.Layout] = []

        def step(inner: Callable[..., Any]) -> Callable[..., Any]:
            layout = _gradient_record.Layout(changes)
            layouts[:] = [layout]

            def train_step(*state_and_data: Any) -> Any:
                with layout.recording(self._trained.optimizer):
                    result = inner(*state_and_data)
                record = layout.record()
                if record is None:
                    return result
                return _backend.with_log(result, self._key, record)

            return train_step

        def around(function: Callable[..., Any]) -> Callable[..., Any]:
            (layout,) = layouts

            def sink(record: Any) -> None:
                self._waiting.append((layout, self._batches, record))

            return _backend.siphon(function, self._key, sink)

        # Beneath it all, so that what others hook and leave out is left out here too.
        return _one_call.StepChange(step, around, order=1)

    def _read(self, lag: int) -> None:
        """Brings all records but the last `lag` to the host."""
        ready = self._waiting[: len(self._waiting) - lag]
        self._waiting = self._waiting[len(ready) :]
        if not ready:
            return
        totals = self._totals = self._totals or Totals(self._trained)
        for layout, together in itertools.groupby(ready, lambda one: one[0]):
            block = list(together)
            records = [keras.ops.convert_to_numpy(record) for _, _, record in block]
            totals.add(layout, [step for _, step, _ in block], np.stack(records))

    def _all(self, name: str) -> Array:
        self._read(0)
        return np.array([] if self._totals is None else getattr(self._totals, name))

    @property
    def steps(self) -> Array:
        return self._all("steps").astype(int)

    @property
    def norms(self) -> Array:
        return self._all("norms")

    @property
    def update_ratios(self) -> Array:
        return self._all("ratios")

    def suggest_global_clipnorm(self, percentile: float = 90.0) -> float:
        """A threshold for `global_clipnorm`: a percentile of the norms seen.

        The norms are those before clipping, so a training that clips tells it too.

        Args:
            percentile: Float in [0, 100]. Defaults to 90: one update of ten is
                clipped, which takes the outliers and leaves the rest.

        Returns:
            The threshold.

        Raises:
            TypeError: If `percentile` is no number.
            ValueError: If it is out of its range, or fewer than 20 finite norms were
                seen, or they are all zero.
        """
        _arguments.within("percentile", percentile, 0, 100)
        norms = self.norms
        finite = norms[np.isfinite(norms)]
        if len(finite) < _FEWEST:
            raise ValueError(
                f"A suggestion needs at least {_FEWEST} updates with a finite "
                f"gradient. Received: {len(finite)} of {len(norms)} seen; train for "
                "longer first, or with a lower learning rate if it diverged"
            )
        found = float(np.percentile(finite, percentile))
        if found <= 0:
            raise ValueError(
                "A suggestion needs gradients that are not zero. Received: a norm of "
                f"0 at percentile {percentile}; look for weights that nothing trains"
            )
        return found

    def plot(self, ax: Any = None, kind: str = "norm") -> Any:
        """Draws what was seen in the last `fit`.

        Args:
            ax: Matplotlib axes, or None to make a figure.
            kind: "norm": the global norm of each update, with its 90th percentile, the
                optimizer's own threshold and the usual 5, 10 and 15. "layers" and
                "ratios": the norm, or the ratio of change and weights, of each layer
                over the epochs.

        Returns:
            The axes.

        Raises:
            ValueError: If `kind` is another word, or nothing was seen.
            ImportError: If matplotlib is not installed.
        """
        _arguments.one_of("kind", kind, _gradient_plot.KINDS)
        norms = self.norms
        if not len(norms) or (kind != "norm" and not self._epochs):
            raise ValueError(
                "A plot needs updates that were seen. Received: none"
                + (" in a whole epoch" if len(norms) else "")
                + "; call `fit` with this callback first"
            )
        ax = axes(ax)
        if kind != "norm":
            _gradient_plot.layers(ax, self._epochs, kind)
            return ax
        optimizer = self._trained.optimizer
        limit = getattr(optimizer, "inner_optimizer", optimizer)
        _gradient_plot.norms(ax, self.steps, norms, limit.global_clipnorm)
        return ax
