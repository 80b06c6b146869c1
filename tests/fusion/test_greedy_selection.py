import itertools
import tracemalloc

import numpy as np
import pytest

from keras_tricks import fusion


def accuracy(y, fused):
    return float(np.mean(fused.argmax(axis=1) == y))


def random_members(members, samples=60, classes=3, seed=0):
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, samples)
    scores = random.dirichlet(np.ones(classes), (members, samples))
    scores[:, np.arange(samples), y] += random.uniform(0, 0.4, (members, 1))
    return scores / scores.sum(axis=-1, keepdims=True), y


def test_picks_are_those_by_hand():
    # Squared errors of the means, by hand, for y = 0: 0 is -1, 1 is 2, 2 is 7.
    # Pick 1: member 0 (1). Pick 2: 0,0 -> 1; 0,1 -> 1/4. Pick 3: with 0: 0.
    weights = fusion.greedy_selection(
        [[-1.0], [2.0], [7.0]], [0.0], "squared_error", picks=3
    )
    np.testing.assert_allclose(weights, [2 / 3, 1 / 3, 0])


def test_equals_are_picked_in_their_order():
    members = np.full((3, 2, 2), 0.5)
    weights = fusion.greedy_selection(members, [0, 1], "log_loss", picks=4)
    assert weights.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("bags", [1, 7])
def test_a_pick_is_a_share_of_all_picks(bags):
    members, y = random_members(12)
    weights = fusion.greedy_selection(members, y, "accuracy", 50, bags, seed=0)
    assert weights.sum() == pytest.approx(1)
    shares = weights * 50 * bags
    np.testing.assert_allclose(shares, shares.round(), atol=1e-9)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", accuracy])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_never_worse_than_the_best_single_member(metric, seed):
    members, y = random_members(9, samples=25, seed=seed)
    weights = fusion.greedy_selection(members, y, metric, 10, 5, seed=seed)

    def score(fused):
        if metric == "log_loss":
            return float(np.log(fused[np.arange(len(y)), y]).mean())
        return accuracy(y, fused)

    fused = fusion.mean_probability(members, weights)
    assert score(fused) >= max(score(member) for member in members)


def test_one_bag_is_the_plain_greedy_path():
    members, y = random_members(8)
    weights = fusion.greedy_selection(members, y, "log_loss", picks=6, bags=1)
    picked, given = [], members[:, np.arange(len(y)), y]
    for _ in range(6):
        tried = [np.log(given[[*picked, i]].mean(axis=0)).mean() for i in range(8)]
        picked.append(int(np.argmax(tried)))
    expected = np.bincount(picked, minlength=8) / 6
    np.testing.assert_allclose(weights, expected)


def test_names_and_callables_pick_alike():
    members, y = random_members(6)
    named = fusion.greedy_selection(members, y, "accuracy", 8, bags=1)
    called = fusion.greedy_selection(members, y, accuracy, 8, bags=1)
    assert named.tolist() == called.tolist()


def test_where_bags_harm_the_best_member_is_taken():
    # Only member 0 is right, and the mean with any other is wrong.
    members = [np.array([[0.6, 0.4], [0.4, 0.6]])]
    members += [np.array([[0.0, 1.0], [1.0, 0.0]])] * 11
    weights = fusion.greedy_selection(members, [0, 1], "accuracy", 5, 4, seed=0)
    assert weights.tolist() == [1.0] + [0.0] * 11


def test_bags_depend_on_the_seed_only():
    members, y = random_members(20)
    state = np.random.get_state()[1].tolist()
    one, two, other = (
        fusion.greedy_selection(members, y, "log_loss", 5, 3, seed=seed)
        for seed in (3, 3, 4)
    )
    assert one.tolist() == two.tolist() != other.tolist()
    assert np.random.get_state()[1].tolist() == state


def test_up_to_five_members_are_all_in_each_bag():
    members, y = random_members(5)
    found = {
        tuple(fusion.greedy_selection(members, y, "log_loss", 5, bags, seed=seed))
        for bags, seed in itertools.product((1, 20), (0, 1))
    }
    assert len(found) == 1


def test_one_column_and_other_classes():
    members, y = random_members(4, classes=2)
    expected = fusion.greedy_selection(members, y, "accuracy", 9)
    for metric in ("accuracy", "log_loss"):
        expected = fusion.greedy_selection(members, y, metric, 9)
        column = fusion.greedy_selection(members[..., 1], y, metric, 9)
        assert column.tolist() == expected.tolist()
        turned = [members[0][:, ::-1], *members[1:]]
        classes = [["yes", "no"], *[["no", "yes"]] * 3]
        names = np.array(["no", "yes"])[y]
        named = fusion.greedy_selection(turned, names, metric, 9, classes=classes)
        assert named.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("metric", "arrays"), [("accuracy", 2), (accuracy, 2), ("squared_error", 3)]
)
def test_it_needs_the_memory_that_it_says(metric, arrays):
    members, y = random_members(4, 50_000, 10)
    members = members.astype("float32")
    size = 8 * members[0].size
    tracemalloc.start()
    fusion.greedy_selection(members, y, metric, 2, bags=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (arrays + 0.5) * size


def test_a_metric_may_change_what_it_gets():
    members, y = random_members(6)

    def greedy(y, fused):
        score = accuracy(y, fused)
        fused[...] = 0
        return score

    found = fusion.greedy_selection(members, y, greedy, 5, bags=1)
    expected = fusion.greedy_selection(members, y, accuracy, 5, bags=1)
    assert found.tolist() == expected.tolist()


def test_predictions_must_be_sound():
    members = np.full((2, 3, 2), 0.5)
    members[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"no NaN.* member 1, row 2"):
        fusion.greedy_selection(members, [0, 1, 0], "accuracy")
    members[1, 2, 0] = 3.0
    with pytest.raises(ValueError, match=r"must be probabilities.* member 1, row 2"):
        fusion.greedy_selection(members, [0, 1, 0], "log_loss")


def test_arguments_must_fit():
    members = np.full((2, 3, 2), 0.5)
    with pytest.raises(ValueError, match=r"`metric` must be one of .*mean 'accuracy'"):
        fusion.greedy_selection(members, [0, 1, 0], "acuracy")
    with pytest.raises(
        ValueError, match=r"`metric` must return a number. Received: NaN"
    ):
        fusion.greedy_selection(members, [0, 1, 0], lambda y, fused: np.nan)
    with pytest.raises(
        TypeError, match=r"`metric` must return a number. Received: None"
    ):
        fusion.greedy_selection(members, [0, 1, 0], lambda y, fused: None)
    with pytest.raises(TypeError, match=r"`seed` must be an integer.*seed='x'"):
        fusion.greedy_selection(members, [0, 1, 0], "accuracy", seed="x")
    with pytest.raises(ValueError, match="`picks` must be a positive integer"):
        fusion.greedy_selection(members, [0, 1, 0], "accuracy", picks=0)
    with pytest.raises(TypeError, match="`bags` must be a positive integer"):
        fusion.greedy_selection(members, [0, 1, 0], "accuracy", bags=2.0)
    with pytest.raises(ValueError, match="`y` must have 3 entries"):
        fusion.greedy_selection(members, [0, 1], "accuracy")
