import random
import zipfile

import keras
import numpy as np
import pytest

from keras_tricks import _state

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def regression():
    layers = [keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    return model


def numbers(variables):
    return [keras.ops.convert_to_numpy(v.value).tolist() for v in variables]


def everything(model):
    return [*model.variables, *model.optimizer.variables]


MIXED = {
    "float32": [1.5, -2.25],
    "bfloat16": [1.5, -0.0078125],
    "float16": [0.5, 65504.0],
    "int32": [-(2**31), 2**31 - 1],
    "uint8": [0, 255],
    "bool": [True, False],
}


def mixed(zero=False):
    return [
        keras.Variable(
            np.zeros(2) if zero else np.array(value), dtype=dtype, trainable=False
        )
        for dtype, value in MIXED.items()
    ]


# --- Copies -------------------------------------------------------------------------


def test_values_of_every_type_come_back():
    variables = mixed()
    copies = _state.copy_variables(variables)
    for variable in variables:
        variable.assign(keras.ops.zeros_like(variable.value))
    assert not any(np.any(number) for number in numbers(variables))
    _state.assign_variables(copies)
    assert numbers(variables) == list(MIXED.values())
    dtypes = [keras.backend.standardize_dtype(v.dtype) for v in variables]
    assert dtypes == list(MIXED)


def test_a_variable_named_twice_is_copied_once():
    first, second = mixed()[:2]
    copies = _state.copy_variables([first, second, first])
    assert [variable for variable, _ in copies] == [first, second]


def test_training_on_does_not_change_a_copy():
    model = regression()
    model.fit(X, Y, verbose=0)
    before = numbers(everything(model))
    copies = _state.copy_variables(everything(model))
    model.fit(X, Y, epochs=2, verbose=0)
    assert [value.tolist() for _, value in copies] == before
    assert numbers(everything(model)) != before


def test_training_on_after_a_return_does_not_change_the_copy():
    # On JAX a shared buffer would be donated to the next step.
    model = regression()
    model.fit(X, Y, verbose=0)
    before = numbers(everything(model))
    copies = _state.copy_variables(everything(model))
    for _ in range(2):
        model.fit(X, Y, epochs=2, verbose=0)
        _state.assign_variables(copies)
        assert numbers(everything(model)) == before
    assert [value.tolist() for _, value in copies] == before


# --- Files --------------------------------------------------------------------------


def test_values_of_every_type_come_back_from_a_file(tmp_path):
    _state.write_copies(tmp_path / "file", _state.copy_variables(mixed()))
    others = mixed(zero=True)
    copies = _state.read_copies(tmp_path / "file", others)
    assert not any(np.any(number) for number in numbers(others))
    _state.assign_variables(copies)
    assert numbers(others) == list(MIXED.values())


def test_a_model_comes_back_from_a_file(tmp_path):
    model, other = regression(), regression()
    for each in (model, other):
        each.fit(X, Y, verbose=0)
    assert numbers(everything(model)) != numbers(everything(other))
    path = tmp_path / "folder" / "file"
    _state.write_copies(path, _state.copy_variables(everything(model)))
    _state.assign_variables(_state.read_copies(path, everything(other)))
    assert numbers(everything(model)) == numbers(everything(other))
    other.fit(X, Y, verbose=0)
    assert numbers(everything(model)) != numbers(everything(other))


def test_values_that_are_not_finite_come_back_from_a_file(tmp_path):
    variable = keras.Variable([np.nan, np.inf, -np.inf])
    _state.write_copies(tmp_path / "file", _state.copy_variables([variable]))
    ((_, value),) = _state.read_copies(tmp_path / "file", [variable])
    np.testing.assert_array_equal(value, [np.nan, np.inf, -np.inf])


def zip_of(path, **contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name.removeprefix("_"), content)


@pytest.mark.parametrize(
    "contents",
    [
        {},
        {"_0": b"1234"},
        {"_0": b"12345678", "_1": b"1234"},
        {"_0": b"1234567"},
        {"_0": b"123456789"},
        {"_1": b"12345678"},
        {"name": b"12345678"},
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, contents):
    path = tmp_path / "file"
    zip_of(path, **contents)
    text = (
        r"file' must hold the weights of this model. Received: a file that cannot be "
        r"used \(its arrays are not those of the model\); delete its folder to start"
    )
    with pytest.raises(ValueError, match=text):
        _state.read_copies(path, [keras.Variable([1.0, 2.0])])


@pytest.mark.parametrize("content", [None, b"", b"not a zip"])
def test_a_file_that_is_no_zip_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"file' must hold the weights of this model"):
        _state.read_copies(tmp_path / "file", [keras.Variable([1.0, 2.0])])


def test_any_flipped_bit_is_found_or_does_no_harm(tmp_path):
    path = tmp_path / "file"
    variable = keras.Variable([1.0, 2.0])
    _state.write_copies(path, _state.copy_variables([variable]))
    whole = path.read_bytes()
    others = {}
    for place in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            ((_, value),) = _state.read_copies(path, [variable])
        except ValueError as error:
            assert "must hold the weights of this model" in str(error)  # noqa: PT017
        except Exception as error:
            others[place] = type(error)
        else:
            assert value.tolist() == [1.0, 2.0]
    assert set(others.values()) == set()


# --- Borrowing ----------------------------------------------------------------------


class Stop(Exception):  # noqa: N818
    pass


def change(model):
    """Does to the model what a probe might do."""
    model.fit(X, Y, verbose=0)
    model.optimizer = keras.optimizers.SGD(1.0)
    model.train_step = lambda *arguments: None
    model.train_function = model.test_function = lambda *arguments: {}
    model.predict_function = lambda *arguments: {}
    model.steps_per_execution = 3
    model.stop_training = True


@pytest.mark.parametrize("error", [None, Stop(), KeyboardInterrupt()])
@pytest.mark.parametrize("trained", [True, False], ids=["trained", "fresh"])
def test_a_model_is_given_back_however_the_block_ends(error, trained):
    model = regression()
    if trained:
        model.fit(X, Y, verbose=0)
    own = {
        name: value for name, value in vars(model).items() if not name.startswith("_")
    }
    variables = everything(model)
    before = numbers(variables)
    try:
        with _state.borrowed(model):
            change(model)
            if error is not None:
                raise error
    except (Stop, KeyboardInterrupt) as caught:
        assert caught is error  # noqa: PT017
    after = {
        name: value for name, value in vars(model).items() if not name.startswith("_")
    }
    assert "train_step" not in after
    assert ("history" in after) == trained
    assert after.keys() == own.keys()
    assert all(after[name] is value for name, value in own.items())
    assert numbers(variables) == before
    model.fit(X, Y, verbose=0)
    assert numbers(variables) != before


def test_an_own_train_step_is_given_back():
    model = regression()
    step = model.train_step
    model.train_step = step
    with _state.borrowed(model):
        model.train_step = None
    assert model.train_step is step


def test_metrics_that_have_counted_keep_their_count():
    model = regression()
    model.evaluate(X, Y, verbose=0)
    before = numbers(model.metrics_variables)
    assert before[1] > 0
    with _state.borrowed(model):
        model.fit(X, Y, verbose=0)
        model.reset_metrics()
    assert numbers(model.metrics_variables) == before


@pytest.mark.parametrize("error", [None, Stop()])
def test_random_numbers_go_on_as_if_nothing_had_been(error):
    model = regression()

    def draw():
        return random.random(), np.random.random()

    keras.utils.set_random_seed(5)
    expected = draw()
    keras.utils.set_random_seed(5)
    try:
        with _state.borrowed(model):
            draw()
            keras.utils.set_random_seed(9)
            model.fit(X, Y, verbose=0)
            if error is not None:
                raise error
    except Stop as caught:
        assert caught is error  # noqa: PT017
    assert draw() == expected


@pytest.mark.backend("torch", reason="PyTorch has a global generator of its own")
def test_random_numbers_of_torch_go_on_as_if_nothing_had_been():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3).tolist()
    torch.manual_seed(5)
    with _state.borrowed(regression()):
        torch.rand(7)
        keras.utils.set_random_seed(9)
    assert torch.rand(3).tolist() == expected


@pytest.mark.backend("torch", reason="the others keep no gradients and no modes")
def test_gradients_and_modes_of_torch_are_given_back():
    model = regression()
    model.fit(X, Y, verbose=0)
    model.train()
    parameter = next(iter(model.parameters()))
    before = None if parameter.grad is None else parameter.grad.tolist()
    with _state.borrowed(model):
        model.fit(X, Y, verbose=0)
        model.eval()
        parameter.grad = None
    assert model.training
    after = None if parameter.grad is None else parameter.grad.tolist()
    assert after == before


@pytest.mark.backend("tensorflow", reason="TensorFlow has a global seed and a counter")
def test_random_numbers_of_tensorflow_go_on_as_if_nothing_had_been():
    import tensorflow as tf

    model = regression()

    def draw(borrow):
        tf.random.set_seed(5)
        first = tf.random.uniform(()).numpy()
        if borrow:
            with _state.borrowed(model):
                tf.random.uniform(())
                keras.utils.set_random_seed(9)
                tf.random.uniform(())
        return first, tf.random.uniform(()).numpy()

    assert draw(True) == draw(False)


def test_a_loss_that_was_not_built_is_not_built_after():
    # `fit` draws from the global random numbers when it builds it.
    model = regression()
    with _state.borrowed(model):
        model.fit(X, Y, verbose=0)
    untouched = regression()
    for name in ("_compile_loss", "_compile_metrics"):
        borrowed, fresh = vars(model)[name], vars(untouched)[name]
        assert (borrowed is None) == (fresh is None)
        assert borrowed is None or borrowed.built == fresh.built


def test_a_model_without_an_optimizer_can_be_borrowed():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer=None)
    assert model.optimizer is None
    before = numbers(model.variables)
    with _state.borrowed(model):
        model.set_weights([weight + 1 for weight in model.get_weights()])
    assert numbers(model.variables) == before
