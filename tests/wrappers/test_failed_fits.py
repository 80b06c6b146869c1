"""What a fit leaves behind that was refused, or that another thread disturbs."""

import threading

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.wrappers import KerasClassifier

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = np.array(["a", "b", "c"])[np.arange(24) % 3]


def build(units=3, meta=None):
    model = keras.Sequential([keras.layers.Dense(units, "softmax")])
    jit = keras.backend.backend() == "jax"
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=jit)
    return model


def test_a_refused_fit_leaves_the_estimator_as_it_was():
    made = KerasClassifier(build, random_state=0).fit(X, Y)
    before, state = made.predict(X), dict(vars(made))
    five = np.array(list("vwxyz"))[np.arange(24) % 5]
    for x in (X, X[:, :2]):
        with pytest.raises(ValueError, match="5 output units for the 5 classes"):
            made.fit(x, five)
        assert made.classes_.tolist() == ["a", "b", "c"]
        assert (made.predict(X) == before).all()
        assert vars(made) == state
    with pytest.raises(ValueError, match="3 output units"):
        KerasClassifier(build, units=4).fit(X, Y).predict(X)


def test_an_interrupted_fit_leaves_the_estimator_as_it_was():
    def stop(batch, logs):
        raise KeyboardInterrupt

    made = KerasClassifier(build, random_state=0).fit(X, Y)
    state = dict(vars(made))
    made.callbacks = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(KeyboardInterrupt):
        made.fit(X, Y[::-1])
    made.callbacks = None
    assert vars(made) == state


def test_seeded_fits_in_threads_do_not_disturb_each_other():
    def fit(place):
        made = KerasClassifier(build, epochs=3, batch_size=4, random_state=0)
        found[place] = made.fit(X, Y).predict_proba(X)

    found = {}
    fit("alone")
    threads = [threading.Thread(target=fit, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(3):
        assert (found[i] == found["alone"]).all()


def test_going_on_with_other_arguments_warns():
    made = KerasClassifier(build, units=3, warm_start=True).fit(X, Y)
    made.set_params(units=4)
    with pytest.warns(kt.NoEffectWarning, match=r"`units` has no effect .* units=4"):
        made.fit(X, Y)
    with pytest.warns(kt.NoEffectWarning, match="`fit` without warm_start makes"):
        made.partial_fit(X, Y)
    assert made.model_.layers[0].units == 3


def test_epochs_go_on_where_they_were():
    def note(epoch, rate):
        seen.append(epoch)
        return rate

    seen = []
    schedule = keras.callbacks.LearningRateScheduler(note)
    made = KerasClassifier(build, epochs=2, warm_start=True, callbacks=schedule)
    made.fit(X, Y).fit(X, Y).partial_fit(X, Y)
    assert seen == [0, 1, 2, 3, 4]
    assert len(made.history_["loss"]) == 5


@pytest.mark.parametrize(
    ("callbacks", "text"),
    [
        (3, "Received: 3"),
        (["x"], "Received: a list with 'x'"),
        (keras.callbacks.TerminateOnNaN, "TerminateOnNaN'>; call the class"),
        ([keras.callbacks.TerminateOnNaN], "TerminateOnNaN'>; call the class"),
        (lambda: 3, "Received: a function that returned 3"),
    ],
)
def test_what_are_no_callbacks_is_refused(callbacks, text):
    with pytest.raises(TypeError, match=text):
        KerasClassifier(build, callbacks=callbacks).fit(X, Y)
