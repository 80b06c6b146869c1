"""Members from scikit-learn: an ensemble that predicts, evaluates and selects."""

import keras
import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from keras_tricks import fusion
from keras_tricks.ensembles import Ensemble

COUNT = 32  # one batch
X = np.random.default_rng(0).normal(size=(COUNT, 4)).astype("float32")
THREE = X[:, :3].argmax(axis=1)
TWO = (X[:, 0] > 0).astype(int)
NAMES = np.array(["a", "b", "c"])


@pytest.fixture(autouse=True)
def _eagerly(monkeypatch):
    monkeypatch.setattr(keras.Model, "run_eagerly", True)


def network(outputs=3, activation="softmax", shape=(4,)):
    flat = keras.layers.Flatten()
    return keras.Sequential(
        [keras.Input(shape), flat, keras.layers.Dense(outputs, activation)]
    )


def logistic(y=THREE):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)


def tree(y=THREE):
    return DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y)


def said(model, x=X):
    if isinstance(model, keras.Model):
        return np.asarray(model.predict(x, verbose=0), "float64")
    return model.predict_proba(x)


@pytest.fixture
def three():
    return network(), logistic(), tree()


# Answers.


def test_probabilities_are_fused_with_those_of_keras_models(three):
    one, two, three_ = map(said, three)
    found = Ensemble(three, weights=[2, 1, 1]).predict(X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, one / 2 + two / 4 + three_ / 4, rtol=1e-5)


def test_an_ensemble_of_them_alone_needs_no_keras_model(three):
    found = Ensemble(three[1:], "geometric").predict(X)
    product = np.sqrt(said(three[1]) * said(three[2]))
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_they_vote_in_a_two_level_scheme(three):
    inner = Ensemble(three[:2])
    found = Ensemble([inner, three[1], three[2]], "vote").predict(X, batch_size=7)
    inside = (said(three[0]) + said(three[1])) / 2
    votes = [inside, said(three[1]), said(three[2])]
    expected = np.mean([np.eye(3)[v.argmax(axis=1)] for v in votes], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_sigmoid_goes_with_the_second_of_two_columns():
    models = [network(1, "sigmoid"), logistic(TWO)]
    inner = Ensemble([logistic(TWO), tree(TWO)])
    found = Ensemble([*models, inner]).predict(X)
    expected = said(models[0]) + said(models[1])[:, 1:]
    expected += (said(models[1]) + said(inner.models[1]))[:, 1:] / 2
    np.testing.assert_allclose(found, expected / 3, rtol=1e-5)
    assert inner.predict(X).shape == (COUNT, 2)


def test_two_values_are_not_two_classes():
    line = LinearRegression().fit(X, X[:, :2])
    with pytest.raises(ValueError, match="must have the same shape"):
        Ensemble([network(1, None), line], "mean").predict(X)


def test_regressors_give_values():
    one, other = (LinearRegression().fit(X, X[:, c]) for c in (0, 1))
    model = network(1, None)
    found = Ensemble([one, model, other], "mean", [1, 2, 1]).predict(X)
    numbers = model.predict(X, verbose=0)[:, 0]
    expected = X[:, 0] / 4 + numbers / 2 + X[:, 1] / 4
    np.testing.assert_allclose(found, expected[:, None], rtol=1e-4, atol=1e-5)
    assert Ensemble([one, other], "median").evaluate(X, X[:, 0]) == pytest.approx(
        np.mean(((X[:, 1] - X[:, 0]) / 2.0) ** 2), rel=1e-3
    )


def test_images_become_rows_for_them_alone():
    images = X.reshape(COUNT, 2, 2, 1)
    model, classical = network(shape=(2, 2, 1)), logistic()
    found = Ensemble([model, classical]).predict(images)
    expected = (said(model, images) + said(classical)) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    tensor = keras.ops.convert_to_tensor(images)
    np.testing.assert_allclose(
        Ensemble([model, classical]).predict(tensor), expected, rtol=1e-5
    )


def test_a_function_of_keras_operations_gives_an_array_too():
    def greatest(predictions, weights=None):
        return keras.ops.max(keras.ops.stack(list(predictions)), axis=0)

    models = [logistic(), tree()]
    expected = np.maximum(*map(said, models))
    np.testing.assert_allclose(
        Ensemble(models, greatest).predict(X), expected, rtol=1e-5
    )


def test_members_answer_the_questions_of_a_code_table():
    large, which = logistic(TWO), tree()
    code = [[0, 0], [1, 1], [1, 2]]
    found = Ensemble([large, which], code).predict(X)
    expected = fusion.decode_answers([said(large), said(which)], code)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"fitted with the numbers of the options.*'a"):
        Ensemble([large, tree(NAMES[THREE])], code)


def test_the_same_estimator_twice_is_asked_once(monkeypatch):
    asked, classical = [], tree()
    monkeypatch.setattr(
        DecisionTreeClassifier,
        "predict_proba",
        lambda self, x: asked.append(1) or np.full((len(x), 3), 1 / 3),
    )
    Ensemble([classical, network(), classical]).predict(X)
    assert len(asked) == 1


# Classes.


def test_their_classes_are_used_where_every_member_tells_its_own():
    full, lacking = logistic(NAMES[THREE]), tree(np.array(["a", "c"])[TWO])
    ensemble = Ensemble([full, lacking])
    assert ensemble.labels == ["a", "b", "c"]
    expected = said(full)
    expected[:, [0, 2]] += said(lacking)
    np.testing.assert_allclose(ensemble.predict(X), expected / 2, rtol=1e-5)
    labels = ensemble.decide(X)
    assert set(labels) <= set(NAMES)
    assert (labels == NAMES[expected.argmax(axis=1)]).all()
    outer = Ensemble([ensemble, full])
    np.testing.assert_allclose(
        outer.predict(X), (expected / 2 + said(full)) / 2, rtol=1e-5
    )


def test_equal_classes_become_the_labels():
    ensemble = Ensemble([logistic(NAMES[THREE]), tree(NAMES[THREE])])
    assert ensemble.labels == ["a", "b", "c"]
    assert ensemble.evaluate(X, NAMES[THREE], metrics="accuracy") > 0.8
    numbers = Ensemble([logistic(), tree()])
    assert numbers.labels is None


def test_number_classes_of_which_one_lacks_are_aligned():
    full, lacking = logistic(THREE), tree(TWO)
    expected = said(full)
    expected[:, :2] += said(lacking)
    found = Ensemble([full, lacking]).predict(X)
    np.testing.assert_allclose(found, expected / 2, rtol=1e-5)


def test_the_classes_of_a_keras_model_must_be_given_beside_names():
    models = [network(), logistic(NAMES[THREE])]
    with pytest.raises(
        ValueError, match=r"`classes` must be given .*Pipeline with \['a"
    ):
        Ensemble(models)
    mean = (said(models[0]) + said(models[1])) / 2
    same = Ensemble(models, classes=["a", "b", "c"])
    np.testing.assert_allclose(same.predict(X), mean, rtol=1e-5)
    other = Ensemble(models, classes=[["c", "a", "b"], ["a", "b", "c"]])
    mean = (said(models[0])[:, [1, 2, 0]] + said(models[1])) / 2
    np.testing.assert_allclose(other.predict(X), mean, rtol=1e-5)


def test_a_class_that_a_member_lacks_may_be_left_out_of_its_list():
    models = [network(), logistic(2 * TWO)]
    expected = said(models[0])
    expected[:, [0, 2]] += said(models[1])
    found = Ensemble(models, classes=[[0, 1, 2], [0, 2]]).predict(X)
    np.testing.assert_allclose(found, expected / 2, rtol=1e-5)


def test_numbers_may_get_names():
    models = [network(1, "sigmoid"), logistic(TWO)]
    ensemble = Ensemble(models, classes=["no", "yes"])
    assert set(ensemble.decide(X)) <= {"no", "yes"}
    assert ensemble.predict(X).shape == (COUNT, 1)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (NAMES[THREE], ["c", "b", "a"]),
        (THREE, [2, 1, 0]),
        (THREE, [["a", "b", "c"], ["a", "b"]]),
        (np.array([1, 2])[TWO], ["no", "yes"]),
    ],
)
def test_classes_must_be_those_of_the_estimator(y, classes):
    with pytest.raises(
        ValueError, match=r"`classes` must be those that a member .*models\[1\] with"
    ):
        Ensemble([network(len(np.unique(y))), logistic(y)], classes=classes)


def test_a_member_that_lacks_a_class_beside_a_keras_model_is_refused():
    with pytest.raises(ValueError, match="know different classes need `classes`"):
        Ensemble([network(), logistic(TWO)])


# Held-out data.


def test_weights_selection_and_table_work_as_for_keras_models(three):
    ensemble = Ensemble(three)
    good = said(three[1])[np.arange(COUNT), THREE]
    given = [said(model) for model in three]
    weights = ensemble.fit_weights(X, THREE)
    expected = fusion.fit_linear_weights(given, THREE)
    np.testing.assert_allclose(weights, expected, atol=1e-3)
    chosen = ensemble.select(X, THREE, "log_loss", seed=0)
    shares = fusion.greedy_selection(given, THREE, "log_loss", seed=0)
    kept = np.flatnonzero(shares)
    assert list(chosen.models) == [three[index] for index in kept]
    np.testing.assert_allclose(chosen.member_weights, shares[kept], rtol=1e-6)
    rows = Ensemble(three).score_table(X, THREE, "log_loss", resamples=5).rows
    assert rows[1].score == pytest.approx(np.log(good).mean(), rel=1e-4)
    names = Ensemble([logistic(NAMES[THREE]), tree(np.array(["a", "c"])[TWO])])
    assert names.fit_weights(X, NAMES[THREE])[0] > 0.5
    assert names.select(X, NAMES[THREE], seed=0).labels == ["a", "b", "c"]


def test_calibration_and_threshold_work_as_for_keras_models():
    models = [network(1, "sigmoid"), logistic(TWO)]
    ensemble = Ensemble(models, weights=[0, 1])
    y = np.where(np.arange(COUNT) % 5 == 0, 1 - TWO, TWO)
    temperature = ensemble.calibrate(X, y)
    p = said(models[1])[:, 1]
    p = 1 / (1 + ((1 - p) / p) ** (1 / temperature))
    assert temperature > 1
    np.testing.assert_allclose(ensemble.predict(X)[:, 0], p, rtol=1e-3)
    bound = ensemble.fit_threshold(X, y, "f1")
    assert (ensemble.decide(X) == (ensemble.predict(X)[:, 0] > bound)).all()


# Evaluation.


def test_evaluate_gives_the_loss_first_like_keras(three):
    ensemble = Ensemble(three)
    answer = np.mean([said(m) for m in three], axis=0)
    loss = -np.log(answer[np.arange(COUNT), THREE]).mean()
    right = (answer.argmax(axis=1) == THREE).mean()
    assert ensemble.evaluate(X, THREE) == pytest.approx([loss, right], rel=1e-4)
    by_name = ensemble.evaluate(X, np.eye(3)[THREE], 16, 0, return_dict=True)
    assert by_name == pytest.approx({"log_loss": loss, "accuracy": right}, rel=1e-4)


def test_evaluate_takes_names_and_functions(three):
    def worst(y, answer):
        return answer[np.arange(len(y)), y].min()

    ensemble = Ensemble(three)
    answer = np.mean([said(m) for m in three], axis=0)
    found = ensemble.evaluate(
        X, THREE, metrics=[worst, "squared_error"], return_dict=True
    )
    error = ((answer - np.eye(3)[THREE]) ** 2).mean()
    expected = {"worst": answer[np.arange(COUNT), THREE].min(), "squared_error": error}
    assert found == pytest.approx(expected, rel=1e-4)
    with pytest.raises(
        ValueError, match=r"`metrics` must be one of .* mean 'accuracy'"
    ):
        ensemble.evaluate(X, THREE, metrics=["acuracy"])
    with pytest.raises(
        ValueError, match=r"`y` must have one entry per sample, here 32"
    ):
        ensemble.evaluate(X, THREE[:5])
    with pytest.raises(TypeError, match="`y` must hold one true answer per"):
        ensemble.evaluate(X)


def test_what_would_be_ignored_is_refused(three):
    ensemble = Ensemble(three)
    with pytest.raises(ValueError, match="`steps` must be None in the `predict` of an"):
        ensemble.predict(X, steps=3)
    with pytest.raises(ValueError, match="`sample_weight` must be None in the `eval"):
        ensemble.evaluate(X, THREE, sample_weight=np.ones(COUNT))
    with pytest.raises(ValueError, match="`metric` must be None in the `evaluate`"):
        ensemble.evaluate(X, THREE, metric="accuracy")


def test_keras_models_alone_are_evaluated_by_keras():
    ensemble = Ensemble([network(), network()])
    ensemble.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    assert list(ensemble.evaluate(X, THREE, verbose=0, return_dict=True)) == [
        "accuracy",
        "loss",
    ]


# What such an ensemble cannot do.

REFUSED = {
    "compile": lambda e: e.compile("sgd", "mse"),
    "fit": lambda e: e.fit(X, THREE),
    "train_on_batch": lambda e: e.train_on_batch(X, THREE),
    "test_on_batch": lambda e: e.test_on_batch(X, THREE),
    "predict_on_batch": lambda e: e.predict_on_batch(X),
    "export": lambda e: e.export("a"),
    "quantize": lambda e: e.quantize("int8"),
    "save_weights": lambda e: e.save_weights("a.weights.h5"),
    "load_weights": lambda e: e.load_weights("a.weights.h5"),
    "__call__": lambda e: e(X),
    "save": lambda e: e.save("a.keras"),
    "get_config": keras.saving.serialize_keras_object,
}


@pytest.mark.parametrize("method", REFUSED)
def test_what_needs_keras_models_says_so(method, three, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for ensemble in (Ensemble(three), Ensemble([Ensemble(three), network()])):
        with pytest.raises(
            ValueError, match=f"`{method}` needs Keras models only.*with a Pipeline; "
        ):
            REFUSED[method](ensemble)
    assert not list(tmp_path.iterdir())


def test_it_cannot_be_traced(three):
    with pytest.raises(
        ValueError, match=r"`__call__` needs Keras models only.*`predict`"
    ):
        Ensemble(three)(keras.Input((4,)))
    with pytest.raises(ValueError, match="`__call__` needs Keras models only"):
        keras.Sequential([keras.Input((4,)), Ensemble(three)])


def test_an_ensemble_of_keras_models_is_as_before(three):
    ensemble = Ensemble([network(), network()])
    assert type(ensemble).compile is keras.Model.compile
    assert "compile" not in vars(ensemble)


# Bad members.

CLASSIFIER = LogisticRegression
BAD = {
    "must be fitted: call its fit": lambda: CLASSIFIER(),
    "a fitted scikit-learn estimator.*<class": lambda: CLASSIFIER,
    "must be a classifier or a regressor": lambda: KMeans(2, n_init=1).fit(X),
    "must give probabilities: wrap it in .*LinearSVC without": (
        lambda: LinearSVC().fit(X, TWO)
    ),
    "must answer one question.*with 2 outputs": (
        lambda: DecisionTreeClassifier(max_depth=1).fit(X, np.stack([TWO, THREE], 1))
    ),
}


@pytest.mark.parametrize("why", BAD)
def test_a_member_must_be_fitted_and_give_one_answer(why):
    with pytest.raises((TypeError, ValueError), match=rf"(?s)`models\[1\]` .*{why}"):
        Ensemble([network(), BAD[why]()])


def test_an_estimator_of_margins_may_be_calibrated():
    made = CalibratedClassifierCV(LinearSVC(), cv=2).fit(X, TWO)
    found = Ensemble([made, network(2)]).predict(X)
    assert found.shape == (COUNT, 2)


def test_several_labels_per_row_are_refused():
    net = MLPClassifier((2,), max_iter=400, tol=1.0, random_state=0)
    net.fit(X, (X[:, :3] > 0).astype(int))
    with pytest.raises(ValueError, match=r"`models` must give one class per row.*decl"):
        Ensemble([net, network()]).predict(X)


def test_several_labels_per_row_go_with_several_sigmoids():
    y = (X[:, :3] > 0).astype(int)
    net = MLPClassifier((2,), max_iter=400, tol=1.0, random_state=0).fit(X, y)
    ensemble = Ensemble([net, network(3, "sigmoid")], outputs=["multilabel", "auto"])
    expected = (said(net) + said(ensemble.models[1])) / 2
    np.testing.assert_allclose(ensemble.predict(X), expected, rtol=1e-5)
    right = ((expected > 0.5) == y).mean()
    assert ensemble.evaluate(X, y, metrics="accuracy") == pytest.approx(right)


def test_values_and_classes_do_not_mix():
    line = LinearRegression().fit(X, X[:, 0])
    with pytest.raises(
        ValueError, match=r"`fusion` must be 'mean' or 'median'.*Linear"
    ):
        Ensemble([network(1, "sigmoid"), line])
    with pytest.raises(ValueError, match="`outputs` must be declared where some"):
        Ensemble([network(1, "sigmoid"), line], "mean")
    with pytest.raises(ValueError, match="`outputs` must not be logits"):
        Ensemble([logistic(TWO), line], "mean", outputs="logits")


@pytest.mark.parametrize("x", [{"a": X}, [X, X], iter([X])])
def test_they_take_one_table(x):
    with pytest.raises(TypeError, match="`x` must be one array or table"):
        Ensemble([logistic()]).predict(x)


def test_a_nan_is_named(monkeypatch):
    spoilt = np.full((COUNT, 3), 1 / 3)
    spoilt[4] = np.nan
    classical = tree()
    monkeypatch.setattr(DecisionTreeClassifier, "predict_proba", lambda self, x: spoilt)
    with pytest.raises(ValueError, match="NaN in member 1, row 4"):
        Ensemble([network(), classical]).predict(X)


def test_a_forest_is_a_member():
    forest = RandomForestClassifier(3, random_state=0).fit(X, THREE)
    np.testing.assert_allclose(Ensemble([forest]).predict(X), said(forest), rtol=1e-6)
