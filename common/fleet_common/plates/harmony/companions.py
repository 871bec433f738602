"""The companion files of a Harmony measurement, exactly those that Bio-Formats takes.

Bio-Formats 6.7 (``OperettaReader.initFile``) goes through the measurement's folder, which is the parent of the folder
of the index, in the order of names: a file is taken; of every folder but that of the index, its children are taken
unless they end in ``.tiff``; names that begin with a dot are left out. It lists folders below these among its files,
too; a folder is no file and nothing can be uploaded for it, so they are left out here. Pure but for the reader that it
is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, failure
from fleet_common.names import printable
from fleet_common.plates.javaorder import java_order
from fleet_common.plates.model import Reader
from fleet_common.storage.paths import join

_IMAGE_ENDINGS: Final = (".tiff", ".tiff.gz", ".tiff.bz2")


def companions(entry: PurePosixPath, reader: Reader) -> tuple[str, ...]:
    """List the companion files of the measurement whose index is ``entry``, in the order of Bio-Formats.

    Raises:
        Permanent: ``unsafe-path`` when the index lies at the top of the share or one folder below it, so that the
            measurement has no folder of its own there; errors of :class:`Reader` and :func:`join`.
    """
    if len(entry.parts) < len(("measurement", "Images", "Index.idx.xml")):
        raise failure(
            Reason.UNSAFE_PATH,
            f"the folder of the index {printable(str(entry))} is at the top of the share, and Bio-Formats takes every "
            "file around it as a companion: put the measurement into a folder of its own",
        )
    return tuple(str(path) for path in _walk(entry.parent.parent, entry.parent.name, reader))


def _walk(measurement: PurePosixPath, images: str, reader: Reader) -> Iterator[PurePosixPath]:
    names = reader.names(measurement)
    folders = set(names.folders)
    for name in _seen((*names.files, *names.folders)):
        path = join(measurement, name)
        if name not in folders:
            yield path
        elif name != images:
            children = reader.names(path).files
            yield from (join(path, child) for child in _seen(children) if not _is_image(child))


def _seen(names: Iterable[str]) -> list[str]:
    """Without hidden names."""
    return java_order(name for name in names if not name.startswith("."))


def _is_image(name: str) -> bool:
    return name.lower().endswith(_IMAGE_ENDINGS)
