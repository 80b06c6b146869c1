import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_tricks as kt

RANDOM = np.random.default_rng(0)


def model_with(loss="sparse_categorical_crossentropy", units=3):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="relu", name="body"),
            layers.Dropout(0.5),
            layers.Dense(units, activation="softmax", name="head"),
        ]
    )
    model.compile("adam", loss)
    return model


def batch(rows=6, y=None):
    x = RANDOM.normal(size=(rows, 4)).astype("float32")
    return x, np.zeros(rows, "int32") if y is None else y


def test_a_sound_step_has_no_failure_and_the_model_is_as_before():
    model = model_with()
    before = [ops.convert_to_numpy(v.value) for v in model.variables]
    assert kt.debug.explain_failure(model, batch()) is None
    assert kt.debug.explain_failure(model, batch()[0]) is None
    assert kt.debug.explain_failure(model, (*batch(), np.ones(6))) is None
    after = [ops.convert_to_numpy(v.value) for v in model.variables]
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one, other)
    assert not any("call" in vars(layer) for layer in model.layers)


@pytest.mark.parametrize(
    ("loss", "y", "words", "sample"),
    [
        ("sparse_categorical_crossentropy", [0, 1, 2, 3, 0, 0], "is 3, and must be", 3),
        ("sparse_categorical_crossentropy", [0, -1, 2, 0, 0, 0], "is -1, and must", 1),
        (
            keras.losses.SparseCategoricalCrossentropy(),
            [0, 1, 2, 3, 0, 0],
            "from 0 to 2, because the model answers with 3 classes",
            3,
        ),
        (
            "categorical_crossentropy",
            [0, 1, 2, 0, 0, 0],
            r"`y` has the shape \(6,\), but the model answers with \(6, 3\)",
            None,
        ),
        (
            "binary_crossentropy",
            np.full((6, 3), 2.0),
            "must be between 0 and 1 for this loss",
            0,
        ),
        ("mse", np.zeros((6, 4)), "the loss 'mse' fails on labels of shape", None),
        ("mse", np.full((6, 3), np.inf), "`y` holds inf in sample 0", 0),
        (
            "mse",
            np.zeros((5, 3)),
            "different numbers of samples: {'x': 6, 'y': 5}",
            None,
        ),
        ("mse", np.array(["a"] * 6), "`y` is of dtype <U1, which is no number", None),
    ],
)
def test_labels_that_do_not_suit_are_named(loss, y, words, sample):
    error = kt.debug.explain_failure(model_with(loss), batch(y=np.asarray(y)))
    assert isinstance(error, kt.debug.StepError)
    with pytest.raises(kt.debug.StepError, match=words):
        raise error
    assert error.sample == sample


def test_an_ignored_class_is_no_bad_label():
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    y = np.array([0, -1, 2, 1, -1, 0])
    assert kt.debug.explain_failure(model_with(loss), batch(y=y)) is None


def test_weights_that_are_not_finite_are_found_first():
    model = model_with()
    kernel, bias = model.layers[0].get_weights()
    bias[2] = np.nan
    model.layers[0].set_weights([kernel, bias])
    error = kt.debug.explain_failure(model, batch())
    assert error.layer == "body"
    assert "'bias' of layer 'body' holds nan before the step" in error.problem


def test_a_layer_that_fails_for_one_sample_is_told_with_the_sample():
    class Picky(layers.Layer):
        def call(self, x):
            if np.any(ops.convert_to_numpy(x) > 100):
                raise KeyError("a number above 100")
            return x

        def compute_output_shape(self, shape):
            return shape

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    inputs = keras.Input((4,))
    outputs = layers.Dense(2)(Picky(name="picky")(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    x = np.zeros((5, 4), "float32")
    x[3, 1] = 200
    error = kt.debug.explain_failure(model, (x, np.zeros((5, 2))))
    assert (error.layer, error.sample) == ("picky", 3)
    assert "fails for sample 3, and not for others" in error.problem


def test_a_loss_that_overflows_names_the_largest_layer():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(2, name="wide", kernel_initializer="ones")]
    )
    model.compile("sgd", "mse")
    x = np.ones((3, 4), "float32")
    x[1] = 1e30
    error = kt.debug.explain_failure(model, (x, np.zeros((3, 2))))
    assert (error.layer, error.sample) == ("wide", 1)
    assert "the loss 'mse' is inf for sample 1" in error.problem
    assert "4e+30, by layer 'wide'" in error.problem


def test_several_inputs_and_outputs_are_looked_at():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    joined = layers.Concatenate()([a, b])
    model = keras.Model(
        {"a": a, "b": b},
        {
            "p": layers.Dense(1, name="p")(joined),
            "q": layers.Dense(2, name="q")(joined),
        },
    )
    model.compile("sgd", {"p": "mse", "q": "mse"})
    x = {"a": np.zeros((4, 2)), "b": np.zeros((4, 3))}
    y = {"p": np.zeros((4, 1)), "q": np.zeros((4, 2))}
    assert kt.debug.explain_failure(model, (x, y)) is None
    x["b"][2, 1] = np.nan
    error = kt.debug.explain_failure(model, (x, y))
    assert "`x['b']` holds nan in sample 2" in error.problem
    x["b"] = np.zeros((4, 5))
    error = kt.debug.explain_failure(model, (x, y))
    assert "`x['b']` has the shape (4, 5), but the input 'b'" in error.problem


@pytest.mark.parametrize("named", [True, False])
def test_labels_of_several_outputs_are_looked_at_each_with_its_loss(named):
    inputs = keras.Input((2,))
    outputs = [
        layers.Dense(1, name="p")(inputs),
        layers.Dense(3, activation="softmax", name="q")(inputs),
    ]
    losses = ["mse", "sparse_categorical_crossentropy"]
    y = [np.full((4, 1), 9.0), np.array([0, 2, 3, 1])]
    place = "y[1]"
    if named:
        outputs, losses, y = (
            dict(zip("pq", part, strict=True)) for part in (outputs, losses, y)
        )
        place = "y['q']"
    model = keras.Model(inputs, outputs)
    model.compile("sgd", losses)
    error = kt.debug.explain_failure(model, (np.zeros((4, 2)), y))
    assert error.problem.startswith(f"the label in `{place}` of sample 2 is 3")
    assert (error.sample, error.value) == (2, 3)


def test_recurrent_models_are_run_too():
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(7, 3, name="words"),
            layers.LSTM(4),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    tokens = np.zeros((3, 5), "int32")
    assert kt.debug.explain_failure(model, (tokens, np.zeros((3, 1)))) is None
    tokens[2, 4] = -1
    error = kt.debug.explain_failure(model, (tokens, np.zeros((3, 1))))
    assert (error.layer, error.sample, error.value) == ("words", 2, -1)


@pytest.mark.slow
def test_a_new_process_comes_to_the_same_end():
    model = model_with()
    y = np.array([0, 1, 5, 0, 0, 0])
    here = kt.debug.explain_failure(model, batch(y=y), new_process=False)
    there = kt.debug.explain_failure(model, batch(y=y), new_process=True)
    assert there.problem == here.problem
    assert (there.sample, there.value) == (2, 5)
    assert kt.debug.explain_failure(model, batch(), new_process=True) is None


def test_a_model_that_no_new_process_can_make_is_repeated_here():
    class Local(layers.Layer):
        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), Local()])
    model.compile("sgd", lambda y, p: ops.mean(p))
    x, _ = batch()
    x[4, 0] = np.nan
    error = kt.debug.explain_failure(model, (x, np.zeros(6)), new_process=True)
    assert error.sample == 4


def test_a_batch_is_stored_with_its_structure(tmp_path):
    x = {"a": np.arange(3), "b": [np.ones((3, 2)), None]}
    error = kt.debug.StepError(("problem", "remedy", None, None, None), (x, np.eye(3)))
    error.save(tmp_path / "batch.npz")
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    again = kt.debug.explain_failure(model, tmp_path / "batch.npz").batch
    assert np.array_equal(again[0]["a"], np.arange(3))
    assert np.array_equal(again[0]["b"][0], np.ones((3, 2)))
    assert again[0]["b"][1] is None
    assert np.array_equal(again[1], np.eye(3))
    objects = kt.debug.StepError(
        ("p", "r", None, None, None), (np.array([{}], object), None)
    )
    objects.save(str(tmp_path / "objects.npz"))
    with np.load(tmp_path / "objects.npz", allow_pickle=False) as file:
        assert file["array0"].dtype.kind == "U"


def test_foreign_files_are_refused(tmp_path):
    model = model_with()
    np.savez(tmp_path / "pickled.npz", structure=np.array({"a": 1}, dtype=object))
    np.savez_compressed(tmp_path / "packed.npz", structure=np.zeros(10_000))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    (tmp_path / "text.npz").write_text("text")
    for name in ("pickled", "packed", "other", "text", "missing"):
        with pytest.raises(
            ValueError, match="must be a file that `rerun_on_cpu` wrote"
        ):
            kt.debug.explain_failure(model, tmp_path / f"{name}.npz")


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="must be a compiled keras"):
        kt.debug.explain_failure(1, batch())
    unbuilt = keras.Sequential([layers.Dense(1)])
    unbuilt.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`model` must be built"):
        kt.debug.explain_failure(unbuilt, batch())
    with pytest.raises(ValueError, match="`training` must be one of True, False"):
        kt.debug.explain_failure(model_with(), batch(), training="no")
