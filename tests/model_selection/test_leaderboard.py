import importlib
import types

import keras
import numpy as np
import pytest
from keras import layers
from sklearn import model_selection

from keras_tricks.model_selection import cross_validate, leaderboard
from keras_tricks.model_selection._board import Leaderboard
from keras_tricks.model_selection.leaderboard import _rungs

ensembles = importlib.import_module("keras_tricks.ensembles")
with_engine = pytest.mark.skipif(
    not hasattr(ensembles, "VectorizedEnsemble"), reason="needs VectorizedEnsemble"
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")


def network(units=2, rate=0.1):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(units, "relu"),
            layers.Dense(2, "softmax", name="top"),
        ]
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"])
    return model


def build(units=2):
    return network(units)


def run(configurations, **arguments):
    defaults = {"cv": 2, "epochs": 2, "batch_size": 8, "seed": 1, "verbose": 0}
    defaults["vectorized"] = False
    return leaderboard(build, configurations, X, Y, **(defaults | arguments))


RATES = [{"learning_rate": rate} for rate in (0.001, 0.3, 0.03)]


@pytest.fixture(scope="module")
def board():
    """One that many tests look at; none changes it."""
    return run(RATES)


def test_the_best_is_first_and_each_is_as_alone(board):
    means = [entry.result.scores["loss"].mean for entry in board.entries]
    assert means == sorted(means)
    for entry in board.entries[:1]:
        rate = entry.configuration["learning_rate"]
        alone = cross_validate(
            lambda rate=rate: network(rate=rate),
            X,
            Y,
            cv=2,
            epochs=2,
            batch_size=8,
            seed=1,
            verbose=0,
            vectorized=False,
        )
        np.testing.assert_array_equal(alone.out_of_fold, entry.result.out_of_fold)
    assert board.best == board.entries[0].configuration


def test_all_have_the_same_folds_and_seeds():
    cv = model_selection.ShuffleSplit(2, test_size=0.25)
    board = run([{"learning_rate": 0.0}, {"units": 2}], cv=cv)
    one, two = (entry.result for entry in board.entries)
    np.testing.assert_array_equal(one.folds[1][1], two.folds[1][1])


def test_a_grid_of_scikit_learn():
    grid = {"units": [1, 3], "batch_size": [4], "weight_decay": [0.0]}
    board = run(model_selection.ParameterGrid(grid), epochs=1)
    units = [e.result.models[0].layers[0].units for e in board.entries]
    assert sorted(units) == [1, 3]
    assert [e.configuration["units"] for e in board.entries] == units
    sampler = model_selection.ParameterSampler(grid, 2, random_state=0)
    assert len(run(sampler, epochs=1)) == 2


def test_weight_decay_is_set_on_the_optimizer():
    # Without a gradient each of 6 updates leaves 1 - rate * decay of a weight.
    def still():
        model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False)])
        model.compile(keras.optimizers.SGD(0.1), lambda y, p: 0.0 * p)
        model.layers[0].set_weights([np.ones((3, 1))])
        return model

    board = leaderboard(
        still,
        [{"weight_decay": 0.5, "learning_rate": 0.2}],
        X,
        Y,
        cv=2,
        epochs=2,
        batch_size=4,
        seed=1,
        verbose=0,
        vectorized=False,
    )
    kernel = board.entries[0].result.models[0].get_weights()[0]
    np.testing.assert_allclose(kernel, 0.9**6, rtol=1e-5)


def test_scores_of_which_more_is_better(board):
    other = Leaderboard(board.entries, "accuracy", higher=True)
    means = [entry.result.scores["accuracy"].mean for entry in other.entries]
    assert means == sorted(means, reverse=True)
    scored = run(RATES[:1], scoring=["neg_log_loss"], epochs=1)
    assert scored.rank_by == "neg_log_loss"
    with pytest.raises(ValueError, match=r"`mode` must be 'min' or 'max' where the"):
        run(RATES, rank_by="goodness")
    with pytest.raises(
        ValueError, match=r"`rank_by` must be one of 'loss', 'accuracy'"
    ):
        Leaderboard(board.entries, "acc", higher=True)


def test_the_table_has_ranks_and_standard_errors(board):
    lines = board.summary().rows
    assert [line.rank for line in lines] == [1, 2, 3]
    assert (
        lines[0].standard_error == board.entries[0].result.scores["loss"].standard_error
    )
    assert lines[0].configuration.startswith("learning_rate=")
    assert repr(board).startswith("<Leaderboard 3 configurations, best loss ")


def test_the_ensemble_of_the_best_few(board):
    board = board.top(2)
    ensemble = board.ensemble()
    assert len(ensemble.models) == 4
    each = [m.predict(X, verbose=0) for e in board.entries for m in e.result.models]
    np.testing.assert_allclose(
        ensemble.predict(X, verbose=0), np.mean(each, axis=0), rtol=1e-5
    )


def test_greedy_selection_goes_by_out_of_fold_predictions(board):
    shares = board.select("log_loss", seed=0)
    found = [entry.result.out_of_fold for entry in board.entries]

    def loss(weights):
        mean = np.tensordot(weights, found, 1)
        return -np.log(mean[np.arange(24), Y]).mean()

    assert np.isclose(shares.sum(), 1.0)
    assert loss(shares) <= min(loss(single) for single in np.eye(3)) + 1e-9
    ensemble = board.ensemble(greedy=True)
    assert len(ensemble.models) == 2 * np.count_nonzero(shares)
    np.testing.assert_allclose(
        ensemble.member_weights, np.repeat(shares[shares > 0], 2) / 2, rtol=1e-6
    )


def test_only_the_best_keep_their_models():
    board = run(RATES[:2], keep=1, epochs=1)
    assert len(board.entries[0].result.models) == 2
    with pytest.raises(ValueError, match="`models` needs the weights of the folds"):
        _ = board.entries[1].result.models[0]


def test_halving_gives_more_epochs_to_the_better_half():
    configurations = [{"learning_rate": rate} for rate in (0.0, 0.5, 0.3, 0.001)]
    board = run(configurations, epochs=4, halving=2)
    assert [entry.epochs for entry in board.entries] == [4, 2, 1, 1]
    # 4 of 1 epoch, 2 of 2, 1 of 4.
    assert _rungs(4, 4, 2) == [(4, 1), (2, 2), (1, 4)]
    assert _rungs(4, 4, None) == [(4, 4)]


def test_a_configuration_that_is_finished_is_not_trained_again(tmp_path):
    first = run(RATES[:2], directory=tmp_path, epochs=1)
    again = run(RATES, directory=tmp_path, epochs=1)
    hows = {e.configuration["learning_rate"]: e.result.how for e in again.entries}
    assert hows[0.001] == hows[0.3] == "all from an earlier run"
    assert hows[0.03] != hows[0.3]
    by_rate = {e.configuration["learning_rate"]: e.result for e in again.entries}
    for entry in first.entries:
        np.testing.assert_array_equal(
            by_rate[entry.configuration["learning_rate"]].out_of_fold,
            entry.result.out_of_fold,
        )
    with pytest.raises(
        ValueError, match="`directory` must be new, or that of the same"
    ):
        leaderboard(build, RATES, X + 1, Y, cv=2, epochs=1, directory=tmp_path, seed=1)


class Study:
    """Asks for a fixed list, as an Optuna study of the same interface would."""

    def __init__(self, values, direction):
        self.values, self.told = list(values), []
        self.direction = types.SimpleNamespace(name=direction)

    def ask(self, distributions):
        return types.SimpleNamespace(params={"learning_rate": self.values.pop(0)})

    def tell(self, trial, value):
        self.told.append((trial.params["learning_rate"], value))


def test_greedy_selection_of_columns_that_are_questions():
    answers = (X > 0).astype("int32")

    def questions():
        model = keras.Sequential([keras.Input((3,)), layers.Dense(3, "sigmoid")])
        model.compile("sgd", "binary_crossentropy")
        return model

    rates = [{"learning_rate": rate} for rate in (0.5, 0.0)]
    arguments = {"cv": 2, "epochs": 2, "seed": 1, "verbose": 0, "vectorized": False}
    board = leaderboard(questions, rates, X, answers, **arguments)
    found = [entry.result.out_of_fold for entry in board.entries]

    def loss(shares):
        mean = np.tensordot(shares, found, 1)
        return -np.log(np.where(answers == 1, mean, 1 - mean)).mean()

    assert loss(board.select()) <= min(loss(single) for single in np.eye(2)) + 1e-6


def test_more_epochs_are_no_better_rank():
    still = [{"epochs": 2, "learning_rate": 0.0}, {"epochs": 1, "learning_rate": 0.3}]
    assert [entry.epochs for entry in run(still).entries] == [1, 2]
    with pytest.raises(ValueError, match="`halving` must be None where configurations"):
        run(still, halving=2)


def test_a_study_is_asked_and_told():
    study = Study([0.1, 0.3, 0.1], "MINIMIZE")
    board = run(study, trials=3, distributions={}, epochs=1)
    assert len(board) == 2
    (_, first), (_, second), (_, third) = study.told
    assert first == third
    assert sorted([first, second]) == [
        entry.result.scores["loss"].mean for entry in board.entries
    ]
    with pytest.raises(ValueError, match="must be a study that looks for the lowest"):
        run(Study([0.1], "MAXIMIZE"), trials=1, distributions={})
    with pytest.raises(ValueError, match="`trials` and `distributions` must be given"):
        run(Study([0.1], "MINIMIZE"))


@pytest.mark.needs("optuna")
def test_an_optuna_study():
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    rates = optuna.distributions.FloatDistribution(1e-3, 1.0, log=True)
    board = run(study, trials=3, distributions={"learning_rate": rates}, epochs=1)
    assert np.isclose(study.best_value, board.entries[0].result.scores["loss"].mean)
    assert study.best_params == board.best


@with_engine
def test_rates_and_decays_are_one_program():
    configurations = [
        {"learning_rate": rate, "weight_decay": decay, "units": units}
        for rate, decay, units in ((0.3, 0.0, 2), (0.01, 0.1, 2), (0.3, 0.1, 3))
    ]

    def still(units):
        model = network(units)
        # The same initial weights in both, so that they can be compared.
        rng = np.random.default_rng(units)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        return model

    both = [
        leaderboard(
            still,
            configurations,
            X,
            Y,
            cv=2,
            epochs=2,
            batch_size=8,
            shuffle=False,
            seed=1,
            verbose=0,
            vectorized=how,
        )
        for how in (True, False)
    ]
    many, loop = both
    assert sorted(e.result.how for e in many.entries) == [
        "vectorized",
        *["vectorized, 2 configurations together"] * 2,
    ]
    for one, other in zip(many.entries, loop.entries, strict=True):
        assert one.configuration == other.configuration
        np.testing.assert_allclose(
            one.result.out_of_fold, other.result.out_of_fold, atol=1e-5
        )


@pytest.mark.parametrize(
    ("configurations", "error", "text"),
    [
        ([], ValueError, "`configurations` must hold at least one"),
        ({"units": 1}, TypeError, "`configurations` must be a list of dicts"),
        (3, TypeError, "`configurations` must be a list of dicts"),
        ([3], TypeError, "Received: 3 among them"),
        ([{"units": 1}, {"units": 1}], ValueError, "`configurations` must all differ"),
        (
            [{"unit": 1}],
            ValueError,
            "`configurations` must name arguments of `build`.*Did you mean 'units'",
        ),
        ([{"batch_size": 0}], ValueError, "`batch_size` must be a positive integer"),
    ],
)
def test_says_which_configuration_is_wrong(configurations, error, text):
    with pytest.raises(error, match=text):
        run(configurations)


def test_trials_are_of_a_study():
    with pytest.raises(ValueError, match="`trials` and `distributions` go with an"):
        run(RATES, trials=3)
