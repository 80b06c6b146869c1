import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_tricks as kt
from keras_tricks import lint

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype("float32")


def model_of(*held, optimizer="adam", loss="mse", shape=(4,)):
    model = keras.Sequential([keras.Input(shape), *held])
    model.compile(optimizer, loss)
    return model


def mended(model, code, *args, **options):
    """The new model, whose check has no such finding any more."""
    report = lint.check(model, *args, **options).filter(code=code)
    assert [finding.safe for finding in report] == [True]
    new = lint.fix(model, report, verbose=0)
    assert list(lint.check(new, *args, **options).filter(code=code)) == []
    return new


def predictions(model, shape):
    x = np.random.default_rng(1).normal(size=(5, *shape)).astype("float32")
    return keras.ops.convert_to_numpy(model(x))


def test_from_logits_is_set_right_and_the_optimizer_goes_on():
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model = model_of(layers.Dense(3, "softmax"), loss=loss)
    with warnings.catch_warnings():
        # On TensorFlow Keras sees the mistake too, while it trains.
        warnings.filterwarnings("ignore", ".*received `from_logits=True`")
        model.fit(X, np.eye(3)[np.arange(40) % 3], batch_size=8, verbose=0)
    new = mended(model, "KT301")
    assert (new.loss.from_logits, new.loss.label_smoothing) == (False, 0.1)
    assert model.loss is loss
    assert loss.from_logits
    assert int(new.optimizer.iterations) == 5
    slots = [
        [keras.ops.convert_to_numpy(v.value) for v in one.optimizer.variables]
        for one in (model, new)
    ]
    assert all(map(np.array_equal, *slots))
    assert np.array_equal(predictions(new, (4,)), predictions(model, (4,)))


@pytest.mark.parametrize(
    "loss", ["sparse_categorical_crossentropy", keras.losses.binary_crossentropy]
)
def test_a_loss_that_was_given_by_name_becomes_one_of_logits(loss):
    new = mended(model_of(layers.Dense(3), loss=loss), "KT302")
    assert new.loss.from_logits
    assert type(new.loss).__name__.lower() == getattr(
        loss, "__name__", str(loss)
    ).replace("_", "")


def test_of_several_losses_only_the_wrong_one_changes():
    inputs = keras.Input((4,))
    one, two = layers.Dense(3, name="one"), layers.Dense(2, name="two")
    for losses in (
        ["mse", "categorical_crossentropy"],
        {"one": "mse", "two": "categorical_crossentropy"},
    ):
        model = keras.Model(inputs, [one(inputs), two(inputs)])
        model.compile("adam", losses)
        new = mended(model, "KT302")
        keys = ("one", "two") if isinstance(losses, dict) else (0, 1)
        assert new.loss[keys[0]] == "mse"
        assert new.loss[keys[1]].from_logits


def test_dropout_on_maps_becomes_spatial():
    held = [layers.Conv2D(4, 3), layers.Dropout(0.3, name="drop"), layers.Flatten()]
    model = model_of(*held, layers.Dense(1), shape=(8, 8, 3))
    new = mended(model, "KT201")
    drop = new.get_layer("drop")
    assert (type(drop), drop.rate) == (layers.SpatialDropout2D, 0.3)
    same = predictions(new, (8, 8, 3)), predictions(model, (8, 8, 3))
    assert np.array_equal(*same)


@pytest.mark.parametrize("wrap", [lambda layer: layer, layers.Bidirectional])
def test_the_recurrence_becomes_calm(wrap):
    recurrent = wrap(layers.LSTM(32, recurrent_dropout=0.3, dropout=0.1))
    optimizer = keras.optimizers.Adam(clipnorm=1.0)
    model = model_of(recurrent, layers.Dense(1), optimizer=optimizer, shape=(3, 2))
    new = mended(model, "KT202")
    held = new.layers[0]
    parts = getattr(held, "forward_layer", held), getattr(held, "backward_layer", held)
    assert [(part.recurrent_dropout, part.dropout) for part in parts] == [
        (0.0, 0.1)
    ] * 2
    # Another kernel computes it now.
    same = predictions(new, (3, 2)), predictions(model, (3, 2))
    np.testing.assert_allclose(*same, rtol=1e-5, atol=1e-6)
    clone = keras.models.clone_model(new)
    assert "'recurrent_dropout': 0.3" not in str(clone.get_config())
    new.fit(np.zeros((4, 3, 2)), np.zeros((4, 1)), verbose=0)


def test_dropout_of_predictions_is_taken_out():
    model = model_of(layers.Dense(2), layers.Dropout(0.9, name="drop"))
    new = mended(model, "KT203")
    assert isinstance(new.get_layer("drop"), layers.Activation)


def test_a_wide_layer_gets_dropout():
    wide = layers.Dense(256, "tanh", name="wide")
    model = model_of(wide, layers.Dense(1), shape=(100,))
    new = mended(model, "KT204", np.zeros((500, 100)))
    assert new.get_layer("wide_dropout").rate == 0.5


def test_fresh_kernels_are_drawn_for_their_activation():
    held = [layers.Dense(400, "relu", name="a"), layers.Dense(800), layers.ReLU()]
    model = model_of(*held, layers.Dense(1), shape=(200,))
    new = mended(model, "KT102")
    assert isinstance(
        new.get_layer("a").kernel_initializer, keras.initializers.HeNormal
    )
    # He: sqrt(2 / 200) = 0.1; Glorot's was sqrt(2 / 600) = 0.058.
    kernel = keras.ops.convert_to_numpy(new.get_layer("a").kernel)
    assert kernel.std() == pytest.approx(0.1, rel=0.05)


def test_a_trained_kernel_is_left_to_the_user():
    model = model_of(layers.Dense(8, "relu"), layers.Dense(1))
    model.fit(X, X[:, :1], verbose=0)
    report = lint.check(model).filter(code="KT102")
    (row,) = lint.fix(model, report, plan=True)
    assert (row.change, row.why) == ("", "not safe here; see its `fix`")


@pytest.mark.parametrize("exclude", [False, True])
def test_decay_leaves_out_what_it_should_and_keeps_the_slots(exclude):
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    if exclude:
        optimizer.exclude_from_weight_decay(var_names=["kernel"])
    norm = layers.BatchNormalization()
    model = model_of(layers.Dense(3), norm, layers.Dense(1), optimizer=optimizer)
    model.fit(X, X[:, :1], batch_size=8, verbose=0)
    new = mended(model, "KT214" if exclude else "KT213")
    names = [variable.name for variable in new.trainable_variables]
    kept = [n for i, n in enumerate(names) if i not in new.optimizer.excluded]
    assert kept == (["bias", "gamma", "beta", "bias"] if exclude else ["kernel"] * 2)
    assert new.optimizer.weight_decay == 0.1
    slots = [
        [keras.ops.convert_to_numpy(v.value) for v in one.optimizer.variables]
        for one in (model, new)
    ]
    assert len(slots[0]) == len(slots[1])
    assert all(map(np.array_equal, *slots))
    new.fit(X, X[:, :1], verbose=0)


def test_several_findings_are_mended_one_after_the_other(capsys):
    model = model_of(
        layers.Dense(256, "sigmoid", name="wide"),
        layers.Dense(3, "softmax", name="out"),
        layers.Dropout(0.5, name="drop"),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        shape=(100,),
    )
    report = lint.check(model, np.zeros((500, 100)))
    new = lint.fix(model, report)
    names = [layer.name for layer in new.layers]
    assert names == ["wide", "wide_dropout", "out", "drop"]
    assert not new.loss.from_logits
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 of 4 findings mended"
    (left,) = [line for line in lines if line.startswith("KT101")]
    assert left.endswith("it is for you to decide; see its `fix`")


def test_a_plan_changes_nothing():
    model = model_of(layers.Dense(3), loss="categorical_crossentropy")
    plan = lint.fix(model, lint.check(model), plan=True)
    assert [(row.code, row.layer, row.change) for row in plan if row.change] == [
        ("KT302", model.layers[0].name, "from_logits=True")
    ]
    assert model.loss == "categorical_crossentropy"


def test_without_anything_to_mend_it_warns():
    model = model_of(layers.Dense(1), optimizer=keras.optimizers.Adam(9.0))
    report = lint.check(model)
    text = "fix has no effect on .*KT310: it is for you to decide"
    with pytest.warns(kt.NoEffectWarning, match=text):
        new = lint.fix(model, report)
    assert new is not model
    assert new.compiled
    with pytest.warns(kt.NoEffectWarning, match="no findings"):
        lint.fix(model, lint.Report())


def test_a_rule_of_ones_own_may_mend():
    def mend(model, finding):
        return kt.surgery.freeze(model, finding.layers[0])

    @lint.register("MY101", "Mine.", repair=mend)
    def mine(facts):
        yield lint.Finding("Freeze it.", "a", safe=True)

    @lint.register("MY102", "Mine.")
    def other(facts):
        yield lint.Finding("Do something.", safe=True)

    try:
        model = model_of(layers.Dense(2, name="a"), layers.Dense(1))
        report = lint.check(model).filter(code="MY")
        assert [row.why for row in lint.fix(model, report, plan=True)] == [
            "a rule of your own",
            "the rule has no `repair`",
        ]
        assert len(lint.fix(model, report, verbose=0).trainable_variables) == 2
    finally:
        lint.unregister("MY101")
        lint.unregister("MY102")


def test_what_cannot_be_mended_is_told():
    model = model_of(layers.Dense(1, name="a"))
    report = lint.Report([lint.Finding("It.", "b", code="KT203", severity="error")])
    with pytest.raises(ValueError, match=r"`report` must be one of this model.*'b'"):
        lint.fix(model, report)
    with pytest.raises(TypeError, match=r"`report` must be a kt.lint.Report"):
        lint.fix(model, [])
    with pytest.raises(ValueError, match="`verbose` must be one of"):
        lint.fix(model, lint.Report(), verbose=3)

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    own = Own()
    own(X)
    with pytest.raises(ValueError, match="`model` must be a Sequential or Functional"):
        lint.fix(own, lint.check(own))


def test_a_loss_for_several_outputs_is_left_to_the_user():
    inputs = keras.Input((4,))
    heads = [layers.Dense(3, name="one"), layers.Dense(3, "softmax", name="two")]
    model = keras.Model(inputs, [head(inputs) for head in heads])
    model.compile("adam", "categorical_crossentropy")
    (finding,) = lint.check(model).filter(code="KT302")
    assert (finding.layers, finding.safe) == (("one",), False)
