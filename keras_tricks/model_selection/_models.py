"""The trained models of the folds, each made when it is first asked for."""

from collections.abc import Sequence
from typing import Any

from keras_tricks import _build, _state
from keras_tricks.ensembles import _initial_weights
from keras_tricks.model_selection import _fold
from keras_tricks.model_selection._plan import Plan
from keras_tricks.model_selection._task import Outcome


class Models(Sequence[Any]):
    """A list of models of which only those in use take memory: `[0]`, `[::10]`, ..."""

    def __init__(self, plan: Plan, outcomes: list[Outcome]) -> None:
        self._plan, self._outcomes = plan, outcomes
        self._made: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._outcomes)

    def __getitem__(self, index: Any) -> Any:
        found = range(len(self))[index]
        if isinstance(found, range):
            return [self[fold] for fold in found]
        if found not in self._made:
            self._made[found] = self._model(found)
        return self._made[found]

    def forget(self) -> None:
        """Lets go of the models, and of the weights that are in memory."""
        self._made.clear()
        for outcome in self._outcomes:
            outcome.weights = None

    def weights(self, fold: int) -> list[Any]:
        """The weights of a fold, from memory or the directory.

        Raises:
            ValueError: If they were not kept.
        """
        weights = self._outcomes[fold].weights
        if weights is None and self._plan.store is not None:
            weights = self._plan.store.weights(fold)
        if weights is None:
            raise ValueError(
                "`models` needs the weights of the folds. Received: a cross-validation "
                "with keep_models=False"
            )
        return weights

    def _model(self, fold: int) -> Any:
        plan, weights = self._plan, self.weights(fold)
        task, seed = plan.task, plan.task.seed_of(fold)
        train, test = plan.splits[fold]
        with _state.seeded(seed), _initial_weights.drawn_anew(seed):
            model = _build.model(task.build, seed=seed, fold=fold)
            if not model.built:
                model(_fold.Prepared(task, plan.data, train).rows(test[:1])[0])
        shapes = [tuple(variable.shape) for variable in model.variables]
        if shapes != [weight.shape for weight in weights]:
            raise ValueError(
                "`build` must return the model that was trained. Received: one with "
                f"other weights in fold {fold}"
            )
        for variable, weight in zip(model.variables, weights, strict=True):
            variable.assign(weight)
        return model
