import keras
import lone_models as lone
import numpy as np
import pytest

from keras_tricks.ensembles import VectorizedEnsemble

layers, optimizers = keras.layers, keras.optimizers
X, Y = lone.VECTORS, lone.LABELS
BUILD = lone.compiled(lone.dense, optimizers.SGD)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"members": 0}, ValueError, r"`members` must be a positive integer.*=0"),
        ({"members": 1.5}, TypeError, r"`members` must be a positive integer.*=1\.5"),
        ({"build": 3}, TypeError, r"`build` must be a callable .*build=3"),
        ({"build": lambda: 3}, TypeError, r"`build` must return a keras\.Model"),
        ({"build": lambda units: 3}, TypeError, r"`build` must not need .* `units`"),
        ({"strategy": "vmp"}, ValueError, r"`strategy`.*Did you mean 'vmap'"),
        ({"seeds": [1]}, ValueError, r"`seeds` must be None or 2 values"),
        ({"seeds": [0.5, 1.5]}, TypeError, r"`seeds` must be None or 2 values"),
        ({"learning_rates": [1.0]}, ValueError, r"`learning_rates` must be .* 2"),
        ({"weight_decays": [-1.0, 0.0]}, ValueError, r"`weight_decays` must be"),
        ({"members_per_chunk": 0}, ValueError, r"`members_per_chunk` must be"),
    ],
)
def test_says_which_argument_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        VectorizedEnsemble(**{"build": BUILD, "members": 2, **arguments})


def test_refuses_builders_without_weights_or_with_another_step():
    with pytest.raises(ValueError, match="must return a built model"):
        VectorizedEnsemble(lambda: keras.Sequential([layers.Dense(1)]), 2)
    flat = keras.Sequential([keras.Input((2, 2)), layers.Flatten()])
    with pytest.raises(ValueError, match="with weights to train"):
        VectorizedEnsemble(lambda: flat, 2)

    class Own(keras.Sequential):
        def train_step(self, *args):
            return {}

    own = Own([keras.Input((2,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="with Keras's own `train_step`"):
        VectorizedEnsemble(lambda: own, 2)


def test_refuses_members_of_another_architecture():
    widths = iter([3, 4, 5])

    def build():
        model = lone.net(layers.Dense(next(widths)), shape=(4,))
        model.set_weights([weight + 1.0 for weight in model.get_weights()])
        return model

    with pytest.raises(ValueError, match="the same architecture at every call"):
        VectorizedEnsemble(build, 2)


@pytest.mark.parametrize(
    ("rate", "share", "message"),
    [
        (0.1, 0.25, "must return the same optimizer .* member 1; .*`learning_rates`"),
        (0.0, 0.5, "must return the same model at every call.* member 1"),
    ],
)
def test_refuses_members_that_differ_in_more_than_weights(rate, share, message):
    def build(member):
        dropout = layers.Dropout(0.25 + (share - 0.25) * member)
        model = lone.net(dropout, layers.Dense(3), shape=(4,))
        model.compile(optimizers.SGD(0.1 + rate * member), "mse")
        return model

    with pytest.raises(ValueError, match=message):
        VectorizedEnsemble(build, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run_eagerly": True}, "`run_eagerly` must be False"),
        ({"steps_per_execution": 4}, "`steps_per_execution` must be 1"),
        ({"optimizer": optimizers.Muon(0.1)}, "kept apart .* Received: Muon"),
        (
            {"optimizer": optimizers.SGD(use_ema=True)},
            r"`use_ema`.* Received: SGD\(use_ema=True\)",
        ),
        (
            {"optimizer": optimizers.LossScaleOptimizer(optimizers.SGD())},
            "must not scale the loss",
        ),
    ],
)
def test_refuses_to_compile_what_cannot_be_kept(arguments, message):
    many = VectorizedEnsemble(BUILD, 2)
    with pytest.raises(ValueError, match=message):
        many.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": None}, ValueError, "`x` and `y` must be arrays"),
        ({"x": iter([])}, TypeError, "data sets and generators have no rows"),
        ({"y": Y[:3]}, ValueError, r"as many rows\. Received: \[3, 50\]"),
        ({"rows": [np.arange(3)]}, ValueError, "a list of 2 arrays .* Received: 1"),
        ({"rows": 3}, TypeError, "a list of 2 arrays .* Received: rows=3"),
        ({"rows": [[0], []]}, ValueError, "at least one row.* none for member 1"),
        ({"rows": [[0], [50]]}, ValueError, "from 0 to 49.* 50 for member 1"),
        ({"rows": [[0], [-1]]}, ValueError, "from 0 to 49.* -1 for member 1"),
        ({"rows": [[0], [0.5]]}, TypeError, "arrays of integers.* for member 1"),
        ({"rows": [[0], [True]]}, TypeError, "booleans for member 1.*flatnonzero"),
        ({"steps_per_epoch": 3}, ValueError, "`steps_per_epoch` must be None"),
        (
            {"sample_weight": [1.0] * 50},
            TypeError,
            "`sample_weight` must be one array.* a list",
        ),
        (
            {"y": {"a": Y}, "class_weight": {0: 1.0}},
            ValueError,
            "`class_weight` must be None for a model of several outputs",
        ),
        ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer"),
        (
            {"validation_rows": [[0], [1]], "validation_data": (X, Y)},
            ValueError,
            "cannot be given together",
        ),
        ({"validation_data": {"x": X}}, TypeError, "`validation_data` must be .* dict"),
        (
            {"validation_data": (X, Y), "validation_batch_size": 0},
            ValueError,
            "`validation_batch_size` must be a positive integer",
        ),
        ({"early_stopping": 3}, TypeError, "must be a keras.callbacks.EarlyStopping"),
        (
            {"early_stopping": keras.callbacks.EarlyStopping()},
            ValueError,
            "must watch a value that there is.*'val_loss'",
        ),
    ],
)
def test_refuses_to_fit(arguments, error, message):
    many = VectorizedEnsemble(BUILD, 2, strategy="vmap")
    with pytest.raises(error, match=message):
        many.fit(**{"x": X, "y": Y, "verbose": 0, **arguments})


def test_must_be_compiled_before_it_is_trained():
    many = VectorizedEnsemble(lone.dense, 2)
    with pytest.raises(ValueError, match="must be compiled before `fit`"):
        many.fit(X, Y)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("train_on_batch", "fit"),
        ("train_step", "fit"),
        ("test_on_batch", "evaluate"),
        ("test_step", "evaluate"),
    ],
)
def test_refuses_the_steps_of_an_ordinary_model(name, other):
    many = VectorizedEnsemble(BUILD, 2)
    with pytest.raises(NotImplementedError, match=f"`{name}` must not .* `{other}`"):
        getattr(many, name)(X, Y)


def test_refuses_to_evaluate_and_predict_in_steps():
    many = VectorizedEnsemble(BUILD, 2)
    for function in (lambda **given: many.evaluate(X, Y, **given), many.predict):
        given = {} if function != many.predict else {"x": X}
        with pytest.raises(ValueError, match=r"`steps` must be None.*steps=3"):
            function(**given, steps=3)
        with pytest.raises(ValueError, match="`batch_size` must be a positive"):
            function(**given, batch_size=0)


def test_refuses_a_metric_that_knows_no_rows():
    def share_right(y_true, y_pred):
        return keras.ops.mean(keras.ops.equal(y_true, keras.ops.argmax(y_pred, -1)))

    many = VectorizedEnsemble(BUILD, 2)
    many.compile("sgd", "sparse_categorical_crossentropy", metrics=[share_right])
    before = many.get_weights()
    with pytest.raises(ValueError, match=r"a value per row\. Received: .*share_right"):
        many.fit(X, Y, verbose=0)
    for a, b in zip(before, many.get_weights(), strict=True):
        assert np.array_equal(a, b)


class Careless(layers.Layer):
    """Fails in training alone: when the model is built, all is well."""

    def call(self, inputs, training=False):
        if training:
            raise RuntimeError("a number is needed")
        return inputs


@pytest.mark.parametrize("strategy", ["vmap", "auto"])
def test_names_the_layer_that_cannot_be_vectorized(strategy):
    build = lone.compiled(lambda: lone.net(Careless(), shape=(4,)), optimizers.SGD)
    many = VectorizedEnsemble(build, 2, strategy=strategy)
    with pytest.raises(ValueError, match=r"at the layer Careless.*number is needed"):
        many.fit(X, Y, verbose=0)


@pytest.mark.backend("tensorflow", reason="only TensorFlow has such strategies")
def test_a_failed_step_leaves_tensorflow_as_it_was():
    import tensorflow as tf

    class CarelessConv(Careless):
        """Done member by member, for its name."""

    build = lone.compiled(lambda: lone.net(CarelessConv(), shape=(4,)), optimizers.SGD)
    with pytest.raises(ValueError, match="number is needed"):
        VectorizedEnsemble(build, 2).fit(X, Y, verbose=0)
    assert tf.compat.v1.get_variable_scope().caching_device is None
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        assert tf.distribute.has_strategy()
