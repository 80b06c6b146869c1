import numpy as np
import pytest

from keras_tricks.model_selection import _folds

X, Y = np.zeros((12, 2)), np.tile([0, 1, 2], 4)


def made(cv, y=Y, groups=None, classes=True):
    return _folds.made(cv, X, y, groups, classes=classes, seed=1)


def test_rows_of_one_hot_targets_have_equal_shares():
    splits = made(4, np.eye(3)[Y])
    for _, test in splits:
        assert sorted(Y[test]) == [0, 1, 2]


def test_more_folds_than_members_of_a_class_are_plain_folds():
    assert [len(test) for _, test in made(12)] == [1] * 12


def test_pairs_are_taken_as_they_are():
    given = [([0, 1, 2], [3, 4]), (np.arange(3, 12), np.arange(3))]
    (train, test), _ = made(given)
    assert train.tolist() == [0, 1, 2]
    assert test.tolist() == [3, 4]


def test_values_are_not_taken_for_classes():
    # Stratified, 12 folds of two classes would be too many.
    y = np.repeat([0, 1], [9, 3])
    assert len(made(6, y, classes=False)) == 6
    held = [set(test) for _, test in made(3, y, classes=False)]
    assert [len(rows & {9, 10, 11}) for rows in held] != [1, 1, 1]
    assert [len({*t} & {9, 10, 11}) for _, t in made(3, y)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("cv", "error", "text"),
    [
        (1, ValueError, "`cv` must be an integer from 2 to 12. Received: cv=1"),
        (13, ValueError, "`cv` must be an integer from 2 to 12"),
        (True, TypeError, "`cv` must be an integer, a splitter of scikit-learn"),
        ("five", TypeError, "`cv` must be an integer, a splitter of scikit-learn"),
        ([], ValueError, "`cv` must give at least one fold"),
        ([3], TypeError, "`cv` must give pairs of arrays of row numbers"),
        ([([0.5], [1])], TypeError, r"in fold 0 an array of shape \(1,\) and float64"),
        ([([True] * 12, [1])], TypeError, "and bool"),
        ([([0], [])], ValueError, "in fold 0 an empty one"),
        ([([0], [12])], ValueError, "in fold 0 row 12, and there are 12 rows"),
        ([([0, 1], [1])], ValueError, "in fold 0 row 1 on both sides"),
    ],
)
def test_says_what_is_wrong(cv, error, text):
    with pytest.raises(error, match=text):
        made(cv)


def test_groups_have_an_entry_per_row():
    with pytest.raises(ValueError, match="`groups` must have 12 entries"):
        made(3, groups=[1, 2])
