import functools

import keras
import pytest

from keras_tricks import _build


def compiled():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_only_what_the_signature_accepts_is_given():
    offered = {"seed": 3, "member": 1}
    assert _build.call(lambda: "none", **offered) == "none"
    assert _build.call(lambda seed: seed, **offered) == 3
    assert _build.call(lambda units=8, *, member=0: (units, member), **offered) == (
        8,
        1,
    )
    assert _build.call(lambda **given: given, **offered) == offered
    assert _build.call(lambda *args: args, **offered) == ()
    assert _build.call(lambda seed=5, /: seed, **offered) == 5


def test_a_partial_a_class_and_a_method_can_be_called():
    class Builder:
        def __init__(self, seed=0):
            self.seed = seed

        def method(self, member):
            return (self.seed, member)

    assert _build.call(Builder, seed=2).seed == 2
    assert _build.call(Builder(4).method, seed=2, member=1) == (4, 1)
    partial = functools.partial(lambda units, seed: (units, seed), 16)
    assert _build.call(partial, seed=2) == (16, 2)


def test_what_does_not_tell_its_signature_gets_nothing():
    assert _build.call(dict, seed=2) == {}


def test_an_argument_that_is_not_offered_is_named():
    message = r"`build` must not need .*\(`seed`, by name\).* asks for `units`"
    with pytest.raises(TypeError, match=message):
        _build.call(lambda seed, units: None, seed=1)
    with pytest.raises(TypeError, match=r"asks for `seed`"):
        _build.call(lambda seed, /: None, seed=1)
    with pytest.raises(TypeError, match=r"`callbacks` must not need .*\(none, by name"):
        _build.call(lambda *, units: None, "callbacks")


def test_only_functions_can_be_called():
    with pytest.raises(TypeError, match="`build` must be a function that returns"):
        _build.call(3)


def test_a_model_must_come_back_compiled():
    assert isinstance(_build.model(compiled, seed=1), keras.Model)
    with pytest.raises(TypeError, match=r"`build` must return a compiled keras\.Model"):
        _build.model(lambda: None)
    plain = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`build` must return a model that is comp"):
        _build.model(lambda: plain)
