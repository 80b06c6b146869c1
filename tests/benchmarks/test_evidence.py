import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.evidence import __main__ as command
from benchmarks.evidence import intervals, table, tasks
from benchmarks.evidence.claim import Claim
from benchmarks.evidence.claims import CLAIMS
from benchmarks.evidence.intervals import ACCURACY, LOG_LOSS, RMSE
from benchmarks.evidence.results import Results

HERE = Path(__file__).parent
COMMITTED = HERE / "evidence" / "results.jsonl"
PAGE = HERE.parents[1] / "tutorials" / "EVIDENCE.md"
MADE_WITH = {"backend": "jax", "keras": "3.15.1"}


def claim(tasks=("wine",), **changes):
    given = {
        "name": "one",
        "text": "Ones are better",
        "source": "nobody",
        "tasks": tasks,
        "baseline": ("zeros", lambda task: np.eye(3)[np.zeros(len(task.y_test), int)]),
        "trick": ("truth", lambda task: np.eye(3)[task.y_test]),
    }
    return Claim(**{**given, **changes})


def test_interval_is_students_t_on_the_pairs():
    # The differences are 1, 2, 3, 4, 5: mean 3, spread sqrt(2.5); the 97.5 % point of t
    # with 4 degrees of freedom is 2.776445 in every table.
    found = intervals.difference([10, 20, 30, 40, 50], [11, 22, 33, 44, 55])
    assert found.mean == pytest.approx(3.0)
    assert found.half == pytest.approx(2.776445 * 2.5**0.5 / 5**0.5, rel=1e-6)
    assert found.seeds == 5


def test_pairs_count_not_the_spread_between_seeds():
    baseline = [0.0, 100.0, 7.0, -30.0, 2.0, 55.0]
    found = intervals.difference(baseline, [value + 1.0 for value in baseline])
    assert found.mean == pytest.approx(1.0)
    assert found.half == pytest.approx(0.0, abs=1e-12)


def test_fewer_than_five_seeds_are_refused():
    with pytest.raises(ValueError, match=r"at least 5 paired seeds\. Received: 4"):
        intervals.difference([1.0] * 4, [2.0] * 4)


@pytest.mark.parametrize(
    ("mean", "half", "metric", "words"),
    [
        (1.0, 0.5, ACCURACY, "helps"),
        (1.0, 0.5, LOG_LOSS, "hurts"),
        (-1.0, 0.5, ACCURACY, "hurts"),
        (-1.0, 0.5, RMSE, "helps"),
        (1.0, 1.5, ACCURACY, "no difference"),
        (1.0, 1.0, ACCURACY, "no difference"),  # the interval touches zero
        (-1.0, 1.5, LOG_LOSS, "no difference"),
        (0.0, 0.0, ACCURACY, "no difference"),
    ],
)
def test_verdict_goes_by_the_interval_and_the_direction(mean, half, metric, words):
    assert intervals.verdict(intervals.Difference(mean, half, 5), metric) == words


def test_scores_by_hand():
    answers = [[0.5, 0.5 - 1e-9], [0.2, 0.8], [0.75, 0.25], [1.0, 0.0]]
    truth = np.array([0, 1, 1, 0])
    assert intervals.score(answers, truth, ACCURACY) == pytest.approx(75.0)
    loss = -(np.log(0.5) + np.log(0.8) + np.log(0.25) + np.log(1.0)) / 4
    assert intervals.score(answers, truth, LOG_LOSS) == pytest.approx(loss)
    values = np.array([[1.0], [-1.0]])
    rmse = intervals.score(values, np.array([0.0, 1.0]), RMSE)
    assert rmse == pytest.approx(2.5**0.5)


def test_a_diverged_training_counts_as_a_guess():
    lost = np.full((4, 2), np.nan)
    truth = np.array([0, 1, 1, 0])
    assert intervals.score(lost, truth, ACCURACY) == 50.0
    assert intervals.score(lost, truth, LOG_LOSS) == pytest.approx(np.log(2))
    rmse = intervals.score(np.full((2, 1), np.inf), np.array([3.0, 4.0]), RMSE)
    assert rmse == pytest.approx(12.5**0.5)


@pytest.mark.parametrize(
    "name", [n for n, (_, needed) in tasks.TASKS.items() if needed is None]
)
def test_a_seed_draws_the_same_rows_again_and_another_seed_others(name):
    one, same, other = (tasks.make(name, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.x, same.x)
    np.testing.assert_array_equal(one.y_test, same.y_test)
    assert one.x.shape == other.x.shape
    assert not np.array_equal(one.x, other.x)
    assert len(one.x) == len(one.y)
    assert len(one.x_test) == len(one.y_test)
    seen = {row.tobytes() for row in one.x}
    assert sum(row.tobytes() in seen for row in one.x_test) < 0.01 * len(one.x_test)


def test_a_task_without_its_data_is_left_out(tmp_path, capsys):
    assert tasks.make("MNIST", 0) is None
    assert tasks.make("sentence polarity", 0, tmp_path) is None
    results = Results(tmp_path / "results.jsonl")
    command.measure(results, [claim(("MNIST",))], False, 5, None)
    assert "one: MNIST left out, give its folder as --data" in capsys.readouterr().out
    assert not results.found


def test_a_run_that_was_cut_off_goes_on(tmp_path):
    path = tmp_path / "results.jsonl"
    results = Results(path)
    results.begin(MADE_WITH)
    command.measure(results, [claim()], True, 3, None)
    text = path.read_text()
    path.write_text(text + text.splitlines()[-1][:20])
    again = Results(path)
    again.begin(MADE_WITH)
    assert path.read_text() == text
    assert again.found == results.found
    command.measure(again, [claim()], True, 5, None)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == MADE_WITH
    assert [line["seed"] for line in lines[1:]] == [0, 1, 2, 3, 4]
    assert all(line["trick"] == 100.0 for line in lines[1:])


def test_a_side_of_two_claims_trains_once(tmp_path):
    calls = []

    def counted(task):
        calls.append(task.seed)
        return np.eye(3)[task.y_test]

    one = claim(trick=("counted", counted))
    two = claim(name="two", baseline=("counted", counted))
    command.measure(Results(tmp_path / "r.jsonl"), [one, two], True, 2, None)
    assert calls == [0, 1]


def test_results_of_other_versions_are_refused(tmp_path):
    path = tmp_path / "results.jsonl"
    Results(path).begin(MADE_WITH)
    with pytest.raises(ValueError, match="give another file as --results"):
        Results(path).begin({**MADE_WITH, "backend": "torch"})


def test_table_shows_what_the_lines_say(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    results.begin(MADE_WITH)
    for seed in range(5):
        results.add("one", "wine", seed, 90.0, 91.0 + seed)
    other = claim(name="two", text="Twos")
    page = table.render(results, [claim(), other])
    # Differences 1 to 5, as above: 3 +- 1.9632.
    assert (
        "| [Ones are better](#one) | wine, 5 seeds | 90.00 | 93.00 "
        "| +3.00 +- 1.96 | **helps** |" in page
    )
    assert "Helps: 1, no difference: 0, hurts: 0." in page
    assert "- Twos" in page.partition("## Not measured")[2]


def test_claims_are_complete():
    names = [c.name for c in CLAIMS]
    assert len(set(names)) == len(names)
    for one in CLAIMS:
        assert set(one.tasks) <= set(tasks.TASKS), one.name
        assert len(one.tasks) >= 2, one.name
        assert all(callable(side) for _, side in (one.baseline, one.trick)), one.name
        assert one.baseline[1] is not one.trick[1], one.name


def test_the_committed_table_is_that_of_the_committed_results():
    results = Results(COMMITTED)
    assert COMMITTED.stat().st_size < 100_000
    assert {name for name, *_ in results.found} <= {c.name for c in CLAIMS}
    assert table.render(results) == PAGE.read_text(encoding="utf-8")
