"""What an ensemble learns from data that no member has seen."""

import keras
import numpy as np
import pytest

from keras_tricks import fusion
from keras_tricks.ensembles import Ensemble

COUNT = 300
X = np.random.default_rng(0).normal(size=(COUNT, 4)).astype("float32")


@pytest.fixture
def traced():
    """For a test of what is compiled: the others need not wait for a compiler."""


@pytest.fixture(autouse=True)
def _eagerly(request, monkeypatch):
    if "traced" not in request.fixturenames:
        monkeypatch.setattr(keras.Model, "run_eagerly", True)


def picks(*columns, activation=None, scale=1.0):
    """A model that answers with these columns of its inputs."""
    layer = keras.layers.Dense(len(columns), activation, use_bias=False)
    made = keras.Sequential([keras.Input((4,)), layer])
    kernel = np.zeros((4, len(columns)))
    kernel[list(columns), range(len(columns))] = scale
    layer.set_weights([kernel])
    return made


def sigmoid(z):
    return 1 / (1 + np.exp(-z.astype("float64")))


def members(*columns, scale=1.0, **kwargs):
    models = [picks(c, activation="sigmoid", scale=scale) for c in columns]
    return Ensemble(models, **kwargs)


def drawn(z):
    """Labels that are 1 with the probability of these logits."""
    return (np.random.default_rng(1).uniform(size=COUNT) < sigmoid(z)).astype(int)


# Weights.


def test_weights_of_values_are_those_of_the_closed_form():
    one, other = X[:, 0].astype("float64"), X[:, 1].astype("float64")
    y = 0.3 * one + 0.7 * other + 0.2 * X[:, 2]
    ensemble = Ensemble([picks(0), picks(1)], "mean")
    weights = ensemble.fit_weights(X, y)
    d, e = one - other, y - other
    share = (d * e).sum() / (d * d).sum()
    np.testing.assert_allclose(weights, [share, 1 - share], atol=1e-4)
    expected = share * one + (1 - share) * other
    found = ensemble.predict(X, verbose=0)[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(ensemble.member_weights, weights)


def test_weights_change_what_is_compiled_already(traced):
    ensemble = Ensemble([members(0), members(1)])
    before = ensemble.predict(X, verbose=0)
    ensemble.fit_weights(X, (X[:, 0] > 0).astype(int))
    assert ensemble.member_weights[0] > 0.95
    after = ensemble.predict(X, verbose=0)
    assert np.abs(after - before).max() > 0.1
    assert not ensemble.trainable_weights[0].path.startswith("member_weights")


def test_labels_of_several_class_orders_are_understood():
    names = np.array(["a", "b", "c"])
    y = names[X[:, :3].argmax(axis=1)]
    right = picks(2, 0, 1, activation="softmax", scale=5.0)
    wrong = picks(2, 0, 1, activation="softmax", scale=5.0)
    ensemble = Ensemble([right, wrong], classes=[["c", "a", "b"], ["a", "b", "c"]])
    assert ensemble.fit_weights(X, y)[0] > 0.99
    assert ensemble.select(X, y, seed=0, picks=5, bags=2).models[0] is right
    assert (ensemble.decide(X) == y).all()
    assert ensemble.score_table(X, y, resamples=5).rows[0].score == 1.0


def test_several_sigmoids_count_cell_by_cell():
    y = (X[:, :2] > 0).astype(int)
    models = [picks(a, b, activation="sigmoid", scale=4.0) for a, b in [(0, 1), (1, 0)]]
    ensemble = Ensemble(models)
    assert ensemble.fit_weights(X, y)[0] > 0.95
    assert len(ensemble.select(X, y, picks=5, bags=2).models) == 1
    assert (ensemble.decide(X) == y).all()
    ensemble.calibrate(X, y)
    assert len(ensemble.fit_threshold(X, y)) == 2
    assert (ensemble.decide(X) == y).all()
    rows = ensemble.score_table(X, y, "log_loss", resamples=5).rows
    p = sigmoid(4.0 * X[:, :2])
    expected = (y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert rows[0].score == pytest.approx(expected, rel=1e-4)


def test_the_selection_is_a_new_ensemble_that_is_never_worse_than_the_best():
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    ensemble = members(0, 1, 2, 3, classes=["no", "yes"])
    words = np.array(["no", "yes"])[y]
    selected = ensemble.select(X, words, seed=0, bags=2)
    given = [sigmoid(X[:, column]) for column in range(4)]
    shares = fusion.greedy_selection(given, y, "accuracy", bags=2, seed=0)
    kept = np.flatnonzero(shares)
    assert len(kept) > 0
    assert list(selected.models) == [ensemble.models[i] for i in kept]
    np.testing.assert_allclose(selected.member_weights, shares[kept], rtol=1e-6)
    assert len(ensemble.models) == 4
    np.testing.assert_allclose(ensemble.member_weights, 0.25)

    def right(made):
        return (made.decide(X) == words).mean()

    alone = [Ensemble([m], classes=["no", "yes"]) for m in ensemble.models]
    assert right(selected) >= max(right(single) for single in alone)


def test_the_selection_keeps_classes_that_only_others_know():
    names = np.array(["a", "b"])
    y = names[X[:, :2].argmax(axis=1)]
    models = [picks(2, 3, 2), picks(0, 1, scale=5.0), picks(3, 2, 2)]
    classes = [["a", "b", "c"], ["a", "b"], ["a", "b", "c"]]
    ensemble = Ensemble(models, classes=classes)
    selected = ensemble.select(X, y, picks=2, bags=1)
    assert list(selected.models) == models[:2]
    assert selected.member_weights.tolist() == [0.0, 1.0]
    assert selected.labels == ["a", "b", "c"]
    assert selected.predict(X, verbose=0).shape == (COUNT, 3)


def test_the_selection_keeps_what_was_declared():
    y = (X[:, 1] > 0).astype(int)
    models = [picks(0), picks(1, activation="sigmoid", scale=3.0)]
    ensemble = Ensemble(models, outputs=["logits", "probabilities"])
    (chosen,) = ensemble.select(X, y, bags=1).models
    assert chosen is models[1]
    numbers = Ensemble(models, "mean", outputs="logits")
    every = numbers.select(X, y, "squared_error", bags=2)
    assert every.predict(X, verbose=0).max() <= 1.0


@pytest.mark.parametrize("name", ["vote", "geometric"])
def test_only_a_weighted_mean_is_fitted(name):
    ensemble = members(0, 1, fusion=name)
    for fit in (ensemble.fit_weights, ensemble.select):
        with pytest.raises(ValueError, match=f"for the weighted mean.*'{name}'"):
            fit(X, np.zeros(COUNT))


def test_a_function_is_given_column_numbers_and_questions_as_rows():
    seen = []

    def see(y, fused):
        seen.append(y)
        return 0.0

    numbers = X[:, :2].argmax(axis=1)
    names = np.array(["no", "yes"])
    models = [picks(0, 1), picks(1, 0)]
    Ensemble(models, classes=names).fit_weights(X, np.eye(2)[numbers], see)
    ensemble = Ensemble(models, classes=[["no", "yes"], ["yes", "no"]])
    ensemble.fit_weights(X, names[numbers], see)
    ensemble.select(X, names[numbers], see, picks=1, bags=1)
    ensemble.score_table(X, names[numbers], see, resamples=1)
    whole = [y for y in seen if (y == numbers).all()]
    assert len(whole) >= 4
    assert all(y.shape == (COUNT,) and y.dtype.kind == "i" for y in seen)
    questions = (X[:, :2] > 0).astype(int)
    seen.clear()
    sigmoids = Ensemble([picks(0, 1, activation="sigmoid")])
    sigmoids.select(X, questions, see, picks=1, bags=1)
    assert (seen[0] == questions).all()


# Calibration.


def test_the_temperature_is_the_one_of_least_log_loss(traced):
    z = X[:, 0].astype("float64")
    y = drawn(z)
    ensemble = members(0, scale=3.0)
    temperature = ensemble.calibrate(X, y)
    grid = np.linspace(0.5, 8.0, 2001)
    p = sigmoid(3.0 * z / grid[:, None])
    losses = -np.where(y == 1, np.log(p), np.log1p(-p)).mean(axis=1)
    assert temperature == pytest.approx(grid[losses.argmin()], abs=0.01)
    expected = sigmoid(3.0 * z / temperature)
    found = ensemble.predict(X, verbose=0)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_temperature_over_several_classes_divides_the_logarithms():
    models = [picks(0, 1, 2, activation="softmax", scale=s) for s in (2.0, 4.0)]
    ensemble = Ensemble(models)
    before = ensemble.predict(X, verbose=0).astype("float64")
    temperature = ensemble.calibrate(X, X[:, :3].argmax(axis=1))
    assert temperature < 1.0
    powers = before ** (1 / temperature)
    expected = powers / powers.sum(axis=1, keepdims=True)
    found = ensemble.predict(X, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    rows = ensemble.score_table(X, X[:, :3].argmax(axis=1), "log_loss", resamples=3)
    chosen = found[np.arange(COUNT), X[:, :3].argmax(axis=1)]
    assert rows.rows[-1].score == pytest.approx(np.log(chosen).mean(), rel=1e-3)


def test_without_calibration_the_answer_is_not_touched():
    ensemble = Ensemble([picks(0, 1, activation="softmax", scale=200.0)])
    expected = ensemble.models[0].predict(X, verbose=0)
    found = ensemble.predict(X, verbose=0)
    np.testing.assert_array_equal(found, expected)
    assert (found == 0).any()
    assert ensemble.temperature == 1.0


def test_training_through_an_answer_of_zero_gives_numbers():
    ensemble = Ensemble([picks(0, 1, activation="softmax", scale=200.0)])
    ensemble.compile("sgd", "categorical_crossentropy")
    ensemble.train_on_batch(X[:8], np.eye(2)[np.arange(8) % 2])
    assert np.isfinite(ensemble.predict(X, verbose=0)).all()


def test_fitting_again_drops_what_was_fitted_to_the_old_answer():
    y = drawn(X[:, 0])
    ensemble = members(0, 1, scale=3.0)
    ensemble.calibrate(X, y)
    ensemble.fit_threshold(X, y, "f1")
    first = ensemble.temperature
    ensemble.fit_weights(X, y)
    assert (ensemble.temperature, ensemble.threshold) == (1.0, None)
    ensemble.calibrate(X, y)
    ensemble.fit_threshold(X, y, "f1")
    second = ensemble.temperature
    assert second != first
    assert ensemble.calibrate(X, y) == pytest.approx(second, rel=1e-6)
    assert ensemble.threshold is None


# Decisions.


def test_the_threshold_is_the_best_one_for_the_metric():
    z = X[:, 0].astype("float64")
    y = drawn(z - 1.5)
    ensemble = members(0)
    threshold = ensemble.fit_threshold(X, y, "f1")

    def f1(bound):
        said = sigmoid(z) > bound
        return 2 * (said & (y == 1)).sum() / (said.sum() + y.sum())

    best = max(f1(bound) for bound in np.linspace(0.01, 0.99, 5001))
    assert f1(threshold) == pytest.approx(best, abs=1e-9)
    assert (ensemble.decide(X) == (sigmoid(z) > threshold)).all()


def test_two_columns_are_told_apart_by_the_second():
    y = (X[:, 1] > X[:, 0] + 1.0).astype(int)
    ensemble = Ensemble([picks(0, 1, activation="softmax")], classes=["no", "yes"])
    words = np.array(["no", "yes"])[y]
    assert (ensemble.decide(X) == words).mean() < 0.9
    threshold = ensemble.fit_threshold(X, words)
    assert threshold == pytest.approx(sigmoid(np.array(1.0)), abs=0.02)
    assert (ensemble.decide(X) == words).mean() > 0.99


def test_a_probability_of_one_half_is_class_zero():
    ensemble = Ensemble([picks(0, activation="sigmoid", scale=0.0)])
    assert (ensemble.decide(X) == 0).all()
    pair = Ensemble([picks(0, 1, activation="softmax", scale=0.0)])
    assert (pair.decide(X) == 0).all()


def test_among_several_classes_the_greatest_decides():
    ensemble = Ensemble([picks(0, 1, 2, activation="softmax")])
    assert (ensemble.decide(X) == X[:, :3].argmax(axis=1)).all()
    with pytest.raises(ValueError, match=r"`y` must hold two classes.* 3 columns"):
        ensemble.fit_threshold(X, np.zeros(COUNT, int))


def test_rows_with_a_single_one_do_not_make_classes_questions():
    y = X[:, :3].argmax(axis=1)
    ensemble = Ensemble([picks(0, 1, 2, activation="softmax")], classes=list("abc"))
    with pytest.raises(ValueError, match=r"`y` must hold two classes.* 3 columns"):
        ensemble.fit_threshold(X, np.eye(3)[y])
    assert (ensemble.decide(X) == np.array(list("abc"))[y]).all()


@pytest.mark.parametrize("name", ["probabilities", "vote"])
def test_a_nan_is_named_and_not_decided(name):
    x = X.copy()
    x[7, 1] = np.nan
    models = [picks(0, 2, activation="softmax"), picks(1, 2, activation="softmax")]
    first = keras.Sequential([keras.Input((4,)), Safe(), models[0]])
    ensemble = Ensemble([first, models[1]], name)
    y = X[:, :2].argmax(axis=1)
    match = rf"NaN in row 7 of models\[1\] '{models[1].name}'"
    fits = [ensemble.fit_weights, ensemble.calibrate, ensemble.score_table]
    for fit in fits if name == "probabilities" else fits[2:]:
        with pytest.raises(ValueError, match=match):
            fit(x, y)
    with pytest.raises(ValueError, match=match):
        ensemble.decide(x)


class Safe(keras.layers.Layer):
    """Puts 0 where its inputs are no numbers."""

    def call(self, inputs):
        return keras.ops.where(keras.ops.isnan(inputs), 0.0, inputs)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return (X[index * 100 : (index + 1) * 100],)


def test_every_member_must_see_the_same_rows():
    ensemble, y = members(0, 1), (X[:, 0] > 0).astype(int)
    for x in (Batches(), (batch for batch in [X])):
        for method in (
            ensemble.fit_weights,
            ensemble.select,
            ensemble.score_table,
            ensemble.calibrate,
            ensemble.fit_threshold,
        ):
            with pytest.raises(TypeError, match="`x` must be an array, or a list or d"):
                method(x, y)
    assert (ensemble.decide(Batches()) == ensemble.decide(X)).all()


def test_a_nan_in_batches_is_named_by_its_row():
    bad = picks(0, activation="sigmoid")
    bad.layers[0].set_weights([np.full((4, 1), np.nan)])
    with pytest.raises(ValueError, match="NaN in row 0 of ensemble 'bad'"):
        Ensemble([bad], name="bad").decide(Batches())


def test_pixels_are_no_rows():
    def made(units, activation):
        layer = keras.layers.Dense(units, activation)
        return Ensemble([keras.Sequential([keras.Input((2, 4)), layer])])

    x = X[:64].reshape(32, 2, 4)
    several, one = made(3, "softmax"), made(1, "sigmoid")
    assert several.decide(x).shape == (32, 2)
    match = "`models` must give one row per sample"
    for fit in (several.fit_weights, several.calibrate, one.score_table):
        with pytest.raises(ValueError, match=match):
            fit(x, np.zeros((32, 2)))
    with pytest.raises(ValueError, match=match):
        one.decide(x)


def test_the_scores_of_a_code_table_are_not_calibrated():
    coded = members(0, 1, fusion=[[0, 0], [1, 1]], name="coded")
    for method in ("calibrate", "fit_threshold"):
        with pytest.raises(
            ValueError, match=f"`{method}` needs prob.*'coded' with a code table"
        ):
            getattr(coded, method)(X, np.zeros(COUNT))


def test_values_are_not_decided():
    ensemble = Ensemble([picks(0)], "mean", name="numbers")
    for method in ("calibrate", "fit_threshold"):
        with pytest.raises(
            ValueError, match=f"`{method}` needs probabilities.*'number"
        ):
            getattr(ensemble, method)(X, X[:, 0])
    with pytest.raises(ValueError, match=r"`decide` needs probabilities"):
        ensemble.decide(X)


def test_a_label_without_a_class_is_named():
    ensemble = members(0, classes=["no", "yes"])
    with pytest.raises(ValueError, match=r"`y` must hold labels .*'maybe', which is"):
        ensemble.fit_weights(X, ["maybe"] * COUNT)


# The score table.


def table_of(**kwargs):
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    return members(2, 0, 1).score_table(X, y, **kwargs), y


def test_the_table_scores_members_subsets_and_the_ensemble():
    table, y = table_of()
    p = sigmoid(X)

    def right(columns):
        return ((p[:, columns].mean(axis=1) > 0.5) == y).mean()

    names = ["member 0", "member 1", "member 2", "best 2", "best 3", "ensemble"]
    assert [row.name for row in table] == names
    columns = [[2], [0], [1], [0, 1], [0, 1, 2], [0, 1, 2]]
    expected = np.array([right(c) for c in columns])
    np.testing.assert_allclose([row.score for row in table], expected)
    best = expected[:3].max()
    np.testing.assert_allclose([row.gain for row in table], expected - best, atol=1e-9)
    assert table.rows[3].members == (1, 2)


def test_the_interval_is_that_of_paired_draws():
    table, y = table_of(resamples=4000)
    p, best = sigmoid(X), table.rows[int(np.argmax([r.score for r in table.rows[:3]]))]
    column = {1: 0, 2: 1}[best.members[0]]
    differences = ((p[:, :2].mean(axis=1) > 0.5) == y).astype(float) - (
        (p[:, column] > 0.5) == y
    )
    error = 1.96 * differences.std() / np.sqrt(COUNT)
    row = table.rows[3]
    assert row.low == pytest.approx(row.gain - error, abs=0.1 * error)
    assert row.high == pytest.approx(row.gain + error, abs=0.1 * error)
    assert (best.gain, best.low, best.high) == (0.0, 0.0, 0.0)


def test_a_function_as_metric_sees_the_same_draws():
    def accuracy(y, answer):
        return ((answer[:, 0] > 0.5) == y).mean()

    named, _ = table_of(resamples=50)
    own, _ = table_of(resamples=50, metric=accuracy)
    other, _ = table_of(resamples=50, seed=1)
    np.testing.assert_allclose([r[2:] for r in own], [r[2:] for r in named], atol=1e-12)
    assert any(a.low != b.low for a, b in zip(other, named, strict=True))


@pytest.mark.parametrize("metric", ["squared_error", "log_loss"])
def test_losses_are_negated(metric):
    table, y = table_of(metric=metric, resamples=5)
    p = sigmoid(X[:, 2])
    losses = {
        "squared_error": (p - y) ** 2,
        "log_loss": -np.where(y == 1, np.log(p), np.log1p(-p)),
    }
    assert table.rows[0].score == pytest.approx(-losses[metric].mean(), rel=1e-5)


def test_one_hot_labels_score_as_labels_do():
    y = X[:, :3].argmax(axis=1)
    ensemble = Ensemble([picks(0, 2, 1, activation="softmax"), picks(0, 1, 2)])
    for metric in ("accuracy", "log_loss"):
        rows = ensemble.score_table(X, y, metric, resamples=5).rows
        again = ensemble.score_table(X, np.eye(3)[y], metric, resamples=5).rows
        np.testing.assert_allclose([r[2:] for r in rows], [r[2:] for r in again])


def test_one_column_is_scored_by_labels_or_pairs():
    y = drawn(X[:, 0])
    ensemble = members(0, 1)
    for metric in ("accuracy", "squared_error"):
        rows = ensemble.score_table(X, y, metric, resamples=5).rows
        again = ensemble.score_table(X, np.eye(2)[y], metric, resamples=5).rows
        np.testing.assert_allclose([r[2:] for r in rows], [r[2:] for r in again])
    for metric in ("accuracy", "log_loss"):
        with pytest.raises(ValueError, match=r"`y` must hold only the labels \[0, 1\]"):
            ensemble.score_table(X, y + 1, metric)
    words = np.array(["no", "yes"])
    named = members(0, 1, classes=words)
    score = named.score_table(X, words[y], resamples=5).rows[0].score
    assert score == pytest.approx(((X[:, 0] > 0) == y).mean())


def test_questions_are_scored_one_by_one_whatever_the_rows_hold():
    models = [picks(0, 1, 2, activation="sigmoid")]
    said = X[:, :3] > 0
    for y in (np.eye(3)[np.arange(COUNT) % 3], np.ones((COUNT, 3), int)):
        (row,) = Ensemble(models).score_table(X, y, resamples=5).rows[:1]
        assert row.score == pytest.approx((said == y).mean())
    with pytest.raises(ValueError, match="`y` must hold rows of 0 and 1, one column"):
        Ensemble(models).score_table(X, np.arange(COUNT) % 3)


def test_the_accuracy_of_the_ensemble_is_that_of_its_decisions():
    y = (X[:, 0] > 1.0).astype(int)
    ensemble = members(0)
    before = ensemble.score_table(X, y, resamples=5).rows
    assert before[-1].gain == 0.0
    ensemble.fit_threshold(X, y)
    first, last = ensemble.score_table(X, y, resamples=5).rows
    assert first.score == before[0].score == ((X[:, 0] > 0) == y).mean()
    assert last.score == (ensemble.decide(X) == y).mean() == 1.0
    assert last.low > 0.0


@pytest.mark.parametrize("name", ["mean", "median"])
def test_values_are_scored_by_their_squared_error(name):
    y = 2.0 * X[:, 0]
    ensemble = Ensemble([picks(0), picks(0, scale=4.0)], name)
    table = ensemble.score_table(X, y, resamples=5)
    assert str(table).startswith("squared_error on 300")
    error = ((X[:, 0].astype("float64")) ** 2).mean()
    expected = [-error, -4.0 * error, -0.25 * error, -0.25 * error]
    found = [row.score for row in table]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="`metric` must be 'squared_error' or a fun"):
        ensemble.score_table(X, y, "accuracy")


def test_values_are_selected_by_their_squared_error():
    models = [picks(1), picks(0)]
    (chosen,) = Ensemble(models, "mean").select(X, X[:, 0], bags=1).models
    assert chosen is models[1]


def test_a_vote_is_scored_as_a_vote_and_its_members_as_they_are():
    models = [picks(0, 1, activation="softmax"), picks(1, 0, activation="softmax")]
    y = X[:, :2].argmax(axis=1)
    rows = Ensemble(models, "vote").score_table(X, y, "log_loss", resamples=5).rows
    p = sigmoid(np.abs(X[:, 0] - X[:, 1]))
    assert rows[0].score == pytest.approx(np.log(p).mean(), rel=1e-5)
    assert rows[-1].score == pytest.approx(np.log(0.5), rel=1e-5)


def test_the_table_prints_itself():
    table, _ = table_of()
    lines = str(table).splitlines()
    assert lines[0].startswith("accuracy on 300 samples, greater is better; gain over")
    assert lines[1].split() == ["name", "members", "score", "gain", "low", "high"]
    assert len(lines) == 8


@pytest.mark.needs("matplotlib")
def test_the_table_draws_itself():
    from matplotlib.figure import Figure

    table, _ = table_of(resamples=20)
    ax = table.plot(Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        row.name for row in table
    ]
    assert ax.get_xlabel() == "gain over the best member"


def test_wrong_arguments_of_the_table_are_named():
    with pytest.raises(ValueError, match=r"`metric` must be one of .* mean 'accuracy'"):
        table_of(metric="acuracy")
    with pytest.raises(ValueError, match="`resamples` must be a positive integer"):
        table_of(resamples=0)
    with pytest.raises(
        ValueError, match=r"`y` must have one entry per sample, here 300"
    ):
        members(0).score_table(X, np.zeros(3))
    coded = members(0, 1, fusion=[[0, 0], [1, 1]])
    with pytest.raises(ValueError, match="must not be a code table here"):
        coded.score_table(X, np.zeros(COUNT))
