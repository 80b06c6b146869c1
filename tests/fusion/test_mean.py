import numpy as np
import pytest

from keras_tricks import fusion


def test_members_count_by_their_weights():
    members = [np.array([1.0, 2.0]), np.array([3.0, 6.0])]
    assert fusion.mean(members).tolist() == [2.0, 4.0]
    assert fusion.mean(members, weights=[3, 1]).tolist() == [1.5, 3.0]


def test_several_outputs_keep_their_shape():
    members = np.arange(12.0).reshape(2, 3, 2)
    assert fusion.mean(members).tolist() == [[3, 4], [5, 6], [7, 8]]


def test_members_may_lie_on_any_axis():
    members = np.random.default_rng(0).normal(size=(4, 3, 2))
    expected = (members[:, 0] + members[:, 1] + members[:, 2]) / 3
    np.testing.assert_allclose(fusion.mean(members, members_axis=1), expected)
    turned = np.moveaxis(members, 1, -1)
    np.testing.assert_allclose(fusion.mean(turned, members_axis=-1), expected)


def test_logits_are_welcome():
    assert fusion.mean([[[-4.0, 7.0]], [[2.0, -3.0]]]).tolist() == [[-1.0, 2.0]]


def test_outputs_are_lined_up_by_name():
    members = [[[1.0, 2.0]], [[6.0, 5.0]]]
    names = [["height", "width"], ["width", "height"]]
    assert fusion.mean(members, classes=names).tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize("fuse", [fusion.mean, fusion.median])
@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1)])
def test_one_column_of_values_is_not_two(fuse, shape):
    text = "one label per column. Received: 2 labels for member 0"
    with pytest.raises(ValueError, match=text):
        fuse(np.full(shape, 3.0), classes=[["height", "width"]] * 2)


def test_a_missing_output_is_refused():
    with pytest.raises(ValueError, match=r"`classes` .* member 1 without \['b'\]"):
        fusion.mean([[[1.0, 2.0]], [[1.0]]], classes=[["a", "b"], ["a"]])


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_the_type_of_the_members_is_kept(kind):
    answer = fusion.mean(np.ones((3, 2), kind))
    assert answer.dtype == kind
    assert answer.tolist() == [1, 1]


def test_integers_have_means_that_are_not():
    assert fusion.mean(np.array([[1, 2], [2, 2]])).tolist() == [1.5, 2.0]


def test_half_precision_is_summed_in_single():
    # 2049 is no number of half precision: a sum in it stays at 2048, twice.
    members = np.array([[2048.0], [1.0], [1.0], [2.0]], "float16")
    assert fusion.mean(members).tolist() == [513.0]


def test_all_blocks_of_many_rows_are_filled():
    members = np.random.default_rng(0).normal(size=(3, 150_001, 2)).astype("float32")
    expected = (members[0] + members[1] + members[2]) / 3
    np.testing.assert_allclose(fusion.mean(members), expected, rtol=1e-5, atol=1e-6)
    weighted = 0.5 * members[0] + 0.125 * members[1] + 0.375 * members[2]
    found = fusion.mean(members, [4, 1, 3])
    np.testing.assert_allclose(found, weighted, rtol=1e-5, atol=1e-6)


def test_no_rows_give_no_rows():
    assert fusion.mean(np.empty((2, 0, 3))).shape == (0, 3)


def test_an_infinite_member_without_weight_is_as_if_it_were_not_there():
    assert fusion.mean([[1.0], [np.inf]], [1, 0]).tolist() == [1.0]


def test_opposite_infinities_are_no_nan_of_a_member():
    assert np.isnan(fusion.mean([[np.inf], [-np.inf]])).all()


def test_members_are_not_changed():
    members = [np.array([1.0, 2.0]), np.array([3.0, 6.0])]
    fusion.mean(members[:1])[:] = 7
    fusion.mean(members)
    assert [member.tolist() for member in members] == [[1.0, 2.0], [3.0, 6.0]]
