"""The labels of each output, with the loss that they are for."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from keras_tricks.lint import _places


class Target(NamedTuple):
    """Labels, their loss, and the shape of the output that is compared with them."""

    part: Any
    loss: Any
    shape: tuple[int | None, ...]

    @property
    def classes(self) -> int | None:
        """How many numbers the output gives for one thing to predict."""
        return self.shape[-1] if self.shape else None

    def ids(self) -> np.ndarray | None:
        """The class of each row, for losses over classes; None if it has none."""
        values = self.part.values
        if not self.part.is_numeric or self.part.finite is False or not len(values):
            return None
        if self.loss.kind.startswith("sparse_"):
            flat = values.reshape(len(values), -1)
            ids = flat[:, 0] if flat.shape[1] == 1 else None
        elif self.loss.kind.startswith("categorical_"):
            ids = values.argmax(axis=-1) if values.ndim == 2 else None
        elif self.loss.kind.startswith("binary_"):
            flat = values.reshape(len(values), -1)
            ids = np.round(flat[:, 0]) if flat.shape[1] == 1 else None
        else:
            ids = None
        if ids is None or self.loss.ignored_class is None:
            return ids
        return ids[ids != self.loss.ignored_class]


def of(facts: Any) -> Iterator[Target]:
    """The labels whose output is known: by name, by position, or the only one.

    Of a subclass the shape of the output is empty: it is not known.
    """
    shapes = [tuple(tensor.shape) for tensor in facts.outputs]
    places = _places.of_outputs(facts)
    for loss in facts.losses:
        shape = shapes[loss.output] if loss.output < len(shapes) else ()
        for part, place in zip(facts.data.y, places, strict=True):
            if place == loss.output:
                yield Target(part, loss, shape)
