import gc
import random
import weakref

import keras
import numpy as np
import pytest
from keras import layers
from sklearn import model_selection
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from keras_tricks.model_selection import cross_validate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")
VALUES = X.sum(axis=1)


def network(*inner, units=2, top="softmax", loss=None, **compiled):
    model = keras.Sequential(
        [keras.Input((3,)), *inner, layers.Dense(units, top, name="top")]
    )
    compiled = {"optimizer": keras.optimizers.SGD(0.1, momentum=0.5)} | compiled
    model.compile(loss=loss or "sparse_categorical_crossentropy", **compiled)
    return model


def plain():
    return network()


def line():
    return network(units=1, top=None, loss="mse")


def run(build=plain, x=X, y=Y, **arguments):
    defaults = {"cv": 2, "epochs": 1, "batch_size": 12, "seed": 1, "verbose": 0}
    arguments = defaults | {"vectorized": False} | arguments
    return cross_validate(build, x, y, **arguments)


@pytest.fixture(scope="module")
def whole():
    """One result that many tests look at; none changes it."""
    scoring = ["neg_log_loss", "accuracy"]
    return run(cv=3, epochs=2, scoring=scoring, return_train_score=True)


def same(one, other):
    for name, score in one.scores.items():
        np.testing.assert_array_equal(score.folds, other.scores[name].folds, name)
    np.testing.assert_array_equal(one.out_of_fold, other.out_of_fold)
    assert one.histories == other.histories


def test_each_row_is_predicted_by_the_model_that_has_not_seen_it(whole):
    result = whole
    assert sorted(np.concatenate([test for _, test in result.folds])) == [*range(24)]
    for (train, test), model in zip(result.folds, result.models, strict=True):
        assert set(train) | set(test) == set(range(24))
        expected = model.predict(X[test], verbose=0)
        np.testing.assert_allclose(result.out_of_fold[test], expected, rtol=1e-5)


def test_scores_are_those_of_the_held_out_rows(whole):
    result = whole
    for fold, (train, test) in enumerate(result.folds):
        loss = log_loss(Y[test], result.out_of_fold[test], labels=[0, 1])
        assert np.isclose(result.scores["loss"].folds[fold], loss, rtol=1e-5)
        assert np.isclose(result.scores["neg_log_loss"].folds[fold], -loss, rtol=1e-5)
        seen = result.models[fold].predict(X[train], verbose=0)
        expected = log_loss(Y[train], seen, labels=[0, 1])
        assert np.isclose(result.scores["train_loss"].folds[fold], expected, rtol=1e-4)


def test_the_mean_and_its_standard_error(whole):
    score = whole.scores["loss"]
    a, b, c = score.folds
    mean = (a + b + c) / 3
    spread = ((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2) / 2
    assert np.isclose(score.mean, mean)
    assert np.isclose(score.standard_error, np.sqrt(spread / 3))


def test_classes_have_equal_shares_in_every_fold():
    y = np.repeat([0, 1], [18, 6])
    result = run(y=y)
    assert [y[test].sum() for _, test in result.folds] == [3, 3]


def test_one_seed_gives_one_result_and_another_seed_another(whole):
    scoring = ["neg_log_loss", "accuracy"]
    same(whole, run(cv=3, epochs=2, scoring=scoring, return_train_score=True))
    other = run(seed=2)
    assert not np.array_equal(whole.folds[0][1], other.folds[0][1])


def test_without_a_seed_keras_decides():
    keras.utils.set_random_seed(5)
    one = run(seed=None)
    keras.utils.set_random_seed(5)
    same(one, run(seed=None))


def test_a_splitter_without_a_random_state_goes_by_the_seed():
    splitter = model_selection.ShuffleSplit(1, test_size=0.25)
    one, two = run(cv=splitter), run(cv=splitter)
    same(one, two)
    np.testing.assert_array_equal(one.folds[0][1], two.folds[0][1])


def test_the_users_random_numbers_are_given_back():
    keras.utils.set_random_seed(3)
    expected = random.random(), np.random.rand()
    keras.utils.set_random_seed(3)
    run(build=lambda: network(layers.Dropout(0.5)))
    assert (random.random(), np.random.rand()) == expected


def test_every_fold_starts_from_its_own_weights():
    # A rate of zero shows the weights as they were drawn.
    def build():
        seeded = keras.initializers.HeNormal(seed=3)
        inner = layers.Dense(4, kernel_initializer=seeded)
        return network(inner, optimizer=keras.optimizers.SGD(0.0))

    one, two, three = (model.get_weights()[0] for model in run(build, cv=3).models)
    assert not np.any(one == two)
    assert not np.any(two == three)


def dropping():
    inner = [layers.Dense(6, "relu"), layers.BatchNormalization(), layers.Dropout(0.5)]
    return network(*inner, optimizer="adam", metrics=["accuracy"])


class OfTheUser(keras.callbacks.Callback):
    """Makes the compiled step anew, so that none is used again."""

    def on_train_end(self, logs=None):
        self.model.make_train_function(force=True)


def test_nothing_of_an_earlier_fold_is_left():
    together = run(dropping, epochs=2)
    anew = run(dropping, epochs=2, callbacks=lambda: OfTheUser())
    same(together, anew)
    for one, other in zip(together.models, anew.models, strict=True):
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def _quick_gc():
    """What lives already is no garbage, and need not be searched again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_quick_gc")
@pytest.mark.parametrize("callbacks", [None, lambda: OfTheUser()])
def test_models_of_earlier_folds_are_let_go(callbacks):
    alive, most = weakref.WeakSet(), []

    def build():
        gc.collect()
        most.append(len(alive))
        model = network()
        alive.add(model)
        return model

    result = run(build, cv=6, callbacks=callbacks)
    # The one that is used again, and the fold's own.
    assert max(most) <= 2
    gc.collect()
    assert len(alive) <= 1
    assert len(result.models) == 6


def test_a_fold_alone_is_as_among_others():
    whole = run(dropping)
    first = run(dropping, cv=whole.folds[:1])
    expected = whole.scores["loss"].folds[0]
    assert first.scores["loss"].folds[0] == expected
    assert np.isnan(first.scores["loss"].standard_error)


class Slowing(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.0


def test_a_rate_that_a_callback_changed_is_as_before_in_the_next_fold():
    result = run(callbacks=[Slowing()], epochs=1)
    starts = run(lambda: network(optimizer=keras.optimizers.SGD(0.0)))
    same(result, starts)


class Counting(keras.callbacks.Callback):
    """Remembers how many epochs it has seen."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen
        self.mine = 0

    def __deepcopy__(self, memo):
        # The list is the test's.
        return Counting(self.seen)

    def on_epoch_end(self, epoch, logs=None):
        self.mine += 1
        self.seen.append(self.mine)


def test_each_fold_has_callbacks_of_its_own():
    seen = []
    given = Counting(seen)
    run(callbacks=[given], epochs=2)
    assert seen == [1, 2] * 2
    assert given.mine == 0
    assert given.model is None


def test_callbacks_may_be_made_for_each_fold():
    seen, folds = [], []

    def make(fold):
        folds.append(fold)
        return [Counting(seen)]

    run(callbacks=make, epochs=2)
    assert seen == [1, 2] * 2
    assert folds == [0, 1]


def test_early_stopping_restarts_in_every_fold():
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, mode="max")
    # The loss falls, so for `mode="max"` each fold stops after its second epoch.
    result = run(
        lambda: network(optimizer=keras.optimizers.SGD(0.01)),
        callbacks=[stop],
        epochs=5,
    )
    assert [len(history["loss"]) for history in result.histories] == [2, 2]
    assert stop.model is None


def test_rows_that_are_never_held_out_have_no_prediction():
    result = run(cv=model_selection.TimeSeriesSplit(2), x=X[:12], y=Y[:12])
    tested = np.isfinite(result.out_of_fold).all(axis=1)
    assert tested.tolist() == [False] * 4 + [True] * 8


def test_predictions_of_rows_that_are_held_out_twice_are_averaged():
    splitter = model_selection.RepeatedKFold(n_splits=2, n_repeats=2, random_state=0)
    result = run(cv=splitter)
    row = 7
    held = [fold for fold, (_, test) in enumerate(result.folds) if row in test]
    assert len(held) == 2
    each = [result.models[f].predict(X[[row]], verbose=0)[0] for f in held]
    np.testing.assert_allclose(result.out_of_fold[row], np.mean(each, 0), rtol=1e-5)


def test_a_single_hold_out():
    result = run(cv=model_selection.ShuffleSplit(1, test_size=0.25, random_state=0))
    assert len(result.models) == 1
    assert np.isfinite(result.out_of_fold[:, 0]).sum() == 6


def test_preprocessing_sees_the_training_rows_of_its_fold_alone():
    result = run(preprocess=StandardScaler())
    for (train, _), scaler in zip(result.folds, result.preprocessors, strict=True):
        np.testing.assert_allclose(scaler.mean_, X[train].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(result.preprocessor.mean_, X.mean(axis=0), rtol=1e-5)
    (train, test), model = result.folds[0], result.models[0]
    inputs = (X[test] - X[train].mean(axis=0)) / X[train].std(axis=0)
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(result.out_of_fold[test], expected, rtol=1e-4)
    with pytest.raises(ValueError, match="`ensemble` needs models that take the same"):
        result.ensemble()
    each = [
        m.predict(s.transform(X[:5]), verbose=0)
        for m, s in zip(result.models, result.preprocessors, strict=True)
    ]
    np.testing.assert_allclose(result.predict(X[:5]), np.mean(each, 0), rtol=1e-5)


def test_the_ensemble_is_the_mean_of_the_folds(whole):
    result = whole
    ensemble = result.ensemble()
    each = [model.predict(X, verbose=0) for model in result.models]
    np.testing.assert_allclose(
        ensemble.predict(X, verbose=0), np.mean(each, axis=0), rtol=1e-5
    )
    assert result.ensemble("vote").predict(X, verbose=0).shape == (24, 2)
    np.testing.assert_allclose(result.predict(X), np.mean(each, axis=0), rtol=1e-5)


def test_refit_trains_on_all_rows_for_the_mean_best_epoch_count():
    result = run(line, y=VALUES, epochs=3)
    best = [1 + int(np.argmin(h["val_loss"])) for h in result.histories]
    assert result.best_epochs() == best
    model = result.refit()
    assert len(model.history.history["loss"]) == round(np.mean(best))
    assert "val_loss" not in model.history.history
    again = result.refit()
    np.testing.assert_array_equal(model.get_weights()[0], again.get_weights()[0])
    assert len(result.refit(epochs=1).history.history["loss"]) == 1
    assert result.ensemble().fusion == "mean"
    with pytest.raises(ValueError, match="`monitor` must be one of 'loss', 'val_loss'"):
        result.best_epochs("val_los")


def test_the_summary_is_a_table(whole):
    result = whole
    table = result.summary()
    assert [row.score for row in table.rows][:3] == ["loss", "neg_log_loss", "accuracy"]
    assert table.rows[0].lowest == result.scores["loss"].folds.min()
    assert "standard_error" in str(table)
    assert repr(result).startswith("<CrossValidation 3 folds of 24 rows in ")


@pytest.mark.needs("matplotlib")
def test_the_plot_shows_every_fold(whole):
    import matplotlib

    matplotlib.use("agg")
    result = whole
    ax = result.plot()
    assert len(ax.lines) == 2 * (3 + 1)
    assert ax.get_ylabel() == "loss"
    with pytest.raises(ValueError, match="`metric` must be one of 'loss', 'val_loss'"):
        result.plot(metric="accuracy")


def test_inputs_may_be_a_dict():
    def build():
        a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
        joined = layers.Concatenate()([a, b])
        model = keras.Model({"a": a, "b": b}, layers.Dense(1)(joined))
        model.compile("sgd", "mse")
        return model

    result = run(build, x={"a": X[:, :2], "b": X[:, 2:]}, y=VALUES)
    assert result.out_of_fold.shape == (24, 1)
    test = result.folds[1][1]
    rows = {"a": X[test, :2], "b": X[test, 2:]}
    expected = result.models[1].predict(rows, verbose=0)
    np.testing.assert_allclose(result.out_of_fold[test], expected, rtol=1e-5)


def test_what_adapt_has_found_in_a_fold_is_of_that_fold_alone():
    # On JAX the statistics of an adapted layer are constants of the compiled step.
    splits = [(np.arange(12), np.arange(12, 24)), (np.arange(12, 24), np.arange(12))]

    def build(fold):
        scale = layers.Normalization()
        scale.adapt(X[splits[fold][0]] * (1 + 9 * fold))
        return network(scale)

    result = run(build, cv=splits)
    for (_, test), model in zip(result.folds, result.models, strict=True):
        expected = model.predict(X[test], verbose=0)
        np.testing.assert_allclose(result.out_of_fold[test], expected, rtol=1e-5)


def test_a_model_that_fit_builds():
    def build():
        model = keras.Sequential([layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    result = run(build, y=VALUES)
    test = result.folds[1][1]
    expected = result.models[1].predict(X[test], verbose=0)
    np.testing.assert_allclose(result.out_of_fold[test], expected, rtol=1e-5)


def test_unnamed_metrics_have_one_name_in_all_folds():
    def build():
        return network(
            units=1, top="sigmoid", loss="bce", metrics=[keras.metrics.AUC()]
        )

    result = run(build, callbacks=lambda: OfTheUser())
    assert list(result.scores) == ["loss", "auc"]
    assert np.isfinite(result.scores["auc"].folds).all()
    assert all("val_auc" in history for history in result.histories)


def test_sample_weights_count():
    weight = np.where(Y == 1, 2.0, 0.5)
    split = [(np.arange(12), np.arange(12, 24))]
    result = run(sample_weight=weight.tolist(), cv=split)
    test = np.arange(12, 24)
    shares = result.out_of_fold[test, Y[test]]
    # As in `evaluate`: the sum of the weighted losses by the number of rows.
    expected = (-np.log(shares) * weight[test]).sum() / len(test)
    assert np.isclose(result.scores["loss"].mean, expected, rtol=1e-5)
    # Rows without weight teach nothing: their labels may be anything.
    silent = np.where(Y == 1, 1.0, 0.0)
    one, other = (run(y=y, sample_weight=silent, cv=split) for y in (Y, np.ones(24)))
    np.testing.assert_array_equal(one.out_of_fold, other.out_of_fold)


def test_models_are_made_when_they_are_asked_for():
    folds = []

    def build(fold):
        folds.append(fold)
        return network()

    models = run(build, cv=3).models
    folds.clear()
    assert len(models) == 3
    assert models[::2][1] is models[-1]
    assert folds == [0, 2]
    with pytest.raises(IndexError):
        models[3]


def test_models_need_not_be_kept():
    result = run(keep_models=False, cv=[(np.arange(12), np.arange(12, 24))])
    with pytest.raises(ValueError, match="`models` needs the weights of the folds"):
        _ = result.models[0]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"epochs": 0}, ValueError, "`epochs` must be a positive integer"),
        ({"batch_size": 1.5}, TypeError, "`batch_size` must be a positive integer"),
        ({"callbacks": 3}, TypeError, "`callbacks` must be a list of callbacks, or"),
        ({"vectorized": "yes"}, ValueError, "`vectorized` must be one of 'auto', True"),
        ({"preprocess": 3}, TypeError, "`preprocess` must be a transformer of scikit"),
        (
            {"validation_data": (X, Y)},
            TypeError,
            "`validation_data` must not be given: cross-validation chooses the rows",
        ),
        ({"metrics": "accuracy"}, TypeError, "`metrics` must be a list, as in"),
        ({"verbose": 3}, ValueError, "`verbose` must be one of 0, 1, 2"),
        ({"y": Y[:5]}, ValueError, "`x`, `y` and `sample_weight` must have as many"),
        ({"y": {"a": Y}}, TypeError, "`y` must be one array: models with several"),
        ({"y": Y.astype(str)}, TypeError, r"`y` must hold numbers.*LabelEncoder\(\)"),
        ({"build": network()}, TypeError, "`build` must be a function that returns"),
        ({"x": X.tolist()}, TypeError, "`x` must be an array.* give numpy.asarray"),
        ({"x": iter(X)}, TypeError, "`x` must be an array, or a structure of arrays"),
        ({"x": None}, TypeError, "`x` must be an array"),
        ({"x": 3.0}, TypeError, "`x` must be an array"),
    ],
)
def test_says_which_argument_is_wrong(arguments, error, text):
    with pytest.raises(error, match=text):
        run(**arguments)


def test_a_sparse_matrix_is_refused():
    from scipy.sparse import csr_array

    with pytest.raises(TypeError, match=r"`x` must be an array.* give x\.toarray\(\)"):
        run(x=csr_array(X))


def test_a_model_with_two_outputs_is_refused():
    def build():
        inputs = keras.Input((3,))
        model = keras.Model(inputs, [layers.Dense(1)(inputs), layers.Dense(1)(inputs)])
        model.compile("sgd", ["mse", None])
        return model

    with pytest.raises(TypeError, match="`build` must return a model with one output"):
        run(build, y=VALUES)


def test_a_callback_that_cannot_be_copied_is_refused():
    class Stubborn(keras.callbacks.Callback):
        def __deepcopy__(self, memo):
            raise RuntimeError("no")

    with pytest.raises(TypeError, match="must be a function that returns new ones"):
        run(callbacks=[Stubborn()])
