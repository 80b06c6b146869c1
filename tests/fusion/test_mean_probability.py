import numpy as np
import pytest

from keras_tricks import fusion


def test_probabilities_are_averaged():
    members = [[[0.5, 0.5]], [[0.75, 0.25]], [[0.25, 0.75]]]
    assert fusion.mean_probability(members).tolist() == [[0.5, 0.5]]
    assert fusion.mean_probability(members, [1, 2, 1]).tolist() == [[0.5625, 0.4375]]


def test_only_the_ratios_of_weights_count():
    members = np.random.default_rng(0).dirichlet(np.ones(3), (3, 5))
    one = fusion.mean_probability(members, [1, 2, 5])
    for scale in (1e-300, 0.3, 1e300):
        other = fusion.mean_probability(members, [scale, 2 * scale, 5 * scale])
        np.testing.assert_allclose(one, other, rtol=1e-14)


def test_members_with_other_classes_are_lined_up():
    members = [np.array([[0.5, 0.25, 0.25]]), np.array([[0.75, 0.25]])]
    answer = fusion.mean_probability(members, classes=[["c", "a", "b"], ["b", "d"]])
    # a, b, c, d; a class that a member lacks has the probability 0 there.
    assert answer.tolist() == [[0.125, 0.5, 0.25, 0.125]]


def test_the_same_classes_in_another_order_are_lined_up():
    answer = fusion.mean_probability(
        [[[0.75, 0.25]], [[0.5, 0.5]]], classes=[[3, 1]] * 2
    )
    assert answer.tolist() == [[0.375, 0.625]]


def test_a_sigmoid_member_becomes_two_columns():
    members = [np.array([[0.25], [1.0]]), np.array([[0.5, 0.5], [0.5, 0.5]])]
    answer = fusion.mean_probability(members, classes=[["no", "yes"], ["no", "yes"]])
    assert answer.tolist() == [[0.625, 0.375], [0.25, 0.75]]
    flat = [members[0][:, 0], members[1]]
    again = fusion.mean_probability(flat, classes=[["no", "yes"], ["no", "yes"]])
    assert again.tolist() == answer.tolist()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_one_column_is_the_probability_of_class_1(shape):
    members = np.array([0.0, 0.5, 1.0, 1.0, 0.5, 0.5]).reshape(shape)
    answer = fusion.mean_probability(members)
    assert answer.shape == shape[1:]
    assert answer.reshape(-1).tolist() == [0.5, 0.5, 0.75]


@pytest.mark.parametrize("weights", [None, [1, 1, 0]])
@pytest.mark.parametrize("member", [0, 2])
def test_a_nan_is_named_by_member_and_row(member, weights):
    members = np.full((3, 40_000, 2), 0.5, "float32")
    members[member, 30_017, 1] = members[member, 30_019, 0] = np.nan
    text = rf"`predictions` must hold no NaN.* member {member}, row 30017 \(2 of 40000"
    with pytest.raises(ValueError, match=text):
        fusion.mean_probability(list(members), weights)


@pytest.mark.parametrize("number", [-0.5, 2.0, np.inf])
def test_logits_are_refused(number):
    members = [[[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0.5, 4 * number]]]
    text = r"must be probabilities.* softmax or sigmoid.* in member 1, row 1"
    with pytest.raises(ValueError, match=text):
        fusion.mean_probability(members)
