import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks import _patterns

PATHS = ["stem", "body", "body/conv", "body/norm", "head"]


def dense(name):
    return layers.Dense(2, name=name)


def nested():
    inner = keras.Sequential([keras.Input((2,)), dense("a"), dense("b")], name="body")
    return keras.Sequential([keras.Input((2,)), inner, dense("head")], name="net")


# --- Paths --------------------------------------------------------------------------


def test_paths_join_the_names_without_that_of_the_model():
    model = nested()
    found = dict(_patterns.layer_paths(model))
    assert list(found) == ["body", "body/a", "body/b", "head"]
    assert found["body/b"] is model.get_layer("body").get_layer("b")


def test_layers_inside_layers_have_paths():
    bidirectional = layers.Bidirectional(layers.GRU(2, name="gru"), name="both")
    model = keras.Sequential([keras.Input((3, 1)), bidirectional])
    paths = [path for path, _ in _patterns.layer_paths(model)]
    assert {"both", "both/forward_gru", "both/backward_gru"} <= set(paths)


def test_a_layer_in_two_places_has_two_paths():
    shared = dense("shared")
    towers = [
        keras.Sequential([keras.Input((2,)), shared], name=name) for name in ("x", "y")
    ]
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Add()([tower(inputs) for tower in towers]))
    paths = [path for path, layer in _patterns.layer_paths(model) if layer is shared]
    assert sorted(paths) == ["x/shared", "y/shared"]
    kernel = [p for v, p in _patterns.variable_paths(model) if v is shared.kernel]
    assert [sorted(p) for p in kernel] == [["x/shared", "y/shared"]]


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = dense("last")
        self.first = dense("first")

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), name="scale")
        self.built = True

    def call(self, inputs):
        return self.last(self.first(inputs)) * self.scale


def test_the_path_of_the_models_own_weight_is_empty():
    model = Own()
    model(np.zeros((1, 2)))
    found = [(v.name, paths) for v, paths in _patterns.variable_paths(model)]
    assert sorted(found) == [
        ("bias", ["first"]),
        ("bias", ["last"]),
        ("kernel", ["first"]),
        ("kernel", ["last"]),
        ("scale", [""]),
    ]


def test_paths_do_not_change_on_save_and_load(tmp_path):
    model = nested()
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")

    def paths(of):
        return [held for _, held in _patterns.variable_paths(of)]

    assert paths(loaded) == paths(model)


# --- Patterns -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("body", "body", True),
        ("body", "body/conv", True),
        ("body", "bodyguard", False),
        ("conv", "body/conv", False),
        (".*conv", "body/conv", True),
        ("body/conv", "body/conv/inner", True),
        ("body/conv", "body/conv2", False),
        ("bo|he", "body", False),
        ("", "", True),
        ("", "body", False),
    ],
)
def test_a_pattern_covers_what_it_names_and_all_below(pattern, path, expected):
    assert _patterns.covers(re.compile(pattern), path) is expected


def test_matching_gives_each_pattern_its_paths():
    assert _patterns.matching("x", ["body", ".*o.*"], PATHS) == {
        "body": ["body", "body/conv", "body/norm"],
        ".*o.*": ["body", "body/conv", "body/norm"],
    }


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("bodi", "'body'"), ("conv", "'body/conv'"), ("body/nrom", "'body/norm'")],
)
def test_a_pattern_without_a_match_is_an_error_with_a_hint(pattern, hint):
    told = f"`x` must name layers of the model. Received: '{pattern}', which matches"
    with pytest.raises(ValueError, match=f"{re.escape(told)}.*Did you mean {hint}"):
        _patterns.matching("x", [pattern], PATHS)


def test_long_lists_of_layers_are_cut():
    paths = [f"layer_{index}" for index in range(50)]
    with pytest.raises(ValueError, match=r"layer_19, \.\.\.\.$"):
        _patterns.matching("x", ["zzz"], paths)


def test_what_is_no_pattern_is_told():
    with pytest.raises(TypeError, match=r"`x` must name layers .* Received: 3"):
        _patterns.matching("x", [3], PATHS)
    with pytest.raises(ValueError, match=r"'\[', which is none .* re.escape"):
        _patterns.matching("x", ["["], PATHS)


def test_values_are_those_of_the_patterns():
    found = _patterns.values("x", {"stem": 1, "body": 2, "body/conv": 2}, PATHS)
    assert found == {"stem": 1, "body": 2, "body/conv": 2, "body/norm": 2}


def test_two_values_for_one_layer_are_an_error():
    told = r"'body': 2 and '\.\*/conv': 3, which both cover 'body/conv'; narrow"
    with pytest.raises(ValueError, match=told):
        _patterns.values("x", {"body": 2, ".*/conv": 3}, PATHS)


def test_layers_are_found_by_one_pattern_or_several():
    model = nested()
    assert list(_patterns.layers("x", "body", model)) == ["body", "body/a", "body/b"]
    assert list(_patterns.layers("x", ["head", ".*/b"], model)) == ["body/b", "head"]


# --- Groups -------------------------------------------------------------------------


def test_groups_are_positions_from_the_first_one_given():
    found = _patterns.grouped(
        "x", [["stem", "body/norm"], ("body/conv", "head")], PATHS
    )
    assert found == {"stem": 0, "body/norm": 0, "body/conv": 1, "head": 1}


def test_patterns_of_one_group_may_overlap():
    found = _patterns.grouped("x", [["body", ".*/conv"], "head"], PATHS)
    assert found == {"body": 0, "body/conv": 0, "body/norm": 0, "head": 1}


def test_two_groups_for_one_layer_are_an_error():
    told = r"'body' in group 1 and '\.\*/conv' in group 3, which both cover 'body/conv'"
    with pytest.raises(ValueError, match=told):
        _patterns.grouped("x", ["body", "stem", ".*/conv"], PATHS)


@pytest.mark.parametrize("groups", ["stem", None, 3, ["a", 3], [["a", 3]]])
def test_what_is_no_list_of_groups_is_told(groups):
    with pytest.raises(TypeError, match=r"`x` must .* Received: "):
        _patterns.check_groups("x", groups)


@pytest.mark.parametrize("groups", [[], ["a", []]])
def test_empty_groups_are_told(groups):
    with pytest.raises(ValueError, match=r"none of them empty. Received: x="):
        _patterns.check_groups("x", groups)


def test_a_pattern_given_twice_is_told():
    with pytest.raises(ValueError, match=r"each pattern once. Received: 'a' 2 times"):
        _patterns.check_groups("x", [["a"], "a"])
