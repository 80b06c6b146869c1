"""Members of a vectorized ensemble as ordinary models."""

from typing import Any

import keras
import numpy as np

from keras_tricks.ensembles import _vectorized_template
from keras_tricks.ensembles._vectorized_core import Core, host


class FromConfig:
    """A builder that reads a saved model's configuration."""

    def __init__(self, config: Any, custom_objects: Any = None) -> None:
        self._config, self._custom = config, custom_objects

    def __call__(self) -> Any:
        return keras.saving.deserialize_keras_object(
            self._config, custom_objects=self._custom
        )


def member(core: Core, index: int, given: Any) -> Any:
    """An ordinary model with the weights of one member.

    It is compiled as `build` did it, or as the ensemble is.
    """
    template = core.template
    with _vectorized_template.recording(template.seeds[index]):
        model = _vectorized_template.call_build(
            template.build, template.seeds[index], index
        )
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    ours = [*template.trainable, *template.others]
    _vectorized_template.check_like(template.model, ours, model, variables)
    for variable, stacked in zip(variables, core.variables, strict=True):
        variable.assign(np.array(host(stacked.value)[index]))
    if given is not None:
        optimizer = given["optimizer"]
        fresh = type(optimizer).from_config(optimizer.get_config())
        _exclude(optimizer, fresh, template.trainable, model.trainable_variables)
        metrics = {
            name: keras.saving.deserialize_keras_object(
                keras.saving.serialize_keras_object(given[name])
            )
            for name in ("metrics", "weighted_metrics")
        }
        losses = {name: given[name] for name in ("loss", "loss_weights")}
        model.compile(optimizer=fresh, **losses, **metrics, auto_scale_loss=False)
    return model


def _exclude(old: Any, new: Any, theirs: Any, ours: Any) -> None:
    """Excludes from the decay what another optimizer does, which no config holds."""
    keys = getattr(old, "_exclude_from_weight_decay", None) or ()
    pattern = getattr(old, "_exclude_from_weight_decay_pattern", None)
    pairs = zip(ours, theirs, strict=True)
    same = [mine for mine, other in pairs if old._var_key(other) in keys]
    if same or pattern is not None:
        names = None if pattern is None else [pattern.pattern]
        new.exclude_from_weight_decay(same, names)


def scores(ensemble: Any, metric: str) -> Any:
    """Every member's value of a metric at its last epoch, or at its best one."""
    history = getattr(getattr(ensemble, "history", None), "history", {})
    name = f"member_{metric}"
    if name not in history:
        known = ", ".join(n[7:] for n in history if n.startswith("member_")) or "none"
        raise ValueError(
            f"`metric` must be one that the last `fit` has logged: {known}. Received: "
            f"metric={metric!r}"
        )
    values = np.stack(history[name])
    best = getattr(ensemble, "best_epochs", None)
    if best is None:
        return values[-1]
    epochs = ensemble._core.logged[metric]
    # The epoch of the best weights, or the last one before it with that value.
    chosen = np.maximum(np.searchsorted(epochs, best, "right") - 1, 0)
    chosen = np.where(best < 0, len(values) - 1, chosen)
    return values[chosen, np.arange(values.shape[1])]
