from fractions import Fraction

import numpy as np
import pytest
from keras import ops

from keras_tricks import fusion

# Any two rows differ in four places: one wrong answer does no harm.
HAMMING = [
    [0, 0, 0, 0, 0, 0, 0],
    [1, 1, 1, 1, 0, 0, 0],
    [1, 1, 0, 0, 1, 1, 0],
    [1, 0, 1, 0, 1, 0, 1],
]


def test_a_codeword_decodes_to_its_class():
    answers = np.array(HAMMING, float).T
    scores = fusion.decode_answers(answers, HAMMING)
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(np.diag(scores), 1)
    # Four of seven questions differ.
    np.testing.assert_allclose(scores[0, 1:], 1 - 4 / 7)


@pytest.mark.parametrize("question", range(7))
def test_one_wrong_answer_is_corrected(question):
    answers = np.array(HAMMING, float).T
    answers[question] = 1 - answers[question]
    scores = fusion.decode_answers(list(answers), HAMMING)
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(np.diag(scores), 1 - 1 / 7)


def test_doubtful_answers_count_by_their_distance():
    # |.75 - c| and |.5 - c|: the distances are .25 or .75, and .5.
    scores = fusion.decode_answers([[0.75], [0.5]], [[1, 1], [0, 0]])
    assert scores.tolist() == [[1 - 0.375, 1 - 0.625]]


def test_questions_may_have_several_options():
    answers = [np.array([[0.25, 0.25, 0.5]]), np.array([[0.75]])]
    scores = fusion.decode_answers(answers, [[0, 1], [2, 1], [2, 0]])
    # Half the differences: (.75 + .25 + .5) / 2 = .75, and .5 for the third option.
    expected = [[1 - (0.75 + 0.25) / 2, 1 - (0.5 + 0.25) / 2, 1 - (0.5 + 0.75) / 2]]
    assert scores.tolist() == expected


def test_options_need_not_sum_to_one():
    answer = np.array([[0.5, 0.25, 0.0]])
    scores = fusion.decode_answers([answer], [[0], [1], [2]])
    distances = [np.abs(answer[0] - row).sum() / 2 for row in np.eye(3)]
    np.testing.assert_allclose(scores, [1 - np.array(distances)])


def test_weights_count():
    scores = fusion.decode_answers([[1.0], [0.0]], [[1, 1], [0, 0]], [3, 1])
    assert scores.tolist() == [[0.75, 0.25]]


def test_a_question_that_says_nothing_about_a_class_is_left_out():
    # Is it an animal? Is it a dog? The second says nothing about a car.
    code = [[1, 0], [1, 1], [0, -1]]
    answers = [[1.0, 1.0, 0.0, 0.25], [0.0, 1.0, 1.0, 0.5]]
    scores = fusion.decode_answers(answers, code)
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 2]
    assert scores[3].tolist() == [0.375, 0.375, 0.75]


def test_ties_go_to_the_first_class():
    scores = fusion.decode_answers(np.full((7, 1), 0.5), HAMMING)
    assert (scores == scores[0, 0]).all()


def test_the_type_of_the_answers_is_kept():
    for kind in ("float16", "float32", "float64"):
        assert (
            fusion.decode_answers(np.ones((2, 3), kind), [[0, 1], [1, 0]]).dtype == kind
        )
    assert fusion.decode_answers([[1, 0]], [[0], [1]]).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ([[0, 1, 0]], r"\(classes, questions\), here with 2 .* shape \(1, 3\)"),
        ([0, 1], r"\(classes, questions\)"),
        ([[0, 2], [1, 0]], r"from 0 to 1, or -1, for question 1.* \[2, 0\]"),
        ([[0, 0], [-2, 0]], r"from 0 to 1, or -1, for question 0"),
        ([[0, 1], [1, 1], [0, 1]], r"another row.* \[0, 1\] for the classes \[0, 2\]"),
        ([[0, 1], [-1, -1]], "a question that counts.* none for class 1"),
    ],
)
def test_the_code_must_fit(code, text):
    with pytest.raises(ValueError, match=text):
        fusion.decode_answers([[0.5], [0.5]], code)


def test_the_code_must_be_of_integers():
    with pytest.raises(TypeError, match=r"`code` must be a table of integers.*float64"):
        fusion.decode_answers([[0.5], [0.5]], [[0.0, 1.0]])


def test_answers_must_fit():
    code = [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match=r"every question. .* question 1 of the shape"):
        fusion.decode_answers([[0.5, 0.5], [0.5]], code)
    with pytest.raises(
        ValueError, match=r"`weights` must be 2 numbers .* per question"
    ):
        fusion.decode_answers([[0.5], [0.5]], code, [1])
    with pytest.raises(
        ValueError, match=r"`answers` must hold no NaN.* question 1, row 0"
    ):
        fusion.decode_answers([[0.5], [np.nan]], code)
    with pytest.raises(
        ValueError, match=r"`answers` must be probabil.* question 0, row 0"
    ):
        fusion.decode_answers([[4.5], [0.5]], code)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("lowest", [0, -1])
def test_exact_ties_go_to_the_first_class(kind, lowest):
    random = np.random.default_rng(0)
    ties = 0
    while ties < 40:
        count = int(random.integers(3, 12))
        code = random.integers(lowest, 2, (4, count))
        weights = random.integers(1, 30, count)
        answer = random.integers(0, 2, count)
        if len(np.unique(code, axis=0)) < 4 or (code < 0).all(axis=1).any():
            continue
        exact = [
            Fraction(int(weights[row == answer].sum()), int(weights[row >= 0].sum()))
            for row in code
        ]
        if exact.count(max(exact)) < 2:
            continue
        ties += 1
        answers = list(answer[:, None].astype(kind))
        scores = fusion.decode_answers(answers, code, weights.tolist())[0]
        assert scores.argmax() == exact.index(max(exact))
        np.testing.assert_allclose(scores, [float(score) for score in exact], 1e-6)


def test_exact_ties_of_tensors_go_to_the_first_class():
    weights = [21, 17, 29, 7, 12, 12, 25, 123]
    code = [[0] * 7 + [1], [1] * 7 + [0]]
    for answer in (0.0, 1.0):
        answers = [ops.convert_to_tensor(np.array([answer], "float32"))] * 8
        scores = fusion.decode_answers(answers, code, weights)
        scores = ops.convert_to_numpy(scores)[0]
        assert scores[0] == scores[1] == pytest.approx(0.5)
    # The third is right in all that it says.
    code = [[1, 1, 1, 1, 1, 1, 1, 0], [0] * 8, [1, 1, -1, 1, -1, 1, 1, -1]]
    scores = ops.convert_to_numpy(fusion.decode_answers(answers, code))
    np.testing.assert_allclose(scores, [[0.875, 0.0, 1.0]], rtol=1e-6)


def test_options_of_which_several_are_right_are_refused():
    answers = [np.array([[0.5, 0.5], [0.75, 1.0]])]
    with pytest.raises(
        ValueError, match=r"at most the sum 1.* 1\.75 in question 0, row 1"
    ):
        fusion.decode_answers(answers, [[0], [1]])


def test_a_question_without_weight_tells_no_classes_apart():
    code = [[1, 0], [1, 1], [0, 0]]
    text = (
        r"another row.* \[1\] for the classes \[0, 1\] by questions with the weight 0"
    )
    with pytest.raises(ValueError, match=text):
        fusion.decode_answers([[0.9], [0.1]], code, [1, 0])


def test_answers_and_code_must_have_their_axes():
    with pytest.raises(ValueError, match=r"question 0 of the shape \(2, 3, 4\)"):
        fusion.decode_answers([np.full((2, 3, 4), 0.25)], [[0], [1]])
    with pytest.raises(ValueError, match="at least one class"):
        fusion.decode_answers([[0.5], [0.5]], np.empty((0, 2), int))
