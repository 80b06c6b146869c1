import importlib

import keras
import numpy as np
import pytest
from keras import layers
from sklearn import model_selection
from sklearn.preprocessing import StandardScaler

from keras_tricks.model_selection import _vectorized, cross_validate
from keras_tricks.model_selection._data import Data
from keras_tricks.model_selection._plan import Plan
from keras_tricks.model_selection._task import Task

ensembles = importlib.import_module("keras_tricks.ensembles")
with_engine = pytest.mark.skipif(
    not hasattr(ensembles, "VectorizedEnsemble"), reason="needs VectorizedEnsemble"
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype("float32")
Y = (X[:, 0] + X[:, 1] > 0).astype("int32")
GIVEN = [RNG.normal(size=shape) for shape in ((3, 4), (4,), (4, 2), (2,))]


def network(fixed=False, optimizer=None):
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2, "softmax")]
    )
    if fixed:
        model.set_weights(GIVEN)
    model.compile(
        optimizer or keras.optimizers.Adam(0.05),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def run(build=None, **arguments):
    defaults = {"cv": 4, "epochs": 3, "batch_size": 5, "seed": 1, "verbose": 0}
    build = (lambda: network()) if build is None else build
    return cross_validate(build, X, Y, **(defaults | arguments))


@with_engine
def test_with_order_and_initial_weights_given_it_equals_the_loop():
    def build():
        return network(fixed=True)

    arguments = {
        "shuffle": False,
        "scoring": ["neg_log_loss"],
        "return_train_score": True,
    }
    many = run(build, vectorized=True, **arguments)
    loop = run(build, vectorized=False, **arguments)
    assert many.how == "vectorized"
    np.testing.assert_allclose(many.out_of_fold, loop.out_of_fold, atol=1e-5)
    assert list(many.scores) == list(loop.scores)
    for name, score in loop.scores.items():
        found = many.scores[name].folds
        np.testing.assert_allclose(found, score.folds, atol=1e-5, err_msg=name)
    for one, other in zip(many.histories, loop.histories, strict=True):
        assert sorted(one) == sorted(other)
        for name, values in other.items():
            np.testing.assert_allclose(one[name], values, atol=1e-5, err_msg=name)
    for one, other in zip(many.models, loop.models, strict=True):
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@with_engine
@pytest.mark.slow
def test_it_agrees_with_the_loop_within_the_spread_of_seeds():
    def means(how):
        results = [run(vectorized=how, seed=seed, cv=3) for seed in range(6)]
        return np.array([result.scores["loss"].mean for result in results])

    one, other = means(True), means(False)
    # The folds are those of the seed in both; weights and order are drawn apart.
    differences = one - other
    # Four standard errors of the mean of six.
    assert abs(differences.mean()) < 4 * differences.std(ddof=1) / np.sqrt(6)
    assert 1 / 4 < one.std(ddof=1) / other.std(ddof=1) < 4


@with_engine
def test_early_stopping_is_for_every_fold():
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1)
    calls = {"callbacks": [stop], "epochs": 8, "shuffle": False}

    def build():
        return network(fixed=True, optimizer=keras.optimizers.SGD(2.0))

    many, loop = (run(build, vectorized=how, **calls) for how in (True, False))
    lengths = [len(history["loss"]) for history in loop.histories]
    assert len(set(lengths)) > 1
    assert [len(history["loss"]) for history in many.histories] == lengths


@with_engine
def test_leave_one_out_at_once():
    result = run(cv=model_selection.LeaveOneOut(), epochs=1, vectorized=True)
    assert result.how == "vectorized"
    assert np.isfinite(result.out_of_fold).all()
    assert len(result.models) == 20
    row = 11
    found = result.models[row].predict(X[[row]], verbose=0)
    np.testing.assert_allclose(result.out_of_fold[[row]], found, atol=1e-5)


@pytest.mark.parametrize(
    ("why", "arguments"),
    [
        ("gives every fold other inputs", {"preprocess": StandardScaler()}),
        ("takes `fold`", {"build": lambda fold: network()}),
        ("see one model", {"callbacks": [keras.callbacks.TerminateOnNaN()]}),
        ("see one model", {"callbacks": list}),
        (
            "two EarlyStopping",
            {"callbacks": [keras.callbacks.EarlyStopping() for _ in range(2)]},
        ),
        ("argument of `fit` alone", {"fit_arguments": {"validation_batch_size": 4}}),
    ],
)
def test_what_cannot_be_one_program_says_why(why, arguments):
    given = {"build": network, "epochs": 1, "batch_size": 4, "seed": 1, "judge": None}
    task = Task(**(given | arguments))
    with pytest.raises(_vectorized.NotPossibleError, match=why):
        _vectorized.check(task)


@with_engine
def test_what_cannot_be_one_program_is_a_loop():
    arguments = {"preprocess": StandardScaler(), "cv": 2, "batch_size": 1}
    result = run(**arguments, epochs=5)
    assert result.how == (
        "one after the other: `preprocess` gives every fold other inputs"
    )
    expected = "`vectorized` must be False or 'auto'.* gives every fold other inputs"
    with pytest.raises(ValueError, match=expected):
        run(vectorized=True, **arguments)


@pytest.mark.parametrize(
    ("epochs", "how"),
    [
        # Four folds of 15 rows in batches of 5.
        (8, "one after the other: too few steps to compile a program for"),
        (9, ""),
    ],
)
def test_auto_compiles_no_program_for_a_few_steps(epochs, how):
    splits = [(np.arange(5, 20), np.arange(5))] * 4
    task = Task(network, epochs, batch_size=5, seed=1, judge=None)
    plan = Plan(task, Data(X, Y, None), splits, "probabilities", None, "auto", None)
    assert plan.alone() == how


@with_engine
def test_a_directory_is_filled_fold_by_fold(tmp_path):
    arguments = {"cv": 2, "batch_size": 10, "epochs": 1}
    assert "kept in `directory`" in run(directory=tmp_path, **arguments).how
    result = run(directory=tmp_path / "one", vectorized=True, **arguments)
    assert result.how == "vectorized"
    assert len([*(tmp_path / "one").glob("fold-*.json")]) == 2


@with_engine
@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")
def test_values_that_come_after_some_epochs_end_where_a_fold_was_stopped():
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1)
    calls = {"callbacks": [stop], "epochs": 12, "shuffle": False, "cv": 4}

    def build():
        return network(fixed=True, optimizer=keras.optimizers.SGD(2.0))

    many, loop = (
        run(build, vectorized=how, validation_freq=2, **calls) for how in (True, False)
    )
    lengths = [{k: len(v) for k, v in h.items()} for h in loop.histories]
    assert len({length["loss"] for length in lengths}) > 1
    assert [{k: len(v) for k, v in h.items()} for h in many.histories] == lengths


def test_without_the_engine_it_is_a_loop(monkeypatch):
    monkeypatch.delattr(ensembles, "VectorizedEnsemble", raising=False)
    with pytest.raises(ValueError, match=r"there is no kt\.ensembles\.VectorizedEns"):
        run(epochs=1, cv=2, vectorized=True)


def test_functions_that_are_told_the_fold_are_known():
    assert _vectorized.takes_fold(lambda fold: None)
    assert _vectorized.takes_fold(lambda **given: None)
    assert not _vectorized.takes_fold(lambda seed: None)
