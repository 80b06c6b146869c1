"""A member ends where a model ends that is trained alone."""

import os
import subprocess
import sys

import keras
import lone_models as lone
import numpy as np
import pytest

from keras_tricks.ensembles import _vectorized_rows

layers, optimizers = keras.layers, keras.optimizers
schedules = optimizers.schedules

NETS = {
    "convolutions": (
        lambda: lone.net(
            layers.Conv2D(4, 3, activation="tanh"),
            layers.Reshape((4, 16)),
            layers.Conv1D(4, 3),
            layers.Flatten(),
            shape=(6, 6, 2),
        ),
        lone.IMAGES,
    ),
    "recurrent": (
        lambda: lone.net(
            layers.GRU(4, return_sequences=True), layers.LSTM(4), shape=(3, 4)
        ),
        lone.SEQUENCES[:, :3],
    ),
    "words": (
        lambda: lone.net(
            layers.Embedding(150, 4),
            layers.Flatten(),
            layers.LayerNormalization(),
            shape=(3,),
            dtype="int32",
        ),
        lone.WORDS,
    ),
    # Without a bias before it, whose gradient is rounding alone, which Adam divides by
    # its own size.
    "batches": (
        lambda: lone.net(
            layers.Dense(
                5,
                use_bias=False,
                kernel_regularizer="l2",
                activity_regularizer="l2",
            ),
            layers.BatchNormalization(),
            shape=(4,),
        ),
        lone.VECTORS,
    ),
}
OPTIMIZERS = {
    "SGD, global_clipnorm": lambda: optimizers.SGD(
        0.1, momentum=0.9, nesterov=True, global_clipnorm=0.05
    ),
    "Adam, clipvalue, schedule": lambda: optimizers.Adam(
        schedules.CosineDecay(0.05, 20), clipvalue=0.01
    ),
    "AdamW, clipnorm": lambda: optimizers.AdamW(1e-2, weight_decay=0.1, clipnorm=0.05),
    "RMSprop": lambda: optimizers.RMSprop(1e-2),
    "Lion": lambda: optimizers.Lion(1e-3),
    "Lamb": lambda: optimizers.Lamb(1e-2),
}


# Of one size of batches, three steps and two, where nothing hangs on the last one.
ROWS = {
    "convolutions": lone.FULL,
    "recurrent": lone.FULL,
    "words": lone.ROWS,
    # Not of one row, which has no variance.
    "batches": [np.arange(40), np.arange(16, 48)],
}


@pytest.mark.parametrize("name", NETS)
def test_every_kind_of_layer_ends_where_it_ends_alone(name):
    make, x = NETS[name]
    build = lone.compiled(make, lambda: optimizers.Adam(1e-3))
    assert lone.largest_distance(build, x, 10, ROWS[name]) < 1e-4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_ends_where_it_ends_alone(name):
    build = lone.compiled(lone.dense, OPTIMIZERS[name])
    given = {"rows": lone.FULL, "strategies": ["vmap"]}
    assert lone.largest_distance(build, lone.VECTORS, 10, **given) < 1e-4


def test_every_strategy_ends_in_the_same_place():
    # Last batches of 8 rows and of one.
    rows = [np.arange(40), np.arange(16, 49)]
    build = lone.compiled(lone.dense, lambda: optimizers.Adam(1e-2))
    given = {"rows": rows, "strategies": ["vmap", "unroll", "sequential"]}
    assert lone.largest_distance(build, lone.VECTORS, 3, **given) < 1e-6


# Each with one of the members: the first, then the second.
@pytest.mark.parametrize(("scheduled", "member"), [(False, 0), (True, 1)])
def test_every_member_has_its_own_rate_and_decay(scheduled, member):
    rates, decays = [1e-2, 3e-3], [0.1, 0.3]

    def rate(factor):
        return schedules.ExponentialDecay(factor, 5, 0.5) if scheduled else factor

    build = lone.compiled(lone.dense, lambda: optimizers.AdamW(rate(1.0)))

    def alone(model, k):
        optimizer = optimizers.AdamW(rate(rates[k]), weight_decay=decays[k])
        model.compile(optimizer, "sparse_categorical_crossentropy")

    worst = lone.largest_distance(
        build,
        lone.VECTORS,
        3,
        lone.FULL,
        alone=alone,
        strategies=["vmap"],
        check=[member],
        learning_rates=rates,
        weight_decays=decays,
    )
    assert worst < 1e-6


def test_last_batches_of_one_length_are_one_step():
    orders = [np.arange(size) for size in (5, 6, 9, 4)]
    active = np.ones(4, bool)
    found = _vectorized_rows.phases(orders, active, 4, mask=False)
    # Two steps of four rows; then one of one row, for the first and the third member,
    # and one of two rows for the second.
    assert [phase.rows.shape for phase in found] == [(2, 4, 4), (1, 4, 1), (1, 4, 2)]
    assert found[0].counts.tolist() == [[4, 4, 4, 4], [0, 0, 4, 0]]
    assert found[1].counts.tolist() == [[1, 0, 1, 0]]
    assert found[1].rows[0, [0, 2], 0].tolist() == [4, 8]
    assert found[2].counts.tolist() == [[0, 2, 0, 0]]
    assert found[2].rows[0, 1].tolist() == [4, 5]


SCRIPT = """
import keras, sys
keras.config.set_floatx("float64")
import lone_models as lone
from keras import layers, optimizers
rows = [range(40), range(16, 48)]
import numpy as np
rows = [np.array(r) for r in rows]
nets = {
    "dense": (lone.dense, optimizers.Adam),
    "norm": (lambda: lone.net(layers.Dense(5, use_bias=False),
        layers.BatchNormalization(), shape=(4,)), optimizers.Adam),
}
for make, kind in nets.values():
    build = lone.compiled(make, lambda: kind(1e-3))
    worst = lone.largest_distance(
        build, lone.VECTORS, 67, rows, strategies=[sys.argv[1]])
    print("distance", worst)
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["vmap", "sequential"])
def test_double_precision_ends_in_the_same_place_after_200_steps(strategy):
    folder = os.path.dirname(lone.__file__)
    environment = {
        **os.environ,
        "JAX_ENABLE_X64": "1",
        "PYTHONPATH": os.pathsep.join([folder, *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, strategy],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [float(line.split()[1]) for line in done.stdout.splitlines()]
    # Keras multiplies matrices of doubles as floats on PyTorch, alone too; members
    # together are rounded otherwise there.
    rounded = keras.backend.backend() == "torch" and strategy == "vmap"
    assert len(found) == 2
    assert max(found) < (1e-5 if rounded else 1e-8)
