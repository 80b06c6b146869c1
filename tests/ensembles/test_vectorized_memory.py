"""How many members run together where memory is short."""

import keras
import numpy as np
import pytest

from keras_tricks.ensembles import _vectorized_memory
from keras_tricks.ensembles._vectorized_memory import members_per_chunk

# 10 members of 25 numbers of 4 bytes, held three times in a step: 3,000 bytes.
WEIGHTS = [np.zeros((10, 5, 5))]
OUTPUTS = {"a": keras.KerasTensor((1, 2)), "b": keras.KerasTensor((1, 3))}


@pytest.fixture
def free(monkeypatch):
    return lambda size: monkeypatch.setattr(_vectorized_memory, "_free", lambda: size)


def test_all_members_run_together_where_half_of_the_memory_suffices(free):
    free(6000)
    assert members_per_chunk("auto", 10, WEIGHTS) == 10
    free(None)
    assert members_per_chunk("auto", 10, WEIGHTS) == 10


@pytest.mark.parametrize(("size", "chunk"), [(5999, 5), (2400, 3), (10, 1)])
def test_fewer_run_together_where_it_does_not_and_that_is_said(free, size, chunk):
    free(size)
    with pytest.warns(UserWarning, match=rf"they run {chunk} at a time\. Set `mem"):
        assert members_per_chunk("auto", 10, WEIGHTS) == chunk


def test_outputs_that_are_kept_for_the_metrics_count(free):
    # 10 members, 100 rows, 5 numbers of 4 bytes, twice: 40,000 bytes more.
    free(86000)
    assert members_per_chunk("auto", 10, WEIGHTS, OUTPUTS, 100) == 10
    free(85999)
    with pytest.warns(UserWarning, match="they run 5 at a time"):
        assert members_per_chunk("auto", 10, WEIGHTS, OUTPUTS, 100) == 5


def test_what_is_asked_for_is_done(free):
    free(10)
    assert members_per_chunk(4, 10, WEIGHTS) == 4
    assert members_per_chunk(40, 10, WEIGHTS) == 10


def test_memory_that_holds_the_file_cache_is_free(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 9 kB\nMemFree: 2 kB\nMemAvailable:    7 kB\n")
    assert _vectorized_memory._available(path) == 7 * 1024
    path.write_text("MemFree: 2 kB\n")
    assert _vectorized_memory._available(path) is None
