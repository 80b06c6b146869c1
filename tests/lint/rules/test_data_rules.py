"""Rules on the inputs and the labels."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks import lint

pytestmark = pytest.mark.usefixtures("undrawn")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 4)).astype("float32")
SHUFFLED = RANDOM.permutation(np.arange(200) % 3)


def found(code, model, *args, **options):
    return list(lint.check(model, *args, **options).filter(code=code))


def model_of(*held, loss="mse", shape=(4,), **options):
    model = keras.Sequential([keras.Input(shape, **options), *held])
    model.compile("adam", loss)
    return model


def classifier(loss="sparse_categorical_crossentropy", classes=3):
    return model_of(layers.Dense(classes, "softmax"), loss=loss)


def binary():
    return model_of(layers.Dense(1, "sigmoid"), loss="binary_crossentropy")


# KT401 --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_single_number_that_is_not_finite_is_an_error(bad):
    # In a row that a sample of 2048 would miss.
    x = np.zeros((30_000, 4), "float32")
    x[12_345, 1] = bad
    (finding,) = found("KT401", model_of(layers.Dense(1)), x)
    assert finding.severity == "error"
    assert finding.message == "x holds NaN or infinite numbers."


def test_labels_of_nan_are_an_error_unless_the_loss_is_a_strange_one():
    y = np.full((200, 1), np.nan)
    for loss, severity in (("mse", "error"), (lambda t, p: p, "warning")):
        (finding,) = found("KT401", model_of(layers.Dense(1), loss=loss), X, y)
        assert finding.severity == severity


def test_large_numbers_are_finite():
    x = np.full((200, 4), 3e38, "float32")
    assert found("KT401", model_of(layers.Dense(1)), x) == []


# KT402 --------------------------------------------------------------------------------


def test_columns_of_unequal_scale_are_told():
    x = X * [1, 1, 1000, 1] + [0, 0, 0, 50]
    (finding,) = found("KT402", model_of(layers.Dense(1)), x)
    assert finding.severity == "warning"
    assert finding.message.startswith(
        "x: 2 of 4 columns are not centred or not scaled (column 2 has mean"
    )
    assert "Normalization()" in finding.fix


def test_a_tiny_column_is_told_unless_it_is_binary():
    tiny = X * [1, 1, 1, 1e-3]
    assert len(found("KT402", model_of(layers.Dense(1)), tiny)) == 1
    rare = X.copy()
    rare[:, 3] = np.arange(200) == 7
    constant = X * [1, 1, 1, 0] + [0, 0, 0, 1000]
    for x in (rare, constant):
        assert found("KT402", model_of(layers.Dense(1)), x) == []


IMAGES = RANDOM.integers(0, 256, (20, 8, 8, 3))


@pytest.mark.parametrize(
    ("images", "severities"),
    [
        (IMAGES.astype("uint8"), ["warning"]),
        (IMAGES.astype("float32"), ["warning"]),
        (IMAGES / 255, []),
        (IMAGES / 127.5 - 1, []),
        (IMAGES - 127.5, ["info"]),
    ],
)
def test_raw_images_are_told(images, severities):
    model = model_of(layers.Conv2D(4, 3), layers.Flatten(), shape=(8, 8, 3))
    assert [one.severity for one in found("KT402", model, images)] == severities


class Own(layers.Layer):
    def call(self, inputs):
        return inputs / 255.0


@pytest.mark.parametrize(
    "first",
    [
        [layers.Rescaling(1 / 255)],
        [layers.RandomFlip(), layers.Rescaling(1 / 255)],
        [layers.Normalization(mean=127, variance=5000)],
        [layers.BatchNormalization()],
        [Own()],
        [layers.Lambda(lambda x: x / 255)],
        [keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255)])],
    ],
)
def test_images_that_the_model_scales_are_left_alone(first):
    model = model_of(*first, layers.Conv2D(4, 3), layers.Flatten(), shape=(8, 8, 3))
    assert found("KT402", model, IMAGES.astype("float32")) == []


def test_images_that_only_pass_a_neutral_layer_are_told():
    held = [layers.ZeroPadding2D(), layers.RandomFlip(), layers.Conv2D(4, 3)]
    model = model_of(*held, layers.Flatten(), shape=(8, 8, 3))
    assert len(found("KT402", model, IMAGES.astype("float32"))) == 1


def test_each_input_is_looked_at_by_itself():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    scaled = layers.BatchNormalization()(inputs["a"])
    both = layers.Concatenate()([scaled, layers.Dense(2)(inputs["b"])])
    model = keras.Model(inputs, layers.Dense(1)(both))
    large = X * 1000
    assert found("KT402", model, {"a": large, "b": X}) == []
    (finding,) = found("KT402", model, {"a": X, "b": large})
    assert finding.message.startswith("x['b']: 4 of 4")
    as_list = keras.Model(list(inputs.values()), model.output)
    assert len(found("KT402", as_list, [X, large])) == 1


# KT403 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "bad"), [(0, 10, 10), (-1, 9, -1), (0, 9, None)]
)
def test_a_token_that_the_table_does_not_have_is_an_error(low, high, bad):
    ids = np.zeros((5000, 3), "int32")
    ids[4321, 1], ids[1234, 2] = low, high
    held = [layers.Embedding(10, 4, name="words"), layers.Flatten(), layers.Dense(1)]
    findings = found("KT403", model_of(*held, shape=(3,), dtype="int32"), ids)
    assert [one.layers for one in findings] == ([] if bad is None else [("words",)])
    for finding in findings:
        assert finding.severity == "error"
        assert finding.message == f"x holds the id {bad}; the table has 10 rows."


# KT411, KT412 -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (SHUFFLED + 1, "y holds the class 3; the output has 0 to 2."),
        (SHUFFLED - 1, "y holds the class -1; the output has 0 to 2."),
        (SHUFFLED.astype("float32") + 0.5, "y holds numbers that are no classes."),
    ],
)
def test_classes_that_the_output_does_not_have_are_an_error(labels, message):
    (finding,) = found("KT411", classifier(), X, labels)
    assert (finding.severity, finding.message) == ("error", message)


def test_labels_from_one_on_are_to_be_shifted():
    assert found("KT411", classifier(), X, SHUFFLED + 1)[0].fix == "y = y - 1"


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (binary, SHUFFLED),
        (lambda: classifier("categorical_crossentropy"), -np.ones((200, 3))),
        (lambda: model_of(layers.Dense(1), loss="poisson"), X[:, :1]),
    ],
)
def test_labels_outside_of_what_the_loss_is_defined_for_are_an_error(model, labels):
    assert len(found("KT411", model(), X, labels)) == 1


def test_labels_in_range_are_left_alone():
    onehot = keras.utils.to_categorical(SHUFFLED, 3)
    assert found("KT411", classifier(), X, SHUFFLED) == []
    assert found("KT411", classifier("categorical_crossentropy"), X, onehot) == []
    assert found("KT411", binary(), X, SHUFFLED > 0) == []
    assert found("KT411", model_of(layers.Dense(1)), X, X[:, 0] * 100) == []
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    ignored = np.where(SHUFFLED == 1, 255, SHUFFLED)
    assert found("KT411", classifier(loss), X, ignored) == []
    assert len(found("KT411", classifier(loss), X, ignored + 1)) == 1


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (lambda: classifier("categorical_crossentropy"), SHUFFLED),
        (classifier, keras.utils.to_categorical(SHUFFLED, 3)),
        (lambda: model_of(layers.Dense(3)), X[:, :1]),
        (lambda: model_of(layers.Dense(3)), X[:, 0]),
        (lambda: model_of(layers.Dense(1)), X[:, :3]),
        (binary, keras.utils.to_categorical(SHUFFLED > 0, 2)),
    ],
)
def test_labels_of_another_shape_than_the_output_are_an_error(model, labels):
    (finding,) = found("KT412", model(), X, labels)
    assert finding.severity == "error"
    assert finding.fix


def test_the_shapes_are_told():
    (finding,) = found("KT412", model_of(layers.Dense(3)), X, X[:, :1])
    assert finding.message == (
        "y has the shape (None, 1), the output (None, 3), and the loss is "
        "mean_squared_error."
    )


def per_pixel():
    loss = "sparse_categorical_crossentropy"
    return model_of(
        layers.Conv2D(3, 1, activation="softmax"), loss=loss, shape=(8, 8, 3)
    )


@pytest.mark.parametrize(
    ("model", "x", "labels"),
    [
        (classifier, X, SHUFFLED),
        (classifier, X, SHUFFLED[:, None]),
        (binary, X, SHUFFLED > 0),
        (binary, X, (SHUFFLED > 0)[:, None]),
        (lambda: model_of(layers.Dense(3)), X, X[:, :3]),
        (per_pixel, IMAGES / 255, np.zeros((20, 8, 8), "int32")),
        (per_pixel, IMAGES / 255, np.zeros((20, 8, 8, 1), "int32")),
        (lambda: model_of(layers.Dense(3), loss=lambda t, p: p), X, X[:, :2]),
    ],
)
def test_labels_of_the_right_or_an_unknown_shape_are_left_alone(model, x, labels):
    assert found("KT412", model(), x, labels) == []


def test_unequal_rows_are_an_error():
    (finding,) = found("KT412", classifier(), X, SHUFFLED[:199])
    assert "(x: 200, y: 199)" in finding.message


# KT413, KT414 -------------------------------------------------------------------------


def few(count):
    """Classes 0 and 1 in an order of chance, the second with so many rows."""
    return np.random.default_rng(3).permutation(np.arange(220) < count).astype("int32")


BIG = np.zeros((220, 4), "float32")


def test_a_class_of_a_tenth_is_told():
    # 20 against 200.
    (finding,) = found("KT413", binary(), BIG, few(20))
    assert finding.severity == "warning"
    assert finding.message == "y: class 0 has 200 rows, class 1 has 20."
    assert finding.fix == "model.fit(x, y, class_weight={0: 0.55, 1: 5.5})"
    assert found("KT413", binary(), BIG, few(21)) == []
    onehot = keras.utils.to_categorical(few(20), 3)
    model = classifier("categorical_crossentropy")
    assert len(found("KT413", model, BIG, onehot)) == 1


def test_few_rows_or_a_focal_loss_are_left_alone():
    assert found("KT413", binary(), X[:49], np.arange(49) == 0) == []
    focal = model_of(layers.Dense(1, "sigmoid"), loss="binary_focal_crossentropy")
    assert found("KT413", focal, BIG, few(20)) == []
    assert found("KT413", model_of(layers.Dense(1)), BIG, few(20)) == []


@pytest.mark.parametrize("order", [np.sort(SHUFFLED), np.sort(SHUFFLED)[::-1]])
def test_classes_one_after_the_other_are_told(order):
    (finding,) = found("KT414", classifier(), X, order)
    assert finding.severity == "warning"
    assert "permutation" in finding.fix
    onehot = keras.utils.to_categorical(order, 3)
    model = classifier("categorical_crossentropy")
    assert len(found("KT414", model, X, onehot)) == 1


def test_numbers_that_only_rise_are_told():
    model = model_of(layers.Dense(1))
    assert len(found("KT414", model, X, np.sort(X[:, 0]))) == 1
    assert found("KT414", model, X, np.cumsum(X[:, 0])) == []
    assert found("KT414", model, X, X[:, 0]) == []


def test_classes_by_turns_or_by_chance_are_no_order():
    assert found("KT414", classifier(), X, SHUFFLED) == []
    assert found("KT414", classifier(), X, np.arange(200) % 3) == []
    assert found("KT414", binary(), BIG, np.arange(220) < 3) == []
    assert found("KT414", classifier(), X[:40], np.sort(SHUFFLED[:40])) == []


class Sorted(keras.utils.PyDataset):
    def __init__(self, labels):
        super().__init__()
        self.labels = labels

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return np.zeros((64, 4), "float32"), self.labels(index)


def test_a_data_set_that_begins_with_one_class_of_many_is_told():
    (finding,) = found("KT414", classifier(), Sorted(lambda i: np.full(64, i // 10)))
    assert "dataset" in finding.fix
    assert found("KT414", classifier(), Sorted(lambda i: np.arange(64) % 3)) == []
