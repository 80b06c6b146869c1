import numpy as np
import pytest
from sklearn import metrics

from keras_tricks import fusion

METRICS = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1": metrics.f1_score,
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_no_other_threshold_is_better(metric, seed):
    random = np.random.default_rng(seed)
    y = (random.random(80) < 0.25).astype(int)
    scores = np.clip(random.normal(0.3 + 0.2 * y, 0.2), 0, 1).round(2)
    found = fusion.fit_threshold(scores, y, metric)
    assert isinstance(found, float)

    def value(threshold):
        return METRICS[metric](y, (scores > threshold).astype(int))

    best = max(value(threshold) for threshold in np.arange(-0.005, 1.01, 0.01))
    assert value(found) == pytest.approx(best)


def test_it_lies_halfway_between_neighbours_and_nearest_to_one_half():
    assert fusion.fit_threshold([0.1, 0.2, 0.4, 0.4], [0, 0, 1, 1], "f1") == (
        pytest.approx(0.3)
    )
    # All the same for accuracy: 0.05, 0.5 and 0.95 are wrong once.
    scores, y = [0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1]
    assert fusion.fit_threshold(scores, y, "accuracy") == pytest.approx(0.5, abs=0.26)


def test_what_lies_at_the_threshold_is_not_above_it():
    low = 0.5
    high = np.nextafter(low, 1)
    found = fusion.fit_threshold([low, high], [0, 1], "accuracy")
    assert low <= found < high


@pytest.mark.parametrize(("label", "scores"), [(1, [0.0, 0.5]), (0, [0.5, 1.0])])
def test_all_of_one_class(label, scores):
    found = fusion.fit_threshold(scores, [label, label], "accuracy")
    assert (np.array(scores) > found).tolist() == [bool(label)] * 2
    fusion.fit_threshold(scores, [label, label], "f1")
    fusion.fit_threshold(scores, [label, label], "balanced_accuracy")


def test_each_class_has_its_own_threshold():
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.4, 0.4]])
    many = np.array([[0, 1], [0, 0], [1, 0], [1, 0]])
    found = fusion.fit_threshold(scores, many, "f1")
    np.testing.assert_allclose(found, [0.3, 0.85])
    one = [fusion.fit_threshold(scores[:, i], many[:, i], "f1") for i in (0, 1)]
    assert found.tolist() == one


def test_labels_are_each_class_against_the_rest():
    scores = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    y = scores.argmax(axis=1)
    found = fusion.fit_threshold(scores, y, "balanced_accuracy")
    rows = fusion.fit_threshold(scores, np.eye(3)[y], "balanced_accuracy")
    assert found.shape == (3,)
    assert found.tolist() == rows.tolist()


def test_a_callable_finds_what_the_name_finds():
    random = np.random.default_rng(0)
    scores, y = random.random(60), random.integers(0, 2, 60)
    named = fusion.fit_threshold(scores[:, None], y, "f1")
    assert fusion.fit_threshold(scores, y, METRICS["f1"]) == named


def test_a_callable_is_asked_a_thousand_times_at_most():
    scores = np.linspace(0, 1, 5000)
    calls = []

    def metric(y, labels):
        calls.append(1)
        return float(np.mean(y == labels))

    found = fusion.fit_threshold(scores, (scores > 0.3).astype(int), metric)
    assert found == pytest.approx(0.3, abs=2e-3)
    assert len(calls) == 1000


def test_arguments_must_be_sound():
    with pytest.raises(ValueError, match=r"`metric` must be one of .* mean 'accuracy'"):
        fusion.fit_threshold([0.5], [1], "acuracy")
    with pytest.raises(ValueError, match="must hold no NaN"):
        fusion.fit_threshold([0.5, np.nan], [1, 0], "f1")
    with pytest.raises(ValueError, match="must be probabilities"):
        fusion.fit_threshold([0.5, 7.0], [1, 0], "f1")
    with pytest.raises(ValueError, match=r"only the labels \[0, 1\].* 2 in row 1"):
        fusion.fit_threshold([0.5, 0.5], [1, 2], "f1")
    with pytest.raises(ValueError, match="`y` must be labels, or rows of 0 and 1"):
        fusion.fit_threshold([[0.5, 0.5]], [[1, 2]], "f1")
    with pytest.raises(
        ValueError, match=r"`metric` must return a number. Received: NaN"
    ):
        fusion.fit_threshold([0.5], [1], lambda y, labels: np.nan)


def test_labels_may_have_names():
    scores = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    y = scores.argmax(axis=1)
    names = ["b", "c", "a"]
    found = fusion.fit_threshold(scores, np.array(names)[y], "f1", classes=names)
    assert found.tolist() == fusion.fit_threshold(scores, y, "f1").tolist()
    one = fusion.fit_threshold([0.1, 0.4], ["z", "a"], "f1", classes=["z", "a"])
    assert one == pytest.approx(0.25)


def test_other_axes_are_refused():
    with pytest.raises(ValueError, match=r"\(samples, classes\) per member here"):
        fusion.fit_threshold(np.full((2, 3, 2), 0.5), np.zeros((2, 3, 2)), "f1")
