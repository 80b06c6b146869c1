"""Which rows and which size each batch of an epoch has: arithmetic only."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MODES = ("random", "progressive", "small_to_large")
KEEPS = ("batch", "pixels")


class Batch(NamedTuple):
    """One batch of a plan."""

    size: int  # index into the sizes
    rows: np.ndarray


def rows_per_batch(
    sizes: Sequence[tuple[int, int]], batch_size: int, keep: str
) -> list[int]:
    """Images in a batch of each size; with "pixels" as many as the largest costs."""
    areas = [height * width for height, width in sizes]
    if keep == "batch":
        return [batch_size] * len(areas)
    return [batch_size * max(areas) // area for area in areas]


def batches_per_epoch(images: int, rows: Sequence[int]) -> int:
    """Batches that see every image once, when all sizes are equally frequent.

    The same in every epoch, because `fit` asks for it only once.
    """
    return math.ceil(images * len(rows) / sum(rows))


def stage(epoch: int, epochs: int | None, sizes: int) -> int:
    """Which of as many equal parts of the training as there are sizes it is."""
    if epochs is None:
        return sizes - 1
    return min(epoch * sizes // epochs, sizes - 1)


def epoch_plan(
    images: int,
    sizes: Sequence[tuple[int, int]],
    rows: Sequence[int],
    mode: str,
    stage_of_now: int,
    random: np.random.Generator,
    *,
    shuffle: bool,
) -> list[Batch]:
    """All batches of one epoch, every one of them full."""
    order = sorted(range(len(sizes)), key=lambda i: sizes[i][0] * sizes[i][1])
    if mode == "progressive":
        order = order[: stage_of_now + 1]
    elif mode == "small_to_large":
        order = [order[stage_of_now]]
    count = batches_per_epoch(images, rows)
    # Each block has every size once: none is rare by chance.
    blocks = [random.permutation(order) for _ in range(-(-count // len(order)))]
    chosen = np.concatenate(blocks)[:count]
    total = sum(rows[size] for size in chosen)
    # One pass after the other, so that no image is seen twice before all were once.
    passes = [
        random.permutation(images) if shuffle else np.arange(images)
        for _ in range(-(-total // images))
    ]
    ends = np.cumsum([rows[size] for size in chosen])[:-1]
    parts = np.split(np.concatenate(passes)[:total], ends)
    return [Batch(int(s), part) for s, part in zip(chosen, parts, strict=True)]
