"""The rules: small functions over the facts, a file for each family.

Codes: KT1 layers, KT2 dropout and decay, KT3 loss and optimizer, KT4 data, KT5 the
program around them. KT001 is a rule that failed. To import a file is to add its rules.
"""

from keras_tricks.lint._rule import RULES
from keras_tricks.lint._rules import (
    balance,
    batch_norm,
    batch_size,
    clipping,
    decay,
    dropout,
    finite,
    frozen,
    hidden_sigmoid,
    initializer,
    input_scale,
    label_order,
    labels,
    learning_rate,
    logits,
    missing_dropout,
    patience,
    patterns,
    reduction,
    regularizers,
    schedules,
    seed,
    square_dense,
    tokens,
    width,
)

__all__ = [
    "RULES",
    "balance",
    "batch_norm",
    "batch_size",
    "clipping",
    "decay",
    "dropout",
    "finite",
    "frozen",
    "hidden_sigmoid",
    "initializer",
    "input_scale",
    "label_order",
    "labels",
    "learning_rate",
    "logits",
    "missing_dropout",
    "patience",
    "patterns",
    "reduction",
    "regularizers",
    "schedules",
    "seed",
    "square_dense",
    "tokens",
    "width",
]
