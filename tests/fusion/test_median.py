import numpy as np
import pytest

from keras_tricks import fusion


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 10, 11, 40])
def test_equal_weights_give_the_median(count):
    members = np.random.default_rng(0).normal(size=(count, 7, 2))
    np.testing.assert_allclose(fusion.median(members), np.median(members, axis=0))


def test_half_of_the_weight_is_on_either_side():
    members = [[5.0, 1.0], [1.0, 2.0], [3.0, 3.0]]
    # Sorted 1, 3, 5 with the weights 2, 4, 1 and 1, 2, 3 with the weights 1, 2, 4.
    assert fusion.median(members, [1, 2, 4]).tolist() == [3.0, 3.0]
    assert fusion.median(members, [5, 2, 2]).tolist() == [5.0, 1.0]


def test_where_the_half_is_met_the_neighbours_are_averaged():
    # In floats, .1 + .2 is not .3.
    members = [[1.0], [2.0], [10.0]]
    assert fusion.median(members, [0.1, 0.2, 0.3]).tolist() == [6.0]
    assert fusion.median(members, [1, 1, 0]).tolist() == [1.5]


def test_integer_weights_repeat_members():
    members = np.random.default_rng(0).normal(size=(4, 9))
    weights = [3, 1, 2, 5]
    expected = np.median(np.repeat(members, weights, axis=0), axis=0)
    np.testing.assert_allclose(fusion.median(members, weights), expected)


def test_all_blocks_of_many_rows_are_filled():
    members = np.random.default_rng(0).normal(size=(3, 50_001, 2)).astype("float32")
    np.testing.assert_array_equal(fusion.median(members), np.median(members, axis=0))


def test_a_nan_is_named_by_member_and_row():
    members = np.ones((3, 4))
    members[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"no NaN.* member 1, row 2 \(1 of 4 rows\)"):
        fusion.median(members)
