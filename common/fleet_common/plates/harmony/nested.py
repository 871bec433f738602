"""Finds images that lie in folders below their index, as HarmonyV7 and some of HarmonyV6 write them.

There the index, called ``index.idx.xml`` or ``index.xml``, may lie above the folders of the images, and names them from
within one: ``r01c01/r01c01f01p01-ch01t01.tiff`` in ``images``. Bio-Formats up to 8.2.0 finds none of them and shows
black planes (ome/bioformats#4314). Some indexes separate with backslashes (glencoesoftware/bioformats2raw#277). Does no
I/O but through the reader that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, failure
from fleet_common.names import printable
from fleet_common.plates.harmony.index import Index
from fleet_common.plates.javaorder import java_order
from fleet_common.plates.model import Reader

VERSION: Final = 7
READ_FROM: Final = (8, 3, 0)
"""The release after ome/bioformats#4314."""

MAX_DEPTH: Final = 3
MAX_FILES: Final = 2_000_000

_IMAGE_ENDINGS: Final = (".tiff", ".tif")


def find(index: Index, reader: Reader) -> bool:
    """Have every URL of an index lead from the index to its file, and say whether files lie in folders below it.

    A file that is not there keeps a URL as the others have it, so that it is missed at a place where it may be.

    Raises:
        Permanent: ``format-broken`` when a URL fits files in several folders.
    """
    if index.version < VERSION and not any("\\" in image.url for image in index.images):
        return False
    folder = PurePosixPath(index.path).parent
    found = _by_name(list(_walk(folder, PurePosixPath(), reader)))
    prefix = _prefix(index, found)
    index.images = [image._replace(url=_place(index, image.url, found, prefix)) for image in index.images]
    return index.version >= VERSION and any("/" in image.url for image in index.images)


def _walk(folder: PurePosixPath, below: PurePosixPath, reader: Reader) -> Iterator[PurePosixPath]:
    """The images below a folder, relative to it."""
    names = reader.names(folder / below)
    yield from (below / name for name in names.files if name.lower().endswith(_IMAGE_ENDINGS))
    if len(below.parts) < MAX_DEPTH:
        for name in java_order(names.folders):
            yield from _walk(folder, below / name, reader)


def _by_name(paths: list[PurePosixPath]) -> Mapping[str, list[PurePosixPath]]:
    found: dict[str, list[PurePosixPath]] = {}
    for path in paths[:MAX_FILES]:
        found.setdefault(path.name, []).append(path)
    return found


def _fitting(url: str, found: Mapping[str, list[PurePosixPath]]) -> list[PurePosixPath]:
    """The files whose paths end as the URL, or the one that is exactly there."""
    wanted = PurePosixPath(url.replace("\\", "/"))
    ends = [path for path in found.get(wanted.name, ()) if path.parts[-len(wanted.parts) :] == wanted.parts]
    return [path for path in ends if path == wanted] or ends


def _prefix(index: Index, found: Mapping[str, list[PurePosixPath]]) -> PurePosixPath:
    """The folder that the first file which is there has beyond its URL."""
    for image in index.images:
        fitting = _fitting(image.url, found) if image.url else []
        if len(fitting) == 1:
            parts = fitting[0].parts
            return PurePosixPath(*parts[: len(parts) - len(PurePosixPath(image.url.replace("\\", "/")).parts)])
    return PurePosixPath()


def _place(index: Index, url: str, found: Mapping[str, list[PurePosixPath]], prefix: PurePosixPath) -> str:
    fitting = _fitting(url, found) if url else []
    if len(fitting) > 1:
        raise failure(
            Reason.FORMAT_BROKEN,
            f"{index.path}: the image {printable(url)} is in {printable(str(fitting[0].parent))} and in "
            f"{printable(str(fitting[1].parent))}: move one of them away",
        )
    if fitting:
        return str(fitting[0])
    plain = url.replace("\\", "/")
    # What leaves the folder stays as it is, to be refused where paths are checked.
    return f"{prefix}/{plain}" if prefix.parts and plain and plain[0] != "/" and ":" not in plain else plain
