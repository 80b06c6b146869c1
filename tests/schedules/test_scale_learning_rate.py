import pytest

from keras_tricks.schedules import Scaled, Warmup, scale_learning_rate


def test_linear_rule_of_the_paper_multiplies_by_the_batch_ratio():
    assert scale_learning_rate(0.1, 8192, 256) == pytest.approx(3.2)


def test_square_root_rule_multiplies_by_the_root_of_the_batch_ratio():
    assert scale_learning_rate(0.1, 512, 128, rule="sqrt") == pytest.approx(0.2)


def test_smaller_batch_gives_a_smaller_rate():
    assert scale_learning_rate(0.1, 64, 256) == pytest.approx(0.025)


@pytest.mark.parametrize("rule", ["linear", "sqrt"])
def test_scaling_twice_is_scaling_once(rule):
    twice = scale_learning_rate(scale_learning_rate(0.1, 96, 32, rule), 480, 96, rule)
    assert twice == pytest.approx(scale_learning_rate(0.1, 480, 32, rule))


def test_schedule_is_scaled_as_a_whole():
    schedule = scale_learning_rate(Warmup(0.1, 4), 512, 128)
    assert isinstance(schedule, Scaled)
    assert float(schedule(100)) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"learning_rate": -1}, ValueError, "Received: learning_rate=-1"),
        ({"learning_rate": "a"}, TypeError, "LearningRateSchedule. Rec.*rate='a'"),
        ({"batch_size": 0}, ValueError, "a positive integer. Rec.*batch_size=0"),
        ({"base_batch_size": 32.0}, TypeError, "a positive integer. Rec.*size=32.0"),
        ({"rule": "root"}, ValueError, "'linear', 'sqrt'. Received: rule='root'"),
    ],
)
def test_says_which_argument_is_wrong_and_what_came(arguments, error, text):
    good = {"learning_rate": 0.1, "batch_size": 64, "base_batch_size": 32}
    with pytest.raises(error, match=f"`{next(iter(arguments))}` must be .*{text}"):
        scale_learning_rate(**{**good, **arguments})
