"""Multi-scale data: the same images, at a size that changes on the way."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_tricks import _arguments
from keras_tricks._report import Report
from keras_tricks.data import _checks, _plan, _preview, _resize
from keras_tricks.data._images import Images

Batch = tuple[Any, ...]


class MultiScale(keras.utils.PyDataset):
    """Batches of images at several sizes: each batch, or each stage, has one.

    When: the images to come are of many sizes; or training at full size takes long.
    Typical: three sizes 15 to 30 % apart, e.g. (24, 28, 32); `"small_to_large"` to save
        time, `"random"` for a model that bears any size.
    Costs: resizing on the host (`workers`), and one compilation of the step per size.
    Beware: the model must take any size (`Input((None, None, channels))`, global
        pooling). Validate on arrays of one size, not on this. A size too small hides
        what is to be seen: look at `preview()` first. For images of the full size
        "random" may cost: 15 points of accuracy in `tutorials/multi_scale.py`.

    Every batch of a size has the same number of images, so a training has at most as
    many shapes as `sizes`; what is missing in the last batch comes from the beginning
    of another pass. An epoch has the same number of batches at every stage. Values keep
    their range, in float32: put `keras.layers.Rescaling` into the model.

    `epoch` is the epoch that comes next, from 0: it counts on from one `fit` to the
    next, and can be set to resume a training. In a loop of your own call `on_epoch_end`
    after each epoch.

    Args:
        x: Array (n, height, width[, channels]); or a list of arrays (height, width[,
            channels]) and paths, in any mix of sizes. Files (.jpg, .png, .bmp, .webp by
            Pillow, .npy) are read when they are wanted.
        y: Array or nested arrays of n targets that do not change with the size, or
            None.
        sizes: List of integers, or of pairs (height, width).
        mode: "random": each batch at a size of its own, all equally frequent.
            "small_to_large": one size after the other through the training.
            "progressive": as many stages, but each adds a size to those before.
        batch_size: Positive integer, images in a batch of the largest size.
        keep: "batch" keeps the number of images. "pixels" keeps the number of pixels,
            so that there are more images in a batch when they are small; an epoch is a
            pass over the images on the average of all sizes then. See
            `keras_tricks.callbacks.ScaleLearningRate` for the rate.
        epochs: Positive integer, epochs of the training, in which the stages are of
            equal length. For modes with stages only; after it the last one goes on.
        masks: Like `x`, of the same heights and widths, or None. No values are mixed.
        boxes: List of n arrays (k, 4), or an array (n, k, 4) filled up with -1, or
            None. They come out as (batch, most, 4) in float32, filled up with -1.
        box_format: "xyxy" or "xywh" in pixels, or "rel_xyxy" in [0, 1].
        sample_weight: Array of n weights, or None.
        aspect: "stretch" to the size; "crop" the middle; or "pad" with 0.
        channels: 1, 3 or 4, what files are converted to.
        max_pixels: Positive integer. Files with more pixels are refused undecoded.
        shuffle: Boolean, whether the images come in a new order in each epoch.
        seed: Integer, or None for one drawn from NumPy's global random numbers.
        workers: As in `keras.utils.PyDataset`.
        use_multiprocessing: As in `keras.utils.PyDataset`.
        max_queue_size: As in `keras.utils.PyDataset`.

    A batch is `(images,)`, `(images, targets)` or `(images, targets, sample_weight)`.
    With one of `y`, `masks` and `boxes` that is the targets; with several the targets
    are a dict with the keys "labels", "masks" and "boxes".

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, lengths differ, or too few
            images are there for two batches; later if a file cannot be read.

    Example:
    >>> import numpy as np, keras_tricks as kt
    >>> x, y = np.zeros((64, 28, 28, 1)), np.zeros(64)
    >>> data = kt.data.MultiScale(x, y, sizes=(20, 28), batch_size=16, keep="pixels")
    >>> sorted({images.shape for images, labels in data})
    [(16, 28, 28, 1), (31, 20, 20, 1)]

    Reference: Redmon and Farhadi 2016, section 2, arXiv 1612.08242 (random sizes);
    Karras et al. 2017, arXiv 1710.10196, and Touvron et al. 2019, arXiv 1906.06423
    (small first, and what the size does).
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        sizes: Sequence[Any],
        mode: str = "random",
        batch_size: int = 32,
        keep: str = "batch",
        epochs: int | None = None,
        masks: Any = None,
        boxes: Any = None,
        box_format: str = "xyxy",
        sample_weight: Any = None,
        aspect: str = "stretch",
        channels: int = 3,
        max_pixels: int = 1 << 26,
        shuffle: bool = True,
        seed: int | None = None,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ) -> None:
        super().__init__(workers, use_multiprocessing, max_queue_size)
        self.sizes = _checks.sizes(sizes)
        self.mode = _arguments.one_of("mode", mode, _plan.MODES)
        self.batch_size = _arguments.positive_integer("batch_size", batch_size)
        self.keep = _arguments.one_of("keep", keep, _plan.KEEPS)
        if (epochs is None) != (mode == "random"):
            raise ValueError(
                "`epochs` must be given for a mode with stages, and only for one. "
                f"Received: epochs={epochs!r}, mode={mode!r}; stages are equal parts "
                "of the epochs"
            )
        if epochs is not None:
            _arguments.positive_integer("epochs", epochs)
            if epochs < len(self.sizes):
                raise ValueError(
                    "`epochs` must be at least the number of sizes, for each has a "
                    f"stage. Received: epochs={epochs}, {len(self.sizes)} sizes"
                )
        self.epochs = epochs
        self.box_format = _arguments.one_of(
            "box_format", box_format, _resize.BOX_FORMATS
        )
        self.aspect = _arguments.one_of("aspect", aspect, _resize.ASPECTS)
        _arguments.one_of("channels", channels, (1, 3, 4))
        _arguments.positive_integer("max_pixels", max_pixels)
        self.shuffle = _arguments.one_of("shuffle", shuffle, (True, False))
        if seed is not None:
            _arguments.integer("seed", seed, 0, 2**63 - 1)
        self.seed = int(np.random.randint(2**31)) if seed is None else int(seed)
        self._x = Images("x", x, channels, max_pixels)
        self._masks = None
        if masks is not None:
            self._masks = Images("masks", masks, None, max_pixels)
            _checks.length("masks", len(self._masks), len(self._x))
        self._boxes = None if boxes is None else _checks.boxes(boxes, len(self._x))
        self._y = _checks.rows("y", y, len(self._x))
        self._sample_weight = _checks.rows("sample_weight", sample_weight, len(self._x))
        self._rows = _plan.rows_per_batch(self.sizes, int(batch_size), keep)
        if len(self.sizes) > 1 and len(self) < 2:
            raise ValueError(
                "`batch_size` must leave two batches or more, to have several sizes. "
                f"Received: batch_size={batch_size}, keep={keep!r} for {len(self._x)} "
                "images; choose a smaller one"
            )
        self.epoch = 0
        self._starting = False
        self._planned: tuple[int, list[_plan.Batch]] | None = None

    def __len__(self) -> int:
        return _plan.batches_per_epoch(len(self._x), self._rows)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        batch = self._epoch_plan()[index]
        if self._starting and index < 2:
            # TensorFlow takes what these two have in common for what all have.
            size = index % len(self.sizes)
            rows = np.resize(batch.rows, self._rows[size])
            batch = _plan.Batch(size, rows)
        return self._batch(self.sizes[batch.size], batch.rows)

    @property
    def workers(self) -> int:
        """As in `keras.utils.PyDataset`, whose reader reads it as a `fit` begins."""
        self._starting = True
        return self._workers

    @workers.setter
    def workers(self, value: int) -> None:
        self._workers = value

    def on_epoch_end(self) -> None:
        # `fit` also calls this before its first epoch.
        if not self._starting:
            self.epoch += 1
        self._starting = False

    def detail(self, images: int = 64) -> Report:
        """What each size loses: a table with a row per size.

        Args:
            images: Positive integer, how many of the images are looked at.
        """
        _arguments.positive_integer("images", images)
        some = self._some(images)
        return _preview.report(some, self.sizes, self._rows, self.aspect)

    def preview(self, images: int = 4, ax: Any = None) -> Any:
        """Draws the same images at every size, and how much detail each size loses.

        Args:
            images: Positive integer, how many images.
            ax: matplotlib axes, or None for those of a new figure.

        Returns:
            The axes; `detail()` has the numbers.
        """
        table = self.detail(max(images, 64))
        return _preview.draw(self._some(images), self.sizes, table, self.aspect, ax)

    def _some(self, count: int) -> list[np.ndarray]:
        chosen = np.linspace(0, len(self._x) - 1, min(count, len(self._x)))
        return [self._x.at(int(index)) for index in chosen]

    def _epoch_plan(self) -> list[_plan.Batch]:
        epoch = self.epoch
        planned = self._planned
        if planned is None or planned[0] != epoch:
            made = _plan.epoch_plan(
                len(self._x),
                self.sizes,
                self._rows,
                self.mode,
                _plan.stage(epoch, self.epochs, len(self.sizes)),
                np.random.default_rng([self.seed, epoch]),
                shuffle=self.shuffle,
            )
            # Workers in threads may both come here: they make the same.
            planned = self._planned = (epoch, made)
        return planned[1]

    def _batch(self, size: tuple[int, int], rows: np.ndarray) -> Batch:
        if self._x.array is not None:
            images = _resize.images(self._x.array[rows], size, self.aspect)
            olds = [self._x.array.shape[1:3]] * len(rows)
        else:
            parts = []
            olds = []
            for row in rows:
                # A half-sized JPEG is still twice as fine as what is made of it.
                image, old = self._x.with_size(row, (2 * size[0], 2 * size[1]))
                parts.append(_resize.images(image[None], size, self.aspect)[0])
                olds.append(old)
            self._check_channels(parts, rows)
            images = np.stack(parts)
        targets: dict[str, Any] = {}
        if self._y is not None:
            targets["labels"] = keras.tree.map_structure(lambda a: a[rows], self._y)
        if self._masks is not None:
            targets["masks"] = self._masks_of(size, rows, olds)
        if self._boxes is not None:
            targets["boxes"] = self._boxes_of(self._boxes, size, rows, olds)
        batch: Batch = (images,)
        if targets or self._sample_weight is not None:
            several = len(targets) > 1
            batch += (targets if several else next(iter(targets.values()), None),)
        if self._sample_weight is not None:
            batch += (self._sample_weight[rows],)
        return batch

    def _masks_of(
        self, size: tuple[int, int], rows: np.ndarray, olds: list[Any]
    ) -> np.ndarray:
        parts = []
        assert self._masks is not None
        for row, old in zip(rows, olds, strict=True):
            mask = self._masks.at(row)
            if mask.shape[:2] != tuple(old):
                raise ValueError(
                    f"`masks[{row}]` must have the height and width of its image, "
                    f"{tuple(old)}. Received: shape {mask.shape}"
                )
            parts.append(_resize.masks(mask[None], size, self.aspect)[0])
        return np.stack(parts)

    def _boxes_of(
        self,
        boxes: list[np.ndarray],
        size: tuple[int, int],
        rows: np.ndarray,
        olds: list[Any],
    ) -> np.ndarray:
        most = max(len(each) for each in boxes)
        found = np.full((len(rows), most, 4), -1.0, "float32")
        for place, (row, old) in enumerate(zip(rows, olds, strict=True)):
            scaled = _resize.boxes(boxes[row], old, size, self.aspect, self.box_format)
            found[place, : len(scaled)] = scaled
        return found

    def _check_channels(self, parts: list[np.ndarray], rows: np.ndarray) -> None:
        channels = parts[0].shape[-1]
        for part, row in zip(parts, rows, strict=True):
            if part.shape[-1] != channels:
                raise ValueError(
                    "`x` must hold images with one number of channels. Received: "
                    f"x[{row}] with {part.shape[-1]}, x[{rows[0]}] with {channels}; "
                    "`channels` converts files, but not arrays"
                )
