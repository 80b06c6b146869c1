import pytest

from keras_tricks.model_selection import _progress


def test_the_time_left_is_that_of_the_rest_at_the_same_speed():
    # Two folds took 8 seconds, three are left.
    assert _progress.left(8.0, 2, 3) == 12.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (75, "1 min 15 s"), (3 * 3600 + 125, "3 h 2 min")],
)
def test_a_length_of_time_in_words(seconds, text):
    assert _progress.text(seconds) == text


def test_lines_count_what_an_earlier_run_has_left(capsys):
    progress = _progress.Progress(4, 2)
    progress.resumed(2)
    progress.finished("loss 1")
    progress.finished("loss 2")
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "2/4 folds - 2 of them from an earlier run"
    assert second == "3/4 folds - 0 s left - loss 1"
    assert third == "4/4 folds - 0 s - loss 2"


def test_one_line_is_written_again(capsys):
    progress = _progress.Progress(2, 1)
    progress.finished("a")
    progress.finished("b")
    text = capsys.readouterr().out
    assert text.count("\r") == 2
    assert text.count("\n") == 1


def test_silence(capsys):
    _progress.Progress(1, 0).finished("a")
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_one_line_and_a_file_gets_many(capsys):
    assert _progress.check("auto") == 2
    assert _progress.check(True) == 1
