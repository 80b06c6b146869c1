"""What the compiled loss of a member tells of its outputs."""

from typing import Any

import keras


def family(model: Any) -> tuple[str | None, bool]:
    """The family of a compiled loss, and whether it takes logits."""
    loss = getattr(model, "loss", None) if getattr(model, "compiled", False) else None
    if loss is None:
        return None, False
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    name = getattr(loss, "__name__", type(loss).__name__).replace("_", "").lower()
    if "crossentropy" not in name:
        return "other", False
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    family = "binary" if "binary" in name else "categorical"
    return family, bool(config.get("from_logits", False))
