"""Which way a metric is better, by its name."""

import re

# Metrics that are better when higher, by the words in Keras's names for them.
_HIGHER = re.compile(
    "acc|auc|precision|recall|f1|fbeta|io_?u|similarity|correlation|sensitivity"
    "|specificity|r2"
)


def higher_is_better(name: str) -> bool:
    """Whether a metric of this name is better when higher."""
    return not name.endswith("loss") and bool(_HIGHER.search(name))
