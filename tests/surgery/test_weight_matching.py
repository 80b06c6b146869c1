import keras
import pytest

from keras_tricks.surgery import _weight_matching
from keras_tricks.surgery._weight_matching import Slot


def slot(path, name=None, shape=(2,), index=0, loose=False, kind=None):
    return Slot((path,), index, shape, "float32", name, kind, loose, lambda: None)


def dense(path, *shape, named=True, loose=False):
    names = ("kernel", "bias") if named else (None, None)
    shapes = (shape, shape[-1:])
    both = enumerate(zip(names, shapes, strict=True))
    return [slot(path, name, size, index, loose) for index, (name, size) in both]


def by_path(wanted, given):
    return _weight_matching.by_path(wanted, given)


def by_shape(wanted, given, taken=None):
    return _weight_matching.by_shape(wanted, given, taken or {})


def test_paths_and_names_decide_and_not_the_order():
    wanted = [*dense("a", 3, 3), *dense("b", 3, 3)]
    given = [*dense("b", 3, 3), *dense("a", 3, 3)]
    assert by_path(wanted, given) == {0: 2, 1: 3, 2: 0, 3: 1}


def test_a_source_without_names_goes_by_numbers():
    wanted, given = dense("a", 3, 4), dense("a", 3, 4, named=False)
    assert by_path(wanted, given) == {0: 0, 1: 1}


def test_a_counterpart_of_another_shape_is_still_the_counterpart():
    assert by_path(dense("a", 3, 4), dense("a", 3, 5)) == {0: 0, 1: 1}


def test_automatic_names_are_counted_anew_where_they_differ():
    wanted = [slot("dense_7", "kernel"), slot("dense_8", "kernel")]
    given = [slot("dense_8", "kernel"), slot("dense_9", "kernel")]
    assert by_path(wanted, given) == {0: 0, 1: 1}


def test_automatic_names_stay_where_one_side_has_all_of_the_other():
    # A Dense was taken out of the model.
    wanted = [slot("dense", "kernel"), slot("dense_2", "kernel")]
    given = [slot(name, "kernel") for name in ("dense", "dense_1", "dense_2")]
    assert by_path(wanted, given) == {0: 0, 1: 2}


def test_automatic_names_are_counted_within_their_parents():
    wanted = [slot("a/dense_4", "kernel"), slot("b/dense_5", "kernel")]
    given = [slot("b/dense", "kernel"), slot("a/dense", "kernel")]
    assert by_path(wanted, given) == {0: 1, 1: 0}


def test_names_of_the_user_are_never_counted():
    wanted = [slot("dense_7", "kernel"), slot("block_2", "kernel")]
    given = [slot("dense_1", "kernel"), slot("block_3", "kernel")]
    assert by_path(wanted, given) == {0: 0}


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2DTranspose(1, 1),
        keras.layers.BatchNormalization(),
        keras.layers.LSTMCell(1),
        keras.layers.MultiHeadAttention(1, 1),
        keras.layers.PReLU(),
        keras.layers.Bidirectional(keras.layers.GRU(1)).forward_layer,
        keras.Sequential(),
        keras.Model(x := keras.Input((1,)), x),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_name_that_keras_gives_is_known_as_one(layer):
    assert _weight_matching._base(layer.name)


def test_layers_left_out_of_a_legacy_path_are_found():
    wanted = [slot("lstm/lstm_cell", "kernel"), slot("net/body/conv", "kernel")]
    given = [
        slot("lstm", "kernel", loose=True),
        slot("net/conv", "kernel", loose=True),
        slot("other/conv", "kernel", loose=True),
    ]
    assert by_path(wanted, given) == {0: 0, 1: 1}


def test_of_two_places_for_a_legacy_name_the_one_of_its_shape_is_taken():
    wanted = [slot("net/a/c", "kernel", (1,)), slot("net/b/c", "kernel", (2,))]
    given = [slot("net/c", "kernel", (2,), loose=True)]
    assert by_path(wanted, given) == {1: 0}


def test_equal_shapes_are_taken_in_order():
    wanted = [*dense("a", 3, 3), *dense("b", 3, 3), *dense("c", 3, 5)]
    given = [*dense("x", 3, 5), *dense("y", 3, 3), *dense("z", 3, 3)]
    assert by_shape(wanted, given) == {0: 2, 1: 3, 2: 4, 3: 5, 4: 0, 5: 1}


def test_a_bias_does_not_become_a_scale():
    norm = [slot("n", name, (3,), i) for i, name in enumerate(("gamma", "beta"))]
    assert by_shape(dense("a", 2, 3), norm) == {}


def test_a_layer_without_a_bias_gives_its_kernel():
    given = [slot("x", "kernel", (3, 3))]
    assert by_shape(dense("a", 3, 3), given) == {0: 0}


def test_parts_of_a_layer_go_by_their_names():
    wanted = [*dense("a/query", 3, 3), *dense("a/key", 3, 3)]
    given = [*dense("x/key", 3, 3), *dense("x/query", 3, 3)]
    assert by_shape(wanted, given) == {0: 2, 1: 3, 2: 0, 3: 1}


def test_layers_of_one_class_are_taken_first():
    wanted = [slot("a", "gamma", kind="one"), slot("b", "gamma", kind="two")]
    given = [slot("x", "gamma", kind="two"), slot("y", "gamma", kind="one")]
    assert by_shape(wanted, given) == {0: 1, 1: 0}


def test_what_is_taken_is_left_alone():
    wanted = [*dense("a", 3, 3), *dense("b", 3, 3)]
    given = [*dense("a", 3, 3), *dense("z", 3, 3)]
    taken = {0: 0, 1: 1}
    assert by_shape(wanted, given, taken) == {0: 0, 1: 1, 2: 2, 3: 3}
