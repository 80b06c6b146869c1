"""Labels and losses as they come, without a training where it is not needed."""

import keras
import numpy as np
import pytest

from keras_tricks.wrappers import KerasClassifier, _class_weights, _labels, _outputs

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = np.array(["a", "b", "c"])[np.arange(24) % 3]


def compiled(loss, units=3, activation="softmax"):
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(units, activation, name="o")(inputs)
    model = keras.Model(inputs, outputs)
    jit = keras.backend.backend() == "jax"
    model.compile("sgd", loss, jit_compile=jit)
    return model


def test_a_class_without_weight_stays_a_class():
    sizes = []

    def build(meta):
        assert meta["n_classes_"] == 3
        sizes.append(meta["n_classes_"])
        return compiled({"o": "sparse_categorical_crossentropy"})

    made = KerasClassifier(build)
    made.fit(X, Y, sample_weight=np.where(Y == "c", 0.0, 1.0))
    assert made.classes_.tolist() == ["a", "b", "c"]
    assert made.predict_proba(X).shape == (24, 3)
    made.set_params(class_weight={"c": 0}).fit(X, Y)
    assert made.classes_.tolist() == ["a", "b", "c"]
    assert len(sizes) == 2


def test_rows_of_a_class_of_weight_zero_are_left_out():
    rows = []

    class Noting(keras.Sequential):
        def fit(self, x, y, **others):
            rows.append(len(x))
            return super().fit(x, y, **others)

    def build():
        model = Noting([keras.layers.Dense(3, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
        return model

    KerasClassifier(build, batch_size=24, class_weight={"a": 0}).fit(X, Y)
    assert rows == [16]


def test_class_weights_may_name_classes_that_a_fold_lacks():
    codes, classes = np.array([0, 1]), np.array(["a", "b"])
    given = {"a": 1, "b": 2, "c": 3}
    assert _class_weights.weighted(given, classes, codes, None).tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"Received: \['c'\]"):
        _class_weights.weighted({"a": 1, "c": 3}, classes, codes, None)


def test_pairs_that_are_not_0_and_1_are_refused():
    for pairs in ([(1, 2)] * 4, [(0, 2), (2, 0)]):
        with pytest.raises(ValueError, match=r"columns of 0 and 1\. Received: columns"):
            _labels.checked(np.array(pairs))
    both = np.array([(True, False), (False, False)])
    assert _labels.checked(both) is both


def test_integers_that_are_held_as_objects_are_labels():
    # As pandas gives a column of the type Int64.
    found = _labels.checked(np.array([3, 1, 3], dtype=object))
    assert found.dtype.kind == "i"
    assert found.tolist() == [3, 1, 3]
    words = np.array(["b", "a"], dtype=object)
    assert _labels.checked(words).dtype == object


def test_one_unit_with_a_sparse_loss_is_refused():
    model = compiled("sparse_categorical_crossentropy", 1, "sigmoid")
    with pytest.raises(ValueError, match="`loss` must be one for a single output"):
        KerasClassifier(model).fit(X, Y == "a")


def test_a_loss_of_one_entry_is_that_loss():
    for loss in ({"o": "sparse_categorical_crossentropy"}, ["hinge"]):
        model = compiled(loss)
        assert _outputs.loss_name(model) in (
            "sparse_categorical_crossentropy",
            "hinge",
        )


def test_the_names_of_the_divergence_mean_one_distribution():
    for loss in ("kld", "kl_divergence", keras.losses.KLDivergence()):
        assert _outputs.one_of_many(compiled(loss))
    assert not _outputs.one_of_many(compiled("binary_crossentropy"))


def test_lists_of_three_axes_are_what_arrays_are():
    made = KerasClassifier(units=2, random_state=0).fit(X[:, :, None].tolist(), Y)
    assert made.input_shape_ == (3, 1)
    assert (made.predict(X[:, :, None]) == made.predict(X[:, :, None].tolist())).all()
    with pytest.raises(ValueError, match="inhomogeneous"):
        KerasClassifier().fit([[1.0], [1.0, 2.0]], ["a", "b"])
