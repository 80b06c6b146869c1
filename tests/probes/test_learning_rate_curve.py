import json
import sys

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.probes import LearningRateCurve

SGD = keras.optimizers.SGD
RATES = np.geomspace(1e-6, 10.0, 200)


def clear(**arguments):
    """A fall between 1e-3 and 1e-1, and a rise above 1."""
    decades = np.log10(RATES)
    noise = np.random.default_rng(0).normal(scale=0.01, size=200)
    losses = 2.0 - np.clip((decades + 3) / 2, 0, 1) + 5 * np.clip(decades, 0, 1) ** 2
    return LearningRateCurve(RATES, losses + noise, **arguments)


def inconclusive():
    losses = np.random.default_rng(0).normal(2.0, 0.1, size=200)
    return LearningRateCurve(RATES, losses)


def test_the_curves_of_this_file_are_what_they_are_called():
    assert clear().verdict == "clear"
    assert 1e-3 < clear().suggestion < 1.0
    assert inconclusive().verdict == "inconclusive"
    assert inconclusive().suggestion is None


# --- Shown and stored ---------------------------------------------------------------


def test_shows_suggestion_verdict_and_range():
    curve = clear(ended="the highest rate was reached")
    text = repr(curve)
    assert text.startswith(f"<LearningRateCurve suggestion={curve.suggestion:.2g}, ")
    assert f"clear: {curve.reason}" in text
    assert text.endswith("200 steps from 1e-06 to 10, the highest rate was reached>")
    for method in ("segment", "steepest", "valley", "minimum"):
        assert f"{method}={curve.suggestions[method]:.2g}" in text
    assert "\n" not in text


def test_shows_that_there_is_no_suggestion():
    text = repr(inconclusive())
    assert "no suggestion, inconclusive: the loss shows no fall" in text


KEYS = {
    "learning_rates", "losses", "smoothed", "smoothing", "diverged", "suggestions",
    "suggestion", "verdict", "reason", "ended", "seconds", "first_step_seconds",
}  # fmt: skip


@pytest.mark.parametrize("make", [clear, inconclusive])
def test_is_complete_as_a_dict_that_json_stores(make):
    curve = make()
    stored = json.loads(json.dumps(curve.to_dict(), allow_nan=False))
    public = {name for name in vars(curve) if not name.startswith("_")}
    assert set(stored) == KEYS == public
    assert stored == curve.to_dict()
    assert stored["learning_rates"] == pytest.approx(RATES)
    assert stored["suggestion"] == curve.suggestion
    assert stored["verdict"] == make.__name__
    assert len(stored["losses"]) == len(stored["smoothed"]) == 200


def test_what_the_test_told_is_kept():
    curve = clear(
        smoothing=0.9, diverged=True, ended="why", seconds=3.5, first_step_seconds=1.5
    )
    stored = curve.to_dict()
    assert stored["smoothing"] == 0.9
    assert stored["diverged"] is True
    assert (stored["ended"], stored["seconds"]) == ("why", 3.5)
    assert stored["first_step_seconds"] == 1.5


def test_a_dict_makes_the_same_curve_again():
    curve = clear(smoothing=0.9)
    stored = curve.to_dict()
    again = LearningRateCurve(
        stored["learning_rates"], stored["losses"], smoothing=stored["smoothing"]
    )
    assert again.to_dict() == stored


def test_a_method_without_an_answer_is_none():
    stored = LearningRateCurve([0.1, 0.2], [1.0, 2.0]).to_dict()
    assert stored["suggestions"] == dict.fromkeys(
        ("segment", "steepest", "valley", "minimum")
    )


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_recorded_loss_that_is_not_finite_can_be_stored(loss):
    curve = LearningRateCurve([0.1, 0.2, 0.4], [1.0, 2.0, loss])
    assert json.loads(json.dumps(curve.to_dict(), allow_nan=False))["losses"][:2] == [
        1.0,
        2.0,
    ]


def test_an_empty_curve_can_be_shown():
    assert "inconclusive: 0 finite losses" in repr(LearningRateCurve([], []))


@pytest.mark.parametrize(
    ("rates", "losses", "shapes"),
    [
        ([0.1, 0.2], [1.0], r"shapes \(2,\) and \(1,\)"),
        ([[0.1], [0.2]], [[1.0], [1.0]], r"shapes \(2, 1\) and \(2, 1\)"),
        (0.1, 1.0, r"shapes \(\) and \(\)"),
    ],
)
def test_rates_and_losses_must_be_of_one_length(rates, losses, shapes):
    text = "`learning_rates` and `losses` must be two lists of one length. Received: "
    with pytest.raises(ValueError, match=text + shapes):
        LearningRateCurve(rates, losses)


# --- Applied ------------------------------------------------------------------------


def mean_prediction(y, prediction):
    return prediction


def model_of(optimizer):
    """Its gradients are 1: every step moves each weight by minus its rate."""
    dense = keras.layers.Dense(1, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    model.compile(optimizer, mean_prediction)
    return model


def moves(model, steps=1):
    """What the steps of one `fit` move the kernel and the bias by."""
    data = np.ones((1, 1), "float32")
    weights = [model.get_weights()]
    for _ in range(steps):
        model.fit(data, data, verbose=0)
        weights.append(model.get_weights())
    flat = [[w.item() for w in pair] for pair in weights]
    return -np.diff(flat, axis=0)


def test_a_plain_rate_is_set():
    model, curve = model_of(SGD(123.0)), clear()
    assert curve.apply(model) == curve.suggestion
    assert moves(model)[0] == pytest.approx([curve.suggestion] * 2, rel=1e-5)


def test_a_given_rate_goes_before_the_suggestion():
    model = model_of(SGD(123.0))
    assert clear().apply(model, 0.25) == 0.25
    assert moves(model)[0] == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize(
    "schedule",
    [
        kt.schedules.Warmup(kt.schedules.CosineRestarts(0.2, 100), 4),
        keras.optimizers.schedules.ExponentialDecay(0.2, 1, 0.5),
    ],
    ids=["warm-up", "decay"],
)
def test_a_schedule_is_scaled_so_that_its_peak_is_the_suggestion(schedule):
    # The rates before it, as parts of the peak 0.2.
    parts = {
        "Warmup": [0.0, 0.25, 0.5, 0.75, 1.0],
        "ExponentialDecay": [1.0, 0.5, 0.25, 0.125, 0.0625],
    }[type(schedule).__name__]
    model, curve = model_of(SGD(schedule)), clear()
    assert curve.apply(model) == curve.suggestion
    expected = curve.suggestion * np.array(parts)
    assert moves(model, 5)[:, 0] == pytest.approx(expected, rel=1e-4, abs=1e-7)


def by_map():
    return keras.optimizers.OptimizerMap(SGD(0.4), {".*/bias": SGD(0.1)})


def by_function():
    return lambda variable: SGD(0.1 if "bias" in variable.path else 0.4)


@pytest.mark.parametrize("groups", [by_map, by_function])
def test_groups_keep_their_ratio(groups):
    model, curve = model_of(keras.optimizers.MultiOptimizer(groups())), clear()
    curve.apply(model)
    expected = [curve.suggestion, curve.suggestion / 4]
    assert moves(model)[0] == pytest.approx(expected, rel=1e-5)


def test_loss_scaling_is_no_obstacle():
    optimizer = keras.optimizers.LossScaleOptimizer(SGD(5.0), initial_scale=4.0)
    model, curve = model_of(optimizer), clear()
    curve.apply(model)
    assert moves(model)[0] == pytest.approx([curve.suggestion] * 2, rel=1e-5)


OPTIMIZERS = {
    "float": lambda: SGD(0.5),
    "schedule": lambda: SGD(
        keras.optimizers.schedules.PiecewiseConstantDecay([9], [0.5, 0.1])
    ),
    "map": lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(SGD(0.5), {".*/bias": SGD(0.5)})
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_reaches_a_model_that_was_trained(name):
    model = model_of(OPTIMIZERS[name]())
    assert moves(model, 2) == pytest.approx(np.full((2, 2), 0.5), rel=1e-5)
    clear().apply(model, 0.125)
    assert moves(model, 2) == pytest.approx(np.full((2, 2), 0.125), rel=1e-5)


def test_the_last_rate_applied_holds():
    model = model_of(OPTIMIZERS["schedule"]())
    for rate in (0.3, 3.0, 0.125):
        clear().apply(model, rate)
    assert moves(model)[0] == pytest.approx([0.125, 0.125], rel=1e-5)


def test_an_inconclusive_test_gives_no_rate_but_its_reason():
    model = model_of(SGD(0.5))
    text = (
        r"`learning_rate` must be given, because the range test was inconclusive: the "
        r"loss shows no fall beyond the noise of its batches.* Received: learning_rate="
    )
    with pytest.raises(ValueError, match=text):
        inconclusive().apply(model)
    assert float(model.optimizer.learning_rate) == 0.5
    assert inconclusive().apply(model, learning_rate=0.125) == 0.125
    assert moves(model)[0] == pytest.approx([0.125, 0.125])


def test_a_model_that_is_not_compiled_is_named():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"`model` must be compiled .*model.compile"):
        clear().apply(model)
    with pytest.raises(TypeError, match=r"`model` must be a compiled keras.Model"):
        clear().apply("model")


@pytest.mark.parametrize(
    ("rate", "error", "text"),
    [
        (0.0, ValueError, "positive number. Received: learning_rate=0.0"),
        (-0.1, ValueError, "positive number. Received: learning_rate=-0.1"),
        ("fast", TypeError, "positive number. Received: learning_rate='fast'"),
        (np.nan, ValueError, "positive number. Received: learning_rate=nan"),
        (True, TypeError, "positive number. Received: learning_rate=True"),
    ],
)
def test_a_bad_rate_is_named_and_not_set(rate, error, text):
    model = model_of(SGD(0.5))
    with pytest.raises(error, match="`learning_rate` must be a " + text):
        clear().apply(model, rate)
    assert float(model.optimizer.learning_rate) == 0.5


# --- Drawn --------------------------------------------------------------------------


@pytest.fixture
def ax():
    from matplotlib.figure import Figure

    return Figure().subplots()


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.needs("matplotlib")
def test_draws_the_curve_over_the_logarithm_of_the_rate(ax):
    curve = clear()
    assert curve.plot(ax) is ax
    assert ax.get_xscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("learning rate", "loss")
    assert ax.get_title() == "Range test: clear"
    batch, smoothed, *_ = ax.lines
    for line, values in ((batch, curve.losses), (smoothed, curve.smoothed)):
        np.testing.assert_array_equal(line.get_xdata(), RATES)
        np.testing.assert_array_equal(line.get_ydata(), values)
    marked = {
        line.get_label(): line.get_xdata()[0]
        for line in ax.lines
        if len(set(line.get_xdata())) == 1
    }
    suggestion = f"suggestion {curve.suggestion:.2g}"
    assert marked == {**curve.suggestions, suggestion: curve.suggestion}
    assert set(labels(ax)) == {"batch", "smoothed", *marked}
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    assert low < curve.smoothed.min() < curve.smoothed[0] < high


@pytest.mark.needs("matplotlib")
def test_draws_an_inconclusive_curve_without_a_suggestion(ax):
    inconclusive().plot(ax)
    ax.figure.canvas.draw()
    assert ax.get_title() == "Range test: inconclusive"
    assert not any(label.startswith("suggestion") for label in labels(ax))


@pytest.mark.needs("matplotlib")
@pytest.mark.parametrize("losses", [[1.0], [0.0], [-2.0], [1.0, 1.0], [3.0, 1.0, 2.0]])
def test_draws_a_curve_of_few_points(ax, losses):
    LearningRateCurve(0.1 * np.arange(1, len(losses) + 1), losses).plot(ax)
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    assert low < losses[0] < high
    assert labels(ax)[:2] == ["batch", "smoothed"]


@pytest.mark.needs("matplotlib")
@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_draws_a_recorded_curve_that_diverged(ax, loss):
    LearningRateCurve([0.1, 0.2, 0.4], [1.0, 2.0, loss]).plot(ax)
    low, high = ax.get_ylim()
    assert low < 1.0 < high


@pytest.mark.needs("matplotlib")
def test_makes_new_axes_when_none_are_given(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    ax = clear().plot()
    assert ax.get_xscale() == "log"
    pyplot.close(ax.figure)


def test_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = r'A plot needs matplotlib.*Run `pip install "keras_tricks\[plot\]"`'
    with pytest.raises(ImportError, match=text):
        clear().plot()
