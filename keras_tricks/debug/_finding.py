"""What was found to be wrong with a step."""

from typing import Any, NamedTuple


class Finding(NamedTuple):
    """A problem in words and numbers. All values are plain: it crosses processes."""

    problem: str
    remedy: str
    layer: str | None = None  # path of the layer, without the model's own name
    sample: int | None = None  # row of the batch
    value: float | int | None = None


def text_of(error: BaseException | None, length: int = 400) -> str:
    """The beginning of an error's text, on one line."""
    if error is None:
        return ""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= length else words[:length] + " ..."


def plain(number: Any) -> float | int:
    """A NumPy number as one that JSON knows."""
    value: float | int = number.item() if hasattr(number, "item") else number
    return value
