import pytest

from keras_tricks import _atomic


def test_writes_what_fill_writes(tmp_path):
    _atomic.write(tmp_path / "file", lambda file: file.write(b"new"))
    assert (tmp_path / "file").read_bytes() == b"new"


def test_replaces_the_old_file_whole(tmp_path):
    (tmp_path / "file").write_bytes(b"a much longer old file")
    _atomic.write(tmp_path / "file", lambda file: file.write(b"new"))
    assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_makes_the_folder(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    _atomic.write(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt(), SystemExit()])
def test_the_old_file_survives_a_failure_and_nothing_else_is_left(tmp_path, error):
    (tmp_path / "file").write_bytes(b"old")

    def fill(file):
        file.write(b"half of the n")
        raise error

    with pytest.raises(type(error)):
        _atomic.write(tmp_path / "file", fill)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_old_file_is_there_while_the_new_one_is_written(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    seen = []

    def fill(file):
        file.write(b"new")
        file.flush()
        seen.append((tmp_path / "file").read_bytes())

    _atomic.write(tmp_path / "file", fill)
    assert seen == [b"old"]


def test_a_failure_to_rename_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        _atomic.write(tmp_path / "file", lambda file: file.write(b"new"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
