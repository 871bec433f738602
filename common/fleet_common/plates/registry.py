"""Finds plate formats by name, and the format of a path.

Formats are entry points of the group ``omero_fleet.plate_formats``, imported when they are first asked for; a facility
adds its own by installing a package and starting anew. ``file``, the single file, is always there and asked last. Reads
only package metadata; the caches may be filled by any thread.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, failure
from fleet_common.names import printable
from fleet_common.plates.model import PlateFormat, Reader
from fleet_common.plates.single import SingleFile

GROUP: Final = "omero_fleet.plate_formats"


def format_names() -> tuple[str, ...]:
    """The names of all installed formats in the order in which they are asked: sorted, ``file`` last."""
    return (*sorted(_installed()), SingleFile.name)


def plate_format(name: str) -> PlateFormat:
    """Load a format by its name.

    Raises:
        Permanent: ``unsupported`` when no such format is installed here.
    """
    if name == SingleFile.name:
        return SingleFile()
    if name not in _installed():
        raise failure(
            Reason.UNSUPPORTED,
            f"the plate format {printable(name)} is not installed here (installed: {', '.join(format_names())})",
        )
    return _load(name)


def detect(path: PurePosixPath, reader: Reader) -> tuple[PlateFormat, PurePosixPath]:
    """Find the format of a file or folder, and its entry file.

    Raises:
        Permanent: ``unknown-format`` for a folder that no format knows; ``not-a-regular-file``, ``unsafe-path``.
        Transient: ``manifest-differs`` when there is nothing at ``path``; ``share-unavailable``.
    """
    for name in format_names():
        found = plate_format(name)
        entry = found.find_entry(path, reader)
        if entry is not None:
            return found, entry
    raise failure(
        Reason.UNKNOWN_FORMAT,
        f"the folder {printable(str(path))} is no plate of a known format ({', '.join(format_names())}): "
        "name the plate's folder or its entry file",
    )


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP) if point.name != SingleFile.name}


@cache
def _load(name: str) -> PlateFormat:
    made: PlateFormat = _installed()[name].load()()
    return made
