"""Equal data have equal digests, other data others, and none is read in full."""

import hashlib

import keras
import numpy as np
import pytest

from keras_tricks.runs import _fingerprint

RANDOM = np.random.default_rng(0)


def hashes(data):
    return [entry["hash"] for entry in _fingerprint.of_data(data)]


def test_a_digest_is_sha256_of_length_and_bytes():
    array = np.arange(6, dtype="float32")
    raw = (24).to_bytes(8, "little") + array.tobytes()
    assert hashes(array) == [hashlib.sha256(raw).hexdigest()[:16]]


def test_layout_and_library_do_not_matter_values_and_types_do():
    array = RANDOM.normal(size=(5, 4)).astype("float32")
    same = [np.asfortranarray(array), keras.ops.convert_to_tensor(array)]
    entry = _fingerprint.of_data(array)
    assert all(_fingerprint.of_data(other) == entry for other in same)
    other = array.copy()
    other[3, 2] += 1
    assert hashes(other) != hashes(array)
    assert _fingerprint.of_data(array.T.copy()) != entry


def test_a_large_array_is_read_in_part_and_that_is_said(monkeypatch):
    monkeypatch.setattr(_fingerprint, "FULL", 400)
    array = np.zeros((101, 10), "float32")
    (entry,) = _fingerprint.of_data(array)
    assert entry["hashed"] == "every 11th of 101 rows and the last"
    read, unread = array.copy(), array.copy()
    read[[22, 100]] = 1
    unread[23] = 1
    assert hashes(read) != [entry["hash"]]
    assert hashes(unread) == [entry["hash"]]


def test_structures_are_told_leaf_by_leaf():
    x = {"b": np.ones(2), "a": np.zeros((3, 1))}
    entries = _fingerprint.of_data((x, [1, 2, 3], None, ["u", "v"]))
    assert [entry["shape"] for entry in entries] == [[3, 1], [2], [3], [2]]
    assert _fingerprint.of_data(None) == []


def test_generators_are_named_and_not_read():
    def rows():
        raise AssertionError("read")
        yield

    assert _fingerprint.of_data(rows()) == [
        {"type": "generator", "hash": None, "length": None}
    ]


def test_what_is_no_whole_array_is_named():
    found = _fingerprint.of_data([[1], [1, 2]])
    assert found == [{"type": "list", "hash": None, "length": 2}]


def test_sparse_matrices_and_tables_count_too():
    sparse = pytest.importorskip("scipy.sparse")
    (entry,) = _fingerprint.of_data(sparse.csr_matrix(np.eye(3)))
    assert (entry["type"], entry["shape"]) == ("sparse", [3, 3])
    # The same values in other places.
    assert hashes(sparse.csr_matrix(np.eye(3)[::-1])) != [entry["hash"]]


@pytest.mark.needs("pandas")
def test_a_pandas_table_is_read_by_rows(monkeypatch):
    import pandas

    monkeypatch.setattr(_fingerprint, "FULL", 400)
    table = pandas.DataFrame({"a": range(100), "b": ["x"] * 100})
    (entry,) = _fingerprint.of_data(table)
    assert (entry["type"], entry["shape"]) == ("table", [100, 2])
    assert "rows" in entry["hashed"]
    changed = table.copy()
    changed.loc[0, "b"] = "y"
    assert hashes(changed) != [entry["hash"]]


def test_weights_count_with_their_shapes():
    layer = keras.layers.Dense(3)
    layer.build((2, 2))
    first = _fingerprint.of_variables(layer.variables)
    assert first == _fingerprint.of_variables(layer.variables)
    layer.bias.assign([1.0, 0.0, 0.0])
    assert first != _fingerprint.of_variables(layer.variables)
