"""Images of one size or of many, from arrays or files, each read when it is wanted.

A file is not trusted: its size is looked at before it is decoded, and nothing in it is
ever unpickled or run.
"""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

# What Pillow may decode: formats of pictures, none that can call another program.
_FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
_LARGEST_FILE = 256 << 20
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Images:
    """A sequence of images (height, width, channels), or masks as they are.

    Args:
        name: The argument that brings them.
        given: Array (n, height, width[, channels]); or a list of arrays
            (height, width[, channels]) and of paths.
        channels: Integer, the channels of files; None for masks, which are not
            converted.
        max_pixels: Integer, a file with more of them is refused.
    """

    def __init__(
        self, name: str, given: Any, channels: int | None, max_pixels: int
    ) -> None:
        self.name, self.channels, self.max_pixels = name, channels, max_pixels
        self.array: np.ndarray | None = None
        if isinstance(given, str | os.PathLike):
            raise TypeError(
                f"`{name}` must be an array or a list of arrays or paths. Received: "
                f"{name}={given!r}, one path; put it into a list"
            )
        if hasattr(given, "shape"):
            self.array = _numeric(name, np.asarray(given))
            if self.array.ndim not in (3, 4):
                raise ValueError(
                    f"`{name}` must be of shape (n, height, width) or (n, height, "
                    f"width, channels). Received: shape {self.array.shape}"
                )
            if channels is not None and self.array.ndim == 3:
                self.array = self.array[..., None]
            self.items: Any = self.array
        else:
            try:
                self.items = list(given)
            except TypeError:
                raise TypeError(
                    f"`{name}` must be an array or a list of arrays or paths. "
                    f"Received: {name}={given!r}"
                ) from None
        if not len(self.items):
            raise ValueError(
                f"`{name}` must hold at least one image. Received: none; look at how "
                "it was selected"
            )

    def __len__(self) -> int:
        return len(self.items)

    def at(self, index: int, wanted: tuple[int, int] | None = None) -> np.ndarray:
        """The image; a file may come smaller, but not smaller than `wanted`."""
        return self.with_size(index, wanted)[0]

    def with_size(
        self, index: int, wanted: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, tuple[int, int]]:
        """The image, and its own (height, width): a file may come smaller."""
        item = self.items[index]
        if isinstance(item, str | os.PathLike):
            return self._read(Path(item), wanted)
        name = f"{self.name}[{index}]"
        image = _shaped(name, _numeric(name, np.asarray(item)), self.channels)
        return image, (image.shape[0], image.shape[1])

    def _read(
        self, path: Path, wanted: tuple[int, int] | None
    ) -> tuple[np.ndarray, tuple[int, int]]:
        try:
            size = path.stat().st_size
            if size > _LARGEST_FILE:
                raise ValueError(f"it has {size} bytes, above {_LARGEST_FILE}")
            if path.suffix.lower() == ".npy":
                image = _shaped(str(path), self._load_npy(path), self.channels)
                return image, (image.shape[0], image.shape[1])
            return self._decode(path, wanted)
        except ImportError:
            raise
        except Exception as error:  # A hostile file may raise almost anything.
            raise ValueError(
                f"`{self.name}` must hold images that can be read. Received: "
                f"{str(path)!r} ({error}); take it out of the list, or mend it"
            ) from error

    def _load_npy(self, path: Path) -> np.ndarray:
        # Mapped, not read: the header cannot make NumPy ask for more than there is.
        image = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(image, np.ndarray):
            raise ValueError("it is not a .npy file")
        self._check_pixels(image.shape)
        return _numeric(str(path), np.array(image))

    def _check_pixels(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 2 or shape[0] * shape[1] > self.max_pixels:
            raise ValueError(f"its shape is {shape}; `max_pixels` is {self.max_pixels}")

    def _decode(
        self, path: Path, wanted: tuple[int, int] | None
    ) -> tuple[np.ndarray, tuple[int, int]]:
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError(
                "Image files need Pillow, which is not installed. "
                "Run `pip install pillow`, or store the images as .npy."
            ) from error
        with warnings.catch_warnings():
            # `max_pixels` is the bound.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                width, height = image.size
                self._check_pixels((height, width))
                if self.channels is None:
                    return np.array(image), (height, width)
                mode = _MODES[self.channels]
                if wanted is not None:
                    # A JPEG is decoded at a half, a quarter or an eighth for free.
                    image.draft(mode, (wanted[1], wanted[0]))
                array = np.asarray(image.convert(mode))
        return array.reshape(*array.shape[:2], self.channels), (height, width)


def _numeric(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"`{name}` must hold numbers. Received: dtype {array.dtype}; images of "
            "different sizes go into a list"
        )
    return array


def _shaped(name: str, image: np.ndarray, channels: int | None) -> np.ndarray:
    if channels is not None and image.ndim == 2:
        image = image[..., None]
    if image.ndim not in (2, 3) or not all(image.shape):
        raise ValueError(
            f"`{name}` must be of shape (height, width) or (height, width, channels). "
            f"Received: shape {image.shape}"
        )
    return image
