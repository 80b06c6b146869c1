"""What all functions of the room refuse."""

import numpy as np
import pytest

from keras_tricks import fusion

FUSIONS = [
    fusion.geometric_mean,
    fusion.majority_vote,
    fusion.mean,
    fusion.mean_probability,
    fusion.median,
    fusion.rank_average,
]
HALVES = np.full((2, 3, 2), 0.5)


@pytest.mark.parametrize("fuse", FUSIONS)
@pytest.mark.parametrize(
    "weights", [[1], [1, 2, 3], [1, -1], [0, 0], [np.nan, 1], [np.inf, 1], "ab", 3]
)
def test_weights_must_be_one_number_per_member(fuse, weights):
    with pytest.raises(
        ValueError, match=r"`weights` must be 2 numbers .* one per member"
    ):
        fuse(HALVES, weights)


@pytest.mark.parametrize("fuse", FUSIONS)
def test_members_must_have_one_shape(fuse):
    text = (
        r"same shape for every member; give `classes`.* member 1 of the shape \(3, 4\)"
    )
    with pytest.raises(ValueError, match=text):
        fuse([HALVES[0], np.full((3, 4), 0.25)])


@pytest.mark.parametrize("fuse", FUSIONS)
def test_members_must_have_as_many_rows_with_classes_too(fuse):
    with pytest.raises(ValueError, match=r"member 0 of the shape \(3,\), member 1"):
        fuse([HALVES[0], HALVES[0, :2]], classes=[[0, 1], [0, 1]])


@pytest.mark.parametrize("predictions", [np.ones(3), 0.5, [0.5, 0.25]])
def test_one_member_alone_is_no_list_of_members(predictions):
    with pytest.raises(ValueError, match=r"\(members, samples, \.\.\.\), or be a list"):
        fusion.mean(predictions)


def test_an_empty_list_is_refused():
    with pytest.raises(ValueError, match=r"at least one member\. Received: none"):
        fusion.mean([])


def test_numbers_must_be_numbers():
    with pytest.raises(TypeError, match=r"`predictions` must be numbers.* member 1"):
        fusion.mean([[1.0], ["a"]])


@pytest.mark.parametrize(("axis", "error"), [(3, ValueError), (0.5, TypeError)])
def test_the_axis_must_exist(axis, error):
    with pytest.raises(error, match=rf"`members_axis` must be .*members_axis={axis}"):
        fusion.mean(HALVES, members_axis=axis)


def test_a_list_has_its_members_first():
    with pytest.raises(ValueError, match=r"`members_axis` must be 0 for a list"):
        fusion.mean(list(HALVES), members_axis=1)


@pytest.mark.parametrize(
    ("classes", "error", "text"),
    [
        ([[0, 1]], ValueError, "2 lists of labels, one per member. Received: 1"),
        ("ab", TypeError, "one list of labels per member. Received: classes='ab'"),
        (["ab", [0, 1]], TypeError, "Received: 'ab' for member 0"),
        ([[0, 1], [1, 1]], ValueError, r"once. Received: \[1, 1\] for member 1"),
        ([[0, 1], [0, 1, 2]], ValueError, "one label per column. Received: 3 labels"),
        ([[0, 1], ["a", "b"]], TypeError, "labels of one kind, which can be sorted"),
        ([[0, 1], [False, True]], TypeError, "labels of one kind"),
        (
            [[[0], [1]], [0, 1]],
            TypeError,
            r"numbers or strings .* \[\[0\], \[1\]\] for",
        ),
        ([[0, 1], []], ValueError, r"at least one .*Received: \[\] for member 1"),
        ([[0, 1], np.array(1)], TypeError, r"Received: array\(1\) for member 1"),
    ],
)
def test_classes_must_fit(classes, error, text):
    with pytest.raises(error, match=text):
        fusion.mean_probability(HALVES, classes=classes)


def test_classes_may_be_arrays():
    classes = [np.array(["b", "a"]), np.array(["a", "b"])]
    members = [[[1.0, 0.0]], [[0.5, 0.5]]]
    answer = fusion.mean_probability(members, classes=classes)
    assert answer.tolist() == [[0.25, 0.75]]


def test_the_axis_may_be_an_integer_of_numpy():
    answer = fusion.mean(np.array([[1.0, 3.0]]), members_axis=np.int64(1))
    assert answer.tolist() == [2.0]
