"""Labels, tokens and numbers that are not finite, in whatever form they come."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks import lint
from keras_tricks.lint import _data

pytestmark = pytest.mark.usefixtures("undrawn")

RANDOM = np.random.default_rng(0)
ROWS = 10_000
X = RANDOM.normal(size=(ROWS, 4)).astype("float32")
# A sample of 2048 rows does not meet it.
BAD = 5_003
SPARSE = "sparse_categorical_crossentropy"


def found(code, model, *args):
    return list(lint.check(model, *args).filter(code=code))


def model_of(*held, loss="mse", shape=(4,), **options):
    model = keras.Sequential([keras.Input(shape, **options), *held])
    model.compile("adam", loss)
    return model


def classifier(classes=3, loss=SPARSE):
    return model_of(layers.Dense(classes, "softmax"), loss=loss)


class Subclass(keras.Model):
    def __init__(self, loss):
        super().__init__()
        self.dense = layers.Dense(3, "softmax")
        self.compile("adam", loss)
        self(X[:1])

    def call(self, inputs):
        return self.dense(inputs)


class Frame:
    """What reads like a table of pandas."""

    def __init__(self, values):
        self._values, self.shape = values, values.shape

    @property
    def iloc(self):
        return self._values

    def to_numpy(self):
        return self._values


class Tensor:
    """What reads like a tensor of another library."""

    def __init__(self, values):
        self._values, self.shape = values, values.shape

    def __getitem__(self, index):
        return self._values[index]

    def __array__(self, dtype=None, copy=None):
        return self._values

    def __dlpack__(self):
        raise NotImplementedError


FORMS = [np.asarray, keras.ops.convert_to_tensor, Frame, Tensor]


def test_the_sample_does_not_meet_the_bad_row():
    x = X.copy()
    x[BAD] = 99
    assert _data.look(x, None).x[0].values.max() < 99


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_all_rows_in_memory_are_searched_for_what_is_not_finite(form, bad):
    x = X.copy()
    x[BAD, 2] = bad
    model = model_of(layers.Dense(1))
    (finding,) = found("KT401", model, form(x))
    assert finding.message == "x holds NaN or infinite numbers."
    assert found("KT401", model, form(X)) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_all_token_ids_in_memory_are_compared_with_the_table(form, dtype):
    ids = RANDOM.integers(0, 50, (ROWS, 4)).astype(dtype)
    model = model_of(layers.Embedding(50, 32), layers.Flatten(), dtype=dtype)
    assert found("KT403", model, form(ids)) == []
    ids[BAD, 1] = 99
    (finding,) = found("KT403", model, form(ids))
    assert finding.message == "x holds the id 99; the table has 50 rows."


def test_token_ids_are_cut_off_as_keras_does_it():
    ids = np.full((9, 4), 49.9, "float32")
    model = model_of(layers.Embedding(50, 32), layers.Flatten())
    assert found("KT403", model, ids) == []


def test_small_floats_are_read():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.zeros((9, 4), ml_dtypes.bfloat16)
    x[3] = np.nan
    assert len(found("KT401", model_of(layers.Dense(1)), x)) == 1


# Labels -------------------------------------------------------------------------------


def test_labels_that_rounding_brings_out_of_range_are_left_alone():
    y = np.full((ROWS, 4), 1.0, "float32")
    model = model_of(layers.Dense(4, "sigmoid"), loss="binary_crossentropy")
    for low, high, count in ((-1e-7, 1 + 1e-6, 0), (-1e-4, 1, 1), (0, 1.001, 1)):
        y[0], y[1] = low, high
        assert len(found("KT411", model, X, y)) == count


def test_few_rows_of_many_classes_are_unequal_by_chance():
    # 1000 rows of 100 classes: 10 of each, give or take.
    y = RANDOM.integers(0, 100, 1000)
    assert np.bincount(y).max() < 30
    y[:100] = 7
    model = classifier(100)
    assert found("KT413", model, X[:1000], y) == []
    y = np.concatenate([np.arange(100).repeat(29), np.full(290, 7)])
    assert len(found("KT413", model, X[: len(y)], y)) == 1


def test_labels_of_one_class_are_told():
    model = model_of(layers.Dense(1, "sigmoid"), loss="binary_crossentropy")
    (finding,) = found("KT413", model, X, np.zeros(ROWS))
    assert finding.message == "y: all rows are of the class 0."
    assert found("KT413", model, X, np.arange(ROWS) % 2) == []


def test_values_that_only_rise_may_be_a_series_in_time():
    rising = np.sort(X[:, 0])
    assert found("KT414", model_of(layers.Dense(1)), X, rising)[0].severity == "info"


def test_labels_of_a_subclass_are_compared_with_its_loss():
    y = np.sort(RANDOM.choice([-1, 7], ROWS, p=[0.99, 0.01]))
    report = lint.check(Subclass(SPARSE), X, y)
    assert [one.code for one in report.filter(code="KT41")] == [
        "KT411",
        "KT413",
        "KT414",
    ]
    told = "its outputs are not known; the labels are compared with the loss only"
    assert report.notes[-1].endswith(told)
    shuffled = RANDOM.integers(0, 9, ROWS)
    assert list(lint.check(Subclass(SPARSE), X, shuffled).filter(code="KT41")) == []


# Names --------------------------------------------------------------------------------


def test_data_under_names_that_the_model_does_not_have_are_noted():
    model = classifier()
    name, output = model.inputs[0].name, model.layers[-1].name
    y = RANDOM.integers(0, 9, ROWS)
    report = lint.check(model, {"foo": X}, {"bar": y})
    assert report.notes == (
        f"x['foo'] is not the name of an input (x['{name}']): it is compared with the "
        "only one",
        f"y['bar'] is not the name of an output (y['{output}']): it is compared with "
        "the only one",
    )
    assert len(report.filter(code="KT411")) == 1


def two_inputs():
    ids = keras.Input((4,), dtype="int32", name="a")
    numbers = keras.Input((4,), name="numbers")
    words = layers.Flatten()(layers.Embedding(50, 32)(ids))
    merged = layers.Concatenate()([words, numbers])
    return keras.Model({"ids": [ids], "numbers": numbers}, layers.Dense(1)(merged))


def test_inputs_are_known_by_the_structure_that_the_model_was_made_with():
    ids = np.full((9, 4), 50)
    for name, value in (("ids", [ids]), ("a", ids)):
        report = lint.check(two_inputs(), {name: value, "numbers": X[:9]})
        assert len(report.filter(code="KT403")) == 1
        assert report.notes[1:] == ()
    report = lint.check(two_inputs(), {"ids": [ids], "number": X[:9]})
    assert len(report.filter(code="KT403")) == 1
    assert report.notes[-1].startswith("x['number'] is not the name of an input (")
    assert report.notes[-1].endswith("): not compared")


def test_outputs_are_known_by_the_structure_that_the_model_was_made_with():
    inputs = keras.Input((4,))
    first, second = layers.Dense(3, "softmax"), layers.Dense(2, "softmax")
    outputs = {"z": {"one": first(inputs)}, "a": [second(inputs)]}
    model = keras.Model(inputs, outputs)
    model.compile("adam", {"z": {"one": SPARSE}, "a": [SPARSE]})
    y = RANDOM.integers(0, 3, ROWS)
    report = lint.check(model, X, {"z": {"one": y}, "a": [y]})
    (finding,) = report.filter(code="KT411")
    assert finding.message.startswith("y['a'][0] holds the class 2; the output has 0")
    assert report.notes == ()


# Notes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "name"),
    [
        (np.array(["cat"] * 60), "str96"),
        (np.array([0, 1] * 30, dtype=object), "object"),
        (np.zeros(60, "datetime64[s]"), "datetime64[s]"),
    ],
)
def test_what_holds_no_numbers_is_noted(y, name):
    report = lint.check(classifier(), X[:60], y)
    assert report.notes == (f"y holds {name}: no numbers to look at",)


def test_rows_of_several_fields_break_no_rule():
    fields = np.zeros(60, [("a", "float32")])
    report = lint.check(classifier(), fields, np.arange(60) % 3)
    assert list(report.filter(code="KT001")) == []
    assert report.notes[0].startswith("x holds void")


def test_of_many_notes_the_first_ones_are_told():
    notes = lint.check(classifier(), [1.0] * 30).notes
    assert len(notes) == 11
    assert notes[0].startswith("Sequential")
    assert notes[1] == "x[0] is not looked at: float has no rows"
    assert notes[-1] == "and 21 more of the kind"
