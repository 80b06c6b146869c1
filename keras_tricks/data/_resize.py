"""Images, masks and boxes brought to another size alike: pure functions on arrays."""

import functools
from typing import NamedTuple

import numpy as np

ASPECTS = ("stretch", "crop", "pad")
BOX_FORMATS = ("xyxy", "xywh", "rel_xyxy")


class Placement(NamedTuple):
    """Which part of an image goes to which window of the new one.

    Each is (start, end) per axis, rows before columns: that of the source in
    fractional pixels, that of the target in whole ones.
    """

    source: tuple[tuple[float, float], tuple[float, float]]
    target: tuple[tuple[int, int], tuple[int, int]]


def placement(old: tuple[int, int], new: tuple[int, int], aspect: str) -> Placement:
    """Where an image of one (height, width) goes in one of another."""
    full = tuple((0.0, float(length)) for length in old)
    window = tuple((0, length) for length in new)
    scales = [after / before for after, before in zip(new, old, strict=True)]
    if aspect == "crop":
        kept = [length / max(scales) for length in new]
        full = tuple(
            ((length - part) / 2, (length + part) / 2)
            for length, part in zip(old, kept, strict=True)
        )
    elif aspect == "pad":
        lengths = [max(1, round(length * min(scales))) for length in old]
        starts = [(n - m) // 2 for n, m in zip(new, lengths, strict=True)]
        window = tuple((s, s + n) for s, n in zip(starts, lengths, strict=True))
    return Placement((full[0], full[1]), (window[0], window[1]))


@functools.lru_cache(maxsize=1024)
def weights(length: int, start: float, end: float, new: int) -> np.ndarray:
    """Matrix (new, length) that resamples one axis: linear, without aliasing.

    Where the axis shrinks, the triangle is as much wider, so that every pixel counts.
    """
    step = (end - start) / new
    centres = start + (np.arange(new) + 0.5) * step
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) / max(step, 1.0)
    triangle = np.maximum(0.0, 1.0 - distance)
    found = triangle / triangle.sum(axis=1, keepdims=True)
    return found.astype("float32")


def images(x: np.ndarray, new: tuple[int, int], aspect: str) -> np.ndarray:
    """Images (n, height, width, channels) at a new size, in float32."""
    count, height, width, channels = x.shape
    x = x.astype("float32", copy=False)
    if (height, width) == new:
        return x.copy()
    place = placement((height, width), new, aspect)
    (top, bottom), (left, right) = place.target
    rows = weights(height, *place.source[0], bottom - top)
    columns = weights(width, *place.source[1], right - left)
    tall = np.matmul(rows, x.reshape(count, height, width * channels))
    tall = tall.reshape(count, bottom - top, width, channels)
    found = np.moveaxis(np.tensordot(tall, columns, axes=(2, 1)), -1, 2)
    if (bottom - top, right - left) == new:
        return np.ascontiguousarray(found)
    padded = np.zeros((count, *new, channels), "float32")
    padded[:, top:bottom, left:right] = found
    return padded


def masks(x: np.ndarray, new: tuple[int, int], aspect: str) -> np.ndarray:
    """Masks (n, height, width, ...) at a new size: every value is one that was there.

    What `aspect="pad"` adds is 0.
    """
    place = placement((x.shape[1], x.shape[2]), new, aspect)
    (top, bottom), (left, right) = place.target
    rows = _nearest(x.shape[1], *place.source[0], bottom - top)
    columns = _nearest(x.shape[2], *place.source[1], right - left)
    found = np.zeros((len(x), *new, *x.shape[3:]), x.dtype)
    found[:, top:bottom, left:right] = x[:, rows[:, None], columns]
    return found


def _nearest(length: int, start: float, end: float, new: int) -> np.ndarray:
    places = start + (np.arange(new) + 0.5) * (end - start) / new
    return np.clip(np.floor(places).astype(int), 0, length - 1)


def boxes(
    given: np.ndarray,
    old: tuple[int, int],
    new: tuple[int, int],
    aspect: str,
    box_format: str,
) -> np.ndarray:
    """Boxes (k, 4) of an image at its new size; -1 where nothing of one is left."""
    found = np.asarray(given, "float64").reshape(-1, 4).copy()
    absent = np.all(found < 0, axis=1)
    if box_format == "xywh":
        found[:, 2:] += found[:, :2]
    elif box_format == "rel_xyxy":
        found *= [old[1], old[0], old[1], old[0]]
    place = placement(old, new, aspect)
    for axis, columns in ((0, [1, 3]), (1, [0, 2])):
        (start, end), (first, last) = place.source[axis], place.target[axis]
        scaled = (found[:, columns] - start) * (last - first) / (end - start) + first
        found[:, columns] = np.clip(scaled, first, last)
    absent |= np.any(found[:, 2:] <= found[:, :2], axis=1)
    if box_format == "xywh":
        found[:, 2:] -= found[:, :2]
    elif box_format == "rel_xyxy":
        found /= [new[1], new[0], new[1], new[0]]
    found[absent] = -1.0
    return found.astype("float32")
