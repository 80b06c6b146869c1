import numpy as np
import pytest
from keras import ops

from keras_tricks import fusion


def classification(members=4, samples=400, classes=3, seed=0):
    """Members that each see the classes through their own noise."""
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, samples)
    noise = random.normal(size=(members, samples, classes))
    logits = 1.5 * np.eye(classes)[y] + noise * np.arange(1, members + 1)[:, None, None]
    shares = np.exp(logits)
    return shares / shares.sum(axis=-1, keepdims=True), y


def log_loss(members, weights, y):
    fused = np.tensordot(weights, members, 1)
    return -np.log(fused[np.arange(len(y)), y]).mean()


def test_the_weights_of_two_members_are_those_of_a_fine_grid():
    members, y = classification(2)
    grid = np.linspace(0, 1, 10_001)
    losses = [log_loss(members, [w, 1 - w], y) for w in grid]
    best = grid[np.argmin(losses)]
    assert 0.02 < best < 0.98
    weights = fusion.fit_linear_weights(members, y)
    np.testing.assert_allclose(weights, [best, 1 - best], atol=2e-4)


@pytest.mark.parametrize("members", [3, 8, 25])
def test_no_other_weights_on_the_simplex_have_less_log_loss(members):
    """A convex loss cannot fall further than its slope towards the best corner."""
    predictions, y = classification(members)
    weights = fusion.fit_linear_weights(list(predictions), y)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    given = predictions[:, np.arange(len(y)), y]
    slopes = -(given / (weights @ given)).mean(axis=1)
    assert weights @ slopes - slopes.min() < 1e-5


def test_squared_error_has_the_weights_of_least_squares():
    random = np.random.default_rng(0)
    truth = random.normal(size=300) * 1e4
    members = truth + random.normal(size=(3, 300)) * [[2e4], [1e4], [3e4]]
    weights = fusion.fit_linear_weights(members, truth, "squared_error")
    # All weights are above 0, so that only the sum constrains: Lagrange's solution.
    inverse = np.linalg.inv((members - truth) @ (members - truth).T)
    expected = inverse.sum(axis=1) / inverse.sum()
    assert expected.min() > 0
    np.testing.assert_allclose(weights, expected, atol=1e-4)


@pytest.mark.parametrize("wild", [10, 1e4, 1e6])
def test_a_wild_member_does_not_spoil_the_weights_of_the_others(wild):
    random = np.random.default_rng(0)
    truth = random.normal(size=300)
    members = truth + random.normal(size=(4, 300)) * np.array([[1], [1], [2], [wild]])
    weights = fusion.fit_linear_weights(members, truth, "squared_error")
    errors = members - truth
    inverse = np.linalg.inv(errors[:3] @ errors[:3].T)
    # Without the wild one, which can only help.
    best = 1 / inverse.sum() / 300
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    assert ((weights @ errors) ** 2).mean() <= best * (1 + 1e-9)


def test_a_member_without_errors_has_all_weight():
    truth = np.array([1.0, 2.0, 4.0])
    members = [truth + 1, truth, truth]
    weights = fusion.fit_linear_weights(members, truth, "squared_error")
    assert weights.tolist() == [0.0, 1.0, 0.0]


def test_a_harmful_member_gets_nothing():
    random = np.random.default_rng(0)
    y = random.normal(size=(50, 2))
    members = [y + 0.1 * random.random(y.shape), y + 100.0]
    weights = fusion.fit_linear_weights(members, y, "squared_error")
    assert weights.tolist() == [1.0, 0.0]


def test_labels_and_one_hot_rows_are_the_same():
    members, y = classification()
    one = fusion.fit_linear_weights(members, y)
    assert fusion.fit_linear_weights(members, np.eye(3)[y]).tolist() == one.tolist()
    column = fusion.fit_linear_weights(members, y[:, None])
    assert column.tolist() == one.tolist()
    brier = fusion.fit_linear_weights(members, y, "squared_error")
    again = fusion.fit_linear_weights(members, np.eye(3)[y], "squared_error")
    assert brier.tolist() == again.tolist()


def test_one_column_is_the_probability_of_class_1():
    members, y = classification(3, classes=2)
    two = fusion.fit_linear_weights(members, y)
    for one in (members[..., 1], members[..., 1:]):
        np.testing.assert_allclose(fusion.fit_linear_weights(one, y), two, atol=1e-6)


def test_classes_name_labels_and_columns():
    members, y = classification(2)
    expected = fusion.fit_linear_weights(members, y)
    names = np.array(["x", "y", "z"])
    turned = [members[0], members[1][:, [2, 0, 1]]]
    classes = [["x", "y", "z"], ["z", "x", "y"]]
    weights = fusion.fit_linear_weights(turned, names[y], classes=classes)
    np.testing.assert_allclose(weights, expected, atol=1e-9)


def test_a_member_that_lacks_a_class_may_take_part():
    members, y = classification(2, samples=50)
    part = members[1][:, :2] / members[1][:, :2].sum(axis=1, keepdims=True)
    wide = np.concatenate([part, np.zeros((50, 1))], axis=1)
    classes = [[0, 1, 2], [0, 1]]
    weights = fusion.fit_linear_weights([members[0], part], y, classes=classes)
    expected = fusion.fit_linear_weights([members[0], wide], y)
    np.testing.assert_allclose(weights, expected, atol=1e-9)


def test_a_callable_is_searched_without_slopes():
    members, y = classification(3)

    def loss(truth, fused):
        assert truth is y
        return -np.log(fused[np.arange(len(truth)), truth]).mean()

    weights = fusion.fit_linear_weights(members, y, loss)
    expected = fusion.fit_linear_weights(members, y)
    assert loss(y, np.tensordot(weights, members, 1)) == pytest.approx(
        log_loss(members, expected, y), abs=1e-5
    )


def test_a_callable_with_steps_is_never_worse_than_single_members():
    members, y = classification(5, samples=40)

    def errors(truth, fused):
        return float(np.mean(fused.argmax(axis=1) != truth))

    weights = fusion.fit_linear_weights(members, y, errors)
    found = errors(y, np.tensordot(weights, members, 1))
    assert found <= min(errors(y, member) for member in members)
    assert found <= errors(y, members.mean(axis=0))


def test_tensors_are_read():
    members, y = classification(2)
    tensors = [ops.convert_to_tensor(member) for member in members]
    weights = fusion.fit_linear_weights(tensors, ops.convert_to_tensor(y))
    np.testing.assert_allclose(
        weights, fusion.fit_linear_weights(members, y), atol=1e-4
    )


def test_one_member_has_all_weight():
    members, y = classification(1)
    assert fusion.fit_linear_weights(members, y).tolist() == [1.0]


@pytest.mark.parametrize(
    ("y", "text"),
    [
        ([0, 1], r"`y` must have 3 entries, one per sample. Received: 2"),
        ([0, 1, 2], r"only the labels \[0, 1\]; give `classes`.* 2 in row 2"),
        ([[0, 1], [1, 1], [1, 0]], "rows with a single 1"),
        (np.ones((3, 5)), r"one-hot rows with 2 columns. Received: shape \(3, 5\)"),
    ],
)
def test_y_must_fit(y, text):
    with pytest.raises(ValueError, match=text):
        fusion.fit_linear_weights(np.full((2, 3, 2), 0.5), y)


def test_more_axes_than_classes_are_refused():
    with pytest.raises(ValueError, match=r"\(samples, classes\) per member here"):
        fusion.fit_linear_weights(np.full((2, 3, 2, 2), 0.5), [0, 1, 0])


def test_predictions_must_be_sound():
    members = np.full((2, 3, 2), 0.5)
    members[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"no NaN.* member 1, row 2"):
        fusion.fit_linear_weights(members, [0, 1, 0])
    members[1, 2, 0] = -3.0
    with pytest.raises(ValueError, match=r"must be probabilities.* member 1, row 2"):
        fusion.fit_linear_weights(members, [0, 1, 0])


def test_the_loss_must_be_known_and_give_numbers():
    members = np.full((2, 3, 2), 0.5)
    with pytest.raises(
        ValueError, match=r"`loss` must be one of .*Did you mean 'log_loss'"
    ):
        fusion.fit_linear_weights(members, [0, 1, 0], "logloss")
    with pytest.raises(ValueError, match=r"`loss` must return a number. Received: NaN"):
        fusion.fit_linear_weights(members, [0, 1, 0], lambda y, fused: np.nan)
