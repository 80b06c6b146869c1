"""Configurations that differ by rates and decays alone, as one vectorized program."""

from typing import Any

import numpy as np

from keras_tricks import _build, _state
from keras_tricks.ensembles import _initial_weights
from keras_tricks.model_selection import _program, _vectorized
from keras_tricks.model_selection._plan import Plan, refused
from keras_tricks.model_selection._progress import Progress


class Swept:
    """What a plan's model has of its own, beside what it shares with its group."""

    def __init__(self, plan: Plan) -> None:
        task = plan.task
        with _state.seeded(task.seed), _initial_weights.drawn_anew(task.seed):
            model = _build.model(task.build, seed=task.seed_of(0), fold=0)
        optimizer = model.optimizer
        self.decay = getattr(optimizer, "weight_decay", None)
        config = optimizer.get_config()
        plain = isinstance(config.get("learning_rate"), int | float)
        self.rate = float(config["learning_rate"]) if plain else None
        optimizer.weight_decay = None
        key = _program.key(model)
        # A schedule is part of the key, so all of a group have the same or none.
        self.group = (
            None if key is None else (key[0], id(key[1]), task.batch_size, task.epochs)
        )


def run(plans: list[Plan], progress: Progress, insist: bool) -> dict[int, Any]:
    """The outcomes by the number of the plan, of those that can be trained together.

    Raises:
        ValueError: If `insist`, and some cannot be.
    """
    found: dict[int, Any] = {}
    groups: dict[Any, list[tuple[int, Swept]]] = {}
    for number, plan in enumerate(plans):
        done = plan.finished()
        if len(done) == len(plan.splits):
            found[number] = [done[fold] for fold in sorted(done)]
            continue
        try:
            _vectorized.check(plan.task)
            swept = Swept(plan)
            if swept.group is None:
                raise _vectorized.NotPossibleError("the model is of its own kind")
        except _vectorized.NotPossibleError as error:
            if insist:
                raise refused(error) from error
            continue
        groups.setdefault(swept.group, []).append((number, swept))
    progress.resumed(len(found))
    for group in groups.values():
        numbers = [number for number, _ in group]
        first = plans[numbers[0]]
        folds = range(len(first.splits))
        members = [(plans[number].task, fold) for number in numbers for fold in folds]
        rates = np.repeat([s.rate or 0.0 for _, s in group], len(folds))
        decays = np.repeat([s.decay or 0.0 for _, s in group], len(folds))
        try:
            outcomes = list(
                _vectorized.run(
                    members,
                    first.data,
                    first.splits,
                    progress,
                    None if group[0][1].rate is None else rates,
                    decays if decays.any() else None,
                )
            )
        except _vectorized.NotPossibleError as error:
            if insist:
                raise refused(error) from error
            continue
        for place, number in enumerate(numbers):
            own = outcomes[place * len(folds) : (place + 1) * len(folds)]
            plans[number].how = "vectorized"
            if len(group) > 1:
                plans[number].how += f", {len(group)} configurations together"
            found[number] = [plans[number].keep(outcome) for outcome in own]
            progress.finished(f"configuration {number}")
    return found
