import math

import numpy as np
import pytest

from keras_tricks import _arguments as check


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (lambda v: check.positive("a", v), [0.1, 1, np.float32(2), np.int64(3)]),
        (lambda v: check.positive_integer("a", v), [1, np.int32(2)]),
        (lambda v: check.integer("a", v, 2, 4), [2, 3, np.int64(4)]),
        (lambda v: check.not_negative("a", v), [0, 0.0, 0.5]),
        (lambda v: check.below("a", v, "b", 2.0), [1, 1.99]),
        (lambda v: check.within("a", v, 0, 1), [0, 0.5, 1]),
        (lambda v: check.one_of("a", v, ("x", "y")), ["x", "y"]),
    ],
)
def test_good_value_comes_back_as_it_was_given(function, values):
    assert all(function(value) is value for value in values)


@pytest.mark.parametrize("value", [True, None, "1", 1j])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"`a` must be a positive number. Received: a="):
        check.positive("a", value)
    with pytest.raises(
        TypeError, match=r"`a` must be a number of at least 0. Received"
    ):
        check.not_negative("a", value)
    with pytest.raises(TypeError, match=r"`a` must be a number in \[0, 1\]. Received"):
        check.within("a", value, 0, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_a_value_error(value):
    with pytest.raises(
        ValueError, match=r"`a` must be a positive number. Received: a="
    ):
        check.positive("a", value)
    with pytest.raises(ValueError, match=r"a number of at least 0. Received: a="):
        check.not_negative("a", value)
    with pytest.raises(ValueError, match=r"a number in \[0, 1\]. Received: a="):
        check.within("a", value, 0, 1)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_what_is_no_integer_is_a_type_error(value):
    with pytest.raises(
        TypeError, match=r"`a` must be a positive integer. Received: a="
    ):
        check.positive_integer("a", value)
    with pytest.raises(
        TypeError, match=r"`a` must be an integer from 1 to 9. Received"
    ):
        check.integer("a", value, 1, 9)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda: check.positive("a", 0), "a positive number. Received: a=0"),
        (lambda: check.positive("a", -1, " or b"), "a positive number or b. Rec.*=-1"),
        (lambda: check.positive_integer("a", 0), "a positive integer. Received: a=0"),
        (lambda: check.integer("a", 0, 1, 9), "an integer from 1 to 9. Received: a=0"),
        (
            lambda: check.integer("a", 10, 1, 9),
            "an integer from 1 to 9. Received: a=10",
        ),
        (lambda: check.not_negative("a", -1), "a number of at least 0. Received: a=-1"),
        (lambda: check.below("a", 2, "b", 2.0), "below `b`, 2.0. Received: a=2"),
        (
            lambda: check.within("a", 0, 0, 1, open_low=True),
            r"a number in \(0, 1\]. Received: a=0",
        ),
        (
            lambda: check.within("a", 1, 0, 1, open_high=True),
            r"a number in \[0, 1\). Received: a=1",
        ),
        (lambda: check.one_of("a", "q", ("x", "y")), "one of 'x', 'y'. Rec.*a='q'$"),
    ],
)
def test_value_out_of_range_is_a_value_error(function, text):
    with pytest.raises(ValueError, match=f"`a` must be {text}"):
        function()


def test_word_with_a_typo_gets_a_guess():
    with pytest.raises(ValueError, match="Did you mean 'linear'"):
        check.one_of("a", "liner", ("linear", "sqrt"))
