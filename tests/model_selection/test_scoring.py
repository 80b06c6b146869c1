import keras
import numpy as np
import pytest
from sklearn.metrics import make_scorer, mean_absolute_error, roc_auc_score

from keras_tricks.model_selection._scoring import Judge

RNG = np.random.default_rng(0)
X = np.zeros((8, 2))
LABELS = np.array([0, 1, 1, 0, 1, 0, 0, 1])
SHARES = RNG.uniform(0.05, 0.95, size=(8, 1)).astype("float32")
BOTH = np.concatenate([1 - SHARES, SHARES], axis=1)


def judged(y, predictions, kind, scoring=None, metrics=None):
    return Judge(metrics, scoring)(X, np.asarray(y), predictions, kind)


@pytest.mark.parametrize(
    ("y", "predictions", "kind"),
    [
        (LABELS, SHARES, "probabilities"),
        (LABELS[:, None], SHARES, "probabilities"),
        (LABELS, BOTH, "probabilities"),
        (np.eye(2)[LABELS], BOTH, "probabilities"),
        (LABELS, np.log(SHARES / (1 - SHARES)), "logits"),
        (LABELS, np.log(BOTH), "logits"),
    ],
)
def test_classifiers_of_all_shapes(y, predictions, kind):
    scores = judged(y, predictions, kind, ["accuracy", "roc_auc"])
    assert scores["accuracy"] == np.mean((SHARES[:, 0] > 0.5) == LABELS)
    assert np.isclose(scores["roc_auc"], roc_auc_score(LABELS, SHARES[:, 0]))


def test_columns_that_are_questions():
    y = RNG.integers(0, 2, (8, 3))
    shares = RNG.uniform(size=(8, 3))
    scores = judged(y, shares, "multilabel", "accuracy")
    assert scores["accuracy"] == np.mean(((shares > 0.5) == y).all(axis=1))


def test_values():
    y, found = RNG.normal(size=8), RNG.normal(size=(8, 1))
    expected = np.abs(y - found[:, 0]).mean()
    scoring = {
        "own": make_scorer(mean_absolute_error),
        "theirs": "neg_mean_absolute_error",
    }
    scores = judged(y, found, "values", scoring)
    assert np.isclose(scores["own"], expected)
    assert np.isclose(scores["theirs"], -expected)


def test_keras_metrics_on_the_predictions():
    metrics = ["accuracy", keras.metrics.AUC(name="area", num_thresholds=1000)]
    judge = Judge(metrics, None)
    for _ in range(2):
        # The same numbers again: nothing is left of the first ones.
        scores = judge(X, LABELS, SHARES, "probabilities")
        assert np.isclose(
            scores["accuracy"], np.mean((SHARES[:, 0] > 0.5) == LABELS), atol=1e-6
        )
        expected = roc_auc_score(LABELS, SHARES[:, 0])
        assert np.isclose(scores["area"], expected, atol=0.01)
    assert float(metrics[1].result()) == 0.0


def test_a_callable_is_called_with_an_estimator():
    def scorer(estimator, x, y):
        assert x is X
        return float(np.mean(estimator.predict(x) == y))

    scores = judged(LABELS, SHARES, "probabilities", scorer)
    assert scores["score"] == np.mean((SHARES[:, 0] > 0.5) == LABELS)


def test_an_estimator_answers_for_its_rows_alone():
    def scorer(estimator, x, y):
        return estimator.predict(x[:2]).mean()

    with pytest.raises(ValueError, match="a scorer must ask for the rows"):
        judged(LABELS, SHARES, "probabilities", scorer)


@pytest.mark.parametrize(
    ("scoring", "error", "text"),
    [
        (3, TypeError, "`scoring` must be a name, a callable"),
        ("acuracy", ValueError, r"`scoring` must hold names that sklearn\.metrics"),
    ],
)
def test_says_what_is_wrong(scoring, error, text):
    with pytest.raises(error, match=text):
        Judge(None, scoring)
