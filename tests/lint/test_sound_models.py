"""Models that are sound by common consent: the linter has nothing against them."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_tricks as kt
from keras_tricks import lint

pytestmark = pytest.mark.usefixtures("undrawn")

# With the smallest images that each takes.
APPLICATIONS = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "VGG19": 32,
    "Xception": 71,
}
NO_TORCH = "Keras has no NASNet for PyTorch"
MARKS = {"NASNetMobile": [pytest.mark.backend("jax", "tensorflow", reason=NO_TORCH)]}


def above_info(report):
    return [str(finding) for finding in report.filter(severity="warning")]


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def classes(rows, count=10):
    return np.random.default_rng(1).permutation(np.arange(rows) % count)


@pytest.mark.slow  # All of them together.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, [])) for name in APPLICATIONS]
)
def test_nothing_is_said_about_an_application_of_keras(name):
    size = APPLICATIONS[name]
    make = getattr(keras.applications, name)
    model = make(weights=None, classes=10, input_shape=(size, size, 3))
    plateau = [keras.callbacks.ReduceLROnPlateau(), keras.callbacks.EarlyStopping()]
    compiled = (
        (keras.optimizers.SGD(0.1, momentum=0.9), plateau),
        (keras.optimizers.AdamW(1e-3), []),
        (keras.optimizers.RMSprop(keras.optimizers.schedules.CosineDecay(0.01, 9)), []),
    )
    for optimizer, callbacks in compiled:
        model.compile(optimizer, "categorical_crossentropy")
        report = lint.check(model, batch_size=64, epochs=90, callbacks=callbacks)
        assert above_info(report) == []
        assert report.notes == ()


@pytest.mark.slow
def test_nothing_is_said_about_a_fine_tuned_backbone():
    backbone = keras.applications.EfficientNetB0(
        weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3)
    )
    backbone.trainable = False
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), backbone, layers.Dropout(0.2), layers.Dense(1)]
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), "uint8")
    assert above_info(lint.check(model, images, classes(64, 2))) == []


def mlp():
    model = keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(256, "relu", kernel_initializer="he_normal"),
            layers.Dropout(0.5),
            layers.Dense(256, "relu", kernel_initializer="he_normal"),
            layers.Dropout(0.5),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    return model, numbers(500, 20), classes(500)


def autoencoder():
    inputs = keras.Input((64,))
    code = layers.Dense(8, name="code")(layers.Dense(32, "relu")(inputs))
    outputs = layers.Dense(64, "sigmoid")(layers.Dense(32, "relu")(code))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "binary_crossentropy")
    x = np.random.default_rng(0).uniform(size=(500, 64)).astype("float32")
    return model, x, x


def cnn():
    inputs = keras.Input((28, 28, 1))
    x = inputs
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.SpatialDropout2D(0.1)(layers.MaxPooling2D()(x))
    x = layers.Dropout(0.5)(layers.Dense(128, "relu")(layers.Flatten()(x)))
    model = keras.Model(inputs, layers.Dense(10)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True), loss)
    images = np.random.default_rng(0).uniform(size=(200, 28, 28, 1)).astype("float32")
    return model, images, classes(200)


def squeeze_and_excite():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, activation="relu")(inputs)
    gate = layers.Dense(4, "relu")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Reshape((1, 1, 16))(layers.Dense(16, "sigmoid")(gate))
    x = layers.Conv2D(8, 3, activation="relu")(layers.Multiply()([x, gate]))
    outputs = layers.Dense(1, "sigmoid")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    return model, numbers(64, 16, 16, 3), classes(64, 2)


def recurrent(make):
    model = keras.Sequential(
        [
            keras.Input((12,), dtype="int32"),
            layers.Embedding(1000, 64, mask_zero=True),
            layers.SpatialDropout1D(0.2),
            layers.Bidirectional(make(64, dropout=0.2, return_sequences=True)),
            make(64, dropout=0.2),
            layers.Dense(10, "softmax"),
        ]
    )
    optimizer = keras.optimizers.Adam(1e-3, global_clipnorm=5.0)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    ids = np.random.default_rng(0).integers(0, 1000, (200, 12))
    return model, ids, classes(200)


def transformer():
    """A block of each kind: normalized after the sum, and before the branch."""
    inputs = keras.Input((12,), dtype="int32")
    x = layers.Embedding(1000, 64)(inputs) + layers.Embedding(12, 64)(np.arange(12))
    x = layers.Dropout(0.1)(x)
    attended = layers.MultiHeadAttention(4, 16, dropout=0.1)(x, x)
    x = layers.LayerNormalization()(x + layers.Dropout(0.1)(attended))
    hidden = layers.Dense(64)(layers.Dense(256, "gelu")(x))
    x = layers.LayerNormalization()(x + layers.Dropout(0.1)(hidden))
    y = layers.LayerNormalization()(x)
    x = x + layers.Dropout(0.1)(layers.MultiHeadAttention(4, 16)(y, y))
    y = layers.LayerNormalization()(x)
    gate = layers.Dense(128, "sigmoid")(y)
    gated = layers.Dense(64)(layers.Multiply()([gate, layers.Dense(128)(y)]))
    x = layers.LayerNormalization()(x + layers.Dropout(0.1)(gated))
    pooled = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(10, "softmax")(pooled))
    schedule = kt.schedules.Warmup(keras.optimizers.schedules.CosineDecay(1e-3, 60), 6)
    optimizer = kt.optimizers.no_decay(keras.optimizers.AdamW(schedule), model)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    ids = np.random.default_rng(0).integers(0, 1000, (200, 12))
    return model, ids, classes(200)


def vision_transformer():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(64, 8, strides=8)(layers.Rescaling(1 / 255)(inputs))
    x = layers.Dropout(0.1)(layers.Reshape((16, 64))(x))
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(4, 16)(y, y)
    outputs = layers.Dense(10)(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3), loss)
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), "uint8")
    return model, images, classes(64)


def regression():
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((2,), name="b")}
    normal = layers.Normalization(mean=5000.0, variance=1e6)(inputs["a"])
    x = layers.Concatenate()([normal, inputs["b"]])
    x = layers.Dense(32, "selu", kernel_initializer="lecun_normal")(x)
    x = layers.AlphaDropout(0.1)(x)
    x = layers.Dense(32, "tanh", kernel_initializer="glorot_normal")(x)
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile(keras.optimizers.RMSprop(1e-3), "mse")
    x = {"a": numbers(300, 3) * 1000 + 5000, "b": numbers(300, 2)}
    return model, x, numbers(300)


def highway():
    model = keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(50, "relu"),
            *(kt.layers.Highway("relu") for _ in range(4)),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy")
    y = keras.utils.to_categorical(classes(500), 10)
    return model, numbers(500, 20), y


SOUND = {
    "MLP": mlp,
    "autoencoder": autoencoder,
    "CNN": cnn,
    "squeeze and excite": squeeze_and_excite,
    "LSTM": lambda: recurrent(layers.LSTM),
    "GRU": lambda: recurrent(layers.GRU),
    "transformer": transformer,
    "vision transformer": vision_transformer,
    "regression": regression,
    "Highway": highway,
}


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_said_about_a_sound_model(name):
    model, x, y = SOUND[name]()
    report = lint.check(model, x, y, batch_size=32, epochs=8)
    assert above_info(report) == []
    assert report.notes == ()
