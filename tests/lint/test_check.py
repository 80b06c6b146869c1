import random

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks import lint

pytestmark = pytest.mark.usefixtures("undrawn")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype("float32")
Y = RANDOM.normal(size=(40, 1)).astype("float32")


def dense(optimizer="adam", loss="mse"):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="a")])
    model.compile(optimizer, loss)
    return model


def codes(report):
    return {finding.code for finding in report}


@pytest.fixture
def own_rule():
    made = []

    def make(function, code="MY101", **options):
        made.append(code)
        lint.register(code, "Mine.", **options)(function)

    yield make
    for code in made:
        lint.unregister(code)


def test_a_model_that_is_not_compiled_is_checked_as_far_as_it_goes():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, "sigmoid"), layers.Dense(1)]
    )
    report = lint.check(model)
    assert "KT101" in codes(report)
    (note,) = report.notes
    assert note.startswith(f"Sequential {model.name!r}: it is not compiled; not asked:")
    assert "KT310" in note
    assert "KT101" not in note


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(4, "relu", kernel_regularizer="l2")
        self.recurrent = layers.LSTM(4, recurrent_dropout=0.5)

    def call(self, inputs):
        return self.recurrent(self.hidden(inputs))


def test_of_a_subclass_the_layers_are_checked():
    model = Subclass()
    model.compile("adam", "mse")
    model(np.zeros((1, 2, 3), "float32"))
    report = lint.check(model, np.zeros((9, 2, 3)), np.zeros((9, 4)))
    assert {"KT102", "KT104", "KT202", "KT211", "KT320"} <= codes(report)
    graph, outputs = report.notes
    assert "its graph is not known; not asked: KT101, KT103" in graph
    told = "its outputs are not known; the labels are compared with the loss only"
    assert outputs == f"Subclass {model.name!r}: {told}"


def test_nothing_of_the_model_the_data_and_the_random_numbers_changes():
    class Noisy(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            random.random()
            return X + np.random.normal(size=X.shape), Y

    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, "relu"),
            layers.Dropout(0.5),
            layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.AdamW(1e-3)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    state = [*model.variables, *optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(v.value)) for v in state]
    settings = {name: repr(value) for name, value in vars(optimizer).items()}
    python, numpy = random.getstate(), np.random.get_state()
    names = keras.optimizers.SGD().name
    lint.check(model, Noisy(workers=1), epochs=3)
    assert random.getstate() == python
    assert np.array_equal(np.random.get_state()[1], numpy[1])
    assert np.random.get_state()[2] == numpy[2]
    after = [keras.ops.convert_to_numpy(v.value) for v in state]
    assert all(map(np.array_equal, before, after))
    assert {n: repr(v) for n, v in vars(optimizer).items()} == settings
    # Automatic names count up: the next one is the next one.
    counts = [
        int(name.removeprefix("sgd_") if "_" in name else 0)
        for name in (names, keras.optimizers.SGD().name)
    ]
    assert counts[1] == counts[0] + 1


def test_rules_can_be_ignored_one_by_one_or_by_how_they_begin():
    model = dense(keras.optimizers.Adam(9.0), "binary_crossentropy")
    assert {"KT302", "KT310"} <= codes(lint.check(model))
    assert codes(lint.check(model, ignore=["KT310"])) == {"KT302"}
    assert codes(lint.check(model, ignore="KT3")) == set()


@pytest.mark.parametrize(
    ("ignore", "error", "text"),
    [
        (
            ["KT31O"],
            ValueError,
            r"'KT31O', which names none; .* Did you mean 'KT31\d'\?",
        ),
        (["kt310"], ValueError, "Did you mean 'KT310'?"),
        ([""], ValueError, "Received: '', which names none"),
        ([3], TypeError, r"`ignore` must be a list of codes.* Received: 3 in it"),
        (3, TypeError, r"`ignore` must be a list of codes.* Received: ignore=3"),
    ],
)
def test_what_cannot_be_ignored_is_told(ignore, error, text):
    with pytest.raises(error, match=text):
        lint.check(dense(), ignore=ignore)


def test_arguments_of_a_wrong_kind_are_told():
    with pytest.raises(TypeError, match=r"`model` must be a built keras.Model"):
        lint.check(3)
    with pytest.raises(ValueError, match="`model` must be built"):
        lint.check(keras.Sequential([layers.Dense(1)]))
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        lint.check(dense(), batch_size=0)
    with pytest.raises(TypeError, match="`epochs` must be a positive integer"):
        lint.check(dense(), epochs=1.5)
    with pytest.raises(TypeError, match="`callbacks` must be a list of callbacks"):
        lint.check(dense(), callbacks=3)


def test_callbacks_come_as_one_as_a_list_or_as_a_container():
    callback = keras.callbacks.EarlyStopping(patience=9)
    container = keras.callbacks.CallbackList([callback])
    for callbacks in (callback, [callback], (callback,), container):
        assert "KT343" in codes(lint.check(dense(), callbacks=callbacks, epochs=2))


# Rules of one's own -------------------------------------------------------------------


def test_a_rule_of_ones_own_is_asked_with_the_facts(own_rule):
    def rule(facts):
        assert (facts.rows, facts.batch_size, facts.epochs) == (40, 8, 2)
        assert facts.steps == 10
        yield lint.Finding("It is a dense layer.", layers="a", severity="error")
        yield lint.Finding("Again.", fix="x = 1", why="Because.")

    own_rule(rule, severity="info", why="Why not.", source="us")
    report = lint.check(dense(), X, Y, batch_size=8, epochs=2).filter(code="MY101")
    first, second = report
    assert (first.layers, first.severity, first.why) == (("a",), "error", "Why not.")
    assert (second.severity, second.why, second.source) == ("info", "Because.", "us")
    assert ("MY101", "info", "Mine.") in [tuple(row) for row in lint.rules()]


def test_a_rule_may_find_nothing_and_ask_for_what_it_needs(own_rule):
    own_rule(lambda facts: None)
    own_rule(lambda facts: 1 / 0, "MY102", needs="y")
    own_rule(lambda facts: 1 / 0, "MY103", needs=["graph", "x"])
    assert not {"MY101", "KT001"} & codes(lint.check(dense()))


def test_a_rule_that_fails_is_a_finding_and_hides_no_other(own_rule):
    own_rule(lambda facts: [facts.layers["b"]])
    own_rule(lambda facts: ["no finding"], "MY102")
    report = lint.check(dense(keras.optimizers.Adam(9.0)))
    assert "KT310" in codes(report)
    first, second = report.filter(code="KT001")
    assert first.message == "The rule MY101 itself failed: KeyError: 'b'"
    assert first.severity == "warning"
    assert "a rule must yield kt.lint.Finding. Received: 'no finding'" in second.message
    assert codes(lint.check(dense(), ignore=["KT001"])) == set()


def test_a_rule_registered_again_takes_the_place_of_the_old_one(own_rule):
    own_rule(lambda facts: [lint.Finding("Old.")])
    lint.register("MY101", "Mine.")(lambda facts: [lint.Finding("New.")])
    (finding,) = lint.check(dense()).filter(code="MY101")
    assert finding.message == "New."


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("KT101", "Mine."), ValueError, "`code` must be .* Received: code='KT101'"),
        (("my1", "Mine."), ValueError, "`code` must be capital letters"),
        ((7, "Mine."), TypeError, "`code` must be a string"),
        (("MY101", ""), ValueError, "`title` must be a string that is not empty"),
    ],
)
def test_a_rule_that_cannot_be_registered_is_told(arguments, error, text):
    with pytest.raises(error, match=text):
        lint.register(*arguments)


def test_unknown_words_of_a_rule_are_told():
    with pytest.raises(ValueError, match=r"`severity` must be one of .*'bad'"):
        lint.register("MY101", "Mine.", severity="bad")
    with pytest.raises(ValueError, match=r"`needs` must be one of .*'grph'.*'graph'"):
        lint.register("MY101", "Mine.", needs="grph")
    with pytest.raises(TypeError, match="must decorate a function of the facts"):
        lint.register("MY101", "Mine.")("no function")
    with pytest.raises(ValueError, match="`code` must be one of"):
        lint.unregister("MY999")
    with pytest.raises(ValueError, match="not begin with KT"):
        lint.unregister("KT101")


def test_every_rule_says_what_it_cannot_see():
    from keras_tricks.lint import _rule

    for code, rule in _rule.RULES.items():
        assert "cannot see" in rule.function.__doc__, code
        assert rule.title.endswith("."), code
        assert rule.why, code
        assert rule.source, code
    assert len(lint.rules()) >= 30


def test_the_rules_are_listed_in_the_order_of_their_codes():
    codes = [row.code for row in lint.rules()]
    assert codes == sorted(codes)
    assert str(lint.rules("KT101")).splitlines()[1:] == [
        "code   severity  title",
        "KT101  warning   A hidden layer ends with a sigmoid.",
    ]
    with pytest.raises(TypeError, match=r"`code` must be a string. Received: code=3"):
        lint.rules(3)
