import numpy as np
import pytest
from keras import ops

from keras_tricks import fusion


def test_it_is_the_normalised_root_of_the_product():
    # Roots of .5 * .8 and .5 * .2: 2 to 1.
    answer = fusion.geometric_mean([[[0.5, 0.5]], [[0.8, 0.2]]])
    np.testing.assert_allclose(answer, [[2 / 3, 1 / 3]])


def test_weights_are_exponents():
    # .5 * .8^2 to .5 * .2^2 under the cube root: 4^(2/3) to 1.
    answer = fusion.geometric_mean([[[0.5, 0.5]], [[0.8, 0.2]]], [1, 2])
    odds = 4 ** (2 / 3)
    np.testing.assert_allclose(answer, [[odds / (1 + odds), 1 / (1 + odds)]])


def test_it_is_the_softmax_of_mean_logits():
    logits = np.random.default_rng(0).normal(size=(4, 30_000, 5)) * 5
    members = np.exp(logits)
    members /= members.sum(axis=-1, keepdims=True)
    expected = np.exp(logits.mean(axis=0))
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(fusion.geometric_mean(members), expected, rtol=1e-12)
    single = fusion.geometric_mean(members.astype("float32"))
    np.testing.assert_allclose(single, expected, rtol=2e-5)


def test_a_zero_is_a_veto():
    members = [[[0.5, 0.5, 0.0]], [[0.5, 0.0, 0.5]]]
    assert fusion.geometric_mean(members).tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_where_all_is_vetoed_the_least_vetoed_classes_are_left(kind):
    # One veto for the first two, roots of .8 * .5 and .2 * 1; two for the third.
    members = np.array([[[0.8, 0.2, 0]], [[0.5, 0, 0.5]], [[0, 1, 0]]], kind)
    one, two = 0.4 ** (1 / 3), 0.2 ** (1 / 3)
    expected = [[one / (one + two), two / (one + two), 0.0]]
    np.testing.assert_allclose(fusion.geometric_mean(members), expected, rtol=1e-6)


def test_heavier_vetoes_weigh_more():
    assert fusion.geometric_mean([[[1.0, 0.0]], [[0.0, 1.0]]], [2, 1]).tolist() == [
        [1.0, 0.0]
    ]
    assert fusion.geometric_mean([[[1.0, 0.0]], [[0.0, 1.0]]]).tolist() == [[0.5, 0.5]]


def test_tiny_probabilities_keep_their_digits():
    members = np.array([[[2e-38, 6e-38]], [[2e-38, 6e-38]]], "float32")
    np.testing.assert_allclose(
        fusion.geometric_mean(members), [[0.25, 0.75]], rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1)])
def test_one_column_stands_for_two_classes(shape):
    members = np.array([0.5, 0.5, 0.8, 0.5]).reshape(shape)
    answer = fusion.geometric_mean(members)
    assert answer.shape == shape[1:]
    np.testing.assert_allclose(answer.reshape(-1), [2 / 3, 0.5])


def test_a_class_that_a_member_lacks_is_vetoed():
    members = [[[0.5, 0.5]], [[0.25, 0.75]]]
    answer = fusion.geometric_mean(members, classes=[["a", "b"], ["b", "c"]])
    np.testing.assert_allclose(answer, [[0.0, 1.0, 0.0]])


@pytest.mark.parametrize("convert", [np.asarray, ops.convert_to_tensor])
def test_numbers_below_the_least_normal_one_are_zeros(convert):
    # All classes have one veto: the roots of what is left.
    roots = np.sqrt([1.0, 0.3, 0.7])
    for rows, expected in (
        ([[1e-40, 0.3, 0.7], [1.0, 0.0, 0.0]], roots / roots.sum()),
        ([[1e-40, 1.0, 0.0], [1e-40, 1.0, 0.0]], [0.0, 1.0, 0.0]),
    ):
        parts = [convert(np.array([row], "float32")) for row in rows]
        answer = ops.convert_to_numpy(fusion.geometric_mean(parts))
        np.testing.assert_allclose(answer, [expected], rtol=1e-5)


def test_a_member_without_weight_has_no_veto():
    answer = fusion.geometric_mean([[[0.25, 0.75]], [[0.0, 1.0]]], [1, 0])
    np.testing.assert_allclose(answer, [[0.25, 0.75]])


def test_a_nan_is_named_by_member_and_row():
    members = np.full((3, 4, 2), 0.5)
    members[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"no NaN.* member 1, row 2 \(1 of 4 rows\)"):
        fusion.geometric_mean(members)


@pytest.mark.parametrize("number", [-1.0, 5.0, 30.0])
def test_logits_are_refused(number):
    members = [[[0.1, 0.5]], [[number, 0.5]]]
    with pytest.raises(
        ValueError, match=rf"must be probabilities.*{number} in member 1"
    ):
        fusion.geometric_mean(members)
