import numpy as np
import pytest
from keras import ops

from keras_tricks import fusion


def test_the_variance_is_that_of_the_mixture():
    mean, variance = fusion.mean_and_variance([[1.0], [3.0]], [[0.5], [1.5]])
    assert (mean.tolist(), variance.tolist()) == ([2.0], [2.0])


def test_weights_count_in_both():
    # mean .75 + .75 = 1.5; variance .75 * (.5 + .25) + .25 * (1.5 + 2.25) = 1.5
    mean, variance = fusion.mean_and_variance([[1.0], [3.0]], [[0.5], [1.5]], [3, 1])
    assert (mean.tolist(), variance.tolist()) == ([1.5], [1.5])


def test_samples_of_the_mixture_have_this_mean_and_variance():
    random = np.random.default_rng(0)
    means, variances = np.array([0.0, 2.0, 3.0]), np.array([1.0, 0.25, 4.0])
    drawn = random.normal(means[:, None], np.sqrt(variances)[:, None], (3, 200_000))
    mean, variance = fusion.mean_and_variance(means[:, None], variances[:, None])
    assert mean[0] == pytest.approx(drawn.mean(), abs=0.02)
    assert variance[0] == pytest.approx(drawn.var(), rel=0.02)


def test_far_from_zero_no_digits_are_lost():
    means = np.array([[10_000.0], [10_002.0]], "float32")
    mean, variance = fusion.mean_and_variance(means, np.ones_like(means))
    assert (mean.tolist(), variance.tolist()) == ([10_001.0], [2.0])


def test_a_negative_variance_is_refused():
    text = r"`variances` must be at least 0; .* -1\.0 .* member 1, first in row 2"
    with pytest.raises(ValueError, match=text):
        fusion.mean_and_variance(np.ones((2, 3)), [[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])


@pytest.mark.parametrize("name", ["means", "variances"])
def test_a_nan_is_named_by_member_and_row(name):
    members = {"means": np.ones((2, 3)), "variances": np.ones((2, 3))}
    members[name][1, 2] = np.nan
    with pytest.raises(
        ValueError, match=rf"`{name}` must hold no NaN.* member 1, row 2"
    ):
        fusion.mean_and_variance(**members)


def test_means_and_variances_must_be_pairs():
    with pytest.raises(
        ValueError, match=r"as many members as `means`.* 3 members, not 2"
    ):
        fusion.mean_and_variance(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"`variances` must have the shape of `means`"):
        fusion.mean_and_variance(np.ones((2, 4)), np.ones((2, 5)))


@pytest.mark.parametrize("tensors", [(True, False), (False, True)])
def test_arrays_beside_tensors_become_tensors_in_both(tensors):
    members = np.array([[1.0], [3.0]]), np.array([[0.5], [1.5]])
    given = [
        [ops.convert_to_tensor(part, "float32") for part in parts] if tensor else parts
        for parts, tensor in zip(members, tensors, strict=True)
    ]
    for answer, expected in zip(fusion.mean_and_variance(*given), (2, 2), strict=True):
        assert ops.is_tensor(answer)
        assert ops.convert_to_numpy(answer).tolist() == [expected]
