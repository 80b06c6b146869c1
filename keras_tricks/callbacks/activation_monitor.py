"""ActivationMonitor: dead, saturated and lost layers, epoch by epoch."""

from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments
from keras_tricks._axes import axes
from keras_tricks.callbacks import _activation_look, _activation_words
from keras_tricks.callbacks._activation_look import Seen

_KINDS = ("trouble", "mean", "std")


class ActivationMonitor(keras.callbacks.Callback):
    """Tells which layers are dead or saturated, from their answers to some samples.

    When: a deep or plain network learns slowly or not at all; sigmoid and tanh in
        hidden layers; a new initializer or normalisation.
    Typical: `ActivationMonitor(x[:256])`, then `print(monitor.summary())`.
    Costs: one forward pass of `x` per look, not compiled.
    Beware: a unit counts as dead if it answers 0 to all of `x`: with few samples some
        only look dead. An output that is saturated is merely sure of itself, and is
        not complained about.

    Looked at are all layers with weights or a nonlinearity, also in nested models and
    in the inference mode that `predict` uses; of a recurrent layer its answer, not its
    gates. A unit of a convolution is a channel. It looks once before the training (if
    the model is built) and at the end of epochs. Weights, statistics, seeds and the
    optimizer stay as they are, even if a layer assigns them in inference.

    Into the logs, and so into the history, go `dead_relus` and `saturated_units`, the
    means over the hidden layers that can be so. Layer by layer they go into the history
    only, as `dead/<path>`, `saturated/<path>`, `activation_mean/<path>` and
    `activation_std/<path>`. A second `fit` starts afresh.

    Args:
        x: Samples as the model takes them: an array, or a list or dict of arrays. They
            are run in one piece: 100 to 500 are enough.
        every: "epoch", or a positive integer: looks after each so many epochs.
            Defaults to "epoch".

    Attributes:
        epochs: List of integers: how many epochs had passed at each look, 0 first.
        seen: List of dicts, one per look, from the path of a layer to a tuple of
            `mean`, `std`, `finite`, `saturated` (share of pre-activations beyond 4 of a
            sigmoid or tanh, else None), `dead` (share of the units of a ReLU, else
            None), `is_output`.

    Raises:
        TypeError: If `x` holds no arrays, or `every` has the wrong type.
        ValueError: If `x` is empty, or `every` out of its range.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> hidden = keras.layers.Dense(
    ...     4, "relu", bias_initializer=keras.initializers.Constant(-9.0), name="low"
    ... )
    >>> model = keras.Sequential([keras.Input((2,)), hidden, keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x = np.random.default_rng(0).uniform(size=(32, 2))
    >>> monitor = kt.callbacks.ActivationMonitor(x)
    >>> fit = model.fit(x, x.sum(1), verbose=0, callbacks=[monitor])
    >>> fit.history["dead_relus"], monitor.findings[0][:50]
    ([1.0], 'low: 100% of its units answer 0 to every sample (d')

    Reference: Glorot and Bengio 2010, section 3, on saturation; Maas et al. 2013 on
    dead rectifiers.
    """

    def __init__(self, x: Any, every: str | int = "epoch") -> None:
        super().__init__()
        _check(x)
        self.x = x
        if isinstance(every, str):
            _arguments.one_of("every", every, ("epoch",))
        else:
            _arguments.positive_integer("every", every, ' or "epoch"')
        self.every = every
        self.epochs: list[int] = []
        self.seen: list[dict[str, Seen]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.epochs, self.seen = [], []
        self._look_at_start = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Not before: a backup may have given the model other weights.
        if self._look_at_start and _is_built(self.model):
            self._look(epoch)
        self._look_at_start = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % (1 if isinstance(self.every, str) else self.every):
            return
        seen = self._look(epoch + 1)
        if logs is not None:
            hidden = [one for one in seen.values() if not one.is_output]
            for name, kind in (
                ("dead_relus", "dead"),
                ("saturated_units", "saturated"),
            ):
                shares = [getattr(one, kind) for one in hidden]
                shares = [share for share in shares if share is not None]
                if shares:
                    logs[name] = float(np.mean(shares))
        history = getattr(self.model, "history", None)
        if history is not None:
            for path, one in seen.items():
                for name, value in _by_layer(one):
                    history.history.setdefault(f"{name}/{path}", []).append(value)

    def _look(self, epoch: int) -> dict[str, Seen]:
        seen = _activation_look.look(self.model, self.x)
        self.epochs.append(epoch)
        self.seen.append(seen)
        return seen

    @property
    def findings(self) -> list[str]:
        """What was wrong at the last look, in plain words."""
        last = self.seen[-1] if self.seen else {}
        return [
            sentence
            for path, seen in last.items()
            for sentence in _activation_words.findings(path, seen)
        ]

    def summary(self) -> str:
        """The last look as a table, with what is wrong below."""
        if not self.seen:
            return "ActivationMonitor has not looked yet."
        rows = [("layer", "mean", "std", "dead", "saturated")]
        rows += [
            (path, f"{s.mean:.3g}", f"{s.std:.3g}", _share(s.dead), _share(s.saturated))
            for path, s in self.seen[-1].items()
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        wrong = self.findings or ["Nothing is wrong."]
        return "\n".join([f"After {self.epochs[-1]} epochs", *lines, *wrong])

    def plot(self, ax: Any = None, kind: str = "trouble") -> Any:
        """Draws a heat map: a row for each layer, a column for each look.

        Args:
            ax: Matplotlib axes, or None to make a figure.
            kind: "trouble": the share of dead units or of saturated pre-activations;
                "mean" or "std" of the answers.

        Returns:
            The axes.

        Raises:
            ValueError: If `kind` is another word, or nothing was seen.
            ImportError: If matplotlib is not installed.
        """
        _arguments.one_of("kind", kind, _KINDS)
        if not self.seen:
            raise ValueError(
                "A plot needs a look at the model. Received: none; call `fit` with "
                "this callback first"
            )
        ax = axes(ax)
        paths = list(dict.fromkeys(path for look in self.seen for path in look))
        table = np.array(
            [[_shown(look.get(path), kind) for look in self.seen] for path in paths]
        )
        keep = np.isfinite(table).any(axis=1)
        if kind == "trouble" and keep.any():
            table = table[keep]
            paths = [path for path, kept in zip(paths, keep, strict=True) if kept]
        limits = {"vmin": 0.0, "vmax": 1.0} if kind == "trouble" else {}
        image = ax.imshow(table, aspect="auto", interpolation="nearest", **limits)
        ax.figure.colorbar(image, ax=ax)
        ax.set_yticks(range(len(paths)), paths)
        ax.set_xticks(range(len(self.epochs)), [str(epoch) for epoch in self.epochs])
        title = {"trouble": "share of dead or saturated units"}.get(kind, kind)
        ax.set(xlabel="epochs", title=f"Activations: {title}")
        return ax


def _check(x: Any) -> None:
    leaves = keras.tree.flatten(x)
    if not leaves or not all(hasattr(leaf, "shape") for leaf in leaves):
        raise TypeError(
            "`x` must be samples as arrays, or a list or dict of arrays. Received: "
            f"{type(x).__name__}; give `x[:256]` of the training data"
        )
    if any(not leaf.shape or leaf.shape[0] == 0 for leaf in leaves):
        raise ValueError(
            "`x` must hold at least one sample. Received: shapes "
            f"{[tuple(leaf.shape) for leaf in leaves]}"
        )


def _is_built(model: Any) -> bool:
    return bool(model.built) and all(layer.built for layer in model.layers)


def _by_layer(seen: Seen) -> list[tuple[str, float]]:
    values = [("activation_mean", seen.mean), ("activation_std", seen.std)]
    if seen.dead is not None:
        values.append(("dead", seen.dead))
    if seen.saturated is not None:
        values.append(("saturated", seen.saturated))
    return values


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _shown(seen: Seen | None, kind: str) -> float:
    if seen is None:
        return float("nan")
    if kind != "trouble":
        return float(getattr(seen, kind))
    shares = [share for share in (seen.dead, seen.saturated) if share is not None]
    return max(shares, default=float("nan"))
