"""Saving and loading of a vectorized ensemble."""

import warnings
from typing import Any

import keras
import numpy as np

from keras_tricks.ensembles import _vectorized_members
from keras_tricks.ensembles._vectorized_arguments import plain
from keras_tricks.ensembles._vectorized_refused import Refused


class Saving(Refused):
    """The template's configuration, and the slots beside the weights."""

    # Of the ensemble.
    _core: Any
    _given: Any
    n_members: int
    strategy: str
    members_per_chunk: Any

    @property
    def metrics(self) -> list[Any]:
        """Those of the members, once there is data: callbacks look for them here."""
        core = getattr(self, "_core", None)
        built = None if core is None else core.built_metrics
        return [] if built is None else built.compiled

    def get_config(self) -> dict[str, Any]:
        model = self._core.template.model
        return {
            "name": self.name,
            "build": keras.saving.serialize_keras_object(model),
            "members": self.n_members,
            "seeds": self._core.seeds,
            "strategy": self.strategy,
            "learning_rates": plain(self._given.learning_rates),
            "weight_decays": plain(self._given.weight_decays),
            "members_per_chunk": self.members_per_chunk,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        build = _vectorized_members.FromConfig(config["build"], custom_objects)
        return cls(**{**config, "build": build})

    def compile_from_config(self, config: Any) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        for number, slot in enumerate(self._core.slots):
            store[f"slot_{number}"] = slot
        store["epochs"] = np.array(self._core.epochs)
        if self._core.slots:
            store["slots_of"] = self._slots_of()
        if self._core.rate is not None:
            store["compiled_rate"] = np.array(self._core.rate)

    def load_own_variables(self, store: Any) -> None:
        names = [name for name in store.keys() if name.isdigit()]  # noqa: SIM118
        super().load_own_variables({name: store[name] for name in names})
        if "epochs" in store:
            self._core.epochs = int(np.array(store["epochs"]))
        if "slot_0" not in store or not self._core.slots:
            return
        slots = [np.array(store[name]) for name in _slot_names(store)]
        ours = [slot.shape for slot in self._core.slots]
        same = "slots_of" in store and np.array_equal(
            store["slots_of"], self._slots_of()
        )
        if not same or [slot.shape for slot in slots] != ours:
            # As Keras does with the variables of an optimizer.
            warnings.warn(
                "The slots in the file are those of another optimizer than "
                f"{type(self.optimizer).__name__}, or of other weights: the weights "
                "are loaded, the slots are left as they are.",
                stacklevel=2,
            )
            return
        self._core.slots = slots
        if self._core.rate is not None and "compiled_rate" in store:
            self._core.rate = float(np.array(store["compiled_rate"]))

    def _slots_of(self) -> Any:
        """Whose slots there are, as an array that a file holds."""
        kind, names = type(self.optimizer).__name__, self._core.optimizer.slot_names
        return np.frombuffer("\n".join([kind, *names]).encode(), "uint8")

    def _compiled_with(self) -> Any:
        return self._compile_config.config if self.compiled else None

    def _assert_compiled(self, what: str) -> None:
        if not self.compiled:
            raise ValueError(
                f"the ensemble must be compiled before `{what}`. Received: a `build` "
                "that returns a model which is not; call `compile`, or compile there"
            )


def _slot_names(store: Any) -> list[str]:
    count = sum(name.startswith("slot_") for name in store.keys())  # noqa: SIM118
    return [f"slot_{number}" for number in range(count)]
