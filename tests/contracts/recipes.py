"""One recipe per public name: how to make a small one, and what it promises."""

import dataclasses
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_tricks as kt


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule, made by `make`."""

    make: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Callback:
    """A callback, made by `make`."""

    make: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer, made by `make`."""

    make: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer on `inputs`, made by `make`."""

    make: Callable[[], Any]
    inputs: Any


@dataclasses.dataclass(frozen=True)
class Initializer:
    """An initializer, made by `make`, of a table of this shape."""

    make: Callable[[], Any]
    shape: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Function:
    """A function: only its card is held to the contract."""


@dataclasses.dataclass(frozen=True)
class Result:
    """A class that functions return: only its card is held to the contract."""


RUNS = tempfile.TemporaryDirectory(prefix="keras_tricks_runs_")
NUMBERS = np.random.default_rng(0).normal(size=(4, 15)).astype("float32")

RECIPES = {
    "NoEffectWarning": Result(),
    "callbacks.ActivationMonitor": Callback(
        lambda: kt.callbacks.ActivationMonitor(NUMBERS[:, :3])
    ),
    "callbacks.GradientMonitor": Callback(lambda: kt.callbacks.GradientMonitor()),
    "callbacks.GradualUnfreezing": Callback(
        lambda: kt.callbacks.GradualUnfreezing(["dense.*"])
    ),
    "callbacks.HalveOnPlateau": Callback(
        lambda: kt.callbacks.HalveOnPlateau("loss", patience=1, min_delta=100.0)
    ),
    "callbacks.ScaleLearningRate": Callback(lambda: kt.callbacks.ScaleLearningRate(8)),
    "callbacks.RunRecorder": Callback(
        # Below a folder that goes when the tests do.
        lambda: kt.callbacks.RunRecorder(tempfile.mkdtemp(dir=RUNS.name))
    ),
    "callbacks.Snapshots": Callback(lambda: kt.callbacks.Snapshots(every=3)),
    "callbacks.StochasticWeightAverage": Callback(
        lambda: kt.callbacks.StochasticWeightAverage(0)
    ),
    "callbacks.SwitchOptimizer": Callback(
        lambda: kt.callbacks.SwitchOptimizer(keras.optimizers.SGD(0.01), epoch=0)
    ),
    # No state of its own goes into files: its tests show what it gives `fit`.
    "data.MultiScale": Result(),
    "debug.StepError": Result(),
    "debug.explain_failure": Function(),
    "debug.rerun_on_cpu": Function(),
    "ensembles.Ensemble": Layer(
        lambda: kt.ensembles.Ensemble(
            [
                keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
                for _ in range(2)
            ]
        ),
        NUMBERS[:, :3],
    ),
    # Its tests show the round trips: a config holds the model that `build` returned.
    "ensembles.VectorizedEnsemble": Result(),
    "ensembles.augmented_predict": Function(),
    "ensembles.load": Function(),
    "ensembles.monte_carlo_predict": Function(),
    "ensembles.recalibrate": Function(),
    "ensembles.soup": Function(),
    "ensembles.train_members": Function(),
    "fusion.apply_temperature": Function(),
    "fusion.decode_answers": Function(),
    "fusion.fit_linear_weights": Function(),
    "fusion.fit_temperature": Function(),
    "fusion.fit_threshold": Function(),
    "fusion.geometric_mean": Function(),
    "fusion.greedy_selection": Function(),
    "fusion.majority_vote": Function(),
    "fusion.mean": Function(),
    "fusion.mean_and_variance": Function(),
    "fusion.mean_probability": Function(),
    "fusion.median": Function(),
    "fusion.rank_average": Function(),
    "initializers.WordVectors": Initializer(
        lambda: kt.initializers.WordVectors(
            {"a": [1.0, 2.0], "b": [3.0, 1.0]}, ["a", "b", "c"], seed=1
        ),
        (3, 2),
    ),
    "layers.Embedding": Layer(
        lambda: kt.layers.Embedding(9, 3, mask_zero=True),
        np.array([[1, 8, 0], [2, 2, 0]], "int32"),
    ),
    "layers.Highway": Layer(
        lambda: kt.layers.Highway(activation="relu"), NUMBERS[:, :3]
    ),
    "layers.HighwayConv1D": Layer(
        lambda: kt.layers.HighwayConv1D(3, activation="relu", dilation_rate=2),
        NUMBERS.reshape(4, 5, 3),
    ),
    "layers.HighwayConv2D": Layer(
        lambda: kt.layers.HighwayConv2D((3, 2), activation="relu"),
        NUMBERS.reshape(2, 5, 2, 3),
    ),
    "lint.Facts": Result(),
    "lint.Finding": Result(),
    "lint.Report": Result(),
    "lint.check": Function(),
    "lint.fix": Function(),
    "lint.register": Function(),
    "lint.rules": Function(),
    "lint.unregister": Function(),
    "model_selection.cross_validate": Function(),
    "model_selection.leaderboard": Function(),
    "model_selection.suggest_configurations": Function(),
    "optimizers.AutoClip": Optimizer(
        lambda: kt.optimizers.AutoClip(keras.optimizers.SGD(0.01), 20, window=4)
    ),
    "optimizers.LayerwiseLearningRate": Optimizer(
        lambda: kt.optimizers.LayerwiseLearningRate(
            keras.optimizers.AdamW(0.01), {"dense.*": 0.5}, default=0.9
        )
    ),
    "optimizers.LazyAdam": Optimizer(lambda: kt.optimizers.LazyAdam(0.01)),
    "optimizers.SWATS": Optimizer(lambda: kt.optimizers.SWATS(0.01)),
    "optimizers.discriminative": Function(),
    "optimizers.layer_decay": Function(),
    "optimizers.no_decay": Function(),
    "probes.Forecast": Result(),
    "probes.LearningRateCurve": Result(),
    "probes.find_learning_rate": Function(),
    "probes.pilot_run": Function(),
    "runs.Run": Result(),
    "runs.compare": Function(),
    "runs.list": Function(),
    "runs.plot": Function(),
    "runs.repeat": Function(),
    "runs.report": Function(),
    "runs.reproducible": Function(),
    "runs.to_pandas": Function(),
    "runs.unstable_layers": Function(),
    "schedules.CosineRestarts": Schedule(
        lambda: kt.schedules.CosineRestarts(0.1, 5, t_mul=1.5, m_mul=0.9, alpha=0.01)
    ),
    "schedules.Cyclical": Schedule(
        lambda: kt.schedules.Cyclical(0.01, 0.1, 3, mode="exp_range", gamma=0.99)
    ),
    "schedules.OneCycle": Schedule(lambda: kt.schedules.OneCycle(0.1, 20)),
    "schedules.Scaled": Schedule(
        lambda: kt.schedules.Scaled(
            keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5), 0.5
        )
    ),
    "schedules.SlantedTriangular": Schedule(
        lambda: kt.schedules.SlantedTriangular(0.1, 20)
    ),
    "schedules.Warmup": Schedule(
        lambda: kt.schedules.Warmup(kt.schedules.CosineRestarts(0.1, 5), 4, 0.01)
    ),
    "schedules.plot": Function(),
    "schedules.preview": Function(),
    "schedules.scale_adam": Function(),
    "schedules.scale_learning_rate": Function(),
    "schedules.scaled": Function(),
    "surgery.dense_to_highway": Function(),
    "surgery.freeze": Function(),
    "surgery.insert_dropout": Function(),
    "surgery.lsuv": Function(),
    "surgery.reinitialize": Function(),
    "surgery.transfer_weights": Function(),
    "surgery.unfreeze": Function(),
    "wrappers.KerasClassifier": Result(),
    "wrappers.KerasRegressor": Result(),
}


def of_kind(kind: type) -> list[str]:
    return [name for name, recipe in RECIPES.items() if isinstance(recipe, kind)]


def public(name: str) -> Any:
    found: Any = kt
    for part in name.split("."):
        found = getattr(found, part)
    return found
