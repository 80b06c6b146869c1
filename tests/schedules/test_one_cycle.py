"""Reference: PyTorch's two phases, and fastai's, in float64 NumPy."""

import numpy as np
import pytest

from keras_tricks.schedules import OneCycle, preview


def anneal(start, end, way, form):
    way = np.clip(way, 0, 1)
    if form == "cosine":
        return end + (start - end) / 2 * (1 + np.cos(np.pi * way))
    return start + (end - start) * way


@pytest.mark.parametrize("form", ["cosine", "linear"])
def test_equals_pytorch_for_a_million_steps(form):
    total, t = 900_000, np.arange(1_000_001, dtype="float64")
    top, first, last = 0.1, 0.1 / 25, 0.1 / 25 / 1e4
    peak = 0.3 * total - 1
    up = anneal(first, top, t / peak, form)
    down = anneal(top, last, (t - peak) / (total - 1 - peak), form)
    rates = preview(OneCycle(top, total, anneal=form), 1_000_001)
    assert np.abs(rates - np.where(t < peak, up, down)).max() < 1e-6 * top


def test_fastai_ends_at_the_maximum_divided_by_a_hundred_thousand():
    fastai = {"warmup_fraction": 0.25, "final_div_factor": 1e5 / 25}
    schedule = OneCycle(0.1, total_steps=1000, **fastai)
    rates = [float(schedule(step)) for step in (0, 249, 999)]
    assert rates == pytest.approx([0.1 / 25, 0.1, 0.1 / 1e5], rel=1e-4)


def test_stays_at_the_last_rate():
    schedule = OneCycle(0.1, total_steps=10, final_div_factor=4.0)
    rates = [float(schedule(step)) for step in (9, 10, 11, 1_000_000)]
    assert rates == pytest.approx([0.001] * 4)


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
def test_shortest_training_still_reaches_the_top_in_the_middle(fraction):
    rates = preview(OneCycle(0.1, 3, fraction, final_div_factor=2.0), 3)
    assert rates == pytest.approx([0.004, 0.1, 0.002])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"maximal_learning_rate": -1}, ValueError, "Received: maximal_learning_r"),
        ({"total_steps": 2}, ValueError, "an integer from 3 to .*total_steps=2"),
        ({"total_steps": 1e4}, TypeError, "a positive integer.*total_steps=10000.0"),
        ({"warmup_fraction": 0}, ValueError, r"in \(0, 1\). Received: warmup_frac"),
        ({"div_factor": 1}, ValueError, r"in \(1, inf\). Received: div_factor=1"),
        ({"final_div_factor": 0.5}, ValueError, r"in \[1, inf\). Received: final"),
        ({"anneal": "cos"}, ValueError, "'cosine', 'linear'. Received: anneal='cos'"),
    ],
)
def test_says_which_argument_is_wrong_and_what_came(arguments, error, text):
    good = {"maximal_learning_rate": 0.1, "total_steps": 100}
    with pytest.raises(error, match=f"`{next(iter(arguments))}` must be .*{text}"):
        OneCycle(**{**good, **arguments})
