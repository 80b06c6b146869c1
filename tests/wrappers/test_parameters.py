import functools

import keras
import numpy as np
import pytest
import sklearn
from sklearn.base import clone

from keras_tricks.wrappers import KerasClassifier, KerasRegressor

X = np.linspace(-1, 1, 8)[:, None]
Y = np.repeat([0, 1], 4)


def build(units=4, *, activation="relu", epochs=7, meta=None):
    layers = [keras.layers.Dense(units, activation), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential(layers, name=f"for_{epochs}_epochs")
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy")
    return model


def test_arguments_of_build_are_parameters():
    made = KerasClassifier(build, units=3)
    assert made.get_params(deep=False)["units"] == 3
    assert "activation" not in made.get_params(deep=False)
    deep = made.get_params()
    assert deep["units"] == deep["build__units"] == made.units == 3
    assert deep["activation"] == deep["build__activation"] == "relu"
    assert deep["epochs"] == 1
    assert deep["build__epochs"] == 7
    assert "meta" not in deep
    made.set_params(build__units=5, activation="tanh")
    assert (made.units, made.activation) == (5, "tanh")
    made.units = 6
    assert made.get_params()["units"] == 6
    made.fit(X, Y)
    assert made.model_.layers[0].units == 6
    assert made.model_.name == "for_1_epochs"
    assert made.set_params(build__epochs=9).fit(X, Y).model_.name == "for_9_epochs"


def test_a_clone_has_what_was_given_and_no_more():
    made = KerasClassifier(build, units=3, optimizer__learning_rate=0.25)
    with sklearn.config_context(enable_metadata_routing=True):
        made.set_fit_request(sample_weight=True)
    twin = clone(made)
    assert twin.get_params(deep=False) == made.get_params(deep=False)
    assert "activation" not in twin.get_params(deep=False)
    assert twin.get_metadata_routing().fit.requests["sample_weight"] is True
    twin.set_params(units=8)
    assert made.units == 3


def test_a_typo_gets_a_hint():
    made = KerasClassifier(build)
    with pytest.raises(ValueError, match=r"Invalid parameter 'unit' .*mean 'units'\?"):
        made.set_params(unit=3)
    with pytest.raises(ValueError, match=r"Did you mean 'units'\?"):
        KerasClassifier(build, unit=3).fit(X, Y)
    with pytest.raises(AttributeError, match="'KerasClassifier' has no attribute 'u'"):
        _ = made.u
    with pytest.raises(
        ValueError, match=r"`optimizer__learning_rte` .* 'optimizer__learning_rate'\?"
    ):
        KerasClassifier(build, optimizer__learning_rte=3).fit(X, Y)


def test_what_build_cannot_do_without_must_be_given():
    def needing(units):
        return build(units)

    with pytest.raises(ValueError, match=r"`units` must be given: `build` asks for it"):
        KerasClassifier(needing).fit(X, Y)
    made = KerasClassifier(needing).set_params(units=2).fit(X, Y)
    assert made.model_.layers[0].units == 2


def test_a_build_may_take_any_argument_or_be_partial():
    def taking_all(**arguments):
        assert arguments == {"units": 3}
        return build(**arguments)

    KerasClassifier(taking_all).set_params(units=3).fit(X, Y)
    made = KerasClassifier(functools.partial(build, units=2))
    assert made.get_params()["units"] == 2
    assert made.fit(X, Y).model_.layers[0].units == 2


def test_the_arguments_of_the_optimizer_are_parameters():
    made = KerasClassifier(build, optimizer__learning_rate=0.125).fit(X, Y)
    assert isinstance(made.model_.optimizer, keras.optimizers.SGD)
    assert float(made.model_.optimizer.learning_rate) == 0.125
    given = keras.optimizers.Adam(0.5, beta_1=0.25)
    for optimizer in (given, "adam", keras.optimizers.Adam):
        made.set_params(optimizer=optimizer).fit(X, Y)
        own = made.model_.optimizer
        assert isinstance(own, keras.optimizers.Adam)
        assert own is not optimizer
        assert float(own.learning_rate) == 0.125
    assert not given.built
    assert float(given.learning_rate) == 0.5


def test_a_build_may_take_the_optimizer_and_the_loss():
    def taking(optimizer, loss="mse"):
        taken.append((optimizer, loss))
        return build()

    taken = []
    made = KerasRegressor(taking, optimizer="adam", optimizer__learning_rate=0.25)
    made.fit(X, Y)
    assert float(taken[0][0].learning_rate) == 0.25
    assert taken[0][1] == "mse"
    # The model was compiled by `build`, which made nothing of it.
    assert isinstance(made.model_.optimizer, keras.optimizers.SGD)


def test_fit_leaves_the_parameters_alone():
    stop = keras.callbacks.EarlyStopping("loss")
    made = KerasClassifier(build, callbacks=[stop], class_weight={0: 2.0}, epochs=2)
    before = made.get_params(deep=False)
    noted = (dict(vars(stop)), dict(made.class_weight), list(made.callbacks))
    made.fit(X, Y)
    after = made.get_params(deep=False)
    assert all(after[name] is value for name, value in before.items())
    assert (vars(stop), made.class_weight, made.callbacks) == noted


def test_the_representation_shows_what_was_given():
    made = KerasClassifier(build=None, units=3, epochs=2)
    assert repr(made) == "KerasClassifier(epochs=2, units=3)"
    assert "units" in made._repr_html_()


def test_an_argument_under_two_names_is_refused_if_they_differ():
    with pytest.raises(ValueError, match=r"Received: units=3 and build__units=9"):
        KerasClassifier(build, units=3, build__units=9)
    made = KerasClassifier(build, units=3)
    with pytest.raises(ValueError, match="`units` must be given once"):
        made.set_params(units=3, build__units=9)
    made.set_params(**made.get_params())
    assert made.units == 3


class Handing(KerasClassifier):
    def __init__(self, hidden=3, **others):
        super().__init__(**others)
        self.hidden = hidden


class Whole(KerasClassifier):
    def __init__(self, units=3):
        super().__init__(build, units=units)


def test_a_subclass_has_the_parameters_that_it_hands_on():
    made = Handing(5, epochs=7, units=9)
    twin = clone(made)
    assert (twin.hidden, twin.epochs, twin.units) == (5, 7, 9)
    assert "hidden" in made.get_params()
    assert made.set_params(epochs=2).epochs == 2
    assert Whole._get_param_names() == ["units"]
