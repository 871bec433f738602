"""The format ``container``: one large file that holds all images, and what some instruments write beside it.

Nikon ``.nd2``, Zeiss ``.czi``, Leica ``.lif``, Imaris ``.ims``, Evident ``.oir`` with its numbered parts, and ``.vsi``
with the folder ``_<name>_`` of its pixels. Nothing is expected of its content, which only Bio-Formats knows; only its
first bytes are looked at, so that a copy that has just begun is not published. No state, no threads; does no I/O but
through the reader that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar, Final

from fleet_common.errors import Reason, failure
from fleet_common.plates.finding import ends
from fleet_common.plates.javaorder import java_order
from fleet_common.plates.model import Plate, Reader

MAX_DEPTH: Final = 8

ENDINGS: Final = (".nd2", ".czi", ".lif", ".ims", ".oir", ".vsi")

_HEAD_BYTES: Final = 64


class ContainerFormat:
    """The plate format ``container``."""

    name: ClassVar[str] = "container"

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """Take a file with one of the endings; a folder of such files is no plate."""
        return path if ends(path.name, ENDINGS) and not reader.is_folder(path) else None

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """See :class:`fleet_common.plates.PlateFormat`.

        Raises:
            Transient: ``manifest-differs`` when it begins with zeros: copies over SMB reserve the whole length first.
        """
        _refuse_zeros(entry, reader)
        return Plate(format=self.name, entry=str(entry), reader="", files=(str(entry), *_beside(entry, reader)))


def _refuse_zeros(entry: PurePosixPath, reader: Reader) -> None:
    with reader.open(entry) as stream:
        head = stream.read(_HEAD_BYTES) or b""
    if not head.strip(b"\0"):
        raise failure(Reason.MANIFEST_DIFFERS, f"{entry} begins with zeros: it is still being copied")


def _beside(entry: PurePosixPath, reader: Reader) -> Iterator[str]:
    if entry.suffix.lower() == ".oir":
        part = re.compile(rf"{re.escape(entry.stem)}_[0-9]{{5}}")
        names = reader.names(entry.parent).files
        yield from (str(entry.parent / name) for name in java_order(names) if part.fullmatch(name))
    if entry.suffix.lower() == ".vsi":
        folder = entry.parent / f"_{entry.stem}_"
        if folder.name in reader.names(entry.parent).folders:
            yield from _walk(folder, reader, 0)


def _walk(folder: PurePosixPath, reader: Reader, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise failure(Reason.FORMAT_BROKEN, f"{folder} lies more than {MAX_DEPTH} folders below its image")
    names = reader.names(folder)
    yield from (str(folder / name) for name in java_order(names.files))
    for name in java_order(names.folders):
        yield from _walk(folder / name, reader, depth + 1)
