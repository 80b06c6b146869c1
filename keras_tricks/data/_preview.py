"""What images lose when they shrink, in numbers and as a picture."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_tricks import _axes
from keras_tricks._report import Report
from keras_tricks.data import _resize


class Size(NamedTuple):
    """One row of the report."""

    size: str
    pixels: float  # as a share of those of the largest size
    images_per_batch: int
    detail_lost: float  # mean share of an image's variance


def detail_lost(image: np.ndarray, size: tuple[int, int], aspect: str) -> float:
    """Share of the variance of an image (h, w, c) that its smaller self cannot give.

    It is made smaller and large again; what `aspect` cuts off is no loss of detail.
    """
    # Whatever the aspect, this is how much finer or coarser the pixels become.
    place = _resize.placement(image.shape[:2], size, aspect)
    new = [
        max(1, round(length * (last - first) / (end - start)))
        for length, (start, end), (first, last) in zip(
            image.shape[:2], place.source, place.target, strict=True
        )
    ]
    small = _resize.images(image[None], (new[0], new[1]), "stretch")
    again = _resize.images(small, (image.shape[0], image.shape[1]), "stretch")[0]
    image = image.astype("float64")
    variance = np.mean((image - image.mean(axis=(0, 1))) ** 2)
    if variance == 0:
        return 0.0
    return float(min(1.0, np.mean((image - again) ** 2) / variance))


def report(
    images: Sequence[np.ndarray],
    sizes: Sequence[tuple[int, int]],
    rows: Sequence[int],
    aspect: str,
) -> Report:
    """One row per size."""
    largest = max(height * width for height, width in sizes)
    found = [
        Size(
            f"{size[0]} x {size[1]}",
            size[0] * size[1] / largest,
            count,
            float(np.mean([detail_lost(image, size, aspect) for image in images])),
        )
        for size, count in zip(sizes, rows, strict=True)
    ]
    worst = max(found, key=lambda row: row.detail_lost)
    return Report(
        f"{worst.size} loses {worst.detail_lost:.1%} of the detail of {len(images)} "
        f"images, the most of {len(found)} sizes",
        found,
    )


def draw(
    images: Sequence[np.ndarray],
    sizes: Sequence[tuple[int, int]],
    table: Report,
    aspect: str,
    ax: Any = None,
) -> Any:
    """A grid of the same images, one row per size, each as its pixels are."""
    axes = _axes.axes(ax)
    cell = 1.08
    # One scale of brightness for each image, so that the sizes can be compared.
    for column, image in enumerate(images):
        low, high = float(image.min()), float(image.max())
        for row, size in enumerate(sizes):
            small = _resize.images(image[None], size, aspect)[0]
            small = (small - low) / ((high - low) or 1.0)
            left, top = cell * column, cell * row
            tall, wide = size[0] / max(size), size[1] / max(size)
            axes.imshow(
                small[..., :3].clip(0, 1) if small.shape[-1] >= 3 else small[..., 0],
                cmap="gray",
                vmin=0,
                vmax=1,
                interpolation="nearest",
                extent=(left, left + wide, top + tall, top),
            )
    axes.set(
        xlim=(-0.04, cell * len(images)),
        ylim=(cell * len(sizes), -0.04),
        xticks=[],
        yticks=[cell * row + 0.5 for row in range(len(sizes))],
        yticklabels=[f"{row.size}\n{row.detail_lost:.1%} lost" for row in table],
        title="The same images at every size",
    )
    axes.spines[:].set_visible(False)
    return axes
