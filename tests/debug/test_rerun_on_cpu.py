import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_tricks as kt

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(64, 4)).astype("float32")
Y = RANDOM.integers(0, 3, 64)


def classifier(optimizer="sgd", loss="sparse_categorical_crossentropy", **compiled):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="tanh", name="body"),
            layers.BatchNormalization(),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )
    model.compile(optimizer, loss, **compiled)
    return model


@keras.saving.register_keras_serializable("test_rerun_on_cpu")
class Brittle(layers.Layer):
    """Raises, or makes inf, where a sample begins with a number above 100."""

    def __init__(self, makes_inf=False, **kwargs):
        super().__init__(**kwargs)
        self.makes_inf = makes_inf

    def call(self, x):
        if self.makes_inf:
            return x + ops.where(x[:, :1] > 100, np.inf, 0.0)
        return x

    def get_config(self):
        return {**super().get_config(), "makes_inf": self.makes_inf}


class Subclassed(keras.Model):
    """Layers inside layers inside a model of one's own."""

    def __init__(self):
        super().__init__()
        self.inner = keras.Sequential(
            [layers.Dense(4, name="dense"), Brittle(True, name="brittle")], name="inner"
        )
        self.last = layers.Dense(3, activation="softmax", name="last")

    def call(self, x, training=False):
        return self.last(self.inner(x))


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(ops.convert_to_numpy(v.value)) for v in variables]


def test_nan_in_the_data_is_named_with_its_sample(tmp_path):
    x = X.copy()
    x[37, 2] = np.nan
    model = classifier()
    path = tmp_path / "failed.npz"
    with (
        pytest.raises(kt.debug.StepError) as caught,
        kt.debug.rerun_on_cpu(model, save_to=path),
    ):
        model.fit(x, Y, batch_size=8, shuffle=False, verbose=0)
    error = caught.value
    # Row 37 is row 5 of the fifth batch.
    assert (error.step, error.sample, error.age) == (5, 5, 0)
    assert np.isnan(error.value)
    assert error.problem.startswith("`x` holds nan in sample 5, at (5, 2); 1 of 8")
    assert "What to do: look at how `x` was made" in str(error)
    assert "The model has the weights from before that step." in str(error)
    assert np.array_equal(error.batch[0], x[32:40], equal_nan=True)
    # What was written is the same batch, and leads to the same end.
    again = kt.debug.explain_failure(model, path)
    assert again.problem == error.problem
    assert np.array_equal(again.batch[1], Y[32:40])


def test_weights_that_become_nan_are_noticed_though_the_loss_may_stay_finite():
    # TensorFlow's ReLU makes 0 of NaN.
    x = X.copy()
    x[20] = np.nan
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    with (
        pytest.raises(kt.debug.StepError, match="`x` holds nan in sample 4") as caught,
        kt.debug.rerun_on_cpu(model),
    ):
        model.fit(x, np.zeros(64), batch_size=8, shuffle=False, verbose=0)
    assert (caught.value.step, caught.value.age) == (3, 0)
    assert all(np.isfinite(value).all() for value in state(model))


def test_the_weights_of_before_the_failing_step_are_given_back_exactly():
    x = X.copy()
    x[37, 2] = np.nan
    plain, watched = classifier("adam"), classifier("adam")
    watched.set_weights(plain.get_weights())
    plain.fit(x[:32], Y[:32], batch_size=8, shuffle=False, verbose=0)
    with pytest.raises(kt.debug.StepError), kt.debug.rerun_on_cpu(watched):
        watched.fit(x, Y, batch_size=8, shuffle=False, verbose=0)
    for one, other in zip(state(plain), state(watched), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    # And they can be trained on.
    history = watched.fit(X, Y, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_an_exploding_rate_ends_with_finite_weights_and_advice():
    model = classifier(keras.optimizers.SGD(1e25), "mse")
    y = np.eye(3)[Y]
    model.layers[-1].activation = keras.activations.linear
    with (
        pytest.raises(kt.debug.StepError, match="lower the learning rate") as caught,
        kt.debug.rerun_on_cpu(model),
    ):
        model.fit(X, y, batch_size=8, epochs=4, verbose=0)
    assert caught.value.age == 0
    assert all(np.isfinite(value).all() for value in state(model)[:6])


def test_a_wrong_shape_in_the_first_step_leaves_the_model_whole():
    model = classifier()
    before = model.get_weights()
    with pytest.raises(kt.debug.StepError) as caught, kt.debug.rerun_on_cpu(model):
        model.fit(RANDOM.normal(size=(16, 5)), Y[:16], verbose=0)
    assert "`x` has the shape (16, 5), but the input" in caught.value.problem
    assert caught.value.__cause__ is not None
    for one, other in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(one, other)
    model.fit(X, Y, verbose=0)


def test_a_wrong_shape_in_the_first_step_of_a_second_fit():
    model = classifier()
    model.fit(X, Y, verbose=0)
    before = state(model)
    with (
        pytest.raises(kt.debug.StepError, match=r"\(16, 7\)"),
        kt.debug.rerun_on_cpu(model),
    ):
        model.fit(RANDOM.normal(size=(16, 7)), Y[:16], verbose=0)
    for one, other in zip(before, state(model), strict=True):
        assert np.array_equal(one, other)


def test_a_bad_token_is_named_in_a_nested_model():
    tokens = RANDOM.integers(0, 10, (32, 6))
    tokens[19, 3] = 99
    encoder = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(10, 4, name="words"),
            layers.GlobalAveragePooling1D(),
        ],
        name="encoder",
    )
    inputs = keras.Input((6,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(1, name="head")(encoder(inputs)))
    model.compile("sgd", "mse")
    with pytest.raises(kt.debug.StepError) as caught, kt.debug.rerun_on_cpu(model):
        model.fit(tokens, np.zeros(32), batch_size=8, shuffle=False, verbose=0)
    error = caught.value
    assert (error.layer, error.sample, error.value) == ("encoder/words", 3, 99)
    assert error.step == 3
    assert "input_dim=10" in error.problem


@pytest.mark.backend(
    "torch", "tensorflow", reason="JAX takes any label, and the loss stays finite"
)
def test_a_bad_label_is_named_with_the_range():
    y = Y.copy()
    y[10] = 7
    model = classifier()
    with pytest.raises(kt.debug.StepError) as caught, kt.debug.rerun_on_cpu(model):
        model.fit(X, y, batch_size=8, shuffle=False, verbose=0)
    error = caught.value
    assert (error.sample, error.value) == (2, 7)
    assert "must be from 0 to 2, because the model answers with 3 classes" in str(error)


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_layer_of_ones_own_in_a_subclassed_model_is_named(epochs):
    x = X.copy()
    x[50] = 1000.0
    model = Subclassed()
    model.compile("sgd", "sparse_categorical_crossentropy")
    # The dense layer before it keeps large samples large.
    model(x[:1])
    model.inner.layers[0].set_weights([np.eye(4), np.zeros(4)])
    with pytest.raises(kt.debug.StepError) as caught, kt.debug.rerun_on_cpu(model):
        model.fit(x, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    error = caught.value
    assert (error.layer, error.sample) == ("inner/brittle", 2)
    assert "makes inf for sample 2, of inputs that are finite" in error.problem


def test_a_gradient_that_is_not_finite_is_found_though_the_loss_is():
    class Root(layers.Layer):
        def call(self, x):
            return ops.sqrt(ops.maximum(x, 0.0))

    model = keras.Sequential(
        [keras.Input((1,)), layers.Dense(1, use_bias=False, name="before"), Root()]
    )
    model.compile("sgd", "mse")
    model.set_weights([np.ones((1, 1))])
    x = np.ones((32, 1), "float32")
    x[16:24] = 0.0
    with pytest.raises(kt.debug.StepError) as caught, kt.debug.rerun_on_cpu(model):
        model.fit(x, np.full((32, 1), 2.0), batch_size=8, shuffle=False, verbose=0)
    error = caught.value
    assert (error.step, error.layer, error.age) == (3, "before", 0)
    assert "though the loss is finite" in error.problem
    assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.backend(
    "jax", "tensorflow", reason="PyTorch refuses more than one step per call"
)
def test_several_steps_per_call_are_told_apart():
    x = X.copy()
    x[37, 2] = np.inf
    model = classifier(steps_per_execution=4)
    with pytest.raises(kt.debug.StepError) as caught, kt.debug.rerun_on_cpu(model):
        model.fit(x, Y, batch_size=8, shuffle=False, verbose=0)
    assert caught.value.sample == 5
    assert np.array_equal(caught.value.batch[1], Y[32:40])
    assert caught.value.age == 0


def test_a_failing_validation_is_told_as_one():
    bad = X.copy()
    bad[3, 0] = np.nan
    model = classifier()
    with pytest.raises(kt.debug.StepError) as caught, kt.debug.rerun_on_cpu(model):
        model.fit(X, Y, validation_data=(bad, Y), verbose=0)
    error = caught.value
    assert str(error).startswith("A step of the validation failed: `x` holds nan")
    assert error.sample == 3
    with (
        pytest.raises(kt.debug.StepError, match="validation"),
        kt.debug.rerun_on_cpu(model),
    ):
        model.evaluate(bad, Y, verbose=0)
    assert all(np.isfinite(value).all() for value in state(model))


def test_a_validation_that_fails_in_the_middle_leaves_the_weights_of_now():
    bad = np.tile(X, (4, 1))
    bad[9, 0] = np.nan
    model = classifier()
    with (
        pytest.raises(
            kt.debug.StepError, match=r"validation failed.*sample 1"
        ) as caught,
        kt.debug.rerun_on_cpu(model),
    ):
        model.fit(
            X,
            Y,
            batch_size=8,
            verbose=0,
            validation_data=(bad, np.tile(Y, 4)),
        )
    assert caught.value.age == 0
    assert all(np.isfinite(value).all() for value in state(model))
    assert int(ops.convert_to_numpy(model.optimizer.iterations.value)) == 8


def test_weights_that_were_not_finite_at_the_start_are_told_as_such():
    model = classifier()
    kernel, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel, bias + np.nan])
    with (
        pytest.raises(kt.debug.StepError, match="'bias' of layer 'body' holds nan"),
        kt.debug.rerun_on_cpu(model),
    ):
        model.fit(X, Y, verbose=0)


def test_in_a_loop_of_ones_own_the_age_of_the_weights_is_told():
    bad = X[:8].copy()
    bad[1, 1] = np.nan
    model = classifier()
    with kt.debug.rerun_on_cpu(model):
        for _ in range(5):
            model.train_on_batch(X[:8], Y[:8])
        with pytest.raises(kt.debug.StepError) as caught:
            model.train_on_batch(bad, Y[:8])
    age = caught.value.age
    assert age in range(6)
    words = f"of {age} steps before" if age else "from before that step"
    assert f"The model has the weights {words}" in str(caught.value)
    assert all(np.isfinite(value).all() for value in state(model))


def test_batches_trained_one_by_one_are_watched_too():
    bad = X[:8].copy()
    bad[1, 1] = np.nan
    model = classifier()
    with kt.debug.rerun_on_cpu(model):
        model.train_on_batch(X[:8], Y[:8])
        with pytest.raises(kt.debug.StepError, match="sample 1"):
            model.train_on_batch(bad, Y[:8])
        model.train_on_batch(X[:8], Y[:8])
        with pytest.raises(kt.debug.StepError, match="sample 1"):
            model.test_on_batch(bad, Y[:8])
    assert all(np.isfinite(value).all() for value in state(model))


def test_objects_and_unequal_lengths_are_found_before_any_step():
    model = classifier()
    with (
        pytest.raises(kt.debug.StepError, match="of dtype object, which is no number"),
        kt.debug.rerun_on_cpu(model),
    ):
        model.fit(X.astype(object), Y, verbose=0)


def test_memory_that_runs_out_is_told_with_a_smaller_batch():
    class Simulated(keras.Model):
        def train_step(self, *args):
            raise MemoryError("RESOURCE_EXHAUSTED: Out of memory allocating 9 GB")

    inputs = keras.Input((4,))
    model = Simulated(inputs, layers.Dense(3)(inputs))
    model.compile("sgd", "mse")
    with pytest.raises(kt.debug.StepError) as caught, kt.debug.rerun_on_cpu(model):
        model.fit(X, np.zeros((64, 3)), batch_size=16, verbose=0)
    assert "memory ran out on a batch of 16 samples" in caught.value.problem
    assert "use a batch of 8" in caught.value.remedy
    assert "Out of memory" in str(caught.value.__cause__)


def test_a_failure_that_does_not_come_again_says_so():
    class Fails(keras.Model):
        def train_step(self, *args):
            raise RuntimeError("device lost")

    inputs = keras.Input((4,))
    model = Fails(inputs, layers.Dense(3)(inputs))
    model.compile("sgd", "mse")
    with (
        pytest.raises(kt.debug.StepError, match="device lost; the same step succeeds"),
        kt.debug.rerun_on_cpu(model),
    ):
        model.fit(X, np.zeros((64, 3)), verbose=0)
    assert np.isfinite(model.get_weights()[0]).all()


def test_what_is_no_step_is_raised_as_it_is():
    class Fail(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                raise ZeroDivisionError("of the callback")

    def broken():
        yield X[:8], Y[:8]
        raise OSError("disk gone")

    class Interrupted(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return X[:8], Y[:8]

    model = classifier()
    with kt.debug.rerun_on_cpu(model):
        with pytest.raises(ZeroDivisionError, match="of the callback"):
            model.fit(X, Y, batch_size=8, verbose=0, callbacks=[Fail()])
        with pytest.raises(Exception, match="disk gone"):
            model.fit(broken(), shuffle=False, verbose=0)
        model.fit(Interrupted(), verbose=0)
    assert all(np.isfinite(value).all() for value in state(model))


def test_ctrl_c_in_the_first_step_leaves_the_model_whole():
    class Stopped(keras.Model):
        def train_step(self, *args):
            raise KeyboardInterrupt

    inputs = keras.Input((4,))
    model = Stopped(inputs, layers.Dense(3)(inputs))
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(KeyboardInterrupt), kt.debug.rerun_on_cpu(model):
        model.fit(X, np.zeros((64, 3)), verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_while_nothing_fails_the_training_is_the_same_and_nothing_is_left():
    plain, watched = classifier("adam"), classifier("adam")
    watched.set_weights(plain.get_weights())
    given = {"batch_size": 8, "shuffle": False, "verbose": 0, "epochs": 3}
    one = plain.fit(X, Y, validation_data=(X, Y), **given)
    hooks = ("fit", "evaluate", "make_train_function", "make_test_function")
    with kt.debug.rerun_on_cpu(watched):
        other = watched.fit(X, Y, validation_data=(X, Y), **given)
        assert all(hook in vars(watched) for hook in hooks)
    assert not any(hook in vars(watched) for hook in hooks)
    assert not hasattr(watched.train_function, "guarded_function")
    assert not hasattr(watched.test_function, "guarded_function")
    for name, values in one.history.items():
        np.testing.assert_allclose(values, other.history[name], rtol=1e-5)
    watched.fit(X, Y, **given)


def test_callbacks_that_change_the_step_work_inside():
    model = classifier(keras.optimizers.SGD(0.1))
    callbacks = [
        kt.callbacks.ScaleLearningRate(8),
        kt.callbacks.HalveOnPlateau("loss", patience=1, min_delta=100.0),
    ]
    bad = X.copy()
    bad[-1] = np.nan
    with kt.debug.rerun_on_cpu(model):
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
        with pytest.raises(kt.debug.StepError, match="sample 7"):
            model.fit(bad, Y, batch_size=8, shuffle=False, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)


def test_wrong_arguments_are_refused():
    model = classifier()
    with pytest.raises(TypeError, match="must be a compiled keras"):
        kt.debug.rerun_on_cpu(3).__enter__()
    with pytest.raises(TypeError, match="`save_to` must be a string"):
        kt.debug.rerun_on_cpu(model, save_to=3).__enter__()
    with pytest.raises(ValueError, match="`new_process` must be one of None, True"):
        kt.debug.rerun_on_cpu(model, new_process="yes").__enter__()


def test_a_batch_that_cannot_be_written_does_not_hide_the_failure(tmp_path):
    (tmp_path / "file").write_text("no folder")
    bad = X.copy()
    bad[0] = np.nan
    model = classifier()
    with (
        pytest.raises(kt.debug.StepError, match=r"holds nan.*could not be written"),
        kt.debug.rerun_on_cpu(model, save_to=tmp_path / "file" / "a.npz"),
    ):
        model.fit(bad, Y, verbose=0)


@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
def test_a_model_that_is_not_built_has_its_weights_after_a_failing_first_step(method):
    wrong = keras.Sequential([layers.Dense(5, activation="tanh"), layers.Dense(3)])
    wrong.compile("sgd", "sparse_categorical_crossentropy")
    labels = Y.reshape(64, 1).repeat(2, 1)
    with (
        pytest.raises(kt.debug.StepError, match=r"labels of shape \(\d+, 2\)"),
        kt.debug.rerun_on_cpu(wrong),
    ):
        getattr(wrong, method)(X, labels)
    assert [value.shape for value in wrong.get_weights()] == [
        (4, 5),
        (5,),
        (5, 3),
        (3,),
    ]
    # TensorFlow left them without values, and the next training failed.
    history = wrong.fit(X, Y, batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_a_layer_that_cannot_be_built_is_named():
    model = keras.Sequential(
        [layers.Dense(5), layers.Reshape((7,), name="wrong"), layers.Dense(3)]
    )
    model.compile("sgd", "mse")
    with pytest.raises(kt.debug.StepError) as caught, kt.debug.rerun_on_cpu(model):
        model.fit(X, np.zeros((64, 3)), batch_size=8, verbose=0)
    assert caught.value.layer == "wrong"
    assert caught.value.__cause__ is not None
