import re

import keras
import numpy as np
import pytest
from keras import layers

import keras_tricks as kt
from keras_tricks import _patterns
from keras_tricks.optimizers.layer_decay import layer_decay

# ORACLES.md: 12 blocks, decay 0.75.
EMBEDDINGS, TOP_BLOCK, HEAD = 0.02376, 0.75, 1.0
N = 12


class Block(layers.Layer):
    """A transformer block with as many hidden layers as wanted."""

    def __init__(self, hidden=1, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization()
        self.attention = layers.MultiHeadAttention(1, 4)
        self.hidden = [layers.Dense(4) for _ in range(hidden)]
        self.norm_out = layers.LayerNormalization()

    def call(self, inputs):
        normed = self.norm(inputs)
        x = inputs + self.attention(normed, normed)
        for layer in self.hidden:
            x = layer(x)
        return self.norm_out(x)


def embedded(ids):
    tokens = layers.Embedding(9, 4, name="tokens")(ids)
    places = layers.Dense(4, name="places")(keras.ops.one_hot(ids, 9))
    return layers.LayerNormalization(name="embedding_norm")(tokens + places)


def headed(ids, x):
    x = layers.LayerNormalization(name="final_norm")(x)
    x = layers.Dense(4, activation="tanh", name="pooler")(x[:, 0])
    return keras.Model(ids, layers.Dense(2, name="classifier")(x))


def of_layers(hidden):
    """Blocks that are layers of one class."""
    ids = keras.Input((3,), dtype="int32")
    x = embedded(ids)
    for index in range(N):
        x = Block(hidden, name=f"transformer_{index}")(x)
    return headed(ids, x)


def of_unnumbered_layers(hidden):
    """Blocks with names that say nothing."""
    ids = keras.Input((3,), dtype="int32")
    x = embedded(ids)
    for index in range(N):
        x = Block(hidden, name="abcdefghijkl"[index])(x)
    return headed(ids, x)


def of_names(hidden):
    """Blocks by the beginning of the names of plain layers only."""
    ids = keras.Input((3,), dtype="int32")
    x = embedded(ids)
    for index in range(N):
        name = f"encoder_layer_{index}"
        normed = layers.LayerNormalization(name=f"{name}_norm")(x)
        heads = layers.MultiHeadAttention(1, 4, name=f"{name}_attention")
        x = x + heads(normed, normed)
        for number in range(hidden):
            x = layers.Dense(4, name=f"{name}_dense_{number}")(x)
        x = layers.LayerNormalization(name=f"{name}_norm_out")(x)
    return headed(ids, x)


def of_models(hidden):
    """Blocks that are models with numbered names."""
    ids = keras.Input((3,), dtype="int32")
    x = embedded(ids)
    for index in range(N):
        inputs = keras.Input((3, 4))
        y = layers.LayerNormalization()(inputs)
        y = layers.MultiHeadAttention(1, 4)(y, y)
        for _ in range(hidden):
            y = layers.Dense(4)(y)
        x = keras.Model(inputs, inputs + y, name=f"encoder_layer_{index}")(x)
    return headed(ids, x)


def nested(hidden):
    """A backbone inside a model."""
    ids = keras.Input((3,), dtype="int32")
    x = embedded(ids)
    for index in range(N):
        x = Block(hidden, name=f"transformer_{index}")(x)
    backbone = keras.Model(ids, x, name="backbone-1.0")
    outer = keras.Input((3,), dtype="int32")
    return headed(outer, backbone(outer))


class Encoder(layers.Layer):
    def __init__(self, hidden, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(hidden, name=f"transformer_{i}") for i in range(N)]

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        return inputs


def of_an_encoder(hidden):
    """Blocks inside another layer."""
    ids = keras.Input((3,), dtype="int32")
    return headed(ids, Encoder(hidden, name="encoder")(embedded(ids)))


class Subclassed(keras.Model):
    def __init__(self, hidden):
        super().__init__()
        self.tokens = layers.Embedding(9, 4, name="tokens")
        self.blocks = [Block(hidden, name=f"transformer_{i}") for i in range(N)]
        self.pool = layers.GlobalAveragePooling1D()
        self.classifier = layers.Dense(2, name="classifier")

    def call(self, inputs):
        x = self.tokens(inputs)
        for block in self.blocks:
            x = block(x)
        return self.classifier(self.pool(x))


def subclassed(hidden):
    """A model without a graph."""
    model = Subclassed(hidden)
    model(np.zeros((1, 3), "int32"))
    return model


MODELS = [
    of_layers,
    of_unnumbered_layers,
    of_names,
    of_models,
    nested,
    of_an_encoder,
    subclassed,
]


def by_name(found):
    """Multipliers by the last part of the path."""
    return {pattern.replace("\\", "").split("/")[-1]: v for pattern, v in found.items()}


def assert_covers_each_weight_once(model, found):
    compiled = [re.compile(pattern) for pattern in found]
    for variable, paths in _patterns.variable_paths(model):
        if any(variable is v for v in model.trainable_variables):
            for path in paths:
                assert sum(_patterns.covers(p, path) for p in compiled) == 1, path
    optimizer = kt.optimizers.LayerwiseLearningRate(keras.optimizers.SGD(0.1), found)
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    assert set(np.float32(optimizer.current_multipliers)) == {
        np.float32(value) for value in found.values()
    }


@pytest.mark.parametrize("hidden", [1, 3])
@pytest.mark.parametrize("build", MODELS)
def test_twelve_blocks_are_fourteen_levels(build, hidden):
    model = build(hidden)
    found = layer_decay(model, 0.75)
    named = by_name(found)
    assert named["tokens"] == pytest.approx(EMBEDDINGS, rel=1e-3)
    assert named["classifier"] == HEAD
    for shared, level in (("places", 0), ("embedding_norm", 0), ("pooler", N + 1)):
        assert named.get(shared, 0.75 ** (N + 1 - level)) == 0.75 ** (N + 1 - level)
    assert named.get("final_norm", HEAD) == HEAD
    values = list(dict.fromkeys(found.values()))
    assert values == pytest.approx([0.75 ** (N + 1 - i) for i in range(N + 2)])
    assert values[-2] == TOP_BLOCK
    assert_covers_each_weight_once(model, found)


def test_the_order_of_the_blocks_is_that_of_the_graph():
    named = by_name(layer_decay(of_names(1)))
    for index in range(N):
        expected = 0.75 ** (N - index)
        assert named[f"encoder_layer_{index}_dense_0"] == pytest.approx(expected)
        assert named[f"encoder_layer_{index}_norm"] == pytest.approx(expected)


def test_min_scale_is_the_lowest():
    found = layer_decay(of_layers(1), 0.75, min_scale=0.1)
    # .75^8 = .1001 and .75^9 = .075
    assert sorted(set(found.values()))[:2] == pytest.approx([0.1, 0.75**8])


# --- keras.applications -------------------------------------------------------------

APPLICATIONS = {
    # Levels: stem, 16 blocks, head. The first unit has no number, and is stem.
    "MobileNetV2": (
        18,
        [
            {"Conv1", "bn_Conv1", "expanded_conv_project"},
            {"block_1_expand", "block_1_depthwise_BN"},
            {"block_2_expand", "block_2_project_BN"},
        ],
    ),
    "ResNet50": (
        18,
        [
            {"conv1_conv", "conv1_bn"},
            {"conv2_block1_0_conv", "conv2_block1_3_bn"},
            {"conv2_block2_1_conv"},
            {"conv2_block3_1_conv"},
            {"conv3_block1_0_conv"},
        ],
    ),
    "EfficientNetB0": (
        18,
        [
            {"stem_conv", "stem_bn"},
            {"block1a_dwconv", "block1a_se_reduce"},
            {"block2a_expand_conv"},
            {"block2b_expand_conv"},
            {"block3a_expand_conv"},
        ],
    ),
    "VGG16": (
        6,
        [
            {"block1_conv1", "block1_conv2"},
            {"block2_conv1", "block2_conv2"},
            {"block3_conv1", "block3_conv2", "block3_conv3"},
            {"block4_conv1"},
            {"block5_conv1"},
            {"fc1", "fc2", "predictions"},
        ],
    ),
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_levels_of_known_models(name):
    levels, lowest = APPLICATIONS[name]
    known = getattr(keras.applications, name)(
        weights=None, input_shape=(32, 32, 3), classes=3
    )
    inside = keras.Sequential([keras.Input((32, 32, 3)), known])
    for model in (known, inside):
        found = layer_decay(model, 0.75)
        assert len(set(found.values())) == levels
        named = by_name(found)
        for level, expected in enumerate(lowest):
            for layer in expected:
                assert named[layer] == 0.75 ** (levels - 1 - level), layer
        assert named["predictions"] == 1
        assert_covers_each_weight_once(model, found)


# --- Models without blocks ----------------------------------------------------------


def dense(name, units=2):
    return layers.Dense(units, name=name)


def test_without_blocks_each_layer_is_a_level():
    names = ["dense_1", "dense_2", "dense_3"]
    model = keras.Sequential([keras.Input((2,)), *map(dense, names)])
    found = layer_decay(model, 0.5)
    assert found == {"dense_1": 0.25, "dense_2": 0.5, "dense_3": 1}
    assert list(found) == names


def test_a_normalization_goes_with_the_layer_before_it():
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.BatchNormalization(name="first"),
            dense("a"),
            layers.BatchNormalization(name="norm"),
            layers.PReLU(name="relu"),
            dense("b"),
            layers.LayerNormalization(name="last"),
        ]
    )
    assert layer_decay(model, 0.5) == {
        "first": 0.5,
        "a": 0.5,
        "norm": 0.5,
        "relu": 0.5,
        "b": 1,
        "last": 1,
    }


def test_layers_named_by_keras_are_no_blocks():
    convolutions = [layers.Conv2D(2, 1) for _ in range(4)]
    model = keras.Sequential([keras.Input((4, 4, 1)), *convolutions])
    assert list(layer_decay(model, 0.5).values()) == [0.125, 0.25, 0.5, 1]


def test_branches_share_levels_and_the_longest_way_counts():
    inputs = keras.Input((2,))
    stem = dense("stem")(inputs)
    long = dense("long_b")(dense("long_a")(stem))
    short = dense("short")(stem)
    skip = layers.Add()([long, short, stem])
    model = keras.Model(inputs, [dense("head")(skip), dense("side")(stem)])
    assert layer_decay(model, 0.5) == {
        "stem": 0.125,
        "long_a": 0.25,
        "long_b": 0.5,
        "short": 0.5,
        "head": 1,
        "side": 1,
    }


def test_a_nested_backbone_without_blocks_is_looked_into():
    inner = [keras.Input((2,)), dense("a"), dense("b")]
    backbone = keras.Sequential(inner, name="back-bone")
    model = keras.Sequential([keras.Input((2,)), backbone, dense("head")])
    found = layer_decay(model, 0.5)
    assert found == {r"back\-bone/a": 0.25, r"back\-bone/b": 0.5, "head": 1}
    assert_covers_each_weight_once(model, found)


def test_two_towers_are_counted_from_the_output():
    inputs = keras.Input((2,))
    ends = []
    for tower, blocks in (("image", 3), ("text", 1)):
        x = dense(f"{tower}_stem")(inputs)
        for index in range(blocks + 1):
            x = dense(f"{tower}_{index}_a")(x)
            x = dense(f"{tower}_{index}_b")(x)
        ends.append(x)
    model = keras.Model(inputs, dense("head")(layers.Concatenate()(ends)))
    found = layer_decay(model, 0.5)
    assert found["image_stem"] == 0.5**5
    assert found["text_stem"] == 0.5**3
    assert found["image_3_a"] == found["text_1_b"] == 0.5
    assert_covers_each_weight_once(model, found)


def test_a_few_numbered_layers_make_no_model_of_blocks():
    body = [dense(f"body_{letter}") for letter in "abcdef"]
    heads = [dense(f"top_{i}_{letter}") for i in (1, 2) for letter in "ab"]
    model = keras.Sequential([keras.Input((2,)), *body, *heads])
    assert len(set(layer_decay(model).values())) == 10


def test_a_layer_between_two_blocks_goes_with_the_upper_one():
    inputs = keras.Input((2,))
    x = inputs
    for index in range(3):
        x = dense(f"block{index}_a")(x)
        x = layers.Add()(
            [dense(f"block{index}_b")(x), dense(f"unnamed{'abc'[index]}")(x)]
        )
        x = layers.Dense(2, name=f"block{index}_c")(x)
        x = dense(f"down{'abc'[index]}")(x)
    found = layer_decay(keras.Model(inputs, x), 0.5)
    # Inside a block a layer belongs to it, whatever its name.
    assert found["unnamedb"] == found["block1_b"] == found["block1_c"] == 0.25
    assert found["downb"] == found["block2_a"] == 0.5
    assert found["downc"] == 1


def test_names_that_promise_blocks_which_are_none():
    names = ["a_1_x", "a_2_x", "a_1_y", "a_2_y"]
    model = keras.Sequential([keras.Input((2,)), *map(dense, names)])
    assert list(layer_decay(model, 0.5).values()) == [0.125, 0.25, 0.5, 1]


def test_a_layer_used_twice_has_one_level():
    twice = dense("twice")
    inputs = keras.Input((2,))
    model = keras.Model(inputs, dense("head")(twice(dense("mid")(twice(inputs)))))
    found = layer_decay(model, 0.5)
    assert found == {"twice": 0.125, "mid": 0.25, "head": 1}
    assert_covers_each_weight_once(model, found)


def test_layers_that_cannot_be_trained_are_left_out():
    model = keras.Sequential([keras.Input((2,)), dense("a"), dense("b"), dense("c")])
    model.get_layer("b").trainable = False
    assert layer_decay(model, 0.5) == {"a": 0.5, "c": 1}


class Own(keras.Model):
    """Holds a weight itself, and uses its embedding twice."""

    def __init__(self):
        super().__init__()
        self.tokens = layers.Embedding(9, 4, name="tokens")
        self.hidden = dense("hidden", 4)
        self.out = Reuse(self.tokens, name="out")

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(4,), name="scale")
        self.built = True

    def call(self, inputs):
        return self.out(self.hidden(self.tokens(inputs) * self.scale))


class Reuse(layers.Layer):
    def __init__(self, tokens, **kwargs):
        super().__init__(**kwargs)
        self.tokens = tokens

    def call(self, inputs):
        return keras.ops.matmul(inputs, keras.ops.transpose(self.tokens.embeddings))


def test_shared_weights_and_those_of_the_model_itself_have_the_lowest_level():
    model = Own()
    model(np.zeros((1, 3), "int32"))
    found = layer_decay(model, 0.5)
    assert found == {"": 0.25, "tokens": 0.25, "out": 0.25, "hidden": 0.5}
    assert_covers_each_weight_once(model, found)


class Positions(Encoder):
    def build(self, input_shape):
        self.places = self.add_weight(shape=input_shape[1:], name="places")
        super().build(input_shape)


def test_weights_beside_blocks_that_no_pattern_can_name_are_told():
    ids = keras.Input((3,), dtype="int32")
    model = headed(ids, Positions(1, name="encoder")(embedded(ids)))
    with pytest.raises(ValueError, match=r"'encoder' with 'places' beside the layers"):
        layer_decay(model)


# --- Levels by hand -----------------------------------------------------------------


def test_groups_are_levels_by_hand():
    model = keras.Sequential([keras.Input((2,)), dense("a"), dense("b"), dense("c")])
    found = layer_decay(model, 0.5, groups=[["a", "b"], "c"])
    assert found == {"a": 0.5, "b": 0.5, "c": 1}
    assert_covers_each_weight_once(model, found)


def test_a_layer_in_no_group_is_an_error():
    model = keras.Sequential([keras.Input((2,)), dense("a"), dense("b"), dense("c")])
    with pytest.raises(ValueError, match=r"groups without 'a', 'b'; add them"):
        layer_decay(model, groups=["c"])


def test_a_layer_in_two_groups_is_an_error():
    model = keras.Sequential([keras.Input((2,)), dense("a"), dense("b")])
    with pytest.raises(ValueError, match=r"'a' in group 1 and '\.\*' in group 2"):
        layer_decay(model, groups=["a", ".*"])


def test_arguments_out_of_range_are_told():
    model = keras.Sequential([keras.Input((2,)), dense("a")])
    with pytest.raises(ValueError, match=r"`decay` must be .* Received: decay=0"):
        layer_decay(model, 0)
    with pytest.raises(ValueError, match=r"`min_scale` must be .*min_scale=2"):
        layer_decay(model, min_scale=2)
    with pytest.raises(TypeError, match=r"`model` must be a keras.Model"):
        layer_decay("model")
    with pytest.raises(TypeError, match=r"`groups` must be a list of patterns"):
        layer_decay(model, groups="a")
    with pytest.raises(ValueError, match=r"`model` must be built. Received: model "):
        layer_decay(keras.Sequential([dense("a")]))


def test_scales_of_several_axes_are_no_levels():
    parts = [keras.Input((8, 8, 3))]
    for name in "abc":
        parts += [layers.Conv2D(3, 3, name=name), layers.PReLU(name=f"{name}_scale")]
    model = keras.Sequential([*parts, layers.Flatten(), layers.Dense(1, name="head")])
    found = layer_decay(model, 0.5)
    assert [found[name] for name in ("a", "b", "c", "head")] == [0.125, 0.25, 0.5, 1.0]
    assert [found[f"{name}_scale"] for name in "abc"] == [0.125, 0.25, 0.5]


def test_a_model_in_a_wrapper_is_looked_into():
    frames = keras.Sequential(
        [keras.Input((5,)), *(layers.Dense(5, name=name) for name in "abc")],
        name="frames",
    )
    each = layers.TimeDistributed(frames, name="each")
    model = keras.Sequential(
        [
            keras.Input((2, 5)),
            each,
            layers.LSTM(3, name="lstm"),
            layers.Dense(1, name="out"),
        ]
    )
    found = layer_decay(model, 0.5)
    expected = {"each/frames/a": 1 / 16, "each/frames/b": 1 / 8, "each/frames/c": 1 / 4}
    assert found == {**expected, "lstm": 1 / 2, "out": 1.0}
    optimizer = kt.optimizers.LayerwiseLearningRate(keras.optimizers.SGD(), found)
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    assert min(optimizer.current_multipliers) == 1 / 16


def test_warns_when_the_lowest_level_is_starved():
    stack = [layers.Dense(2, name=f"layer{i}x") for i in range(20)]
    model = keras.Sequential([keras.Input((2,)), *stack])
    with pytest.warns(UserWarning, match=r"lowest of 20 levels 1.9e-06 of the rate"):
        layer_decay(model, 0.5)
    assert min(layer_decay(model, 0.5, min_scale=0.01).values()) == 0.01


def test_a_model_without_weights_to_train_is_an_error():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.trainable = False
    with pytest.raises(
        ValueError, match=r"`model` must have weights to train\. Received"
    ):
        layer_decay(model)
