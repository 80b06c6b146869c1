import numpy as np
import pytest
from keras import ops
from scipy import stats

from keras_tricks import fusion


def test_ranks_are_averaged_not_scores():
    # Places 1, 3, 2 and 2, 3, 1 of 3.
    answer = fusion.rank_average([[0.1, 0.9, 0.2], [20.0, 1000.0, -7.0]])
    np.testing.assert_allclose(answer, [1.5 / 3, 3 / 3, 1.5 / 3])


def test_equal_scores_share_their_ranks():
    answer = fusion.rank_average([[5.0, 2.0, 5.0, 5.0]])
    np.testing.assert_allclose(answer, [0.75, 0.25, 0.75, 0.75])


def test_zeros_of_either_sign_are_equal():
    for kind in ("float32", "float64"):
        answer = fusion.rank_average(np.array([[0.0, -0.0, 1.0, -1.0]], kind))
        np.testing.assert_allclose(answer, [0.625, 0.625, 1.0, 0.25])


def test_weights_count():
    answer = fusion.rank_average([[1.0, 2.0], [2.0, 1.0]], [3, 1])
    np.testing.assert_allclose(answer, [0.625, 0.875])


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int64"])
def test_it_agrees_with_scipy(kind):
    random = np.random.default_rng(0)
    members = random.normal(size=(3, 500, 4)) * 20
    # With and without ties, infinities and the smallest numbers too.
    members[0] = members[0].round()
    if kind != "int64":
        members[1, :4, 0] = [np.inf, -np.inf, 1e-45, -1e-45]
    members = members.astype(kind)
    ranks = stats.rankdata(members, axis=1) / 500
    expected = np.average(ranks, axis=0, weights=[1, 2, 3])
    answer = fusion.rank_average(members, [1, 2, 3])
    np.testing.assert_allclose(answer, expected, rtol=1e-6)


def test_a_class_that_a_member_lacks_has_the_rank_0():
    members = [np.array([[0.3], [0.1]]), np.array([[0.2, 0.8], [0.1, 0.9]])]
    answer = fusion.rank_average(members, classes=[["b"], ["a", "b"]])
    np.testing.assert_allclose(answer, [[0.5, 0.75], [0.25, 0.75]])


def test_one_sample_and_none():
    assert fusion.rank_average([[3.0], [9.0]]).tolist() == [1.0]
    assert fusion.rank_average(np.empty((2, 0))).shape == (0,)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_nan_is_named_by_member_and_row(kind, sign):
    members = np.ones((2, 4, 3), kind)
    members[1, 2, 1] = sign * np.nan
    with pytest.raises(ValueError, match=r"no NaN.* member 1, row 2 \(1 of 4 rows\)"):
        fusion.rank_average(members)


def test_ranks_of_half_precision_are_in_single():
    scores = np.arange(-10_000, 10_000).astype("float16")[None]
    answers = (
        fusion.rank_average(scores),
        fusion.rank_average(ops.convert_to_tensor(scores)),
    )
    for answer in map(ops.convert_to_numpy, answers):
        assert answer.dtype == "float32"
        assert len(np.unique(answer)) == len(np.unique(scores))


def test_tensors_of_more_axes_are_ranked_alike():
    scores = np.random.default_rng(0).random((2, 3, 4, 2), "float32")
    answer = ops.convert_to_numpy(fusion.rank_average(ops.convert_to_tensor(scores)))
    np.testing.assert_allclose(answer, fusion.rank_average(scores), rtol=1e-6)
