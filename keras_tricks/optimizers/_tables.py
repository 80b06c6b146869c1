"""Which variables are tables, of which an optimizer may update single rows."""

import warnings
from typing import Any

import keras

from keras_tricks import _patterns
from keras_tricks._errors import NoEffectWarning


def checked_names(names: Any) -> Any:
    """Checks for a sequence of names of variables."""
    if isinstance(names, list | tuple) and all(isinstance(n, str) for n in names):
        return names
    raise TypeError(
        "`table_names` must be a list or tuple of strings. "
        f"Received: table_names={names!r}"
    )


def name_of(variable: Any) -> str:
    """The last part of its path: TensorFlow's own variables have no other name."""
    return str(variable.name).split("/")[-1].split(":")[0]


def check(table: Any) -> None:
    """Refuses a table that something else changes in all its rows."""
    for kind in ("regularizer", "constraint"):
        given = getattr(table, kind, None)
        if given is not None:
            raise ValueError(
                f"`embeddings_{kind}` must be None for a table that LazyAdam trains: "
                "it acts on every row, those too that are not in the batch. Received: "
                f"{name_of(table)!r} with {given}; leave it out (`weight_decay` acts "
                "on the rows of the batch only), or use keras.optimizers.Adam"
            )


def tied(models: Any) -> list[Any]:
    """The tables that also are the output layer: each row has a gradient always."""
    return [
        layer.embeddings
        for model in models
        for _, layer in _patterns.layer_paths(model)
        if isinstance(layer, keras.layers.ReversibleEmbedding) and layer.tie_weights
    ]


def not_listed(table: Any, names: Any) -> ValueError:
    """The error for a table without the slot that counts its steps."""
    return ValueError(
        "`table_names` must list every table for skipped_steps='decay'. Received: "
        f"table_names={names!r}; add {name_of(table)!r}"
    )


def warn_of_dense_gradient(table: Any) -> None:
    """Says that there are no rows to be told apart."""
    warnings.warn(
        f"LazyAdam gets a dense gradient for the table {name_of(table)!r}: weights "
        "tied to an output layer, or arithmetic on the whole table, give every row a "
        "gradient, and every such row moves as under Adam. Look rows up with an "
        "embedding layer only, or use keras.optimizers.Adam.",
        NoEffectWarning,
        stacklevel=5,
    )


def warn_of_none(names: Any) -> None:
    """Says that all variables are updated whole."""
    warnings.warn(
        "LazyAdam found no embedding among the trainable variables, so it is plain "
        f"Adam. Received: table_names={names!r}; add the name of your table, or use "
        "keras.optimizers.Adam.",
        NoEffectWarning,
        stacklevel=5,
    )
