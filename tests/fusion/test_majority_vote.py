import numpy as np
import pytest

from keras_tricks import fusion

SURE = [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]]


def members_that_vote(*votes):
    """One member per argument, which votes so for the samples."""
    return [np.array([SURE[vote] for vote in member]) for member in votes]


def test_the_answer_has_the_shares_of_the_votes():
    answer = fusion.majority_vote(members_that_vote([0, 2], [1, 2], [1, 2], [2, 0]))
    assert answer.tolist() == [[0.25, 0.5, 0.25], [0.25, 0.0, 0.75]]


def test_ties_go_to_the_lowest_class():
    answer = fusion.majority_vote(members_that_vote([2, 0], [1, 2], [2, 0], [1, 2]))
    assert answer.tolist() == [[0, 0.5, 0.5], [0.5, 0, 0.5]]
    assert answer.argmax(axis=1).tolist() == [1, 0]


def test_a_member_that_is_torn_votes_for_the_lowest_class():
    members = [np.array([[0.25, 0.375, 0.375]]), np.array([[0.0, 0.5, 0.5]])]
    assert fusion.majority_vote(members).tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("scale", [0.1, 1, 7.3])
def test_a_tie_of_weights_is_one_in_any_order_and_scale(kind, scale):
    # .1 + .2 is not .3 in floats.
    members = [part.astype(kind) for part in members_that_vote([0], [0], [1])]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        weights = np.array([0.1, 0.2, 0.3])[order] * scale
        answer = fusion.majority_vote([members[i] for i in order], weights)
        assert answer[0, 0] == answer[0, 1] == 0.5


@pytest.mark.parametrize("whole", [3072, 30])
def test_ties_of_whole_weights_are_exact(whole):
    random = np.random.default_rng(0)
    for _ in range(50):
        left = random.integers(1, whole, 4)
        weights = [*left, left.sum(), random.integers(1, whole)]
        votes = members_that_vote(*[[0]] * 4, [1], [2])
        answer = fusion.majority_vote(votes, weights)
        assert answer[0, 0] == answer[0, 1]


def test_weights_decide():
    answer = fusion.majority_vote(members_that_vote([0], [1], [1]), [5, 2, 2])
    np.testing.assert_allclose(answer, [[5 / 9, 4 / 9, 0]])


def test_logits_may_vote():
    assert fusion.majority_vote([[[-5.0, 3.0]], [[9.0, 2.0]]]).tolist() == [[0.5, 0.5]]


def test_a_class_that_a_member_lacks_gets_no_vote_from_it():
    # All scores are negative: what is lacking must not win as a 0.
    members = [np.array([[-1.0, -2.0]]), np.array([[-4.0, -3.0]])]
    answer = fusion.majority_vote(members, classes=[["b", "c"], ["a", "c"]])
    assert answer.tolist() == [[0.0, 0.5, 0.5]]


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 1)])
def test_one_column_votes_for_class_1_above_one_half(shape):
    members = np.array([0.5, 0.6, 0.9, 0.5, 0.6, 0.2, 0.5, 0.1, 0.4]).reshape(shape)
    answer = fusion.majority_vote(members)
    assert answer.shape == shape[1:]
    np.testing.assert_allclose(answer.reshape(-1), [0, 2 / 3, 1 / 3])


def test_many_rows_agree_with_a_count_by_hand():
    random = np.random.default_rng(0)
    members = random.random((3, 30_000, 4), "float32")
    votes = members.argmax(axis=-1)
    expected = sum(np.eye(4)[vote] for vote in votes) / 3
    np.testing.assert_allclose(fusion.majority_vote(members), expected, rtol=1e-6)
    turned = np.moveaxis(members, 0, 1)
    found = fusion.majority_vote(turned, members_axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_labels_give_the_label_that_wins():
    labels = np.array([[0, 7, 5, 3], [4, 7, 5, 2], [4, 1, 9, 1]])
    assert fusion.majority_vote(labels).tolist() == [4, 7, 5, 1]
    assert fusion.majority_vote(labels, [3, 1, 1]).tolist() == [0, 7, 5, 3]


def test_ties_of_labels_go_to_the_lowest_whatever_the_order():
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        labels = np.array([[9], [4], [9], [4]])[order]
        assert fusion.majority_vote(labels).tolist() == [4]
    assert fusion.majority_vote(np.array([[2], [1], [1]]), [0.3, 0.1, 0.2]) == [1]


def test_labels_may_be_strings():
    labels = [["cat", "dog"], ["dog", "emu"], ["dog", "cat"]]
    assert fusion.majority_vote(labels).tolist() == ["dog", "cat"]
    columns = [np.array(part, object) for part in labels]
    assert fusion.majority_vote(columns).tolist() == ["dog", "cat"]


def test_labels_must_be_of_one_kind():
    labels = [np.array(["cat", "dog"]), np.array(["cat", 3], object)]
    with pytest.raises(TypeError, match=r"strings or integers. Received: member 1"):
        fusion.majority_vote(labels)


def test_numbers_are_no_strings():
    text = "one kind, .* numbers in member 0, strings in member 1"
    with pytest.raises(TypeError, match=text):
        fusion.majority_vote([[0, 1], ["a", "b"]])


def test_a_column_of_labels_is_refused():
    text = (
        r"shape \(members, samples\) for labels.* 2 in member 1 of the shape \(2, 1\)"
    )
    with pytest.raises(ValueError, match=text):
        fusion.majority_vote(np.array([[[0], [1]], [[2], [1]]]))


def test_labels_need_no_classes():
    with pytest.raises(ValueError, match="`classes` must be None for labels"):
        fusion.majority_vote([[0, 1], [1, 1]], classes=[[0, 1], [0, 1]])


def test_labels_as_floats_are_refused():
    with pytest.raises(
        ValueError, match=r"must be probabilities.*2\.0 in member 1, row 0"
    ):
        fusion.majority_vote([[0.0, 1.0], [2.0, 1.0]])


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 2)])
def test_a_nan_is_named_by_member_and_row(shape):
    members = np.full(shape, 0.5)
    members[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"no NaN.* member 1, row 2 \(1 of 3 rows\)"):
        fusion.majority_vote(members)
