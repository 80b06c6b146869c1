"""What an ordinary model has and a vectorized ensemble has not."""

from typing import Any, NoReturn

import keras


class Refused(keras.Model):
    """Refuses the training of all members by Keras's own loop.

    It would train their stacked weights as those of one model, with one loss.
    """

    def train_on_batch(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("train_on_batch", "fit")

    def test_on_batch(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("test_on_batch", "evaluate")

    def train_step(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("train_step", "fit")

    def test_step(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        _refuse("test_step", "evaluate")


def _refuse(name: str, other: str) -> NoReturn:
    raise NotImplementedError(
        f"`{name}` must not be called on a VectorizedEnsemble: each member has its own "
        f"loss, weights and slots. Received: a call of `{name}`; call `{other}`, or "
        f"`{name}` of `members()`"
    )
