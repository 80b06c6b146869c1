import keras
import numpy as np
import pytest

from keras_tricks import fusion
from keras_tricks.ensembles import Ensemble

X = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")


@pytest.fixture
def traced():
    """For a test of what is compiled: the others need not wait for a compiler."""


@pytest.fixture(autouse=True)
def _eagerly(request, monkeypatch):
    if "traced" not in request.fixturenames:
        monkeypatch.setattr(keras.Model, "run_eagerly", True)


def model(outputs=3, activation="softmax", seed=0, inputs=4, **kwargs):
    start = keras.initializers.RandomNormal(seed=seed)
    layer = keras.layers.Dense(outputs, activation, kernel_initializer=start, **kwargs)
    return keras.Sequential([keras.Input((inputs,)), layer])


def constant(row, activation=None):
    """A model that answers with the same numbers, whatever it is asked."""
    made = model(len(row), activation)
    made.layers[0].set_weights([np.zeros((4, len(row))), np.array(row)])
    return made


def probabilities(*rows):
    """Models that answer with these probabilities."""
    return [constant(np.log(row), "softmax") for row in rows]


class Opaque(keras.Model):
    """A model whose last activation nobody can see."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


def opaque(inner):
    made = Opaque(inner)
    made(X)
    return made


def answer(ensemble):
    """The one row that an ensemble of constant models gives."""
    found = ensemble.predict(X, verbose=0)
    np.testing.assert_allclose(found, found[:1].repeat(len(X), axis=0), rtol=1e-6)
    return found[0]


def softmax(logits):
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=-1, keepdims=True)


A, B, C = [0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.45, 0.05, 0.5]


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("probabilities", None, [1.05 / 3, 0.95 / 3, 1.0 / 3]),
        ("probabilities", [2, 1, 1], [1.55 / 4, 1.25 / 4, 1.2 / 4]),
        (
            "geometric",
            None,
            np.array([0.0225, 0.009, 0.03]) ** (1 / 3)
            / (np.array([0.0225, 0.009, 0.03]) ** (1 / 3)).sum(),
        ),
        ("vote", None, [1 / 3, 1 / 3, 1 / 3]),
        ("vote", [1, 2, 2], [0.2, 0.4, 0.4]),
        ("mean", [0, 0, 5], C),
        ("median", None, [0.45, 0.3, 0.3]),
        (fusion.mean_probability, [1, 1, 0], [0.3, 0.45, 0.25]),
    ],
)
def test_the_members_are_fused(name, weights, expected):
    ensemble = Ensemble(probabilities(A, B, C), name, weights)
    np.testing.assert_allclose(answer(ensemble), expected, rtol=1e-5)


def test_an_ensemble_of_ensembles_is_the_two_level_scheme(traced):
    one, two = probabilities([0.6, 0.4], [0.0001, 0.9999])
    inner = Ensemble([one, two])  # 0.30 against 0.70: one vote for class 1.
    three = probabilities([0.9, 0.1])[0]
    assert np.allclose(answer(Ensemble([inner, three, one], "vote")), [2 / 3, 1 / 3])
    assert np.allclose(answer(Ensemble([inner, three, two], "vote")), [1 / 3, 2 / 3])


def test_the_same_member_twice_counts_twice_and_is_asked_once():
    calls = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            calls.append(1)
            return inputs

    inner, other = probabilities(A, B)
    counted = keras.Sequential([keras.Input((4,)), Counting(), inner])
    ensemble = Ensemble([counted, other, counted])
    calls.clear()
    ensemble(X)
    assert len(calls) == 1
    assert len(ensemble.weights) == 2 + 2 + 2
    np.testing.assert_allclose(answer(ensemble), [1.1 / 3, 1.2 / 3, 0.7 / 3], rtol=1e-5)


def test_the_answer_does_not_depend_on_the_scale_of_the_weights():
    models = probabilities(A, B)
    one, other = (Ensemble(models, weights=w) for w in ([1, 3], [1e300, 3e300]))
    np.testing.assert_allclose(answer(one), answer(other), rtol=1e-6)
    assert one.member_weights.tolist() == [0.25, 0.75]


# Which kind the outputs are of.

LOGITS = np.array([2.0, -1.0, 0.5])


def compiled(made, loss):
    made.compile("sgd", loss)
    return made


def functional(tail):
    inputs = keras.Input((4,))
    return keras.Model(inputs, tail(constant(LOGITS)(inputs)))


def with_tail(*layers):
    return functional(lambda x: keras.Sequential(layers)(x))


ONCE = {
    "softmax": lambda: constant(LOGITS, "softmax"),
    "no activation": lambda: constant(LOGITS),
    "log_softmax": lambda: constant(LOGITS, "log_softmax"),
    "activation layer": lambda: with_tail(keras.layers.Activation("softmax")),
    "softmax layer": lambda: with_tail(keras.layers.Softmax()),
    "softmax operation": lambda: functional(keras.ops.softmax),
    "then dropout and reshape": lambda: with_tail(
        keras.layers.Softmax(), keras.layers.Dropout(0.5), keras.layers.Reshape((3,))
    ),
    "then a cast to float32": lambda: with_tail(
        keras.layers.Softmax(), keras.layers.Activation("linear", dtype="float32")
    ),
    "a model that ends without": lambda: functional(lambda x: x),
    "an ensemble": lambda: Ensemble([constant(LOGITS), constant(LOGITS, "softmax")]),
    "an ensemble at the end": lambda: keras.Sequential(
        [keras.Input((4,)), Ensemble([constant(LOGITS), constant(LOGITS)])]
    ),
    "unseen, by the loss": lambda: compiled(
        opaque(constant(LOGITS)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ),
    "unseen, by the name of the loss": lambda: compiled(
        opaque(constant(LOGITS, "softmax")), "categorical_crossentropy"
    ),
    "no activation, by the loss": lambda: compiled(
        constant(LOGITS), keras.losses.CategoricalCrossentropy(from_logits=True)
    ),
    "a loss that is wrong for it": lambda: compiled(
        constant(LOGITS, "softmax"),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    ),
}


@pytest.mark.parametrize("how", ONCE)
def test_a_softmax_is_applied_exactly_once(how):
    found = answer(Ensemble([ONCE[how]()]))
    np.testing.assert_allclose(found, softmax(LOGITS), rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "outputs"),
    [("sigmoid", "auto"), (None, "auto"), (None, "logits"), ("relu", "logits")],
)
def test_a_sigmoid_is_applied_exactly_once(activation, outputs):
    ensemble = Ensemble([constant([0.4], activation)], outputs=outputs)
    np.testing.assert_allclose(answer(ensemble), [1 / (1 + np.exp(-0.4))], rtol=1e-6)


def test_several_logits_with_a_binary_loss_get_a_sigmoid_each():
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    ensemble = Ensemble([compiled(constant(LOGITS), loss)])
    np.testing.assert_allclose(answer(ensemble), 1 / (1 + np.exp(-LOGITS)), rtol=1e-6)


def test_members_are_declared_one_by_one():
    models = [opaque(constant(LOGITS)), opaque(constant(A)), constant(LOGITS)]
    ensemble = Ensemble(models, outputs=["logits", "probabilities", "auto"])
    expected = (2 * softmax(LOGITS) + A) / 3
    np.testing.assert_allclose(answer(ensemble), expected, rtol=1e-5)


def test_questions_of_their_own_can_be_declared():
    sigmoids = 1 / (1 + np.exp(-LOGITS))
    for word, expected in [("multilabel logits", sigmoids), ("multilabel", LOGITS)]:
        ensemble = Ensemble([opaque(constant(LOGITS))], outputs=word)
        np.testing.assert_allclose(answer(ensemble), expected, rtol=1e-6)
        assert ensemble.decide(X).shape == (9, 3)
        with pytest.raises(ValueError, match=r"models\[0\], which has several sigm"):
            Ensemble([constant(LOGITS)], "vote", outputs=word)


@pytest.mark.parametrize("name", ["probabilities", "mean"])
def test_sigmoids_that_are_seen_stay_questions_of_their_own(name):
    models = [constant(LOGITS, "sigmoid"), Ensemble([constant(LOGITS, "sigmoid")])]
    ensemble = Ensemble(models, name, outputs="probabilities")
    assert ensemble.decide(X).tolist() == [[1, 0, 1]] * len(X)


def test_questions_and_classes_are_not_mixed():
    models = [constant(A, "sigmoid"), constant(A, "softmax")]
    for name in ("probabilities", "mean"):
        with pytest.raises(ValueError, match=r"all have several sigm.*\[0\] with mul"):
            Ensemble(models, name)
    unseen = [compiled(opaque(models[0]), "binary_crossentropy"), opaque(models[1])]
    ensemble = Ensemble(unseen, outputs=["auto", "probabilities"])
    with pytest.raises(ValueError, match=r"all have several sigm.*\[0\] with mul"):
        ensemble(X)
    one = constant([2.0], "sigmoid")
    mixed = [one, compiled(opaque(one), "binary_crossentropy")]
    assert answer(Ensemble(mixed)) == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_a_function_of_the_user_sees_weights_as_a_tensor(traced):
    def chosen(predictions, weights):
        # JAX takes no Keras variable here.
        shares = keras.ops.where(weights > 0.5, 1.0, 0.0)
        shares = keras.ops.reshape(shares, (-1, 1, 1))
        return keras.ops.sum(shares * keras.ops.stack(list(predictions)), axis=0)

    found = answer(Ensemble(probabilities(A, B), chosen, [1, 3]))
    np.testing.assert_allclose(found, B, rtol=1e-5)


def test_values_stay_as_they_are():
    models = [constant([v, -v]) for v in (1.0, 2.0, 9.0)]
    assert np.allclose(answer(Ensemble(models, "mean")), [4.0, -4.0])
    assert np.allclose(answer(Ensemble(models, "median")), [2.0, -2.0])
    assert np.allclose(answer(Ensemble(models, "mean", [1, 0, 1])), [5.0, -5.0])


CANNOT_BE_TOLD = {
    "cannot be seen and is not compiled": lambda: opaque(constant(A)),
    "cannot be seen and has a loss that is not a cross": lambda: compiled(
        opaque(constant(A)), "mse"
    ),
    "ends without an activation and has a loss that is not": lambda: compiled(
        constant(A), "mse"
    ),
    "without an activation and has a cross-entropy with from_logits=False": (
        lambda: compiled(constant(A), "categorical_crossentropy")
    ),
    "which ends in 'tanh' and is not compiled": lambda: constant(A, "tanh"),
    "activation cannot be seen": lambda: with_tail(keras.layers.Rescaling(2.0)),
    "an ensemble that gives values": lambda: Ensemble([constant(A)], "mean"),
    "in 'tanh'": lambda: keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.RepeatVector(2),
            keras.layers.SimpleRNN(3),
        ]
    ),
}


@pytest.mark.parametrize("why", CANNOT_BE_TOLD)
def test_what_cannot_be_told_must_be_declared(why):
    with pytest.raises(ValueError, match=rf"`outputs` must be declared .*({why})"):
        Ensemble([CANNOT_BE_TOLD[why]()])


def test_a_time_distributed_softmax_is_seen():
    inputs = keras.Input((4,))
    steps = keras.layers.RepeatVector(2)(inputs)
    head = keras.layers.TimeDistributed(keras.layers.Dense(3, "softmax"))
    made = keras.Model(inputs, head(steps))
    found = Ensemble([made, made]).predict(X, verbose=0)
    np.testing.assert_allclose(found, made.predict(X, verbose=0), rtol=1e-5)


def test_the_mean_of_values_and_probabilities_must_be_declared():
    models = [constant(A), constant(A, "softmax")]
    with pytest.raises(ValueError, match="must be declared where some members end in"):
        Ensemble(models, "mean")
    found = answer(Ensemble(models, "mean", outputs=["logits", "auto"]))
    np.testing.assert_allclose(found, softmax(np.array(A)), rtol=1e-6)


@pytest.mark.parametrize("name", ["geometric", "vote"])
def test_several_sigmoids_have_no_single_winner(name):
    models = [constant(A, "sigmoid")]
    with pytest.raises(
        ValueError, match="`fusion` must be 'probabilities' where every"
    ):
        Ensemble(models, name)
    assert Ensemble(models, name, outputs="probabilities").predict(X, verbose=0).any()


def test_several_sigmoids_that_only_the_loss_tells_have_no_single_winner():
    unseen = compiled(opaque(constant(A, "sigmoid")), "binary_crossentropy")
    with pytest.raises(ValueError, match=r"columns of models\[0\], which has several"):
        Ensemble([unseen], "vote").predict(X, verbose=0)
    one = compiled(opaque(constant([2.0], "sigmoid")), "binary_crossentropy")
    assert answer(Ensemble([one, one], "vote")).tolist() == [1.0]
    assert (Ensemble([one]).decide(X) == 1).all()


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ("logit", ValueError),
        (["logits"], ValueError),
        (["logits", "values", 3], ValueError),
        (3, TypeError),
    ],
)
def test_outputs_are_words(outputs, error):
    with pytest.raises(error, match=r"`outputs` must be one of .*per member, here 2"):
        Ensemble([constant(A), constant(B)], outputs=outputs)


def test_values_are_no_probabilities():
    with pytest.raises(ValueError, match="values go with the fusions 'mean' and"):
        Ensemble([constant(A)], outputs="values")


# Classes and codes.


def test_members_with_other_class_orders_are_aligned(traced):
    models = probabilities([0.5, 0.3, 0.2], [0.9, 0.1])
    ensemble = Ensemble(models, classes=[["c", "a", "b"], ["b", "a"]])
    assert ensemble.labels == ["a", "b", "c"]
    np.testing.assert_allclose(answer(ensemble), [0.2, 0.55, 0.25], rtol=1e-5)
    assert ensemble.decide(X).tolist() == ["b"] * len(X)


def test_labels_for_all_members_keep_their_order():
    ensemble = Ensemble(probabilities(A, A), classes=np.array(["z", "y", "x"]))
    np.testing.assert_allclose(answer(ensemble), A, rtol=1e-6)
    assert set(ensemble.decide(X)) == {"z"}


def test_a_column_of_one_class_of_two_is_aligned_with_two_columns():
    models = [constant([1.0], "sigmoid"), *probabilities([0.3, 0.7])]
    ensemble = Ensemble(models, classes=[["no", "yes"], ["yes", "no"]])
    yes = (1 / (1 + np.exp(-1.0)) + 0.3) / 2
    np.testing.assert_allclose(answer(ensemble), [1 - yes, yes], rtol=1e-5)


@pytest.mark.parametrize(
    ("classes", "error"),
    [
        ("abc", TypeError),
        (3, TypeError),
        ([], ValueError),
        (["a", "a"], ValueError),
        ([["a", "b"]], ValueError),
        ([["a", "b"], "c"], ValueError),
    ],
)
def test_classes_are_lists_of_labels(classes, error):
    with pytest.raises(error, match="`classes` must be a list of labels"):
        Ensemble(probabilities(A, B), classes=classes)


def test_classes_are_labels_of_one_kind():
    with pytest.raises(TypeError, match="`classes` must hold labels of one kind"):
        Ensemble(probabilities(A, B), classes=[["a", "b", 3], ["a", "b", "c"]])


@pytest.mark.parametrize(
    "classes", [["a", "b"], list("abcd"), [["a", "b", "c"], ["a", "b"]]]
)
def test_classes_name_every_column(classes):
    match = r"`classes` must name every column.*models\[.\] with 3 columns"
    with pytest.raises(ValueError, match=match):
        Ensemble(probabilities(A, B), classes=classes)


def test_classes_of_members_that_tell_no_columns_are_counted_later():
    ensemble = Ensemble([opaque(constant(A))], outputs="logits", classes=["a", "b"])
    with pytest.raises(ValueError, match=r"every column.*the ensemble with 3 columns"):
        ensemble.decide(X)
    with pytest.raises(ValueError, match="and two classes for a single one"):
        Ensemble([constant([1.0], "sigmoid")], classes=["yes"])


def test_classes_name_every_row_of_a_code_table():
    models = [constant([1.0], "sigmoid")]
    with pytest.raises(ValueError, match=r"every row of a code table.*for 2 rows"):
        Ensemble(models, [[0], [1]], classes=["a", "b", "c"])


def test_members_of_a_code_table_answer_one_question_each(traced):
    # Is it an animal?  How many legs: none, two, four?
    models = [constant([3.0], "sigmoid"), *probabilities([0.1, 0.2, 0.7])]
    code = [[1, 2], [1, 1], [0, 0]]  # dog, bird, stone
    ensemble = Ensemble(models, code, classes=["dog", "bird", "stone"])
    assert set(ensemble.decide(X)) == {"dog"}
    yes = 1 / (1 + np.exp(-3.0))
    expected = fusion.decode_answers(
        [np.array([yes]), np.array([[0.1, 0.2, 0.7]])], np.array(code)
    )
    np.testing.assert_allclose(answer(ensemble), expected[0], rtol=1e-5)
    weighted = Ensemble(models, code, [3, 1])
    expected = [(3 * yes + 0.7) / 4, (3 * yes + 0.2) / 4, (3 * (1 - yes) + 0.1) / 4]
    np.testing.assert_allclose(answer(weighted)[0], expected[0], rtol=1e-5)
    assert weighted.member_weights.tolist() == [0.75, 0.25]


# Bad input.


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("probabilites", r"Did you mean 'probabilities'\?"),
        ("votes", r"Did you mean 'vote'\?"),
        ("best", "fusion='best'$"),
    ],
)
def test_an_unknown_fusion_is_named(name, end):
    with pytest.raises(ValueError, match=f"`fusion` must be one of .*{end}"):
        Ensemble(probabilities(A), name)


@pytest.mark.parametrize("ranks", ["ranks", fusion.rank_average])
def test_ranks_need_all_samples(ranks):
    with pytest.raises(ValueError, match="whole set of samples, and a model sees one"):
        Ensemble(probabilities(A), ranks)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("decode_answers", "give the table itself"),
        ("fit_linear_weights", "method `fit_weights`"),
        ("greedy_selection", "method `select`"),
        ("apply_temperature", "method `calibrate`"),
        ("fit_temperature", "method `calibrate`"),
        ("fit_threshold", "method of that name"),
    ],
)
def test_other_functions_of_fusion_are_refused(name, remedy):
    with pytest.raises(ValueError, match=f"`fusion` must make one .*{remedy}"):
        Ensemble(probabilities(A), getattr(fusion, name))


def test_variances_are_refused():
    with pytest.raises(ValueError, match="it takes variances beside the means"):
        Ensemble(probabilities(A), fusion.mean_and_variance)


@pytest.mark.parametrize("table", [3, [1, 0], [[0.5, 1]], [[0, 1], [1]], None])
def test_a_code_table_holds_integers(table):
    with pytest.raises(TypeError, match="or a code table: integers, one row per class"):
        Ensemble(probabilities(A, B), table)


def test_a_code_table_has_a_column_per_member():
    with pytest.raises(ValueError, match="a table of 3 columns, 2 models"):
        Ensemble(probabilities(A, B), [[0, 1, 1]])


def test_models_are_a_list_of_built_models():
    with pytest.raises(ValueError, match=r"`models` must hold at least one model"):
        Ensemble([])
    with pytest.raises(TypeError, match=r"`models` must be a list of built models"):
        Ensemble(constant(A))
    with pytest.raises(TypeError, match=r"`models\[1\]` must be a built keras.Model"):
        Ensemble([constant(A), "model"])
    unbuilt = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"`models\[1\]` must be built"):
        Ensemble([constant(A), unbuilt])


def test_a_member_has_one_output():
    inputs = keras.Input((4,))
    two = keras.Model(inputs, [keras.layers.Dense(3)(inputs) for _ in range(2)])
    with pytest.raises(ValueError, match=r"one output each. Received: models\[0\]"):
        Ensemble([two])
    named = keras.Model(inputs, {"p": keras.layers.Dense(3)(inputs)})
    with pytest.raises(ValueError, match=r"one output each.*with 1 in a dictionary"):
        Ensemble([named])
    hidden = Ensemble([opaque(named)], outputs="logits")
    with pytest.raises(ValueError, match=r"one output each.*answers with a dict"):
        hidden(X)


def test_outputs_have_one_shape():
    with pytest.raises(ValueError, match=r"one shape; .*\(None, 3\), models\[1\] with"):
        Ensemble([constant(A), constant([1.0, 2.0])])
    hidden = Ensemble([constant(A), opaque(constant([1.0, 2.0]))], outputs="logits")
    with pytest.raises(ValueError, match="must have the same shape for every member"):
        hidden.predict(X, verbose=0)


@pytest.mark.parametrize(
    "weights", [[1], [1, -1], [0, 0], [1, float("nan")], "ab", [[1], [2]]]
)
def test_weights_are_one_per_member(weights):
    with pytest.raises(ValueError, match="`weights` must be 2 numbers of at least 0"):
        Ensemble(probabilities(A, B), weights=weights)


# It is a Keras model.


def test_every_member_is_given_its_inputs_by_name():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    both = keras.layers.Concatenate()([a, b])
    head = [keras.layers.Dense(3, "softmax") for _ in range(4)]
    of_b = keras.Sequential([keras.Input((4,), name="b"), head[2]])
    models = [
        keras.Model({"a": a, "b": b}, head[0](both)),
        keras.Model([b, a], head[1](both)),
        of_b,
        keras.Model({"a": a}, head[3](a)),
    ]
    x = {"a": X, "b": X[::-1]}
    expected = [
        models[0].predict(x, verbose=0),
        models[1].predict([x["b"], x["a"]], verbose=0),
        of_b.predict(x["b"], verbose=0),
        models[3].predict({"a": X}, verbose=0),
    ]
    ensemble = Ensemble(models)
    found = ensemble.predict(x, verbose=0)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-5)
    with pytest.raises(ValueError, match="`x` must hold all inputs of every member"):
        ensemble({"a": X})


def test_evaluate_is_that_of_the_joint_answer(traced):
    ensemble = Ensemble(probabilities(A, B))
    ensemble.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    y = np.array([1, 1, 0, 1, 2, 1, 0, 1, 1])
    loss, accuracy = ensemble.evaluate(X, y, verbose=0)
    assert accuracy == pytest.approx(6 / 9)
    mean = np.array([0.3, 0.45, 0.25])
    assert loss == pytest.approx(-np.log(mean[y]).mean(), rel=1e-5)


def test_fit_trains_all_members_through_their_joint_answer(traced):
    y = np.arange(9) % 3
    models = [model(activation=None if s else "softmax", seed=s) for s in range(5)]
    families = [
        Ensemble(models[:2], "geometric"),
        Ensemble(models[2:4], [[0, 0], [1, 1], [2, 2]]),
        models[4],
    ]
    ensemble = Ensemble(families)
    ensemble.compile(keras.optimizers.SGD(3.0), "sparse_categorical_crossentropy")
    kernels = [made.trainable_weights[0] for made in models]
    before = [np.array(keras.ops.convert_to_numpy(kernel)) for kernel in kernels]
    history = ensemble.fit(X, y, epochs=5, verbose=0).history["loss"]
    assert history[-1] < 0.95 * history[0]
    for kernel, start in zip(kernels, before, strict=True):
        assert np.abs(keras.ops.convert_to_numpy(kernel) - start).max() > 0.05
    np.testing.assert_allclose(ensemble.member_weights, 1 / 3)


def test_a_vote_cannot_be_trained():
    ensemble = Ensemble([Ensemble(probabilities(A, B), "vote", name="v")])
    ensemble.compile("sgd", "sparse_categorical_crossentropy")
    y = np.zeros(9, "int32")
    ensemble.evaluate(X, y, verbose=0)
    for train in (ensemble.fit, ensemble.train_on_batch):
        with pytest.raises(ValueError, match=r"a vote has none\..* ensemble 'v'"):
            train(X, y)
    ensemble.evaluate(X, y, verbose=0)
    hidden = keras.Sequential([keras.Input((4,)), ensemble.models[0]])
    around = Ensemble([hidden, probabilities(C)[0]])
    around.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"a vote has none\..* ensemble 'v'"):
        around.fit(X, y)


def test_dropout_is_off_at_prediction_and_on_in_training():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])
    ensemble = Ensemble([made], "mean")
    np.testing.assert_array_equal(ensemble.predict(X, verbose=0), X)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(ensemble(X)), X)
    dropped = keras.ops.convert_to_numpy(ensemble(X, training=True))
    assert (dropped == 0).any()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_the_answer_is_in_single_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        models = [model(seed=1), model(seed=2, dtype="float32")]
        ensemble = Ensemble(models)
        found = ensemble(X)
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    parts = [keras.ops.cast(made(X), "float32") for made in models]
    expected = np.mean([keras.ops.convert_to_numpy(part) for part in parts], axis=0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-6)


@pytest.mark.backend("torch", "tensorflow", reason="JAX has no double precision here")
def test_the_answer_of_members_in_double_precision_is_in_double():
    ensemble = Ensemble([model(seed=1, dtype="float64")] * 2)
    assert ensemble.predict(X, verbose=0).dtype == "float64"


def test_it_can_be_a_layer_of_a_model():
    inputs = keras.Input((4,))
    ensemble = Ensemble(probabilities(A, B))
    made = keras.Model(inputs, keras.layers.Rescaling(2.0)(ensemble(inputs)))
    assert made.output_shape == (None, 3)
    np.testing.assert_allclose(answer(made), [0.6, 0.9, 0.5], rtol=1e-5)
