import keras
import numpy as np
import pytest
from scipy import sparse

from keras_tricks.wrappers import KerasClassifier

# Two clouds far apart along the first axis, three along the second.
RNG = np.random.default_rng(0)
X = np.repeat([[-2.0, 0.0], [2.0, -2.0], [2.0, 2.0]], 12, axis=0)
X = (X + RNG.normal(0, 0.2, X.shape)).astype("float32")
WORDS = np.repeat(["cat", "dog", "emu"], 12)
BINARY = np.repeat(["no", "yes"], [12, 24])


def dense(units, activation, loss, rate=0.1):
    model = keras.Sequential([keras.layers.Dense(units, activation)])
    # XLA takes longer than the training; JAX has no other way.
    jit = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=jit)
    return model


def classifier(units, activation, loss, **settings):
    settings = {"epochs": 10, "batch_size": 36, "random_state": 0} | settings
    return KerasClassifier(
        dense, units=units, activation=activation, build__loss=loss, **settings
    )


def fixed(outputs, loss, y, **settings):
    """A classifier whose model gives its inputs, whatever it is trained on."""

    def build():
        # Multiplies each column by a weight, which stays at 1.
        layers = [keras.layers.BatchNormalization(epsilon=0, momentum=1)]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.SGD(0.0), loss)
        return model

    made = KerasClassifier(build, **settings)
    return made.fit(np.asarray(outputs, "float32"), y)


@pytest.mark.parametrize(
    ("units", "activation", "loss"),
    [
        (3, None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        (3, "sigmoid", "binary_crossentropy"),
        (3, None, "categorical_hinge"),
    ],
    ids=["logits", "one-against-rest", "hinge"],
)
def test_string_labels_are_learned_with_any_loss(units, activation, loss):
    made = classifier(units, activation, loss).fit(X, WORDS)
    assert made.score(X, WORDS) == 1
    assert made.classes_.tolist() == ["cat", "dog", "emu"]
    assert made.n_classes_ == 3
    assert made.n_features_in_ == 2
    scores = made.decision_function(X)
    assert (made.classes_[scores.argmax(axis=1)] == WORDS).all()
    if loss == "categorical_hinge":
        assert not hasattr(made, "predict_proba")
        return
    probabilities = made.predict_proba(X)
    assert probabilities.shape == (36, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert (probabilities.argmax(axis=1) == scores.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("units", "activation", "loss"),
    [
        (1, "sigmoid", "binary_crossentropy"),
        (2, "softmax", "sparse_categorical_crossentropy"),
        (1, None, "hinge"),
    ],
    ids=["sigmoid", "softmax", "hinge"],
)
def test_two_classes_have_one_column_of_decisions(units, activation, loss):
    made = classifier(units, activation, loss, epochs=30).fit(X, BINARY)
    assert made.score(X, BINARY) == 1
    decision = made.decision_function(X)
    assert decision.shape == (36,)
    assert ((decision > 0) == (BINARY == "yes")).all()
    if loss != "hinge":
        probabilities = made.predict_proba(X)
        assert probabilities.shape == (36, 2)
        logit = np.log(probabilities[:, 1] / probabilities[:, 0])
        np.testing.assert_allclose(decision, logit, rtol=1e-5, atol=1e-6)


def test_probabilities_and_decisions_are_those_of_the_outputs():
    made = fixed([[0.2, 0.8], [0.5, 0.5]], "sparse_categorical_crossentropy", [0, 1])
    np.testing.assert_allclose(made.predict_proba([[0.1, 0.4]]), [[0.2, 0.8]])
    np.testing.assert_allclose(made.decision_function([[0.1, 0.4]]), [np.log(4)])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    made = fixed([[1.0], [2.0]], loss, ["a", "b"])
    np.testing.assert_allclose(
        made.predict_proba([[np.log(3)], [0.0]]), [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6
    )
    assert made.predict([[0.1], [-0.1]]).tolist() == ["b", "a"]


def test_outputs_that_are_no_probabilities_are_refused():
    made = fixed([[0.2, 0.8], [0.5, 0.5]], "sparse_categorical_crossentropy", [0, 1])
    with pytest.raises(ValueError, match=r"from -1 to 3; end the model with a sigmoid"):
        made.predict([[-1.0, 3.0]])
    made = fixed([[0.2, 0.8], [0.5, 0.5]], "sparse_categorical_crossentropy", [0, 1])
    made.model_ = keras.Sequential([keras.layers.Rescaling(np.inf)])
    with pytest.raises(ValueError, match="has diverged: try a lower learning rate"):
        made.predict([[0.2, 0.8]])


def test_several_labels_at_once_keep_their_form():
    y = np.stack([X[:, 0] > 0, X[:, 1] > 1], axis=1).astype("int8")
    made = classifier(2, "sigmoid", "binary_crossentropy", epochs=25).fit(X, y)
    predicted = made.predict(X)
    assert (predicted == y).all()
    assert predicted.dtype == y.dtype
    assert made.n_outputs_ == 2
    assert made.target_type_ == "multilabel-indicator"
    assert ((made.predict_proba(X) > 0.5) == y).all()
    assert ((made.decision_function(X) > 0) == y).all()


def test_one_hot_targets_get_one_hot_predictions():
    y = np.eye(3, dtype=int)[np.repeat([0, 1, 2], 12)]
    made = classifier(3, "softmax", "categorical_crossentropy").fit(X, y)
    assert (made.predict(X) == y).all()
    np.testing.assert_allclose(made.predict_proba(X).sum(axis=1), 1, rtol=1e-12)


def test_an_image_and_a_dictionary_are_inputs_too():
    images = np.repeat(X[:, :, None, None], 3, axis=2)
    made = KerasClassifier(epochs=2, random_state=0).fit(images, WORDS)
    assert made.input_shape_ == (2, 3, 1)
    assert made.predict(images).shape == (36,)
    with pytest.raises(ValueError, match=r"has seen, 4 axes. Received: an array of 2"):
        made.predict(X)

    def build(meta):
        assert meta["input_shape_"] == {"a": (1,), "b": (1,)}
        inputs = {name: keras.Input((1,), name=name) for name in "ab"}
        joined = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
        outputs = keras.layers.Dense(meta["n_classes_"], "softmax")(joined)
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
        return model

    parts = {"a": X[:, :1], "b": X[:, 1:]}
    made = KerasClassifier(build, epochs=10, batch_size=36, random_state=0)
    assert made.fit(parts, WORDS).score(parts, WORDS) == 1
    assert not hasattr(made, "n_features_in_")
    with pytest.raises(ValueError, match=r"\['a', 'b'\]. Received: a dictionary"):
        made.predict({"a": X[:, :1]})
    with pytest.raises(ValueError, match="must be given for inputs in a dictionary"):
        KerasClassifier().fit(parts, WORDS)


def test_sparse_inputs_are_refused_with_the_remedy():
    for form in (sparse.csr_matrix, sparse.dok_array):
        with pytest.raises(TypeError, match=r"Use '.toarray\(\)'"):
            KerasClassifier().fit(form(X), WORDS)


def test_weights_have_a_mean_of_one_and_zeros_are_left_out():
    seen = []

    class Noting(keras.Sequential):
        def fit(self, x, y, sample_weight=None, **others):
            seen.append((len(x), sample_weight))
            return super().fit(x, y, sample_weight=sample_weight, **others)

    def build():
        model = Noting([keras.layers.Dense(1, "sigmoid")])
        model.compile("sgd", "binary_crossentropy")
        return model

    made = KerasClassifier(build, class_weight={"yes": 3})
    weights = np.r_[np.zeros(6), np.full(6, 0.5), np.full(6, 0.5), np.zeros(18)]
    made.fit(X, BINARY, sample_weight=weights)
    # 0.5 and 1.5 have a mean of 1.
    assert seen[0][0] == 12
    np.testing.assert_allclose(seen[0][1], np.repeat([0.5, 1.5], 6))
    made.set_params(class_weight="balanced").fit(X, BINARY)
    # 12 of one class and 24 of the other: 36 / 2 / 12 and 36 / 2 / 24.
    np.testing.assert_allclose(seen[1][1], np.repeat([1.5, 0.75], [12, 24]))
    made.set_params(class_weight=None).fit(X, BINARY, sample_weight=np.full(36, 7.0))
    assert seen[2][1] is None
    made.partial_fit(X, BINARY, sample_weight=np.full(36, 7.0))
    np.testing.assert_allclose(seen[3][1], 7.0)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"class_weight": {"maybe": 2}}, ValueError, r"Received: \['maybe'\]"),
        ({"class_weight": {"no": 0, "yes": 0}}, ValueError, "zero for every class"),
        ({"class_weight": {"no": -1}}, ValueError, "numbers of at least 0"),
        ({"class_weight": 3}, TypeError, '"balanced" or a dictionary'),
        ({"epochs": 0}, ValueError, "`epochs` must be a positive integer"),
        ({"batch_size": 2.5}, TypeError, "`batch_size` must be a positive integer"),
        ({"validation_fraction": 1}, ValueError, r"a number in \[0, 1\)"),
    ],
)
def test_wrong_settings_are_refused_by_fit(given, error, text):
    with pytest.raises(error, match=text):
        KerasClassifier(**given).fit(X, BINARY)


@pytest.mark.parametrize(
    ("y", "settings", "text"),
    [
        (np.ones(36), {}, "at least 2 classes. Received: 1 class"),
        (np.stack([np.arange(36) % 3] * 2, 1), {}, "use sklearn.multioutput"),
        (WORDS, {"units": 2}, "3 output units for the 3 classes of `y`. Received: 2"),
        (BINARY, {"units": 3}, r"2 output units \(or one unit\)"),
        (np.eye(3, dtype=int)[[0, 1, 2] * 12], {}, "one number for each label"),
        (np.eye(3, dtype=int)[[0, 1, 2] * 12], {"class_weight": "balanced"}, "multil"),
    ],
    ids=["one class", "two targets", "units", "binary", "sparse loss", "weights"],
)
def test_targets_that_do_not_fit_are_refused(y, settings, text):
    loss = "sparse_categorical_crossentropy"
    made = classifier(3, "softmax", loss).set_params(**settings)
    with pytest.raises(ValueError, match=text):
        made.fit(X, y)


def test_weights_of_zero_only_and_a_missing_y_are_refused():
    with pytest.raises(ValueError, match="zero"):
        KerasClassifier().fit(X, BINARY, sample_weight=np.zeros(36))
    with pytest.raises(ValueError, match="requires y to be passed"):
        KerasClassifier().fit(X[:, :, None], None)


def test_partial_fit_goes_on_where_it_was():
    loss = "sparse_categorical_crossentropy"
    made = classifier(3, "softmax", loss)
    made.partial_fit(X[:24], WORDS[:24], classes=["emu", "cat", "dog"])
    model = made.model_
    for _ in range(9):
        made.partial_fit(X, WORDS)
    assert made.model_ is model
    assert len(made.history_["loss"]) == 10
    assert made.score(X, WORDS) == 1
    with pytest.raises(ValueError, match=r"\['cow'\]; give all classes to the first"):
        made.partial_fit(X[:1], ["cow"])
    with pytest.raises(ValueError, match=r"as in the first fit. Received: one of"):
        made.partial_fit(X[:2], [[0, 1, 1], [1, 1, 0]])
    made.set_params(class_weight="balanced")
    with pytest.raises(ValueError, match="which does not see all rows"):
        made.partial_fit(X, WORDS)


def test_warm_start_goes_on_and_a_plain_fit_does_not():
    loss = "sparse_categorical_crossentropy"
    made = classifier(3, "softmax", loss, epochs=2, warm_start=True).fit(X, WORDS)
    model = made.model_
    made.fit(X, WORDS)
    assert made.model_ is model
    assert len(made.history_["loss"]) == 4
    made.set_params(warm_start=False).fit(X, WORDS)
    assert made.model_ is not model
    assert len(made.history_["loss"]) == 2


def test_a_share_of_each_class_is_held_out():
    loss = "sparse_categorical_crossentropy"
    rows = []
    stop = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: rows.append(stop.params)
    )
    made = classifier(
        3,
        "softmax",
        loss,
        epochs=2,
        validation_fraction=0.25,
        batch_size=3,
        callbacks=lambda: [stop],
    ).fit(X, WORDS)
    assert len(made.history_["val_loss"]) == 2
    # 27 of 36 rows in batches of 3.
    assert rows[0]["steps"] == 9


def test_callbacks_are_copied_unless_a_function_gives_them():
    stop = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=100.0)
    made = KerasClassifier(epochs=5, callbacks=[stop], random_state=0)
    for callbacks in ([stop], stop):
        made.set_params(callbacks=callbacks).fit(X, BINARY)
        assert len(made.history_["loss"]) == 2
        assert stop.stopped_epoch == 0
    made.set_params(callbacks=lambda: [stop]).fit(X, BINARY)
    assert stop.stopped_epoch == 1


def test_two_fits_with_one_seed_are_equal_and_disturb_nothing():
    def build(seed):
        seeds.append(seed)
        layers = [keras.layers.Dense(8), keras.layers.Dropout(0.5)]
        model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
        model.compile("adam", "binary_crossentropy")
        return model

    seeds, results = [], []
    made = KerasClassifier(build, epochs=3, batch_size=8, random_state=3)
    for _ in range(2):
        before = np.random.get_state()[1].copy(), np.random.default_rng
        made.fit(X, BINARY)
        assert (np.random.get_state()[1] == before[0]).all()
        results.append(made.predict_proba(X))
    assert seeds[0] == seeds[1]
    assert (results[0] == results[1]).all()
    other = KerasClassifier(build, epochs=3, batch_size=8, random_state=4)
    assert (other.fit(X, BINARY).predict_proba(X) != results[0]).any()


def test_the_random_numbers_of_the_backend_are_given_back():
    def draws():
        keras.utils.set_random_seed(5)
        if fitting:
            KerasClassifier(random_state=0).fit(X, BINARY)
        # Shuffled by the random numbers that are global.
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model.fit(X, X[:, :1], batch_size=4, verbose=0).history["loss"]

    fitting = False
    expected = draws()
    fitting = True
    assert draws() == expected


def test_a_row_alone_is_predicted_as_among_others():
    made = KerasClassifier(batch_size=16, random_state=0).fit(X, WORDS)
    together = made.predict_proba(X)
    alone = np.concatenate([made.predict_proba(X[i : i + 1]) for i in range(36)])
    np.testing.assert_allclose(alone, together, rtol=2e-7)
