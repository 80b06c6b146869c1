"""An optimizer whose decoupled weight decay leaves out chosen variables."""

from typing import Any

import keras

from keras_tricks.optimizers._extension import Extension


@keras.saving.register_keras_serializable("keras_tricks")
class NoDecay(Extension):
    """What `no_decay` returns: it knows the variables by their position.

    Args:
        optimizer: A new Keras optimizer, which becomes part of this one.
        excluded: List of integers, positions among the trainable variables.
        shapes: List of the shapes of all trainable variables, to recognise the model.
    """

    def __init__(self, optimizer: Any, excluded: Any, shapes: Any) -> None:
        self._extend(NoDecay, optimizer)
        self.__dict__.update(excluded=list(excluded), shapes=[list(s) for s in shapes])

    @property
    def inner(self) -> Any:
        """The optimizer that was given."""
        return self.__dict__["_extended"][NoDecay]

    def build(self, variables: Any) -> None:
        if self.built:
            return
        shapes = [list(variable.shape) for variable in variables]
        if shapes != self.shapes:
            raise ValueError(
                "`model` of no_decay must be the one that is trained. Received: "
                f"trainable variables of shapes {shapes}, but `model` had {self.shapes}"
                "; call no_decay with this model"
            )
        super().build(variables)

    def _apply_weight_decay(self, variables: Any) -> None:
        excluded = set(self.excluded)
        decayed = [v for v in variables if self._get_variable_index(v) not in excluded]
        # Keras's fused decay on PyTorch cannot take an empty list.
        if decayed:
            super()._apply_weight_decay(decayed)

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer": self._inner_config(NoDecay),
            "excluded": self.excluded,
            "shapes": self.shapes,
        }
