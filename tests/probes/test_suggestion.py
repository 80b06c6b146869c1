import numpy as np
import pytest

from keras_tricks.probes._suggestion import (
    consensus,
    minimum,
    segment,
    should_stop,
    smooth,
    steepest,
    valley,
)

RATES = 1e-7 * 1.05 ** np.arange(378)


def curve(rates=RATES, start=1e-3, foot=1e-1, turn=1.0, high=2.3, low=0.3):
    """Flat, a straight fall in log rate, a floor, and a rise of 5 per decade."""
    fall = np.clip(np.log(rates / start) / np.log(foot / start), 0.0, 1.0)
    rise = np.maximum(np.log10(rates / turn), 0.0) * 5.0
    return high + (low - high) * fall + rise


def until_stop(losses, smoothing=0.98):
    smoothed = smooth(losses, smoothing)
    for step in range(len(losses)):
        if should_stop(losses[: step + 1], smoothed[: step + 1]):
            return losses[: step + 1]
    return losses


# --- smoothing and the stop


def test_smoothing_starts_at_the_first_loss():
    # By hand: 4; (4/4 + 1/2) / (3/4); (4/8 + 1/4 + 7/2) / (7/8).
    assert np.allclose(smooth([4.0, 1.0, 7.0], 0.5), [4.0, 2.0, 4.25 / 0.875])


def test_a_constant_stays_what_it_is():
    assert np.allclose(smooth(np.full(50, 2.3), 0.98), 2.3)


def test_no_smoothing_gives_the_losses():
    assert np.array_equal(smooth([3.0, 1.0, 2.0], 0.0), [3.0, 1.0, 2.0])


@pytest.mark.parametrize(("last", "stop"), [(3.9, False), (4.1, True)])
def test_stops_above_four_times_the_best(last, stop):
    losses = [2.0] * 10 + [1.0, last]
    assert should_stop(losses, losses, 4.0) is stop


@pytest.mark.parametrize("last", [np.nan, np.inf, -np.inf])
def test_stops_when_the_loss_is_not_finite(last):
    losses = np.array([2.0, 1.0, last])
    assert should_stop(losses, np.array([2.0, 1.5, last]))


def test_a_lucky_first_batch_does_not_end_the_test():
    losses = np.r_[0.01, np.full(40, 1.0)]
    smoothed = smooth(losses)
    assert smoothed[1] > 4 * smoothed[0]
    assert not any(should_stop(losses[:k], smoothed[:k]) for k in range(1, 42))


def test_does_not_stop_before_anything_was_seen():
    assert not should_stop([], [])


def test_a_loss_that_falls_through_zero_goes_on():
    smoothed = np.linspace(3.0, -3.0, 61) + 0.001
    smoothed[31:] += 0.15  # from 0.001 to 0.051: fifty times as much
    losses = smoothed - 0.5  # the average lags
    assert not any(should_stop(losses[:k], smoothed[:k]) for k in range(1, 62))


@pytest.mark.parametrize(("last", "stop"), [(10.9, False), (11.1, True)])
def test_a_negative_loss_is_measured_by_its_improvement(last, stop):
    # Best -1 and improved by 4 from 3: the bound is -1 + 3 * 4 = 11.
    losses = [3.0] * 10 + [-1.0, last]
    assert should_stop(losses, losses, 4.0) is stop


@pytest.mark.parametrize(("last", "stop"), [(199.0, False), (201.0, True)])
def test_a_negative_loss_is_measured_by_its_size(last, stop):
    # Best -100, improved by 1: the bound is -100 + 3 * 100 = 200.
    losses = [-99.0] * 10 + [-100.0, last]
    assert should_stop(losses, losses, 4.0) is stop


def test_a_loss_of_zero_throughout_does_not_stop():
    assert not should_stop(np.zeros(5), np.zeros(5))


# --- the four methods


def test_segment_finds_the_foot_of_the_fall():
    # 0.9 of the way from 1e-3 to 1e-1 in log rate: 10 ** -1.2.
    assert segment(RATES, curve()) == pytest.approx(10**-1.2, rel=0.06)


def test_segment_survives_noise_and_freak_batches():
    random = np.random.default_rng(0)
    losses = curve() + random.normal(0.0, 0.3, 378)
    losses[[20, 60, 90]] = 60.0
    assert segment(RATES, losses) == pytest.approx(10**-1.2, rel=0.6)


def test_segment_does_not_depend_on_the_scale_or_sign_of_the_loss():
    losses = curve()
    assert segment(RATES, 100 * losses - 500) == pytest.approx(segment(RATES, losses))


def test_steepest_finds_the_steep_part():
    # Two falls: 0.5 over two decades, then 2 over one, around 10 ** -1.5.
    x = np.log10(RATES)
    losses = 3 - 0.25 * np.clip(x + 4, 0, 2) - 2 * np.clip(x + 2, 0, 1)
    assert 1e-2 <= steepest(RATES, losses) <= 1e-1


def test_steepest_has_no_answer_where_nothing_falls():
    assert np.isnan(steepest(RATES, np.arange(378.0)))


def test_valley_is_the_middle_of_the_longest_fall():
    # Rises to step 99, falls from step 100 to 190, rises again: half way is 145.
    steps = np.arange(378)
    losses = np.where(steps < 100, steps / 100, 1 - (steps - 100) / 100)
    losses = np.where(steps > 190, losses[190] + (steps - 190) / 10, losses)
    assert valley(RATES, losses) == pytest.approx(RATES[145], rel=0.11)


def test_valley_has_no_answer_where_nothing_falls():
    assert np.isnan(valley(RATES, np.arange(378.0)))


def test_minimum_is_a_tenth_of_the_lowest_rate():
    losses = np.abs(np.arange(378) - 250.0)
    assert minimum(RATES, losses) == pytest.approx(RATES[250] / 10)


def test_minimum_has_no_answer_where_the_first_loss_was_lowest():
    assert np.isnan(minimum(RATES, np.arange(378.0)))


@pytest.mark.parametrize("method", [segment, steepest, valley, minimum])
def test_no_losses_have_no_answer(method):
    assert np.isnan(method([], []))
    assert np.isnan(method(RATES, np.full(378, np.nan)))


@pytest.mark.parametrize("method", [segment, steepest, valley, minimum])
def test_what_comes_after_a_nan_does_not_count(method):
    losses = curve()
    broken = losses.copy()
    broken[300], broken[301:] = np.nan, 1e-9
    assert method(RATES, broken) == method(RATES[:300], losses[:300])


# --- the consensus


def test_a_clear_curve_gives_the_middle_estimate():
    # Segment 10 ** -1.2 = 0.063; the turn at 1 gives at most 1 / 1.05 ** 5 / 3 = 0.26;
    # the smoothed loss falls until the losses at 1 and beyond pull it up.
    answer = consensus(RATES, curve(turn=1.0))
    assert answer.verdict == "clear"
    assert 0.1 < answer.suggestion < 0.2
    assert answer.suggestion == pytest.approx(answer.suggestions["minimum"])
    assert answer.reason.startswith("the middle of segment 0.06")
    assert list(answer.suggestions) == ["segment", "steepest", "valley", "minimum"]


@pytest.mark.parametrize("smoothing", [0.9, 0.95, 0.98])
@pytest.mark.parametrize("growth", [1.05, 1.1, 1.2])
@pytest.mark.parametrize("noise", [0.05, 0.4])
def test_settings_of_the_test_do_not_matter_much(smoothing, growth, noise):
    rates = 1e-7 * growth ** np.arange(int(np.log(1e8) / np.log(growth)) + 1)
    random = np.random.default_rng(1)
    losses = until_stop(curve(rates) + random.normal(0.0, noise, len(rates)), smoothing)
    answer = consensus(rates[: len(losses)], losses, smoothing)
    assert answer.verdict == "clear"
    assert 1e-2 < answer.suggestion < 0.5  # within the fall and below the turn at 1


def test_a_late_fall_that_explodes_is_met_with_caution():
    # Falls from 0.3 to 1, then blows up at once: no rate of the fall itself is safe.
    losses = curve(start=0.3, foot=1.0, turn=1.0)
    losses[RATES > 1.05] = 1e3
    answer = consensus(RATES, losses)
    assert answer.verdict == "clear"
    assert answer.suggestion < 0.4


def test_nan_right_after_the_fall_is_a_turn():
    losses = curve(start=1e-3, foot=0.1, turn=10.0)
    losses[RATES > 0.1] = np.nan
    answer = consensus(RATES, losses)
    assert answer.verdict == "clear"
    assert answer.suggestion <= 0.1 / 3
    finite = np.isfinite(losses)
    assert answer == consensus(RATES[finite], losses[finite], diverged=True)


def test_never_beyond_the_turn():
    random = np.random.default_rng(2)
    for turn in 10.0 ** random.uniform(-3, 1, 20):
        start, foot = turn / 10 ** random.uniform(1, 3), turn * random.uniform(0.2, 1)
        losses = curve(start=start, foot=foot, turn=turn)
        losses = until_stop(losses + random.normal(0.0, 0.1, 378))
        answer = consensus(RATES[: len(losses)], losses)
        assert answer.verdict == "clear"
        assert answer.suggestion < turn


def test_a_long_floor_counts_for_one_decade():
    # The floor reaches from 1e-3 to the end at 10 and never turns.
    answer = consensus(RATES, curve(start=1e-5, foot=1e-3, turn=1e3, low=0.0))
    assert answer.verdict == "clear"
    assert answer.suggestion == pytest.approx(10 * answer.suggestions["segment"])


def test_a_negative_loss_is_as_good_as_any():
    random = np.random.default_rng(3)
    losses = curve() + random.normal(0.0, 0.1, 378)
    shifted = consensus(RATES, losses - 50.0)
    assert shifted.suggestion == pytest.approx(consensus(RATES, losses).suggestion)


def test_still_falling_at_the_end_is_said():
    rates = RATES[RATES < 3e-2]
    answer = consensus(rates, curve(rates))
    assert answer.verdict == "clear"
    assert "still falling when the test ended at 0.0" in answer.reason
    assert answer.suggestion == answer.suggestions["segment"]


# --- inconclusive


def inconclusive(rates, losses, reason):
    answer = consensus(rates, losses)
    assert answer.verdict == "inconclusive"
    assert answer.suggestion is None
    assert reason in answer.reason


@pytest.mark.parametrize("value", [2.3, 0.0, -1.0, 1e-12])
def test_a_constant_loss_is_inconclusive(value):
    inconclusive(RATES, np.full(378, value), "no fall beyond the noise")


def test_too_few_losses_are_inconclusive():
    inconclusive(RATES[:9], np.linspace(2, 1, 9), "9 finite losses are too few")


def test_no_losses_are_inconclusive():
    inconclusive([], [], "0 finite losses are too few")


def test_nan_throughout_is_inconclusive():
    inconclusive(RATES, np.full(378, np.nan), "0 finite losses are too few")


def test_an_early_nan_is_inconclusive():
    losses = curve()
    losses[5] = np.inf
    inconclusive(RATES, losses, "5 finite losses are too few")


def test_noise_that_ends_in_a_blow_up_is_inconclusive():
    random = np.random.default_rng(4)
    losses = 2.3 + random.normal(0.0, 0.1, 378) + 5 * np.maximum(np.log10(RATES), 0)
    inconclusive(RATES, losses, "no fall beyond the noise")


def test_a_rising_loss_is_inconclusive():
    inconclusive(RATES, np.linspace(1, 5, 378), "no fall beyond the noise")


def test_a_fall_that_hardly_began_is_inconclusive():
    # Gradient descent on a full batch, no noise: a perfect fall by 0.03 %.
    rates = RATES[:100]
    losses = 2.3 * np.exp(-np.cumsum(rates))
    inconclusive(rates, losses, "hardly begun falling when the test ended at 1.3e-05")


def test_estimates_far_apart_are_inconclusive():
    # The fall ends at 1e-5, the turn comes at 1, and a first batch of loss 0 leaves
    # the smoothed loss no minimum that could decide.
    losses = curve(start=1e-6, foot=1e-5, turn=1.0)
    losses[0] = 0.0
    inconclusive(RATES, losses, "no two estimates agree within 10x: segment 8.")


NOISE = {
    "normal": lambda r, n: 2.3 + 0.3 * r.standard_normal(n),
    "heavy tails": lambda r, n: r.standard_cauchy(n),
    "skewed": lambda r, n: r.lognormal(0.0, 2.0, n),
    "few values": lambda r, n: r.integers(0, 3, n).astype(float),
    "same order every epoch": lambda r, n: np.resize(r.lognormal(0.0, 1.0, 45), n),
    "shuffled every epoch": lambda r, n: np.concatenate(
        [r.permutation(np.linspace(1.0, 2.0, 45)) for _ in range(n // 45 + 1)]
    )[:n],
}


@pytest.mark.parametrize("steps", [30, 101, 378])
@pytest.mark.parametrize("kind", NOISE)
def test_noise_passes_for_a_fall_in_at_most_one_curve_in_a_hundred(kind, steps):
    # At a true rate of 1 % more than five of 200 would come up once in 60 tests;
    # the seed is fixed.
    random = np.random.default_rng(5)
    answers = [consensus(RATES[:steps], NOISE[kind](random, steps)) for _ in range(200)]
    assert sum(answer.verdict == "clear" for answer in answers) <= 5
