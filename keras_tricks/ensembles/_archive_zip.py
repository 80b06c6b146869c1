"""Archives that nobody has to trust: names and sizes, checked before anything is read.

What the archive holds is not packed, so that nothing can unpack to more than the file.
"""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import IO, Any, NoReturn

MANIFEST = "manifest.json"
_FORMAT, _VERSION = "keras_tricks.Ensemble", 1
_LARGEST_MANIFEST = 16 << 20
_MOST_FILES = 100_000
# Beyond this size weights are not packed to a twentieth: they are noise to a packer.
_SMALL, _RATIO = 64 << 20, 20
_ENCRYPTED = 1


def name_of(place: int, kind: str) -> str:
    """The name of the file of a member."""
    return f"member-{place}.{kind}"


def manifest_of(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the manifest says."""
    return {"format": _FORMAT, "version": _VERSION, "nodes": list(entries)}


def opened(file: IO[bytes]) -> zipfile.ZipFile:
    """The archive, if all that it holds lies in the file as it is.

    Raises:
        ValueError: If not.
    """
    archive = zipfile.ZipFile(file)
    _check_names(archive)
    for info in archive.infolist():
        stored = info.compress_type == zipfile.ZIP_STORED
        if not stored or info.file_size != info.compress_size:
            raise ValueError(f"{info.filename!r} in it is packed, which none of it is")
    total = sum(info.file_size for info in archive.infolist())
    if total > file.seek(0, io.SEEK_END):
        raise ValueError(f"it says that it holds {total} bytes, more than there are")
    return archive


def _check_names(archive: zipfile.ZipFile) -> None:
    infos = archive.infolist()
    if len(infos) > _MOST_FILES:
        raise ValueError(f"it holds {len(infos)} files")
    for name, count in Counter(info.filename for info in infos).items():
        path = PurePosixPath(name.replace("\\", "/"))
        if count > 1:
            raise ValueError(f"it holds {count} files {name!r}")
        if path.is_absolute() or ".." in path.parts or ":" in name:
            raise ValueError(f"it holds {name!r}, a name that leads out of it")
    for info in infos:
        if info.flag_bits & _ENCRYPTED:
            raise ValueError(f"{info.filename!r} in it is encrypted")


def manifest(archive: zipfile.ZipFile) -> list[Any]:
    """The table of nodes, not checked further.

    Raises:
        ValueError: If there is none, or it is of another version.
    """
    if MANIFEST not in archive.namelist():
        raise ValueError(f"it has no {MANIFEST!r}")
    size = archive.getinfo(MANIFEST).file_size
    if size > _LARGEST_MANIFEST:
        raise ValueError(f"its {MANIFEST!r} of {size} bytes is larger than any")
    try:
        text = archive.read(MANIFEST).decode("utf-8")
        content = json.loads(text, parse_constant=_refuse_constant)
    except (RecursionError, ValueError) as error:
        raise ValueError(f"its {MANIFEST!r} cannot be read ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"its {MANIFEST!r} is not that of an Ensemble")
    version = content.get("version")
    if type(version) is not int or version != _VERSION:
        raise ValueError(
            f"it is of the version {version!r}, and this keras_tricks reads "
            f"{_VERSION}; a newer one may read it"
        )
    nodes = content.get("nodes")
    if not isinstance(nodes, list) or not 1 < len(nodes) <= _MOST_FILES:
        raise ValueError(f"its {MANIFEST!r} has no list of members")
    return nodes


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def check_members(
    archive: zipfile.ZipFile, entries: Sequence[Mapping[str, Any]]
) -> None:
    """Checks for exactly the files that the manifest names.

    Raises:
        ValueError: If one lacks, or there are others.
    """
    wanted = {
        name_of(place, entry["kind"])
        for place, entry in enumerate(entries)
        if entry["kind"] != "ensemble"
    }
    found = set(archive.namelist()) - {MANIFEST}
    if wanted - found:
        raise ValueError(f"it has no {min(wanted - found)!r}, which it says it has")
    if found - wanted:
        raise ValueError(f"it holds {min(found - wanted)!r}, which is no part of it")


def check_inner(file: IO[bytes], name: str) -> None:
    """Checks a member, itself an archive, for sizes that are absurd.

    Raises:
        ValueError: If it is none, or would unpack to far more than it takes.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check_names(archive)
            infos = archive.infolist()
        length = file.seek(0, io.SEEK_END)
        total = sum(info.file_size for info in infos)
        if total > _SMALL and total > _RATIO * length:
            raise ValueError(f"it would unpack {length} bytes to {total}")
    except Exception as error:
        raise ValueError(f"{name!r} in it is damaged: {error}") from error
