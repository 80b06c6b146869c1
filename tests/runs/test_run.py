"""Records come from outside: whatever stands in the files, reading them ends well."""

import json
import os

import numpy as np
import pytest
from small_runs import build, record

import keras_tricks as kt
from keras_tricks.runs import Run, _files

GOOD = {"format": 1, "state": "finished"}


def written(folder, manifest=GOOD, **files):
    folder.mkdir(exist_ok=True)
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (folder / "run.json").write_text(text)
    for name, content in files.items():
        kind = (folder / f"{name}.csv").write_bytes
        kind(content if isinstance(content, bytes) else content.encode())
    return folder


DEEP = '{"format": 1, "state": "finished", "config": ' + "[" * 500 + "]" * 500 + "}"


@pytest.mark.parametrize(
    ("manifest", "files", "why"),
    [
        ("", {}, "cannot be read"),
        ("[1]", {}, "its manifest is no object"),
        ('{"format": 2}', {}, "its format is 2, not 1"),
        ('{"format": 1, "state": "<b>"}', {}, "its state is"),
        ({**GOOD, "error": "x"}, {}, "its error is no object"),
        ({**GOOD, "started": 3}, {}, "its 'started' is no time"),
        (DEEP, {}, "nested too deeply"),
        ("[" * 100_000, {}, "nested too deeply"),
        ('{"format": ' + "1" * 5000 + "}", {}, "cannot be read"),
        (GOOD, {"history": "a,a\n1,2\n"}, "names no columns, or too many"),
        (GOOD, {"history": "a,b\n1\n"}, "its row 1 has 1 cells"),
        (GOOD, {"history": b"\xff\xfe\n"}, "codec can't decode"),
        (GOOD, {"history": "a\n" + '"' + "x" * 200_000}, "field larger"),
    ],
)
def test_a_damaged_record_is_an_error_that_names_it(tmp_path, manifest, files, why):
    folder = written(tmp_path / "bad", manifest, **files)
    with pytest.raises(ValueError, match=rf"`path` must be .*bad.*{why}"):
        Run(folder)


def test_large_and_strange_files_are_not_read(tmp_path, monkeypatch):
    folder = written(tmp_path / "bad")
    (folder / "history.csv").write_bytes(b"")
    os.truncate(folder / "history.csv", 10**9)
    with pytest.raises(ValueError, match="larger than"):
        Run(folder)
    (folder / "history.csv").unlink()
    (folder / "history.csv").mkdir()
    with pytest.raises(ValueError, match="cannot be read"):
        Run(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has named pipes")
def test_a_pipe_does_not_keep_the_reader_waiting(tmp_path):
    folder = written(tmp_path / "bad")
    os.mkfifo(folder / "history.csv")
    with pytest.raises(ValueError, match="no ordinary file"):
        Run(folder)


def test_no_record_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"where there is no run\.json"):
        Run(tmp_path)


def test_cells_that_are_no_numbers_are_missing(tmp_path):
    run = Run(written(tmp_path / "a", history="epoch,loss\n0,x\n1,\n2,inf\n3,0.5\n"))
    assert np.isnan(run.history["loss"]).tolist() == [True, True, False, False]
    assert run.last("loss") == 0.5
    assert run.best("loss") == 0.5
    assert np.isnan(run.last("accuracy"))
    assert np.isnan(run.best("accuracy"))


def test_the_best_of_a_loss_is_the_lowest_of_an_accuracy_the_highest(tmp_path):
    table = "epoch,val_loss,accuracy\n0,3,0.1\n1,1,0.4\n2,2,0.3\n"
    run = Run(written(tmp_path / "a", history=table))
    assert (run.best("val_loss"), run.best("accuracy")) == (1.0, 0.4)
    assert run.metrics == ["val_loss", "accuracy"]
    assert repr(run) == "<Run 'a' finished, 3 epochs, val_loss 2>"


def test_a_record_reads_back_bit_for_bit(tmp_path):
    name = 'a "quoted", name'
    values = [1 / 3, 1e-300, float("nan"), float("inf"), -0.0]
    _files.write_table(tmp_path / "t.csv", ["epoch", name], enumerate(values))
    found = _files.read_table(tmp_path / "t.csv")[name]
    assert np.array(values).tobytes() == found.tobytes()


def test_list_is_oldest_first_and_leaves_damaged_ones_out(tmp_path):
    assert kt.runs.list(tmp_path / "nothing") == []
    for name, started in (("b", "2026-01-01"), ("a", "2026-01-02")):
        written(tmp_path / name, {**GOOD, "started": started})
    for number in (1, 2, 10):
        written(tmp_path / f"fold-{number}", {**GOOD, "started": "2026-01-03"})
    written(tmp_path / "bad", "{")
    (tmp_path / "other").mkdir()
    with pytest.warns(UserWarning, match=r"A run is left out.*bad"):
        found = kt.runs.list(tmp_path)
    names = ["b", "a", "fold-1", "fold-2", "fold-10"]
    assert [run.name for run in found] == names
    with pytest.raises(NotADirectoryError, match="`directory` must be a folder"):
        kt.runs.list(tmp_path / "bad" / "run.json")


def test_compare_tells_settings_first_then_results(tmp_path):
    a = record(tmp_path, "a", {"width": 4, "same": 1}, build(4))
    b = record(tmp_path, "b", {"width": 5, "same": 1, "new": "x"}, build(5, rate=0.2))
    report = kt.runs.compare(a, Run(b))
    rows = {row.name: row for row in report}
    assert rows["config.width"][:4] == ("setting", "config.width", "4", "5")
    assert rows["config.new"][2:] == (None, "x")
    assert rows["optimizer.config.learning_rate"][2:] == ("0.1", "0.2")
    assert "config.same" not in rows
    units = [row for name, row in rows.items() if name.endswith("config.units")]
    assert [row[2:] for row in units] == [("4", "5")]
    # Names that Keras counts up are no difference.
    assert not [name for name in rows if name.endswith("name")]
    assert rows["loss"].kind == "result"
    kinds = [row.kind for row in report]
    assert kinds == sorted(kinds, reverse=True)
    assert report.summary.startswith("'a' (a) and 'b' (b) differ in ")


def test_a_run_does_not_differ_from_itself(tmp_path):
    path = record(tmp_path, "a")
    assert len(kt.runs.compare(path, path)) == 0
    with pytest.raises(TypeError, match=r"`b` must be the folder of a run.*b=3"):
        kt.runs.compare(path, 3)


def test_plot_draws_a_line_per_run(tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    written(tmp_path / "a", history="epoch,loss,val_loss\n0,3,\n1,2,4\n")
    written(tmp_path / "_b", history="epoch,loss\n0,5\n")
    ax = kt.runs.plot(tmp_path, "loss", ax=figure.Figure().subplots())
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert drawn == {"b": [[1, 5]], "a": [[1, 3], [2, 2]]}
    ax = kt.runs.plot(tmp_path, ax=figure.Figure().subplots())
    assert ax.get_ylabel() == "val_loss"
    assert len(ax.lines) == 1
    with pytest.raises(ValueError, match=r"`metric` must be one of.*'los'"):
        kt.runs.plot(tmp_path, "los")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="`runs` must hold at least one run"):
        kt.runs.plot(tmp_path / "empty")


@pytest.mark.needs("pandas")
def test_to_pandas_has_a_row_per_run_or_per_epoch(tmp_path):
    written(
        tmp_path / "a",
        {**GOOD, "started": "1", "config": {"width": 4, "sizes": [1, 2]}},
        history="epoch,loss\n0,3\n1,2\n",
    )
    written(tmp_path / "b", {**GOOD, "started": "2"}, history="epoch,mae\n0,5\n")
    table = kt.runs.to_pandas(tmp_path)
    assert table["run"].tolist() == ["a", "b"]
    assert table["config.width"][0] == 4
    assert table["config.sizes"][0] == "[1, 2]"
    assert table["last.loss"][0] == 2
    assert np.isnan(table["config.width"][1])
    epochs = kt.runs.to_pandas([tmp_path / "a", tmp_path / "b"], rows="epochs")
    assert list(epochs.columns) == ["run", "epoch", "loss", "mae"]
    assert epochs["run"].tolist() == ["a", "a", "b"]
    with pytest.raises(ValueError, match="`rows` must be one of 'runs', 'epochs'"):
        kt.runs.to_pandas(tmp_path, rows="epoch")


def test_without_pandas_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas, which is not installed"):
        kt.runs.to_pandas(tmp_path)
