import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_tricks as kt
from keras_tricks.layers.highway import Highway
from keras_tricks.surgery.insert_dropout import insert_dropout


def names(model):
    return [layer.name for layer in model.layers]


def stack(*inner, inputs=(4,)):
    return keras.Sequential([keras.Input(inputs), *inner])


def dense(name, units=5, activation="relu"):
    return layers.Dense(units, activation, name=name)


def test_dropout_comes_after_hidden_dense_layers_only():
    model = stack(dense("a"), dense("b"), dense("out", 1, None))
    new = insert_dropout(model, 0.3)
    assert names(new) == ["a", "a_dropout", "b", "b_dropout", "out"]
    assert new.get_layer("b_dropout").rate == 0.3
    assert names(model) == ["a", "b", "out"]


def test_a_copy_computes_the_same_in_inference_and_trains():
    model = stack(dense("a"), dense("out", 1))
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(8, 4))
    model.fit(x, x.sum(1), verbose=0)
    new = insert_dropout(model)
    ours, theirs = (ops.convert_to_numpy(m(x)) for m in (model, new))
    assert np.array_equal(ours, theirs)
    assert len(new.optimizer.variables) == len(model.optimizer.variables)
    new.fit(x, x.sum(1), epochs=2, verbose=0)


@pytest.mark.parametrize(
    "behind",
    [
        [layers.BatchNormalization, layers.ReLU],
        [lambda **k: layers.Activation("gelu", **k), layers.LayerNormalization],
        [layers.LeakyReLU],
    ],
)
def test_dropout_comes_behind_the_normalization_and_the_activation(behind):
    extra = [make(name=f"behind_{i}") for i, make in enumerate(behind)]
    model = stack(dense("a", 5, None), *extra, dense("out", 1))
    after = [f"behind_{i}" for i in range(len(behind))]
    assert names(insert_dropout(model)) == ["a", *after, "a_dropout", "out"]


def test_a_second_activation_is_not_that_of_the_dense():
    model = stack(dense("a", 5, "tanh"), layers.ReLU(name="r"), dense("out", 1))
    assert names(insert_dropout(model)) == ["a", "a_dropout", "r", "out"]


@pytest.mark.parametrize(
    "head",
    [
        lambda: [layers.Softmax(name="h")],
        lambda: [layers.BatchNormalization(name="n"), layers.Softmax(name="h")],
        lambda: [layers.Reshape((1, 3), name="h")],
        lambda: [layers.Rescaling(2.0, name="h")],
    ],
)
def test_what_only_shapes_the_output_does_not_make_its_dense_hidden(head):
    model = stack(dense("a"), dense("out", 3, None), *head())
    rows = {row.layer: row for row in insert_dropout(model, plan=True)}
    assert rows["a"].change == "after: a_dropout"
    assert rows["out"].change == ""
    assert rows["out"].why == "no layer with a kernel before an output"


def test_a_hidden_layer_that_is_also_an_output_gets_none():
    inputs = keras.Input((4,))
    hidden = dense("a")(inputs)
    model = keras.Model(inputs, [hidden, dense("out", 1)(hidden)])
    with pytest.warns(
        kt.NoEffectWarning,
        match=r"insert_dropout has no effect on '.*': a: no layer with a kernel before "
        r"an output; out: .*\. The copy is like the model\.",
    ):
        new = insert_dropout(model)
    assert names(new) == names(model)


@pytest.mark.parametrize("kind", [layers.Dropout, layers.AlphaDropout])
def test_a_layer_that_dropout_follows_gets_no_second_one(kind):
    model = stack(dense("a"), kind(0.2, name="d"), dense("b"), dense("out", 1))
    assert names(insert_dropout(model)) == ["a", "d", "b", "b_dropout", "out"]
    twice = insert_dropout(model)
    with pytest.warns(kt.NoEffectWarning, match="Dropout follows already"):
        insert_dropout(twice)


def test_dropout_is_seen_behind_a_flatten_and_across_models():
    body = keras.Sequential([keras.Input((2, 4)), dense("a")], name="body")
    model = stack(
        body, layers.Flatten(name="f"), layers.Dropout(0.1, name="d"), dense("out", 1),
        inputs=(2, 4),
    )  # fmt: skip
    rows = list(insert_dropout(model, plan=True))
    assert rows[0] == ("body/a", "", "Dropout follows already")


def test_a_skip_connection_does_not_hide_the_next_dense():
    inputs = x = keras.Input((5,))
    for name in "ab":
        x = layers.Add()([x, dense(name)(x)])
    model = keras.Model(inputs, dense("out", 1)(layers.Dropout(0.1)(x)))
    changes = {row.layer: row.change for row in insert_dropout(model, plan=True)}
    assert changes == {"a": "after: a_dropout", "b": "after: b_dropout", "out": ""}


def test_convolutions_get_none_unless_asked():
    model = stack(
        layers.Conv1D(3, 2, activation="relu", name="conv"),
        layers.Flatten(name="flat"), dense("a"), dense("out", 1), inputs=(6, 2),
    )  # fmt: skip
    assert names(insert_dropout(model)) == ["conv", "flat", "a", "a_dropout", "out"]
    asked = insert_dropout(model, after="conv.*")
    assert names(asked) == ["conv", "conv_dropout", "flat", "a", "out"]


def test_a_dense_on_feature_maps_is_a_convolution():
    model = stack(
        dense("point"), layers.Flatten(), dense("a"), dense("out", 1), inputs=(2, 2, 3)
    )
    rows = list(insert_dropout(model, plan=True))
    assert rows[0] == ("point", "", "on feature maps it is a convolution")
    assert rows[1].change == "after: a_dropout"


def test_nested_and_shared_layers_get_one_where_they_stand():
    inner = keras.Input((5,))
    body = keras.Model(inner, dense("in")(inner), name="body")
    inputs = keras.Input((5,))
    shared = dense("shared")
    x = shared(shared(body(inputs)))
    model = keras.Model(inputs, dense("out", 1)(x))
    new = insert_dropout(model)
    assert names(new.get_layer("body"))[1:] == ["in", "in_dropout"]
    assert {"shared_dropout", "shared_dropout_1"} <= set(names(new))
    assert len(new.weights) == len(model.weights)
    kinds = [type(layer).__name__ for layer in new._flatten_layers(recursive=True)]
    assert kinds.count("Dropout") == 3
    assert len(shared._inbound_nodes) == 2


def test_a_model_that_is_used_twice_gets_one_inside_for_both():
    inner = keras.Input((5,))
    twice = keras.Model(inner, dense("in", 5, None)(inner), name="twice")
    inputs = keras.Input((5,))
    x = layers.ReLU()(twice(inputs))
    model = keras.Model(inputs, dense("out", 1)(layers.Reshape((5,))(twice(x))))
    new = insert_dropout(model)
    assert names(new.get_layer("twice"))[1:] == ["in", "in_dropout"]
    assert sum(isinstance(la, layers.Dropout) for la in new.layers) == 0


def test_a_model_whose_output_is_one_of_the_whole_gets_none_at_its_end():
    inner = keras.Input((5,))
    twice = keras.Model(inner, dense("in")(inner), name="twice")
    inputs = keras.Input((5,))
    model = keras.Model(inputs, twice(twice(inputs)))
    with pytest.warns(kt.NoEffectWarning, match="twice/in: no layer with a kernel"):
        insert_dropout(model)


def test_a_highway_layer_is_a_dense_layer():
    model = stack(Highway("relu", name="h"), dense("out", 1))
    assert names(insert_dropout(model)) == ["h", "h_dropout", "out"]


def test_a_name_that_is_taken_is_numbered():
    model = stack(dense("a"), dense("a_dropout"), dense("out", 1))
    new = insert_dropout(model)
    assert names(new)[:3] == ["a", "a_dropout_1", "a_dropout"]


# Recurrent layers


def test_recurrent_layers_get_it_on_the_edges_and_once_between_two():
    model = stack(
        layers.Embedding(9, 4, mask_zero=True, name="e"),
        layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True), name="one"),
        layers.SimpleRNN(3, name="two"), dense("out", 1), inputs=(None,),
    )  # fmt: skip
    new = insert_dropout(model)
    expected = ["e", "one_input_dropout", "one", "one_dropout", "two", "two_dropout"]
    assert names(new) == [*expected, "out"]
    assert new.get_layer("two").dropout == 0
    ids = np.array([[1, 2, 0, 0], [3, 4, 5, 6]])
    ours, theirs = (ops.convert_to_numpy(m(ids)) for m in (model, new))
    np.testing.assert_array_equal(ours, theirs)


def test_the_mask_reaches_the_recurrent_layer_also_in_training():
    inputs = keras.Input((None,))
    words = layers.Embedding(9, 4, mask_zero=True)(inputs)
    model = keras.Model(inputs, dense("out", 1)(layers.SimpleRNN(3, name="one")(words)))
    new = insert_dropout(model, 0.0)
    short, padded = np.array([[1, 2]]), np.array([[1, 2, 0, 0]])
    one, other = (ops.convert_to_numpy(new(x, training=True)) for x in (short, padded))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_states_are_never_dropped():
    source, target = keras.Input((None, 4)), keras.Input((None, 4))
    _, *states = layers.LSTM(3, return_state=True, name="read")(source)
    cell = layers.LSTM(3, return_sequences=True, return_state=True, name="write")
    written, *_ = cell(target, initial_state=states)
    model = keras.Model([source, target], dense("out", 1)(written))
    rows = {
        row.layer: (row.change, row.why) for row in insert_dropout(model, plan=True)
    }
    assert rows["read"] == ("", "only its states are used")
    assert rows["write"][0] == "after: write_dropout"
    new = insert_dropout(model, 0.9)
    ones = np.ones((2, 3, 4))
    ours, theirs = (ops.convert_to_numpy(m([ones, ones])) for m in (model, new))
    np.testing.assert_array_equal(ours, theirs)
    assert names(new).count("write_dropout") == 1


def test_a_recurrent_layer_with_its_own_dropout_keeps_that_at_its_input():
    model = stack(layers.GRU(3, dropout=0.1, name="g"), dense("o", 1), inputs=(2, 4))
    assert names(insert_dropout(model)) == ["g", "g_dropout", "o"]


def test_a_recurrent_layer_behind_a_convolution_gets_none_between():
    conv = layers.Conv1D(3, 2, name="c")
    model = stack(conv, layers.GRU(3, name="g"), dense("o", 1), inputs=(6, 4))
    assert names(insert_dropout(model)) == ["c", "g", "g_dropout", "o"]


def test_a_dense_in_a_time_distributed_is_a_dense():
    timed = layers.TimeDistributed(layers.Dense(3, "relu"), name="t")
    model = stack(timed, layers.Flatten(name="f"), dense("o", 1), inputs=(6, 4))
    assert names(insert_dropout(model)) == ["t", "t_dropout", "f", "o"]


# Patterns


def test_a_pattern_that_names_a_model_puts_one_behind_it():
    body = keras.Sequential([keras.Input((4,)), dense("a"), dense("b")], name="body")
    model = stack(body, dense("out", 1))
    new = insert_dropout(model, after="body")
    assert names(new) == ["body", "body_dropout", "out"]
    assert names(new.get_layer("body")) == ["a", "b"]
    assert (
        names(insert_dropout(model, after="body/a").get_layer("body"))[1] == "a_dropout"
    )


def test_a_pattern_for_all_never_makes_two_in_a_row():
    model = stack(
        dense("a", 5, None), layers.ReLU(name="r"), layers.Flatten(name="f"),
        dense("out", 1),
    )  # fmt: skip
    assert names(insert_dropout(model, after=".*")) == [
        "a",
        "r",
        "f",
        "f_dropout",
        "out",
    ]


def test_a_layer_that_is_called_dense_is_named_in_brackets():
    model = stack(dense("dense"), dense("other"), dense("out", 1))
    new = insert_dropout(model, after="(dense)")
    assert names(new) == ["dense", "dense_dropout", "other", "out"]


# The rest


def test_a_plan_prints_itself_and_changes_nothing():
    model = stack(dense("a"), layers.GRU(3, name="g"), dense("out", 1), inputs=(2, 3))
    table = insert_dropout(model, 0.25, plan=True)
    assert str(table).splitlines() == [
        "2 x Dropout(0.25)",
        "layer      change            why",
        "a          after: a_dropout  hidden layer",
        "g          after: g_dropout  hidden layer",
        "g (input)                    Dropout comes before it already",
        "out                          no layer with a kernel before an output",
    ]


def test_dropout_computes_in_the_format_of_its_layer():
    half = layers.Dense(4, dtype="mixed_bfloat16", name="a")
    model = stack(half, layers.Dense(1, dtype="float32"))
    policy = insert_dropout(model).get_layer("a_dropout").dtype_policy
    assert policy.name == "mixed_bfloat16"


def test_without_a_layer_of_the_kind_it_warns():
    model = stack(layers.Conv1D(2, 2), inputs=(4, 2))
    with pytest.warns(kt.NoEffectWarning, match="no such layer stands in its graph"):
        insert_dropout(model)


def test_arguments_are_checked():
    model = stack(dense("a"), dense("out", 1))
    with pytest.raises(ValueError, match=r"`rate` must be a number in \[0, 1\)"):
        insert_dropout(model, 1.0)
    with pytest.raises(TypeError, match=r"`after` must be a string"):
        insert_dropout(model, after=3)
    with pytest.raises(
        ValueError, match=r"`after` must name layers.*Did you mean 'out'"
    ):
        insert_dropout(model, after="oot")
    with pytest.raises(TypeError, match=r"`model` must be a built keras\.Model"):
        insert_dropout("model")


def test_the_new_model_survives_saving(tmp_path):
    new = insert_dropout(stack(layers.LSTM(3), dense("out", 1), inputs=(2, 3)))
    new.save(tmp_path / "new.keras")
    assert names(keras.models.load_model(tmp_path / "new.keras")) == names(new)


def test_a_recurrent_layer_called_by_keyword_is_as_any_other():
    inputs = keras.Input((3, 4))
    sequences = layers.GRU(3, name="g")(sequences=inputs)
    model = keras.Model(inputs, layers.Dense(1, name="out")(sequences))
    x = np.ones((2, 3, 4), "float32")
    new = insert_dropout(model)
    assert {"g_input_dropout", "g_dropout"} <= set(names(new))
    assert np.array_equal(*(ops.convert_to_numpy(m(x)) for m in (model, new)))
    # Once more: what has Dropout gets none.
    with pytest.warns(kt.NoEffectWarning, match="Dropout comes before it already"):
        insert_dropout(new)


def test_our_own_convolutions_are_convolutions():
    conv = kt.layers.HighwayConv1D(3, activation="relu", name="c")
    gru, out = layers.GRU(3, name="g"), layers.Dense(1, name="out")
    new = insert_dropout(stack(conv, gru, out, inputs=(5, 4)))
    assert names(new) == ["c", "g", "g_dropout", "out"]


@pytest.mark.parametrize("stacked", [False, True])
def test_a_cell_with_a_dropout_of_its_own_keeps_that_at_its_input(stacked):
    cell = layers.LSTMCell(3, dropout=0.2)
    rnn = layers.RNN([cell, layers.LSTMCell(3)] if stacked else cell, name="r")
    new = insert_dropout(stack(rnn, layers.Dense(1, name="out"), inputs=(5, 4)))
    assert names(new) == ["r", "r_dropout", "out"]


def test_a_quantized_model_gets_dropout_that_can_be_called():
    model = stack(dense("a"), dense("out", 1))
    for layer in model.layers:
        layer.quantize("int8")
    new = insert_dropout(model)
    x = np.ones((2, 4), "float32")
    assert np.array_equal(*(ops.convert_to_numpy(m(x)) for m in (model, new)))
