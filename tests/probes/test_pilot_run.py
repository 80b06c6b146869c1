import json

import keras
import numpy as np
import pytest

import keras_tricks as kt
from keras_tricks.probes import _learning_curve, _pilot_times, _samples
from keras_tricks.probes._pilot_times import Run

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 4)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")


def build():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(2, activation="softmax")]
    )
    optimizer = keras.optimizers.SGD(0.1)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def runs_of(errors, name="loss", seconds=1.0):
    return [
        Run(rows, 2 * seconds, [seconds, seconds], [0.1, 0.1], 0.1, False, {name: e})
        for rows, several in errors.items()
        for e in several
    ]


def forecast_of(errors, name="loss", **arguments):
    known = {"rows": 100_000, "epochs": 2, "batch_size": 10, "validation_rows": 1000}
    return kt.probes.Forecast(runs_of(errors, name), **{**known, **arguments})


def test_every_part_of_an_order_has_its_share_of_each_class():
    classes = np.repeat([0, 1, 2], [700, 200, 100])
    order = _samples.order(classes, np.random.default_rng(0))
    assert sorted(order) == list(range(1000))
    for start, size in ((0, 10), (0, 100), (100, 100), (300, 50)):
        counts = np.bincount(classes[order[start : start + size]], minlength=3)
        assert np.abs(counts - np.array([0.7, 0.2, 0.1]) * size).max() <= 1


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([3, 5, 3, 5]), [0, 1, 0, 1]),
        (np.array([["a"], ["b"], ["a"], ["a"]]), [0, 1, 0, 0]),
        (np.eye(3)[[2, 0, 1, 0]], [2, 0, 1, 0]),
        (np.ones((4, 3)), [0, 0, 0, 0]),
        ({"one": np.arange(4), "two": np.arange(4)}, [0, 0, 0, 0]),
    ],
)
def test_what_the_samples_are_stratified_by(y, classes):
    assert _samples.strata(y, 4).tolist() == classes


def test_numbers_are_stratified_by_tenths_of_their_range():
    values = RANDOM.permutation(np.linspace(0, 1, 100))
    expected = np.minimum((values * 100).astype(int) // 10, 9)
    found = _samples.strata(values, 100)
    assert np.abs(found - expected).max() <= 1
    assert np.bincount(found).tolist() == [10] * 10


def test_an_exact_power_law_is_found_again():
    def error(size):
        return 3.0 * size**-0.4 + 0.02

    sizes = [1000, 2000, 4000, 8000]
    errors = [np.full(3, error(size)) for size in sizes]
    found = _learning_curve.extrapolate(sizes, errors, 32_000)
    assert found.estimate == pytest.approx(error(32_000), rel=0.03)
    assert found.low < error(32_000) < found.high
    at_the_end = found.alpha * 32_000**found.beta + found.gamma
    assert at_the_end == pytest.approx(found.estimate)
    assert found.alpha * 8000**found.beta + found.gamma == pytest.approx(error(8000))


def test_means_that_rise_are_averaged_with_their_neighbours():
    assert _learning_curve.monotone([4.0, 1.0, 3.0], [1, 1, 1]) == [4.0, 2.0, 2.0]
    assert _learning_curve.monotone([1.0, 2.0, 6.0], [1, 1, 2]) == [3.75] * 3
    assert _learning_curve.monotone([3.0, 2.0], [1, 5]) == [3.0, 2.0]


def test_noise_is_that_of_the_repeats_and_of_two_usual_ones():
    errors = [np.array([0.1, 0.2]), np.array([0.05])]
    squares = np.log(2) ** 2 / 2
    expected = np.sqrt((squares + 2 * 0.08**2) / 3)
    assert _learning_curve.noise(errors) == pytest.approx(expected)


def test_seconds_are_made_of_one_off_step_and_epoch():
    def run(rows, steps, once):
        epoch = 0.5 + 0.01 * steps
        epochs = [epoch + once, epoch, epoch]
        evaluation = 2.2 if once else 0.2
        return Run(rows, sum(epochs), epochs, [1, 1, 1], evaluation, once > 0, {})

    runs = [run(100, 10, 4.0), run(100, 10, 0.0), run(2000, 200, 0.0)]
    times = _pilot_times.forecast(runs, 20_000, epochs=3, batch_size=10, validates=True)
    assert times.step == pytest.approx(0.01)
    assert times.per_epoch == pytest.approx(0.5)
    assert times.one_off == pytest.approx(4.0 + 2.0)
    main = 3 * (0.5 + 0.01 * 2000 + 0.2)
    assert times.seconds == pytest.approx(main + 6.0)
    reach = 1.2816 * np.hypot(0.05 * main, 0.25 * 6.0)
    assert times.high - times.seconds == pytest.approx(reach)
    assert times.seconds - times.low == pytest.approx(reach)


def test_of_a_single_epoch_the_first_call_is_left_out():
    runs = [Run(100, 5.0, [5.0], [4.1], 0.1, True, {})]
    times = _pilot_times.forecast(runs, 1000, epochs=1, batch_size=10, validates=False)
    assert times.step == pytest.approx(0.09)
    assert times.one_off == pytest.approx(4.1)


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ({1000: [0.5, 0.5]}, "loss: too few points, all samples have one size"),
        ({20: [0.5], 1000: [0.2]}, "20 rows trains for 4 steps only"),
        ({100: [0.3, 0.31], 1000: [0.4]}, "crossing curves, 1000 rows are no better"),
        ({100: [0.2, 0.6], 1000: [0.25]}, "noise, repeats differ by"),
        ({100: [0.8, 0.8], 1000: [0.05]}, "the interval spans a factor of"),
        ({100: [0.8, np.nan], 1000: [0.05]}, "a run diverged"),
        ({100: [0.8], 1000: [-0.5]}, "no power law: values below zero"),
    ],
)
def test_what_is_not_enough_and_why(errors, reason):
    forecast = forecast_of(errors)
    assert forecast.verdict == "not enough"
    assert reason in forecast.reason
    assert reason.removeprefix("loss: ") in forecast.summary()
    json.dumps(forecast.to_dict(), allow_nan=reason.startswith("a run"))


def test_enough_evidence():
    forecast = forecast_of({1000: [0.3, 0.31], 10_000: [0.2]})
    assert forecast.verdict == "enough evidence"
    found = forecast.metrics["loss"]
    # The same fall once more would lead to 0.2 * 0.2 / 0.305 = 0.131.
    assert 0.08 < found.low < 0.131 < found.estimate < found.high < 0.2
    assert "<Forecast" in repr(forecast)


def test_a_metric_that_is_better_when_higher_is_turned_round():
    accuracy = {1000: [0.7, 0.69], 10_000: [0.8]}
    loss = {size: [1 - v for v in values] for size, values in accuracy.items()}
    one = forecast_of(accuracy, "accuracy").metrics["accuracy"]
    # Counting adds noise, so the middle is nearly that of the errors.
    other = forecast_of(loss).metrics["loss"]
    assert one.estimate == pytest.approx(1 - other.estimate, abs=0.01)
    assert one.low < one.estimate < one.high
    perfect = forecast_of({1000: [0.9, 0.9], 10_000: [1.0]}, "accuracy")
    assert 0.99 < perfect.metrics["accuracy"].estimate < 1.0


def test_a_pilot_trains_on_nested_samples_and_gives_the_random_numbers_back():
    seen = []

    class Spy(keras.Sequential):
        def fit(self, x, y, **arguments):
            seen.append((x, y))
            return super().fit(x, y, **arguments)

    def spied(seed, total_steps):
        model = Spy(build().layers)
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        asked.append((seed, total_steps))
        return model

    asked = []
    np.random.seed(5)
    expected = np.random.uniform(size=2)[1]
    np.random.seed(5)
    np.random.uniform()
    forecast = kt.probes.pilot_run(
        spied, X, Y, fractions=(0.1, 0.4), epochs=2, batch_size=20, repeats=2, seed=3
    )
    assert np.random.uniform() == expected
    assert [len(x) for x, _ in seen] == [60, 60, 240]
    rows = [{tuple(row) for row in x} for x, _ in seen]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] <= rows[2]
    share = Y.mean()
    assert all(abs(y.mean() - share) < 0.03 for _, y in seen)
    assert [steps for _, steps in asked] == [6, 6, 24]
    assert len({seed for seed, _ in asked}) == 3
    assert forecast.validation_rows == 60
    assert forecast.sizes == [60, 240]
    assert list(forecast.metrics) == ["loss"]


@pytest.mark.needs("matplotlib")
def test_repeats_start_from_weights_of_their_own_and_a_seed_repeats_them():
    from matplotlib import figure

    held = (X[:100], Y[:100])
    results = [
        kt.probes.pilot_run(
            build,
            X,
            Y,
            fractions=(0.1, 0.3),
            epochs=2,
            validation_data=held,
            repeats=2,
            metrics="accuracy",
            seed=1,
        )
        for _ in range(2)
    ]
    losses = [[run.metrics["loss"] for run in result.runs] for result in results]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][0] != losses[0][1]
    assert [run.compiled for run in results[0].runs] == [True, False, False]
    assert results[0].validates
    assert results[0].validation_rows == 100
    assert list(results[0].metrics) == ["accuracy"]
    ax = results[0].plot(figure.Figure().subplots())
    assert ax.get_ylabel() == "accuracy"
    with pytest.raises(ValueError, match="`metric` must be one of 'accuracy'"):
        results[0].plot(metric="loss")


def test_a_sample_ends_with_a_batch_of_the_size_of_the_last():
    from keras_tricks.probes.pilot_run import _size

    assert _size(0.1, 1005, 10) == 105
    assert _size(0.1, 1000, 32) == 104
    assert 1000 % 32 == 104 % 32
    assert _size(0.01, 1000, 32) == 10


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fractions": 0.1}, TypeError, "`fractions` must be a list of parts"),
        (
            {"fractions": (0.1, 0.1)},
            ValueError,
            "one or more parts of the data, rising",
        ),
        ({"fractions": (0.1, 1.0)}, ValueError, r"a number in \(0, 1\)"),
        ({"epochs": 0}, ValueError, "`epochs` must be a positive integer"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer"),
        ({"repeats": 0}, ValueError, "`repeats` must be a positive integer"),
        ({"metrics": 3}, TypeError, "`metrics` must be None, a name or a list"),
        ({"metrics": []}, TypeError, "`metrics` must be None, a name or a list"),
        ({"seed": -1}, ValueError, "`seed` must be an integer from 0"),
        ({"y": None}, TypeError, "`x` and `y` must be arrays"),
        ({"y": Y[:3]}, ValueError, "one row per sample"),
        ({"x": X[:1], "y": Y[:1]}, ValueError, "at least two samples"),
        ({"validation_data": X}, TypeError, "`validation_data` must be a tuple"),
        ({"build": lambda: 3}, TypeError, "`build` must return a compiled keras.Model"),
    ],
)
def test_refusals(change, error, message):
    arguments = {"build": build, "x": X, "y": Y, "epochs": 1, **change}
    with pytest.raises(error, match=message):
        kt.probes.pilot_run(**arguments)


def test_an_unknown_metric_is_refused_before_the_long_runs():
    made = []

    def counted():
        made.append(build())
        return made[-1]

    with pytest.raises(ValueError, match="`metrics` must be one of 'accuracy', 'loss'"):
        kt.probes.pilot_run(counted, X, Y, epochs=1, batch_size=6, metrics="accurcy")
    assert len(made) == 1


def test_no_more_than_all_can_be_wrong():
    forecast = forecast_of({10: [0.02, 0.9], 20: [0.05]}, "accuracy", rows=25)
    found = forecast.metrics["accuracy"]
    assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0


def test_a_forecast_of_runs_that_diverged_is_json_too():
    text = json.dumps(
        forecast_of({10: [np.nan], 100: [0.1]}).to_dict(), allow_nan=False
    )
    runs = json.loads(text)["runs"]
    assert [run["metrics"]["loss"] for run in runs] == [None, 0.1]


def test_a_forecast_needs_runs_and_known_metrics():
    with pytest.raises(ValueError, match="`runs` must hold at least one run"):
        forecast_of({})
    with pytest.raises(ValueError, match="`metrics` must be one of 'loss'"):
        forecast_of({100: [0.3]}, metrics=["los"])
