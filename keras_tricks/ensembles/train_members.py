"""Members that differ by their seeds alone: initial weights, order and Dropout."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments, _build, _state
from keras_tricks._errors import NoEffectWarning
from keras_tricks.ensembles import _initial_weights, _members_own, _random

_VALIDATION = "validation_data"


def train_members(
    build: Callable[..., Any],
    members: int,
    x: Any,
    y: Any = None,
    *,
    seeds: int | Sequence[int] | None = None,
    **fit_arguments: Any,
) -> list[Any]:
    """Builds and fits several models, one after the other, each with its own seed.

    When: there is time for several trainings of one model: the mean of members that
        start elsewhere is mostly the surest gain.
    Typical: 5 members, then `kt.ensembles.Ensemble(models)`.
    Costs: `members` times a training, with its compilation, and the memory of all
        models with their optimizers. Compiled steps are let go of; TensorFlow keeps
        some memory of each all the same, after `clear_session` too. If one training
        fails, the members before it are lost, unless a callback saves them.
    Beware: a callback in `callbacks` serves one member after the other, with what it
        remembers; give a function that makes new ones. On a GPU two trainings of the
        same seed need deterministic operations to be equal.

    Each member has other initial weights, also where initializers carry a seed, are
    shared, or are cloned with the model, or `build` seeds the global numbers; its own
    order of the data, where `fit` makes it; and its own Dropout masks. Weights that
    come from elsewhere stay the same for all: constant ones, files, those that `build`
    sets. A seed inside a function that makes weights cannot be changed: a warning names
    the weight. Python's, NumPy's and the backend's global random numbers are given
    back. What draws from `keras.random`
    without a seed or a SeedGenerator moves Keras's own global generator, which cannot
    be given back.

    Args:
        build: Function that returns a new compiled model at each call. It is called
            with those of `seed` and `member` (0, 1, ...) that its signature accepts.
        members: Positive integer, how many models.
        x: What `fit` takes. A generator is used up by the first member: it must be
            something that can be read several times.
        y: What `fit` takes. Defaults to None, for data that hold it.
        seeds: Non-negative integer that all seeds come from, or a list or array with
            one for each member, all different. None goes by
            `keras.utils.set_random_seed`. The same seeds give the same members bit for
            bit. Defaults to None.
        fit_arguments: All that `fit` takes: `epochs`, `validation_data`, ...
            `callbacks` may be a function that returns new ones, called as `build` is.

    Returns:
        List of the trained models. `models[0].history.history` has the numbers of the
        first one's training, as after any `fit`.

    Raises:
        TypeError: If an argument has the wrong type, `build` asks for something else,
            or does not return a model.
        ValueError: If an argument is out of its range, or `build` returns a model that
            is not compiled, or that shares weights, metrics or the optimizer with an
            earlier one.

    Warns:
        NoEffectWarning: If members draw the same initial values for a weight (not for
            models that `fit` builds on TensorFlow: it does so too late).

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> def build():
    ...     initializer = keras.initializers.HeNormal(seed=1)
    ...     layer = keras.layers.Dense(1, kernel_initializer=initializer)
    ...     model = keras.Sequential([keras.Input((2,)), layer])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> x, y = np.ones((4, 2)), np.ones((4, 1))
    >>> one, two = kt.ensembles.train_members(build, 2, x, y, seeds=1, verbose=0)
    >>> bool(np.allclose(one.get_weights()[0], two.get_weights()[0]))
    False

    Reference: Lakshminarayanan, Pritzel and Blundell 2017, arXiv 1612.01474.
    """
    _arguments.positive_integer("members", members)
    for name, data in (("x", x), ("validation_data", fit_arguments.get(_VALIDATION))):
        _check_data(name, data)
    callbacks = fit_arguments.pop("callbacks", None)
    _check_callbacks(callbacks)
    models: list[Any] = []
    check = _Checks()
    for member, seed in enumerate(_seeds(seeds, members)):
        offered = {"seed": seed, "member": member}
        with _state.seeded(seed), _initial_weights.drawn_anew(seed) as drawn:
            model = _build.model(build, **offered)
            check(model, models, drawn)
            again = functools.partial(check, earlier=models, drawn=drawn)
            first = _Start(seed, again)
            own = _own(callbacks, offered)
            # Again: `build` may have seeded the global numbers.
            _state.seed(_random.derived(seed, _random.ORDER, 0))
            model.fit(x, y, callbacks=[first, *own], **fit_arguments)
        _forget_compiled(model)
        models.append(model)
    return models


def _check_data(name: str, data: Any) -> None:
    if hasattr(data, "__next__"):
        raise TypeError(
            f"`{name}` must be what can be read several times. Received: {name} of the "
            f"type {type(data).__name__}, which the first member would use up; give "
            "arrays, a dataset or a keras.utils.PyDataset"
        )


def _seeds(seeds: Any, members: int) -> list[int]:
    if isinstance(seeds, np.ndarray) and seeds.ndim:
        seeds = seeds.tolist()
    if not isinstance(seeds, list | tuple | range):
        if seeds is not None:
            _arguments.integer("seeds", seeds, 0, _random.LARGEST)
        base = _random.drawn(seeds)
        return [
            _random.derived(base, _random.MEMBERS, member) for member in range(members)
        ]
    for seed in seeds:
        _arguments.integer("seeds", seed, 0, _random.LARGEST)
    if len(seeds) != members or len(set(seeds)) != members:
        raise ValueError(
            f"`seeds` must hold a seed for each of {members} members, all different. "
            f"Received: seeds={seeds!r}"
        )
    return [int(seed) for seed in seeds]


def _check_callbacks(callbacks: Any) -> None:
    one = (type(None), list, tuple, keras.callbacks.Callback)
    if isinstance(callbacks, keras.callbacks.CallbackList) or not (
        isinstance(callbacks, one) or callable(callbacks)
    ):
        raise TypeError(
            "`callbacks` must be a list of callbacks, or a function that returns one. "
            f"Received: callbacks={callbacks!r}"
        )


def _own(callbacks: Any, offered: dict[str, Any]) -> list[Any]:
    if callable(callbacks) and not isinstance(callbacks, keras.callbacks.Callback):
        callbacks = _build.call(callbacks, "callbacks", **offered)
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


class _Checks:
    """Whether a member is really another one than those before it."""

    def __init__(self) -> None:
        self._first: Any = None
        self._told = False

    def __call__(self, model: Any, earlier: list[Any], drawn: Any) -> None:
        _members_own.check(model, earlier)
        drawn.settle()
        self._first = self._first or drawn
        if self._told or drawn is self._first:
            return
        same = drawn.same_as(self._first)
        if same:
            self._told = True
            warnings.warn(
                f"train_members has no effect on {len(same)} weights, {same[0]!r} "
                "first: the members draw the same initial values. Leave the seed out "
                "of the function that makes them, or give it as a "
                "keras.initializers.Constant if they shall be the same.",
                NoEffectWarning,
                stacklevel=3,
            )


def _forget_compiled(model: Any) -> None:
    """Lets go of the compiled steps, which would pile up: they are made when needed."""
    for name in ("train_function", "test_function", "predict_function"):
        setattr(model, name, None)
    # It holds the validation data.
    model._eval_epoch_iterator = None


class _Start(keras.callbacks.Callback):
    """Gives the seed generators of a model seeds of its own when its training begins.

    Not before: a model may have no layers until then.
    """

    def __init__(self, seed: int, check: Callable[[Any], None]) -> None:
        super().__init__()
        self._seed = seed
        self._check = check

    def on_train_begin(self, logs: Any = None) -> None:
        self._check(self.model)
        _random.reseed(self.model.variables, self._seed)
