import sys

import pytest

from keras_tricks.schedules import Warmup, plot


def test_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'Run `pip install "keras_tricks\[plot\]"`'):
        plot(0.1, 5)


@pytest.mark.needs("matplotlib")
def test_draws_the_rates_on_the_given_axes():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert plot(Warmup(0.4, 4), 5, ax, label="warm-up") is ax
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [0, 1, 2, 3, 4]
    assert line.get_ydata() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert line.get_label() == "warm-up"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("optimizer step", "learning rate")


@pytest.mark.needs("matplotlib")
def test_makes_new_axes_when_none_are_given(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    ax = plot(0.1, 5)
    assert len(ax.lines) == 1
    pyplot.close(ax.figure)
