import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_tricks as kt
from keras_tricks.layers.highway import Highway
from keras_tricks.surgery.dense_to_highway import dense_to_highway

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def stack(*inner, inputs=(4,)):
    return keras.Sequential([keras.Input(inputs), *inner])


def dense(name, units=4, activation="tanh", **kwargs):
    return layers.Dense(units, activation, name=name, **kwargs)


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def out(model, x=X):
    return ops.convert_to_numpy(model(x))


def test_hidden_layers_of_one_width_are_replaced_and_keep_their_names():
    model = stack(dense("a"), dense("b", 5), dense("c", 5), dense("out", 5, None))
    new = dense_to_highway(model)
    assert kinds(new) == ["Highway", "Dense", "Highway", "Dense"]
    assert [layer.name for layer in new.layers] == ["a", "b", "c", "out"]
    assert kinds(model) == ["Dense"] * 4


def test_it_computes_the_papers_formula_with_the_dense_as_transform():
    model = stack(dense("a", bias_initializer="ones"), dense("out", 1, None))
    new = dense_to_highway(model, transform_bias=-1.0)
    kernel, bias, head, head_bias = model.get_weights()
    gate = 1 / (1 + np.exp(1.0))
    hidden = np.tanh(X @ kernel + bias) * gate + X * (1 - gate)
    np.testing.assert_allclose(out(new), hidden @ head + head_bias, atol=1e-5)


def test_a_wide_open_gate_gives_the_old_model():
    model = stack(dense("a"), dense("b"), dense("out", 1))
    new = dense_to_highway(model, transform_bias=100.0)
    np.testing.assert_allclose(out(new), out(model), atol=1e-6)


def test_weights_settings_and_slots_of_the_transform_come_over():
    inner = dense(
        "a", kernel_regularizer="l2", kernel_constraint="max_norm", use_bias=False
    )
    model = stack(inner, dense("b"), dense("out", 1))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, X.sum(1), batch_size=2, verbose=0)
    before = [np.array(v) for v in model.get_weights()]
    new = dense_to_highway(model)
    for one, other in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(one, other)
    a, b = new.layers[:2]
    assert (a.use_bias, b.use_bias) == (False, True)
    assert a.kernel_regularizer is not None
    assert a.kernel_constraint is not None
    old, fresh = model.optimizer, new.optimizer
    assert int(fresh.iterations) == 3
    moments = dict(zip(_ids(new), fresh._momentums, strict=True))
    expected = dict(zip(_ids(model), old._momentums, strict=True))
    for dense_layer, highway in zip(model.layers[:2], (a, b), strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(moments[id(highway.kernel)].value),
            ops.convert_to_numpy(expected[id(dense_layer.kernel)].value),
        )
        gate = ops.convert_to_numpy(moments[id(highway.gate_kernel)].value)
        assert not gate.any()
    new.fit(X, X.sum(1), verbose=0)


def _ids(model):
    return [id(variable) for variable in model.trainable_variables]


def test_a_frozen_dense_becomes_a_frozen_highway():
    model = stack(dense("a", trainable=False), dense("out", 1))
    new = dense_to_highway(model)
    assert new.layers[0].trainable is False
    assert len(new.trainable_variables) == 2


def test_shared_and_nested_layers_are_replaced_once():
    inner = keras.Input((4,))
    body = keras.Model(inner, dense("in")(inner), name="body")
    shared = dense("shared")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, dense("out", 1)(shared(shared(body(inputs)))))
    new = dense_to_highway(model, transform_bias=100.0)
    assert isinstance(new.get_layer("shared"), Highway)
    assert isinstance(new.get_layer("body").get_layer("in"), Highway)
    assert len(new.weights) == 4 + 4 + 2
    np.testing.assert_allclose(out(new), out(model), atol=1e-6)


def test_patterns_choose_among_the_candidates():
    model = stack(dense("a"), dense("b"), dense("out", 1))
    assert kinds(dense_to_highway(model, "b")) == ["Dense", "Highway", "Dense"]
    assert kinds(dense_to_highway(model, ["a", "b"])) == ["Highway", "Highway", "Dense"]


def test_a_plan_prints_itself():
    model = stack(dense("a"), dense("b", 5), dense("c", 5), dense("out", 5))
    assert str(dense_to_highway(model, plan=True)).splitlines() == [
        "2 x Dense to Highway",
        "layer  change   why",
        "a      Highway  hidden, 4 wide",
        "b               4 inputs, but 5 units",
        "c      Highway  hidden, 5 wide",
        "out             no layer with a kernel before an output",
    ]


def test_it_warns_where_nothing_is_to_be_replaced():
    model = stack(dense("a", 5), dense("out", 5))
    with pytest.warns(
        kt.NoEffectWarning,
        match=r"dense_to_highway has no effect on .*: a: 4 inputs, but 5 units; out: "
        r"no layer with a kernel before an output\. The copy is like the model",
    ):
        new = dense_to_highway(model)
    np.testing.assert_array_equal(out(new), out(model))
    with pytest.warns(kt.NoEffectWarning, match="no Dense stands in its graph"):
        dense_to_highway(stack(layers.LSTM(2), inputs=(3, 4)))


def test_arguments_are_checked():
    model = stack(dense("a"), dense("out", 1))
    with pytest.raises(TypeError, match=r"`transform_bias` must be a number"):
        dense_to_highway(model, transform_bias="low")
    with pytest.raises(ValueError, match=r"`transform_bias` must be a number in"):
        dense_to_highway(model, transform_bias=-1e5)
    with pytest.raises(ValueError, match=r"`layers` must name layers of the model"):
        dense_to_highway(model, "c")
    with pytest.raises(TypeError, match=r"`model` must be a built keras\.Model"):
        dense_to_highway(None)


def test_the_number_format_of_the_dense_is_kept():
    model = stack(dense("a", dtype="mixed_bfloat16"), dense("out", 1, dtype="float32"))
    assert dense_to_highway(model).layers[0].dtype_policy.name == "mixed_bfloat16"


def test_the_new_model_survives_saving(tmp_path):
    new = dense_to_highway(stack(dense("a"), dense("out", 1)))
    new.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(out(new), out(again))


def test_a_weight_that_is_frozen_alone_stays_frozen():
    model = stack(dense("a"), dense("out", 1, None))
    model.get_layer("a").kernel.trainable = False
    new = dense_to_highway(model).get_layer("a")
    assert not new.kernel.trainable
    assert new.bias.trainable
    assert new.gate_kernel.trainable


def test_a_quantized_layer_is_left_alone():
    model = stack(dense("a"), dense("out", 1, None))
    for layer in model.layers:
        layer.quantize("int8")
    (row,) = [r for r in dense_to_highway(model, plan=True) if r.layer == "a"]
    assert (row.change, row.why) == ("", "it is quantized (int8)")
