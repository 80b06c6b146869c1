"""What is known of cross-validation without running it."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn import model_selection

from keras_tricks.model_selection import _folds, cross_validate

RNG = np.random.default_rng(0)


def linear(units=1, top=None, loss="mse", rate=0.5, features=2):
    def build():
        model = keras.Sequential(
            [keras.Input((features,)), layers.Dense(units, top)],
        )
        model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"])
        return model

    return build


def test_leave_one_out_of_a_linear_model_is_press():
    # Orthogonal columns: gradient descent is done after a few steps.
    x = np.linalg.qr(RNG.normal(size=(10, 3)))[0] * np.sqrt(10)
    y = x @ [1.0, -2.0, 0.5] + RNG.normal(size=10)
    result = cross_validate(
        linear(rate=0.35, features=3),
        x.astype("float32"),
        y.astype("float32"),
        cv=model_selection.LeaveOneOut(),
        epochs=60,
        batch_size=10,
        seed=1,
        verbose=0,
        vectorized=True,
    )
    design = np.column_stack([np.ones(10), x])
    hat = design @ np.linalg.solve(design.T @ design, design.T)
    press = (y - hat @ y) / (1 - np.diag(hat))
    np.testing.assert_allclose(y - result.out_of_fold[:, 0], press, atol=2e-4)
    assert np.isclose(result.scores["loss"].mean, np.mean(press**2), rtol=1e-3)


def test_the_majority_class_is_always_wrong_when_one_is_left_out():
    result = cross_validate(
        linear(2, "softmax", "sparse_categorical_crossentropy"),
        np.zeros((12, 2), "float32"),
        np.tile([0, 1], 6),
        cv=model_selection.LeaveOneOut(),
        epochs=1,
        batch_size=12,
        seed=1,
        verbose=0,
        vectorized=True,
    )
    assert result.scores["accuracy"].mean == 0.0


def test_what_is_learnt_by_heart_is_at_chance_out_of_fold():
    # More columns than rows, and labels that have nothing to do with them. Five draws
    # of 60 rows, each with three folds of its own.
    x = RNG.normal(size=(300, 200)).astype("float32")
    y = np.concatenate([RNG.permutation(np.repeat([0, 1], 30)) for _ in range(5)])
    splits = [
        (np.delete(own, held), own[held])
        for own in np.arange(300).reshape(5, 60)
        for held in np.arange(60).reshape(3, 20)
    ]
    result = cross_validate(
        linear(2, "softmax", "sparse_categorical_crossentropy", 0.5, 200),
        x,
        y,
        cv=splits,
        epochs=20,
        batch_size=40,
        return_train_score=True,
        seed=1,
        verbose=0,
        vectorized=True,
    )
    assert result.scores["train_accuracy"].folds.min() == 1.0
    share = np.mean(result.out_of_fold.argmax(axis=1) == y)
    # 300 answers: four standard errors are 0.115.
    assert abs(share - 0.5) < 0.115


def test_leave_one_out_equals_as_many_folds_as_rows():
    x, y = RNG.normal(size=(4, 2)), RNG.normal(size=4)
    one, other = (
        cross_validate(
            linear(),
            x,
            y,
            cv=cv,
            epochs=1,
            batch_size=3,
            seed=1,
            verbose=0,
            vectorized=False,
        )
        for cv in (model_selection.LeaveOneOut(), model_selection.KFold(4))
    )
    np.testing.assert_array_equal(one.out_of_fold, other.out_of_fold)
    np.testing.assert_array_equal(one.scores["loss"].folds, other.scores["loss"].folds)


@pytest.mark.parametrize("cv", [3, model_selection.GroupKFold(3)])
@pytest.mark.parametrize("classes", [True, False])
def test_no_group_is_split(cv, classes):
    groups = RNG.integers(0, 6, 24)
    y = np.tile([0, 1], 12)
    splits = _folds.made(cv, np.zeros((24, 2)), y, groups, classes=classes, seed=1)
    assert len(splits) == 3
    for train, test in splits:
        assert not set(groups[train]) & set(groups[test])


def test_groups_are_given_on_to_the_folds():
    groups = np.tile(np.arange(4), 3)
    result = cross_validate(
        linear(),
        np.zeros((12, 2)),
        np.zeros(12),
        cv=2,
        groups=groups,
        epochs=1,
        seed=1,
        verbose=0,
        vectorized=False,
    )
    for train, test in result.folds:
        assert not set(groups[train]) & set(groups[test])
