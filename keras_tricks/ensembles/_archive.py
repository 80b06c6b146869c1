"""An ensemble as one archive: Keras's part as `.keras`, scikit-learn's with skops.

The manifest is a table of nodes, members before the ensembles that hold them, the whole
last. A node is a file, or an ensemble that names its members by their places.
"""

import contextlib
import importlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import keras

from keras_tricks import _atomic
from keras_tricks.ensembles import _archive_nodes, _archive_zip


def write(root: Any, path: Path, overwrite: bool) -> None:
    """Writes the archive; a file of that name stays as it is until it is whole.

    Raises:
        FileExistsError: If there is one that must not be overwritten.
        ImportError: If skops is needed and not installed.
        ValueError: If something cannot be written.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(
            "`filepath` must be a new name where `overwrite` is False. Received: "
            f"{str(path)!r}, which exists"
        )
    nodes = _archive_nodes.distinct(root)
    entries = _archive_nodes.described(nodes)
    try:
        text = json.dumps(_archive_zip.manifest_of(entries), indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`classes` must be strings or numbers to be saved. Received: "
            f"ensemble {root.name!r}, of which json says: {error}"
        ) from error
    estimators = {
        place: _dumped(nodes[place]) for place in _archive_nodes.of(entries, "skops")
    }

    def fill(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_archive_zip.MANIFEST, text.encode())
            for place, data in estimators.items():
                archive.writestr(_archive_zip.name_of(place, "skops"), data)
            for place in _archive_nodes.of(entries, "keras"):
                with _as_file() as member:
                    nodes[place].save(member)
                    archive.write(member, _archive_zip.name_of(place, "keras"))

    _atomic.write(path, fill)


@contextlib.contextmanager
def _as_file() -> Iterator[Path]:
    """A name for a model: Keras writes and reads paths only."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "member.keras"


def _skops() -> Any:
    try:
        return importlib.import_module("skops.io")
    except ImportError as error:
        raise ImportError(
            "An archive with a member from scikit-learn needs skops, which is not "
            'installed. Run `pip install "keras_tricks[skops]"`.'
        ) from error


def _dumped(estimator: Any) -> bytes:
    skops = _skops()
    try:
        data = bytes(skops.dumps(estimator))
        # It writes a lambda, and cannot read it.
        skops.loads(data, trusted=skops.get_untrusted_types(data=data))
        return data
    except Exception as error:
        raise ValueError(
            "`models` must hold estimators that skops can write and read. Received: "
            f"{type(estimator).__name__}, of which it says: {error!r}"
        ) from error


def read(path: Path, trusted: list[Any]) -> Any:
    """The ensemble in an archive.

    Raises:
        ImportError: If skops is needed and not installed.
        ValueError: If it is no archive that `write` wrote, or holds types that are not
            trusted.
    """
    with open(path, "rb") as file:
        with _naming(path):
            archive = _archive_zip.opened(file)
            entries = _archive_nodes.checked(_archive_zip.manifest(archive))
            _archive_zip.check_members(archive, entries)
            estimators = {
                place: _data(archive, place)
                for place in _archive_nodes.of(entries, "skops")
            }
        _check_trusted(path, list(estimators.values()), trusted)
        with _naming(path):
            leaves = {
                place: _skops().loads(data, trusted=trusted)
                for place, data in estimators.items()
            }
            for place in _archive_nodes.of(entries, "keras"):
                leaves[place] = _model(archive, place)
            return _archive_nodes.revived(entries, leaves)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Names the file in whatever is wrong with it."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            "`filepath` must be a whole archive that the `save` of an Ensemble wrote. "
            f"Received: {str(path)!r}: {str(error) or type(error).__name__}"
        ) from error


def _data(archive: zipfile.ZipFile, place: int) -> bytes:
    name = _archive_zip.name_of(place, "skops")
    data = archive.read(name)
    _archive_zip.check_inner(io.BytesIO(data), name)
    return data


def _model(archive: zipfile.ZipFile, place: int) -> Any:
    name = _archive_zip.name_of(place, "keras")
    with _as_file() as member:
        with archive.open(name) as source, open(member, "wb") as target:
            shutil.copyfileobj(source, target)
        with open(member, "rb") as copy:
            _archive_zip.check_inner(copy, name)
        return keras.saving.load_model(member, compile=False, safe_mode=True)


def _check_trusted(path: Path, found: list[bytes], trusted: list[Any]) -> None:
    names = {one if isinstance(one, str) else _full_name(one) for one in trusted}
    unknown: set[str] = set()
    for data in found:
        skops = _skops()
        with _naming(path):
            unknown |= set(skops.get_untrusted_types(data=data)) - names
    if unknown:
        raise ValueError(
            "`trusted` must name the types in the file that skops does not know to be "
            f"harmless. Received: {str(path)!r} with {sorted(unknown)!r}; if you trust "
            f"who made the file, pass trusted={sorted(names | unknown)!r}"
        )


def _full_name(one: type) -> str:
    return f"{one.__module__}.{one.__qualname__}"
