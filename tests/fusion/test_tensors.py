"""The functions on tensors, eager and inside a compiled model."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_tricks import fusion

RANDOM = np.random.default_rng(0)
MEMBERS = RANDOM.dirichlet(np.ones(3), (3, 6)).astype("float32")
WEIGHTS = [1, 2, 4]
CLASSES = [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "d"]]
CODE = [[0, 0, 2], [0, 1, 1], [1, 0, 0], [1, 1, -1]]
FUSIONS = {
    "geometric_mean": fusion.geometric_mean,
    "majority_vote": fusion.majority_vote,
    "mean": fusion.mean,
    "mean_probability": fusion.mean_probability,
    "median": fusion.median,
    "rank_average": fusion.rank_average,
}
PARTIAL = {name: FUSIONS[name] for name in FUSIONS if name not in ("mean", "median")}
# What treats one column otherwise than several.
BINARY = {name: FUSIONS[name] for name in ("geometric_mean", "majority_vote")}


def both_variances(parts):
    return fusion.mean_and_variance(parts, [part + 1 for part in parts], WEIGHTS)[1]


def decoded(parts):
    answers = [parts[0][:, 0], parts[1][:, :1], parts[2]]
    return fusion.decode_answers(answers, CODE, WEIGHTS)


# Each from a list of members; NumPy's answers are tested against hand calculations.
# No more than this: it takes long to compile.
WAYS = {
    **FUSIONS,
    **{
        f"{name}_columns": lambda parts, fuse=fuse: fuse(
            parts, WEIGHTS, classes=CLASSES
        )
        for name, fuse in PARTIAL.items()
    },
    **{
        f"{name}_binary": lambda parts, fuse=fuse: fuse([p[:, :1] for p in parts])
        for name, fuse in BINARY.items()
    },
    "flat": lambda parts: fusion.geometric_mean([p[:, 0] for p in parts], WEIGHTS),
    "flat_rank": lambda parts: fusion.rank_average([p[:, 0] for p in parts]),
    "median_weighted": lambda parts: fusion.median(parts, WEIGHTS),
    "variance": both_variances,
    "decode": decoded,
    "temperature": lambda parts: fusion.apply_temperature(parts[0], 2.0),
    "flat_temperature": lambda parts: fusion.apply_temperature(parts[0][:, 0], 2.0),
}


def close(found, expected, name):
    found = ops.convert_to_numpy(found)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6, err_msg=name)


def test_tensors_give_the_tensors_that_arrays_give():
    tensors = [ops.convert_to_tensor(part) for part in MEMBERS]
    # The others run in a compiled model, which takes JAX less time to compile.
    for name, way in WAYS.items():
        if name not in ("mean", "majority_vote_columns", "decode"):
            continue
        answer = way(tensors)
        assert ops.is_tensor(answer), name
        assert keras.backend.standardize_dtype(answer.dtype) == "float32", name
        close(answer, way(list(MEMBERS)), name)


@pytest.fixture(scope="module")
def model():
    inputs = [keras.Input((3,)) for _ in MEMBERS]
    return keras.Model(inputs, {name: way(inputs) for name, way in WAYS.items()})


def test_they_work_inside_a_compiled_model_of_any_batch_size(model):
    for name, output in zip(sorted(WAYS), model.outputs, strict=True):
        assert tuple(output.shape) == (None, *WAYS[name](MEMBERS).shape[1:]), name
    # Two batches of 3 rows. Ranks are those within a batch.
    found = model.predict(list(MEMBERS), batch_size=3, verbose=0)
    for name, way in WAYS.items():
        parts = [way([m[rows] for m in MEMBERS]) for rows in (slice(3), slice(3, 6))]
        close(found[name], np.concatenate(parts), name)


def test_a_nan_passes_on(model):
    spoilt = MEMBERS.copy()
    spoilt[1, 2, 0] = np.nan
    found = model.predict(list(spoilt), batch_size=3, verbose=0)
    for name in WAYS:
        # Ranks mean nothing then; a temperature looks at member 0 only.
        if "rank" in name or "temperature" in name:
            continue
        rows = np.isnan(found[name].reshape(6, -1)).any(axis=1)
        assert rows.tolist() == [row == 2 for row in range(6)], name


@keras.saving.register_keras_serializable("keras_tricks_tests")
class Blend(keras.layers.Layer):
    """Fuses (batch, members, classes) with weights that can change."""

    def build(self, input_shape):
        self.shares = self.add_weight(shape=(3,), initializer="ones", trainable=False)

    def call(self, inputs):
        return fusion.geometric_mean(inputs, self.shares, members_axis=1)


def test_weights_may_be_a_variable_that_changes_in_a_compiled_model():
    model = keras.Sequential([keras.Input((3, 3)), Blend()])
    stacked = np.moveaxis(MEMBERS, 0, 1)
    close(model.predict(stacked, verbose=0), fusion.geometric_mean(MEMBERS), "equal")
    model.layers[0].shares.assign([3.0, 6.0, 12.0])
    found = model.predict(stacked, verbose=0)
    close(found, fusion.geometric_mean(MEMBERS, WEIGHTS), "weighted")


def test_a_stacked_tensor_is_taken_apart():
    stacked = ops.convert_to_tensor(np.moveaxis(MEMBERS, 0, 1))
    close(
        fusion.mean(stacked, WEIGHTS, members_axis=-2),
        fusion.mean(MEMBERS, WEIGHTS),
        "",
    )


def test_an_infinite_member_without_weight_is_as_if_it_were_not_there():
    tensors = [
        ops.convert_to_tensor([[0.25, 0.75]]),
        ops.convert_to_tensor([[np.inf] * 2]),
    ]
    for name in ("mean", "median"):
        close(FUSIONS[name](tensors, [1, 0]), [[0.25, 0.75]], name)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_is_kept_but_summed_in_single(kind):
    tensors = [ops.cast(part, kind) for part in MEMBERS]
    exact = [ops.convert_to_numpy(ops.cast(part, "float32")) for part in tensors]
    for name in ("mean_probability", "geometric_mean", "majority_vote"):
        fuse = FUSIONS[name]
        answer = fuse(tensors, WEIGHTS)
        assert keras.backend.standardize_dtype(answer.dtype) == kind, name
        found = ops.convert_to_numpy(ops.cast(answer, "float32"))
        np.testing.assert_allclose(found, fuse(exact, WEIGHTS), rtol=1e-2, err_msg=name)


def test_where_all_is_vetoed_the_least_vetoed_classes_are_left():
    members = [[[0.8, 0.2, 0.0]], [[0.5, 0.0, 0.5]], [[0.0, 1.0, 0.0]]]
    tensors = [ops.convert_to_tensor(part) for part in members]
    close(fusion.geometric_mean(tensors), fusion.geometric_mean(members), "vetoes")


def test_ties_of_votes_are_exact():
    votes = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        tensors = [ops.convert_to_tensor([votes[i]]) for i in order]
        weights = [[0.1, 0.2, 0.3][i] for i in order]
        shares = ops.convert_to_numpy(fusion.majority_vote(tensors, weights))
        assert shares.tolist() == [[0.5, 0.5]]


def test_ties_of_votes_with_whole_weights_are_exact():
    weights = [22, 19, 25, 29, 8, 17, 5, 125, 4]
    for shown in (weights, [weight / 7 for weight in weights]):
        rows = np.eye(3, dtype="float32")[[0] * 7 + [1, 2]][:, None]
        tensors = [ops.convert_to_tensor(row) for row in rows]
        shares = ops.convert_to_numpy(fusion.majority_vote(tensors, shown))[0]
        assert shares[0] == shares[1]
        close(shares, np.array([125, 125, 4]) / 254, "shares")


def test_weights_that_are_no_ratios_vote_too():
    rows = np.eye(2, dtype="float32")[[0, 1, 1, 0]][:, None]
    tensors = [ops.convert_to_tensor(row) for row in rows]
    weights = [np.pi, np.e, np.pi, np.e]
    shares = ops.convert_to_numpy(fusion.majority_vote(tensors, weights))
    assert shares.tolist() == [[0.5, 0.5]]


def test_labels_vote_too():
    labels = np.array([[0, 7, 5, 3], [4, 7, 5, 2], [4, 1, 9, 1]], "int32")
    answer = fusion.majority_vote(ops.convert_to_tensor(labels))
    assert ops.convert_to_numpy(answer).tolist() == [4, 7, 5, 1]
    assert keras.backend.standardize_dtype(answer.dtype) == "int32"
    answer = fusion.majority_vote(ops.convert_to_tensor(labels > 4))
    assert ops.convert_to_numpy(answer).tolist() == [False, True, True, False]


def test_double_arrays_beside_tensors_become_tensors_of_their_type():
    doubles = [part.astype("float64") for part in MEMBERS]
    mixed = [ops.convert_to_tensor(MEMBERS[0]), *doubles[1:]]
    weights = ops.convert_to_tensor(np.array(WEIGHTS, "float64"))
    for name in (*FUSIONS, "variance", "decode"):
        answer = WAYS[name](mixed)
        assert ops.is_tensor(answer), name
        assert keras.backend.standardize_dtype(answer.dtype) == "float32", name
        close(answer, WAYS[name](doubles), name)
    answer = fusion.mean(mixed, weights)
    assert keras.backend.standardize_dtype(answer.dtype) == "float32"
    close(answer, fusion.mean(doubles, WEIGHTS), "weights")


@pytest.mark.backend("tensorflow", "torch", reason="JAX has no double precision here.")
def test_double_tensors_stay_double():
    doubles = [ops.convert_to_tensor(part, "float64") for part in MEMBERS]
    for name in ("mean", "majority_vote", "median", "decode", "temperature"):
        for tensors in (doubles, [doubles[0], *MEMBERS[1:]]):
            answer = WAYS[name](tensors)
            assert keras.backend.standardize_dtype(answer.dtype) == "float64", name
            exact = WAYS[name]([part.astype("float64") for part in MEMBERS])
            found = ops.convert_to_numpy(answer)
            np.testing.assert_allclose(found, exact, atol=1e-9, err_msg=name)
    single = ops.convert_to_tensor(MEMBERS[1])
    answer = fusion.mean([doubles[0], single, doubles[2]], WEIGHTS)
    assert keras.backend.standardize_dtype(answer.dtype) == "float64"
    close(answer, fusion.mean(MEMBERS, WEIGHTS), "mixed")


def test_a_variable_is_a_tensor():
    variable = keras.Variable(MEMBERS)
    close(fusion.mean(variable, WEIGHTS), fusion.mean(MEMBERS, WEIGHTS), "stacked")
    listed = [keras.Variable(part) for part in MEMBERS]
    close(fusion.mean(listed, WEIGHTS), fusion.mean(MEMBERS, WEIGHTS), "listed")


def test_strings_beside_tensors_are_refused():
    with pytest.raises(TypeError, match=r"must be numbers.* member 1 of the type"):
        fusion.majority_vote([ops.convert_to_tensor(np.array([1, 2])), ["a", "b"]])


def test_weights_that_are_a_tensor_serve_arrays_too():
    answer = fusion.mean(MEMBERS, ops.convert_to_tensor([1.0, 2.0, 4.0]))
    assert isinstance(answer, np.ndarray)
    close(answer, fusion.mean(MEMBERS, WEIGHTS), "weights")


def test_a_tensor_of_weights_must_have_one_per_member():
    tensors = [ops.convert_to_tensor(part) for part in MEMBERS]
    with pytest.raises(ValueError, match=r"`weights` must be 3 numbers.*shape \(2,\)"):
        fusion.mean(tensors, ops.ones((2,)))


def test_the_number_of_members_must_be_known():
    with pytest.raises(ValueError, match=r"known number of members on axis 0.*a list"):
        fusion.mean(keras.Input((3, 2)))


def test_a_tensor_without_members_is_refused():
    with pytest.raises(ValueError, match=r"\(members, samples, \.\.\.\), or be a list"):
        fusion.mean(ops.ones((3,)))
