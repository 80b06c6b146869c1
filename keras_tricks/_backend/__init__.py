"""The one door to TensorFlow, JAX and PyTorch.

Each module of this folder offers the same functions for one backend; this one hands
out those of the backend that Keras runs on. Nothing else in the package imports a
backend or asks for its name.
"""

import importlib

import keras

NAME = keras.backend.backend()
_backend = importlib.import_module(f"{__name__}.{NAME}")
_watch = importlib.import_module(f"{__name__}._watch_{NAME}")
_vectorized = importlib.import_module(f"{__name__}._vectorized_{NAME}")

accelerators = _backend.accelerators
batch_step = _backend.batch_step
building_function = _backend.building_function
borrow_extras = _backend.borrow_extras
deterministic = _backend.deterministic
metrics_result = _backend.metrics_result
moment_step = _backend.moment_step
random_state = _backend.random_state
rebuild_train_function = _backend.rebuild_train_function
replicas = _backend.replicas
seed = _backend.seed
train_function_of = _backend.train_function_of
without_gradients = _backend.without_gradients
tap = _backend.tap
dense = _backend.dense
equal = _backend.equal
global_norm = _backend.global_norm
numbers = _backend.numbers
adopt = _backend.adopt
overwrite = _backend.overwrite
sync_state = _backend.sync_state
GIVES_ROWS = _backend.GIVES_ROWS
change_rows = _backend.change_rows
has_rows = _backend.has_rows
in_strategy = _backend.in_strategy
on_values = _backend.on_values
row_optimizer = _backend.row_optimizer
sum_duplicates = _backend.sum_duplicates
take_rows = _backend.take_rows
update_if = _backend.update_if
zero_unless = _backend.zero_unless
difference_norms = _backend.difference_norms
has_value = _backend.has_value
largest = _backend.largest
norms = _backend.norms
siphon = _backend.siphon
snapshot = _backend.snapshot
with_log = _backend.with_log
STEP_OVERHEAD = _vectorized.STEP_OVERHEAD
MemberProgram = _vectorized.MemberProgram
better_apart = _vectorized.better_apart
finished = _vectorized.finished
free_memory = _vectorized.free_memory
member_devices = _vectorized.member_devices
member_function = _vectorized.member_function
asks_together = _vectorized.asks_together
member_gradients = _vectorized.member_gradients
member_rows = _vectorized.member_rows
members_value = _vectorized.members_value
VALUES_BEFORE = _watch.VALUES_BEFORE
accelerated = _watch.accelerated
gradients = _watch.gradients
run_step = _watch.run_step
watch = _watch.watch

__all__ = [
    "GIVES_ROWS",
    "NAME",
    "STEP_OVERHEAD",
    "VALUES_BEFORE",
    "MemberProgram",
    "accelerated",
    "accelerators",
    "adopt",
    "asks_together",
    "batch_step",
    "better_apart",
    "borrow_extras",
    "building_function",
    "change_rows",
    "dense",
    "deterministic",
    "difference_norms",
    "equal",
    "finished",
    "free_memory",
    "global_norm",
    "gradients",
    "has_rows",
    "has_value",
    "in_strategy",
    "largest",
    "member_devices",
    "member_function",
    "member_gradients",
    "member_rows",
    "members_value",
    "metrics_result",
    "moment_step",
    "norms",
    "numbers",
    "on_values",
    "overwrite",
    "random_state",
    "rebuild_train_function",
    "replicas",
    "row_optimizer",
    "run_step",
    "seed",
    "siphon",
    "snapshot",
    "sum_duplicates",
    "sync_state",
    "take_rows",
    "tap",
    "train_function_of",
    "update_if",
    "watch",
    "with_log",
    "without_gradients",
    "zero_unless",
]
