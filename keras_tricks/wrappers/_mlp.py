"""The small network that is trained when no `build` is given."""

from typing import Any

import keras


def build(meta: dict[str, Any], units: int = 64) -> Any:
    """One hidden layer, with the outputs and the loss that the targets ask for.

    Raises:
        ValueError: If the inputs are a dictionary.
    """
    if isinstance(meta["input_shape_"], dict):
        raise ValueError(
            "`build` must be given for inputs in a dictionary: the default network "
            "takes one array. Received: build=None"
        )
    outputs, activation, loss = _head(meta)
    model = keras.Sequential(
        [
            keras.Input(meta["input_shape_"]),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(outputs, activation=activation),
        ]
    )
    model.compile("adam", loss)
    return model


def _head(meta: dict[str, Any]) -> tuple[int, str | None, str]:
    if meta["target_type_"] == "multiclass":
        return meta["n_classes_"], "softmax", "sparse_categorical_crossentropy"
    if meta["target_type_"].startswith("continuous"):
        return meta["n_outputs_"], None, "mean_squared_error"
    return meta["n_outputs_"], "sigmoid", "binary_crossentropy"
