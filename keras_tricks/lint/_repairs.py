"""How the findings that are safe to mend are mended: each by a new model."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from keras_tricks import _patterns
from keras_tricks.lint import _decayed, _losses
from keras_tricks.lint._rules import logits
from keras_tricks.lint.facts import Facts
from keras_tricks.lint.finding import Finding
from keras_tricks.optimizers._no_decay import NoDecay
from keras_tricks.surgery import (
    _activations,
    _compiled_like,
    _drawn,
    _no_weight_decay,
    _rebuild,
)
from keras_tricks.surgery.insert_dropout import insert_dropout
from keras_tricks.surgery.reinitialize import reinitialize


class Repair(NamedTuple):
    """What makes a new model, what is told of it, and why it is safe."""

    function: Callable[[Any, Finding], Any]
    change: Callable[[Finding], str]
    why: str


def _named(model: Any, finding: Finding) -> dict[str, Any]:
    by_path = dict(_patterns.layer_paths(model))
    return {path: by_path[path] for path in finding.layers}


def _pattern(finding: Finding) -> str:
    return "|".join(re.escape(path) for path in finding.layers)


# Layers -------------------------------------------------------------------------------


def _initializer(model: Any, finding: Finding) -> Any:
    """Draws kernels that nothing has trained for the nonlinearity behind them."""
    following = _drawn.following(model)
    new = reinitialize(model, [re.escape(path) for path in finding.layers])
    fresh = _named(new, finding)
    for path, old in _named(model, finding).items():
        name = following.get(id(old), _activations.own(old))
        fresh[path].kernel_initializer = _drawn.for_activation(name)
    return new


def _spatial(model: Any, finding: Finding) -> Any:
    ranks = {
        id(call.layer): len(call.outputs[0].shape) - 2
        for call in Facts(model).calls
        if call.path in finding.layers
    }

    def replace(layer: Any) -> Any:
        if id(layer) not in ranks:
            return None
        kind = getattr(keras.layers, f"SpatialDropout{ranks[id(layer)]}D")
        options = {"seed": layer.seed, "dtype": layer.dtype_policy}
        return kind(layer.rate, name=layer.name, **options)

    result = _rebuild.rebuild(model, replace=replace)
    for old, new in result.replaced:
        # It goes on with the random numbers that the old one would have drawn.
        for state, other in zip(old.variables, new.variables, strict=True):
            result.carry(state, other)
    return result.finish()


def _without_dropout(model: Any, finding: Finding) -> Any:
    ids = {id(layer) for layer in _named(model, finding).values()}

    def replace(layer: Any) -> Any:
        if id(layer) not in ids:
            return None
        # Not Identity, which cannot be copied with a policy.
        return keras.layers.Activation(
            "linear", name=layer.name, dtype=layer.dtype_policy
        )

    return _rebuild.rebuild(model, replace=replace).finish()


def _calm_recurrence(model: Any, finding: Finding) -> Any:
    """Makes the layers anew: how their cells work was decided with the dropout."""
    ids = {id(layer) for layer in _named(model, finding).values()}

    def replace(layer: Any) -> Any:
        if not any(id(one) in ids for one in (layer, *_patterns.children(layer))):
            return None
        return type(layer).from_config(_calm(layer.get_config()))

    result = _rebuild.rebuild(model, replace=replace)
    for old, new in result.replaced:
        for weight, other in zip(old.weights, new.weights, strict=True):
            result.carry(weight, other)
    return result.finish()


def _calm(config: Any) -> Any:
    """A configuration without dropout inside a recurrence, at any depth."""
    if isinstance(config, list | tuple):
        return [_calm(value) for value in config]
    if not isinstance(config, dict):
        return config
    calm = {name: _calm(value) for name, value in config.items()}
    return {**calm, "recurrent_dropout": 0.0} if "recurrent_dropout" in calm else calm


def _dropout(model: Any, finding: Finding) -> Any:
    return insert_dropout(model, 0.5, after=f"({_pattern(finding)})")


# Loss and optimizer -------------------------------------------------------------------


def _recompiled(model: Any, **changed: Any) -> Any:
    """Compiles a copy of the model with something changed."""
    result = _rebuild.rebuild(model)
    new = result.finish()
    new.compile(**{**new._compile_config.config, **changed})
    return new


def _logits(model: Any, finding: Finding) -> Any:
    facts = Facts(model)
    wrong = {
        loss.key: _losses.flipped(loss)
        for loss in facts.losses
        if set(logits.path_of_end(facts, loss)) & set(finding.layers)
        # Outputs may share their layer, and one of the losses be right.
        and loss.from_logits is (finding.code == "KT301")
    }
    if not wrong:
        # A finding of the same layer has mended it.
        return model
    given = model.loss
    if isinstance(given, dict):
        return _recompiled(model, loss={**given, **wrong})
    if isinstance(given, list | tuple):
        changed = [wrong.get(place, loss) for place, loss in enumerate(given)]
        return _recompiled(model, loss=changed)
    return _recompiled(model, loss=next(iter(wrong.values())))


def _no_decay(model: Any, finding: Finding) -> Any:
    """Puts `no_decay` around a copy of the optimizer, with all its slots."""
    result = _rebuild.rebuild(model)
    new = result.finish()
    old, trained = new.optimizer, new.trainable_variables
    decayed = {id(v) for v in _decayed.variables(model.optimizer, model)}
    spared = _decayed.better_spared(new) if finding.code == "KT213" else set()
    excluded = [
        place
        for place, variable in enumerate(trained)
        if id(variable) in spared or id(result.origin[id(variable)]) not in decayed
    ]
    optimizer = NoDecay(_inner(old), excluded, [variable.shape for variable in trained])
    same = {id(variable): variable for variable in trained}
    _compiled_like.carry_slots(old, optimizer, trained, same)
    new.compile(**{**new._compile_config.config, "optimizer": optimizer})
    return new


def _inner(optimizer: Any) -> Any:
    """A new optimizer like one, that decays everything."""
    new = _compiled_like.fresh(optimizer)
    if isinstance(new, NoDecay):
        # Of the repair before this one; what it leaves out is known by now.
        new = _compiled_like.fresh(new.inner)
    _no_weight_decay.forget(new)
    return new


_SAME = "the predictions stay as they are"

REPAIRS = {
    "KT102": Repair(
        _initializer, lambda finding: "kernels drawn anew", "nothing has trained them"
    ),
    "KT201": Repair(_spatial, lambda finding: "whole maps are dropped", _SAME),
    "KT202": Repair(_calm_recurrence, lambda finding: "recurrent_dropout=0", _SAME),
    "KT203": Repair(_without_dropout, lambda finding: "Dropout taken out", _SAME),
    "KT204": Repair(_dropout, lambda finding: "Dropout(0.5) behind it", _SAME),
    "KT213": Repair(_no_decay, lambda finding: "no_decay", _SAME),
    "KT214": Repair(_no_decay, lambda finding: "no_decay, same exclusions", _SAME),
    "KT301": Repair(_logits, lambda finding: "from_logits=False", _SAME),
    "KT302": Repair(_logits, lambda finding: "from_logits=True", _SAME),
}
