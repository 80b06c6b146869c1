import keras
import pytest
from keras import layers

from keras_tricks.optimizers.discriminative import discriminative


def model():
    names = ["embedding", "lstm_a", "lstm_b", "head"]
    dense = [layers.Dense(2, name=name) for name in names]
    return keras.Sequential([keras.Input((2,)), *dense])


def test_each_lower_layer_is_divided_by_the_factor():
    found = discriminative(model())
    assert list(found) == ["embedding", "lstm_a", "lstm_b", "head"]
    # 1 / 2.6 = .384615, 1 / 6.76 = .147929, 1 / 17.576 = .056896
    assert list(found.values()) == pytest.approx(
        [0.056896, 0.147929, 0.384615, 1.0], rel=1e-5
    )


def test_groups_are_levels_by_hand():
    found = discriminative(model(), 2.0, groups=["embedding", ["lstm_.*"], "head"])
    assert found == {"embedding": 0.25, "lstm_.*": 0.5, "head": 1.0}


def test_a_factor_of_one_is_one_rate():
    assert set(discriminative(model(), 1).values()) == {1.0}


def test_a_layer_in_no_group_is_an_error():
    with pytest.raises(ValueError, match=r"groups without 'lstm_a', 'lstm_b'; add"):
        discriminative(model(), groups=["embedding", "head"])


def test_a_factor_below_one_is_told():
    with pytest.raises(ValueError, match=r"`factor` must be .* Received: factor=0.5"):
        discriminative(model(), 0.5)
