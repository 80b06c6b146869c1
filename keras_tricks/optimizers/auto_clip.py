"""AutoClip: gradients are clipped to what their own history calls normal."""

import functools
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from keras_tricks import _arguments, _backend, _owner, _patterns
from keras_tricks.optimizers import _multipliers, _units
from keras_tricks.optimizers._extension import Extension

_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


@keras.saving.register_keras_serializable("keras_tricks")
class AutoClip(Extension):
    """Clips the global norm to a percentile of the norms seen so far.

    When: the right `global_clipnorm` is unknown or drifts; recurrent networks, audio,
        anything with rare exploding gradients. `mode="adaptive"`: networks without
        normalisation layers at large batches.
    Typical: `percentile=10`; `mode="adaptive"` with `clipping=0.01`.
    Costs: one norm and one sort of `window` numbers a step; on PyTorch one read of a
        number from the device.
    Beware: percentile 10 scales nine steps of ten down, so the best learning rate is
        often higher. Adam is nearly blind to a constant scale; what helps it is that
        outliers lose their size.

    The result is the given optimizer with one thing changed. A step whose gradients
    are not all finite changes nothing at all, neither weights nor slots nor the step
    counter, and is counted in `skipped_updates` (inside a `LossScaleOptimizer`, which
    leaves out such steps itself, none arrives here). Around `LayerwiseLearningRate` or
    in it, clipping comes before the scaling; in it, gradients of frozen layers do not
    count. It works on one device: inside a `tf.distribute` strategy it raises an error.

    Args:
        optimizer: A new Keras optimizer without clipping of its own, which becomes
            part of this one.
        percentile: Float in [0, 100], of the history, interpolated linearly. Defaults
            to 10, as in the paper.
        window: Positive integer, how many of the last norms count. Defaults to 1000;
            the paper keeps all, which no compiled step can.
        mode: "percentile", or "adaptive": each unit's gradient (that of all weights
            behind one output of a layer, or a whole vector) is clipped to `clipping`
            times the norm of its weights.
        clipping: Float above 0, for "adaptive". Defaults to 0.01, as in the paper.
        epsilon: Float above 0, for "adaptive": the least norm that weights count with,
            so that those that start at zero can move. Defaults to 1e-3.
        exclude: String or list of strings, for "adaptive": patterns of layers that are
            not clipped; the paper leaves out the last layer. Defaults to None: none.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, or the optimizer clips already
            or cannot be extended; once the model is known, if a pattern of `exclude`
            names no layer of it; on the first step inside a `tf.distribute` strategy.

    Example:
    >>> import keras, keras_tricks as kt
    >>> optimizer = kt.optimizers.AutoClip(keras.optimizers.SGD(1.0), percentile=50)
    >>> weight = keras.Variable([0.0])
    >>> for gradient in (1.0, 2.0, 100.0, float("nan")):
    ...     optimizer.apply([keras.ops.array([gradient])], [weight])
    >>> optimizer.skipped_updates
    1
    >>> keras.ops.convert_to_numpy(weight.value).tolist()  # -(1.0 + 1.5 + 2.0)
    [-4.5]

    Reference: Seetharaman et al. 2020, arXiv 2007.14469; adaptive clipping: Brock et
    al. 2021, section 4.1, arXiv 2102.06171.
    """

    _uses_global_norm = True

    def __init__(
        self,
        optimizer: Any,
        percentile: float = 10.0,
        window: int = 1000,
        mode: str = "percentile",
        clipping: float = 0.01,
        epsilon: float = 1e-3,
        exclude: str | Iterable[str] | None = None,
    ) -> None:
        _arguments.within("percentile", percentile, 0, 100)
        _arguments.positive_integer("window", window)
        _arguments.one_of("mode", mode, ("percentile", "adaptive"))
        _arguments.positive("clipping", clipping)
        _arguments.positive("epsilon", epsilon)
        if exclude is not None and mode != "adaptive":
            raise ValueError(
                "`exclude` must be None with mode='percentile', whose norm is that of "
                f"all gradients. Received: exclude={exclude!r}"
            )
        if exclude is not None and not isinstance(exclude, str):
            exclude = list(exclude)
        _patterns.compiled("exclude", _listed(exclude))
        for name in _CLIPS:
            if getattr(optimizer, name) is not None:
                raise ValueError(
                    "`optimizer` must not clip by itself. Received: "
                    f"{name}={getattr(optimizer, name)}; leave it out"
                )
        self._extend(AutoClip, optimizer)
        self.__dict__.update(
            percentile=percentile,
            window=window,
            mode=mode,
            clipping=clipping,
            clip_epsilon=epsilon,
            exclude=exclude,
        )

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        # 1 for each variable that is clipped, 0 for others.
        self.__dict__["_clips"] = self._values_of(
            AutoClip, variables, self.exclude, self._clips_of
        )
        if self.mode == "adaptive":
            model = _owner.model_of(variables, self)
            self.__dict__["_inside"] = _units.axes(variables, model)
        self._skipped = self._add_own_variable((), "zeros", "skipped_updates", "int32")
        if self.mode == "percentile":
            self._norms = self._add_own_variable((self.window,), "zeros", "norms")
            self._recorded = self._add_own_variable((), "zeros", "recorded", "int32")

    def _clips_of(self, variables: Any, model: Any) -> list[float]:
        patterns = _listed(self.exclude)
        out = _multipliers.covered("exclude", patterns, variables, model)
        return [float(not covered) for covered in out]

    @property
    def skipped_updates(self) -> int:
        """How many steps were left out, because a gradient was not finite."""
        return int(ops.convert_to_numpy(self._skipped.value)) if self.built else 0

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        trainable_variables = self._built_on(trainable_variables)
        grads = list(grads)
        update = functools.partial(super().apply, grads, trainable_variables)
        if not self.built or all(gradient is None for gradient in grads):
            # Keras has the right words for it.
            update()
            return
        finite = ops.isfinite(_backend.global_norm(grads))
        self._skipped.assign_add(1 - ops.cast(finite, "int32"))
        held = [v for v in self.variables if v is not self._skipped]
        _backend.update_if(finite, update, [*self._trainable_variables, *held], False)

    def _backend_apply_gradients(self, grads: Any, trainable_variables: Any) -> None:
        # The one place where Keras has gradients and variables side by side.
        self.__dict__["_clipped"] = trainable_variables
        try:
            super()._backend_apply_gradients(grads, trainable_variables)
        finally:
            del self.__dict__["_clipped"]

    def _clip_gradients(self, grads: Any) -> Any:
        if self.mode == "adaptive":
            pairs = zip(grads, self.__dict__["_clipped"], strict=True)
            clips = self.__dict__["_clips"]
            return [
                self._clip_units(_backend.dense(gradient), variable)
                if clips[self._get_variable_index(variable)]
                else gradient
                for gradient, variable in pairs
            ]
        norm = _backend.global_norm(grads)
        threshold = self._record(norm)
        scale = ops.where(norm > threshold, threshold / ops.maximum(norm, 1e-30), 1.0)
        clipped: list[Any] = _backend.on_values(
            lambda tensors: [
                tensor * ops.cast(scale, tensor.dtype) for tensor in tensors
            ],
            grads,
        )
        return clipped

    def _record(self, norm: Any) -> Any:
        """Takes a norm into the history, and returns the percentile of all in it."""
        places = ops.arange(self.window)
        here = ops.equal(places, ops.mod(self._recorded.value, self.window))
        self._norms.assign(ops.where(here, norm, self._norms.value))
        self._recorded.assign_add(1)
        return self._threshold()

    def _threshold(self) -> Any:
        """The percentile of all norms in the history: what the last was clipped to."""
        count = ops.minimum(self._recorded.value, self.window)
        return _percentile(self._norms.value, count, self.percentile)

    def _clip_units(self, gradient: Any, variable: Any) -> Any:
        axes = self.__dict__["_inside"][self._get_variable_index(variable)]
        weights = _unit_norms(ops.convert_to_tensor(variable), axes)
        limit = self.clipping * ops.maximum(weights, self.clip_epsilon)
        norms = _unit_norms(gradient, axes)
        factor = ops.where(norms > limit, limit / ops.maximum(norms, 1e-6), 1.0)
        return gradient * ops.cast(factor, gradient.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer": self._inner_config(AutoClip),
            "percentile": self.percentile,
            "window": self.window,
            "mode": self.mode,
            "clipping": self.clipping,
            "epsilon": self.clip_epsilon,
            "exclude": self.exclude,
            **self._resolved_config(
                AutoClip, self.exclude, lambda: self.__dict__["_clips"]
            ),
        }


def _listed(patterns: str | list[str] | None) -> list[str]:
    return [patterns] if isinstance(patterns, str) else patterns or []


def _percentile(values: Any, count: Any, q: float) -> Any:
    """The percentile `q` of the first `count` of the values, as NumPy interpolates."""
    places = ops.arange(values.shape[0])
    ordered = ops.sort(ops.where(places < count, values, float("inf")))
    position = ops.cast(count - 1, "float32") * (q / 100)
    low = ops.floor(position)
    part = position - low
    index = ops.cast(low, "int32")
    lower = ops.take(ordered, index)
    upper = ops.take(ordered, ops.minimum(index + 1, count - 1))
    return lower + part * (upper - lower)


def _unit_norms(tensor: Any, axes: tuple[int, ...]) -> Any:
    """The norms over the axes inside the units, which are kept."""
    # Squares do not fit into 16 bits.
    squares = ops.square(ops.cast(tensor, "float32"))
    return ops.sqrt(ops.sum(squares, axis=axes, keepdims=True))
