import gc
import os
import re
import subprocess
import sys
import tracemalloc

import h5py
import keras
import numpy as np
import pytest
from absl import logging
from keras import layers

import keras_tricks as kt
from keras_tricks.surgery import _rebuild, _weight_files
from keras_tricks.surgery.transfer_weights import transfer_weights


def net(classes=3, first="body", head="head"):
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, name=first),
            layers.BatchNormalization(name="norm"),
            layers.Dense(classes, name=head),
        ]
    )


def randomised(model, seed=0):
    random = np.random.default_rng(seed)
    for weight in model.weights:
        value = random.uniform(0.5, 1.5, tuple(weight.shape))
        weight.assign(value.astype(weight.dtype))
    return model


def zeros(model):
    for weight in model.weights:
        weight.assign(np.zeros(tuple(weight.shape), weight.dtype))
    return model


def same(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def saved(model, path, kind):
    file = path / f"m{kind}"
    if kind == ".weights.h5":
        model.save_weights(file)
    else:
        model.save(file)
    return file


def legacy(file, weights, group="/"):
    """Writes what Keras 2 writes: {layer: {weight's name: value}}."""
    with h5py.File(file, "a") as whole:
        root = whole.require_group(group)
        root.attrs["layer_names"] = np.array([n.encode() for n in weights])
        for layer, values in weights.items():
            own = root.create_group(layer)
            own.attrs["weight_names"] = np.array([n.encode() for n in values])
            for name, value in values.items():
                own[name] = value
    return file


def every_kind_of_layer():
    """A model like those of keras.applications, with every kind of layer inside."""
    images, words = keras.Input((8, 8, 3)), keras.Input((5,), dtype="int32")
    block = keras.Input((8, 8, 4))
    x = layers.SeparableConv2D(4, 3, padding="same", name="separable")(block)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.PReLU(name="prelu")(x)
    inner = keras.Model(block, layers.Add()([x, block]), name="block")
    y = layers.Normalization(name="input_norm")(images)
    y = layers.Conv2D(4, 3, padding="same", name="stem")(y)
    y = inner(inner(y))
    y = layers.GroupNormalization(2, name="group")(y)
    y = layers.Conv2DTranspose(4, 3, name="up")(y)
    y = layers.GlobalAveragePooling2D()(y)
    z = layers.Embedding(7, 4, name="words")(words)
    z = layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="both")(z)
    z = layers.MultiHeadAttention(2, 2, name="attention")(z, z)
    z = layers.LayerNormalization(name="layer_norm")(z)
    z = layers.TimeDistributed(layers.Dense(4, name="each"), name="times")(z)
    z = layers.GRU(3, name="gru")(layers.Dropout(0.1, seed=1)(z))
    head = keras.Sequential(
        [keras.Input((7,)), layers.Dense(2, name="out")], name="head"
    )
    return keras.Model([images, words], head(layers.Concatenate()([y, z])))


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    """Sources with weights of their own, and a model of the same make."""
    source = randomised(every_kind_of_layer())
    source.get_layer("input_norm").finalize_state()
    folder = tmp_path_factory.mktemp("every_kind")
    kinds = {kind: saved(source, folder, kind) for kind in (".weights.h5", ".keras")}
    return {**kinds, "model": source}, zeros(every_kind_of_layer())


@pytest.mark.parametrize("kind", [".weights.h5", ".keras", "model"])
@pytest.mark.parametrize("match", ["path", "shape", "auto"])
def test_every_kind_of_layer_is_loaded(every_kind, kind, match):
    sources, model = every_kind
    new, report = transfer_weights(
        model, sources[kind], match, strict=True, report=True
    )
    assert same(new, sources["model"])
    assert {row.status for row in report} == {"loaded"}
    assert not any(np.any(value) for value in model.get_weights())


def test_a_layer_that_computes_with_a_form_of_its_weights_makes_it_anew(every_kind):
    sources, model = every_kind
    new = transfer_weights(model, sources[".keras"])
    norms = [m.get_layer("input_norm") for m in (new, sources["model"])]
    x = np.ones((1, 8, 8, 3), "float32")
    one, other = (keras.ops.convert_to_numpy(norm(x)) for norm in norms)
    assert np.array_equal(one, other)
    assert not np.array_equal(one, x)


def test_a_head_of_another_size_is_mismatched_and_stays():
    source, model = randomised(net(10)), randomised(net(3), 1)
    new, report = transfer_weights(model, source, report=True)
    assert np.array_equal(new.get_weights()[0], source.get_weights()[0])
    assert np.array_equal(new.get_weights()[-1], model.get_weights()[-1])
    assert report.summary == "6 loaded, 0 skipped, 2 mismatched"
    row = report.rows[-1]
    assert row == ("head/bias", "mismatched", "head/bias", row.note)
    assert row.note == "(10,) in the source, (3,) here"


def test_what_has_no_counterpart_is_skipped_on_both_sides():
    _, report = transfer_weights(net(), net(head="old"), report=True)
    skipped = [row for row in report if row.status == "skipped"]
    assert [(row.weight, row.source, row.note) for row in skipped] == [
        ("head/kernel", "", "not in the source"),
        ("head/bias", "", "not in the source"),
        ("", "old/kernel", "not in the model"),
        ("", "old/bias", "not in the model"),
    ]
    assert re.search(r"\nhead/kernel +skipped +not in the source\n", str(report))
    assert repr(report) == "<Report 6 loaded, 4 skipped, 0 mismatched>"
    assert len(report) == 10


def test_auto_takes_by_shape_what_has_no_path(tmp_path):
    source, model = randomised(net(first="stem")), net()
    file = saved(source, tmp_path, ".weights.h5")
    assert same(transfer_weights(model, file, "auto", strict=True), source)


def test_automatic_names_of_another_process_are_found(tmp_path):
    def make():
        return keras.Sequential(
            [keras.Input((4,)), layers.Dense(4), layers.Dense(4), layers.Dense(4)]
        )

    source, model = randomised(make()), make()
    file = saved(source, tmp_path, ".weights.h5")
    assert model.layers[0].name != source.layers[0].name
    assert same(transfer_weights(model, file, strict=True), source)


def test_more_than_ten_layers_keep_their_order(tmp_path):
    def make():
        return keras.Sequential(
            [keras.Input((3,)), *(layers.Dense(3) for _ in range(12))]
        )

    source = randomised(make())
    file = saved(source, tmp_path, ".weights.h5")
    assert same(transfer_weights(make(), file, "shape"), source)


def test_strict_names_what_was_not_loaded():
    one, other = net(5, first="a"), net(3, first="b")
    with pytest.raises(ValueError, match=r"`strict` is set.*4 loaded, 4 skipped, 2"):
        transfer_weights(one, other, strict=True)


def test_nothing_loaded_is_a_warning():
    source = keras.Sequential([keras.Input((2,)), layers.Dense(9, name="other")])
    with pytest.warns(kt.NoEffectWarning, match="Nothing was loaded from 'sequential"):
        transfer_weights(net(), source)


def test_a_whole_number_does_not_become_a_float(tmp_path):
    file = legacy(tmp_path / "a.h5", {"body": {"body/bias:0": np.ones(5, "int32")}})
    with pytest.warns(kt.NoEffectWarning):
        _, report = transfer_weights(net(), file, report=True)
    assert report.rows[1].note == "int32 in the source, float32 here"


def test_a_compiled_model_comes_compiled_with_fresh_slots_for_what_was_loaded():
    model, source = net(), randomised(net(7))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(np.eye(4), np.ones((4, 3)), verbose=0)
    new, _ = transfer_weights(model, source, report=True)
    assert new.compiled
    slots = {variable.path: variable for variable in new.optimizer.variables}
    body = [v for path, v in slots.items() if "body_kernel" in path]
    head = [v for path, v in slots.items() if "head_kernel" in path]
    assert body
    assert not any(np.any(keras.ops.convert_to_numpy(v.value)) for v in body)
    assert all(np.any(keras.ops.convert_to_numpy(v.value)) for v in head)


KERAS_2 = {
    "body": {"body/kernel:0": (4, 5), "body/bias:0": (5,)},
    "norm": {
        "norm/gamma:0": (5,),
        "norm/beta:0": (5,),
        "norm/moving_mean:0": (5,),
        "norm/moving_variance:0": (5,),
    },
    "head": {"head_1/kernel:0": (5, 3), "head_1/bias:0": (3,)},
}
KERAS_1 = {
    "body": {"body_W": (4, 5), "body_b": (5,)},
    "norm": {
        "norm_gamma": (5,),
        "norm_beta": (5,),
        "norm_running_mean": (5,),
        "norm_running_std": (5,),
    },
    "head": {"head_W": (5, 3), "head_b": (3,)},
}


@pytest.mark.parametrize("shapes", [KERAS_1, KERAS_2], ids=["keras 1", "keras 2"])
@pytest.mark.parametrize("group", ["/", "model_weights"])
@pytest.mark.parametrize("match", ["path", "shape"])
def test_a_legacy_file_is_loaded(tmp_path, shapes, group, match):
    random = np.random.default_rng(0)
    values = {
        layer: {name: random.normal(size=shape) for name, shape in weights.items()}
        for layer, weights in {"dropout_1": {}, **shapes}.items()
    }
    file = legacy(tmp_path / "a.h5", values, group)
    new = transfer_weights(net(), file, match, strict=True)
    expected = [value for layer in values.values() for value in layer.values()]
    for weight, value in zip(new.get_weights(), expected, strict=True):
        assert np.allclose(weight, value, atol=1e-6)


def test_a_legacy_file_of_nested_and_recurrent_layers_is_loaded(tmp_path):
    inner = keras.Sequential(
        [keras.Input((3, 2)), layers.Dense(2, name="fc")], name="net"
    )
    model = keras.Sequential([keras.Input((3, 2)), inner, layers.LSTM(2, name="lstm")])
    values = {
        "net": {"fc/kernel:0": np.ones((2, 2)), "fc/bias:0": np.ones(2)},
        "lstm": {
            "lstm/lstm_cell_4/kernel:0": np.ones((2, 8)),
            "lstm/lstm_cell_4/recurrent_kernel:0": np.ones((2, 8)),
            "lstm/lstm_cell_4/bias:0": np.ones(8),
        },
    }
    file = legacy(tmp_path / "a.h5", values)
    new = transfer_weights(model, file, strict=True)
    assert all(np.all(weight == 1) for weight in new.get_weights())


def test_the_legacy_file_that_keras_writes_today_is_loaded(tmp_path):
    source = randomised(net())
    file = tmp_path / "a.h5"
    logging.set_verbosity("error")
    source.save(file)
    assert same(transfer_weights(net(), file, strict=True), source)


def test_long_lists_of_names_are_split_in_legacy_files(tmp_path):
    file = legacy(tmp_path / "a.h5", {"body": {"body/bias:0": np.ones(5)}})
    with h5py.File(file, "a") as whole:
        names = whole.attrs.pop("layer_names")
        whole.attrs["layer_names0"], whole.attrs["layer_names1"] = names, names[:0]
        whole.move("body", "model_weights/body")
        for part in ("layer_names0", "layer_names1"):
            whole["model_weights"].attrs[part] = whole.attrs.pop(part)
    new = transfer_weights(net(), file)
    assert np.all(new.get_weights()[1] == 1)


def test_half_precision_is_loaded(tmp_path):
    for dtype in ("bfloat16", "float16"):
        layer = layers.Dense(5, name="body", dtype=dtype)
        source = randomised(keras.Sequential([keras.Input((4,)), layer]))
        file = saved(source, tmp_path, ".weights.h5")
        new = transfer_weights(net(), file)
        expected = keras.ops.convert_to_numpy(keras.ops.cast(layer.kernel, "float32"))
        assert np.array_equal(new.get_weights()[0], expected)


def peak_of(function):
    gc.collect()
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_is_that_of_one_weight_beside_the_copy(tmp_path):
    def make():
        parts = (layers.Dense(600, name=f"d{i}") for i in range(12))
        return keras.Sequential([keras.Input((600,)), *parts])

    def read_all(file):
        with _weight_files.opened(file) as slots:
            for one in slots:
                one.read()

    largest = 600 * 600 * 4
    model = make()
    # JAX makes the arrays that it is given the new model's own.
    own = sum(value.nbytes for value in model.get_weights())
    copy_alone = max(own, peak_of(lambda: _rebuild.rebuild(model)))
    for kind in (".weights.h5", ".keras"):
        file = saved(make(), tmp_path, kind)
        assert file.stat().st_size > 11 * largest
        assert peak_of(lambda file=file: read_all(file)) < 1.1 * largest
        peak = peak_of(lambda file=file: transfer_weights(model, file, strict=True))
        assert peak < copy_alone + 1.1 * largest


RESIDENT = """
import gc, pathlib, sys, keras
from keras_tricks import _backend
from keras_tricks.surgery import _weight_files

def resident(name):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024

model = keras.Sequential([keras.Input((4000,)), keras.layers.Dense(4000)])
path = pathlib.Path(sys.argv[1]) / "one.weights.h5"
model.save_weights(path)
kernel = model.layers[0].kernel
gc.collect()
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
with _weight_files.opened(path) as given:
    for slot, variable in zip(given, model.weights, strict=True):
        _backend.adopt(variable, slot.read())
print((resident("VmHWM") - before) / (4000 * 4000 * 4))
"""


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK),
    reason="only Linux tells the highest memory of a part of a program",
)
def test_the_process_holds_one_weight_more_while_it_reads(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1.15


def test_says_which_argument_is_wrong_and_what_came(tmp_path):
    with pytest.raises(ValueError, match=r"`match` must be one of 'path'.*'shap'"):
        transfer_weights(net(), net(), match="shap")
    with pytest.raises(TypeError, match=r"`source` must be a keras.Model.*source=3"):
        transfer_weights(net(), 3)
    with pytest.raises(ValueError, match=r"`source` must be built"):
        transfer_weights(net(), keras.Sequential([layers.Dense(1)]))
    with pytest.raises(FileNotFoundError, match=r"nothing.h5"):
        transfer_weights(net(), tmp_path / "nothing.h5")
    with pytest.raises(TypeError, match=r"`model` must be a built keras.Model"):
        transfer_weights("model", net())

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    own = Own()
    own.build((None, 2))
    with pytest.raises(ValueError, match=r"`model` must be a Sequential"):
        transfer_weights(own, net())


def test_weights_that_do_not_fit_are_told_without_a_report():
    old, new = randomised(net(3)), net(4)
    told = r"Not all of .* fits: 6 loaded, 0 skipped, 2 mismatched: head/kernel \("
    with pytest.warns(UserWarning, match=told):
        transfer_weights(new, old)
    _, table = transfer_weights(new, old, report=True)
    assert table.summary == "6 loaded, 0 skipped, 2 mismatched"


def test_a_model_with_lora_weights_apart_is_refused_as_a_source():
    old = net()
    old.get_layer("body").enable_lora(2)
    with pytest.raises(ValueError, match=r"LoRA weights.*'body' keeps them apart"):
        transfer_weights(net(), old)
