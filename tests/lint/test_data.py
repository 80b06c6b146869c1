"""What is read of the data, and what is not."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_tricks.lint import Facts, _data, check

pytestmark = pytest.mark.usefixtures("undrawn")

X = np.arange(80, dtype="float32").reshape(20, 4) / 80
Y = np.arange(20)


def model():
    return keras.Sequential([keras.Input((4,)), layers.Dense(1)])


def test_arrays_are_read_whole_or_in_a_sample_that_keeps_the_order():
    data = _data.look(X, Y)
    assert (data.kind, data.rows, data.batch_size) == ("arrays", 20, None)
    assert np.array_equal(data.x[0].values, X)
    many = np.arange(1_000_000)[:, None] * np.ones(4)
    (part,) = _data.look(many, None).x
    assert (len(part.values), part.rows) == (_data.ROWS, 1_000_000)
    assert np.all(np.diff(part.values[:, 0]) > 0)
    assert tuple(part.values[[0, -1], 0]) == (0, 999_999)


def test_large_rows_are_read_in_small_numbers():
    part = _data.look(np.zeros((100, 500, 500), "uint8"), None).x[0]
    assert len(part.values) == 16


def test_dicts_and_lists_keep_their_names():
    data = _data.look({"a": X, "b": [X, X]}, (Y, Y))
    assert [part.name for part in data.x] == ["x['a']", "x['b'][0]", "x['b'][1]"]
    assert [part.name for part in data.y] == ["y[0]", "y[1]"]


def test_tensors_of_the_backend_are_read():
    data = _data.look(keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(Y))
    assert np.array_equal(data.x[0].values, X)
    assert (data.y[0].low, data.y[0].high) == (0, 19)


class Frame:
    """What reads like a table of pandas."""

    shape = (20, 4)

    @property
    def iloc(self):
        return X


def test_tables_are_read_by_position():
    assert np.array_equal(_data.look(Frame(), None).x[0].values, X)


@pytest.mark.parametrize("x", [(row for row in X), iter([X])])
def test_what_can_be_read_only_once_is_not_read(x):
    report = check(model(), x)
    assert report.notes[-1].startswith(
        "the data are not looked at: reading a generator"
    )
    assert len(list(x)) > 0


class Batches(keras.utils.PyDataset):
    def __init__(self, length=1000, fail=False):
        super().__init__()
        self.length, self.fail, self.read = length, fail, []

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.read.append(index)
        if self.fail:
            raise OSError("the disk is gone")
        return np.full((8, 4), index, "float32"), np.full(8, index)


def test_of_a_data_set_a_few_batches_are_read():
    batches = Batches()
    data = _data.look(batches, None)
    assert batches.read == list(range(16))
    assert (data.kind, data.rows, data.batch_size) == ("dataset", 8000, 8)
    assert data.x[0].values.shape == (128, 4)
    assert data.y[0].values.tolist() == [i for i in range(16) for _ in range(8)]


def test_a_data_set_that_fails_is_noted():
    report = check(model(), Batches(fail=True))
    note = "the data set is not looked at: OSError: the disk is gone"
    assert report.notes[-1] == note


def test_what_is_no_array_is_noted():
    notes = check(model(), [1.0, 2.0]).notes
    assert "x[0] is not looked at: float has no rows" in notes


class Broken:
    shape = (3, 2)

    def __getitem__(self, index):
        raise RuntimeError("no")


def test_an_array_that_fails_is_noted():
    assert "x is not looked at: RuntimeError: no" in check(model(), Broken()).notes


@pytest.mark.backend("tensorflow", reason="tf.data comes with TensorFlow")
def test_a_tf_data_set_is_read_in_part():
    import tensorflow as tf

    read = []

    def note(index):
        read.append(int(index))
        return np.zeros((4, 4), "float32"), np.zeros(4, "int32")

    def step(index):
        return tf.py_function(note, [index], (tf.float32, tf.int32))

    endless = tf.data.Dataset.range(10**9).map(step)
    data = _data.look(endless, None)
    assert (data.kind, data.batch_size) == ("dataset", 4)
    assert data.rows == 4 * 10**9
    assert read == list(range(16))
    arrays = tf.data.Dataset.from_tensor_slices(({"a": X}, Y)).batch(8)
    data = _data.look(arrays, None)
    assert [part.name for part in data.x] == ["x['a']"]
    assert data.y[0].values.tolist() == Y.tolist()
    assert _data.look(arrays.repeat(), None).rows is None


@pytest.mark.backend("torch", reason="a DataLoader comes with PyTorch")
def test_a_data_loader_is_read_and_its_order_stays():
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    loader = DataLoader(rows, batch_size=8, shuffle=True)
    torch.manual_seed(3)
    expected = [y.tolist() for _, y in loader]
    torch.manual_seed(3)
    report = check(model(), loader)
    assert report.notes[0].startswith("Sequential")
    assert [y.tolist() for _, y in loader] == expected
    data = _data.look(loader, None)
    assert (data.rows, data.batch_size) == (24, 8)
    assert sorted(data.y[0].values.tolist()) == list(range(20))


def test_the_batch_size_is_what_was_given_what_the_data_say_or_keras_own():
    assert Facts(model(), X, batch_size=7).batch_size == 7
    assert Facts(model(), X).batch_size == 32
    assert Facts(model(), Batches()).batch_size == 8
    assert Facts(model()).batch_size is None


def test_data_without_rows_or_numbers_break_no_rule():
    empty = check(model(), np.zeros((0, 4)), np.zeros((0, 1)))
    words = check(model(), np.array([["a"] * 4] * 9), np.array(["b"] * 9))
    for report in (empty, words):
        assert not report.filter(code="KT001")


def test_half_precision_booleans_and_bytes_break_no_rule():
    net = model()
    net.compile("adam", "binary_crossentropy")
    for kind in ("float16", "bool", "uint8"):
        report = check(net, X.astype(kind), (Y % 2).astype(kind))
        assert not report.filter(code="KT001")
        assert not report.filter(code="KT4")
