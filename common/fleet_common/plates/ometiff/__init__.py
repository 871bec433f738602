"""OME-TIFF sets: a ``.companion.ome`` and its OME-TIFFs, or OME-TIFFs that name each other; plates where they hold one.

Opened by ``loci.formats.in.OMETiffReader``. The OME-XML says which file has which plane: that of the companion, or the
description of the first image of a TIFF. The entry is the companion, else the file of the first plane, whichever file
of the set was named. An OME-TIFF that is alone and no plate is left to the format ``file``. :mod:`ome` reads the
OME-XML, :mod:`layout` makes files, wells and planes of it.
"""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import ClassVar, Final

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.plates.finding import ends, named, refuse_several
from fleet_common.plates.model import Names, Plate, Reader, SeekableBytes
from fleet_common.plates.ometiff.layout import lay_out
from fleet_common.plates.ometiff.ome import OmeXml
from fleet_common.plates.tiff import NotTiff, description, head
from fleet_common.plates.xmlstream import Dialect, parse
from fleet_common.storage.paths import join

READER: Final = "loci.formats.in.OMETiffReader"
COMPANION: Final = ".companion.ome"
ENDINGS: Final = (".ome.tif", ".ome.tiff", ".ome.tf2", ".ome.tf8", ".ome.btf")

_TIFFS: Final = (*ENDINGS, ".tif", ".tiff")
_DIALECT: Final = Dialect(prefixes=False)
_UNREADABLE: Final = (Reason.FILE_EMPTY, Reason.FORMAT_BROKEN)


class OmeTiffFormat:
    """The plate format ``ome-tiff``."""

    name: ClassVar[str] = "ome-tiff"

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """Take a companion, a TIFF of a set or of a plate, or the folder of either.

        Raises:
            Permanent: ``unknown-format`` for a folder with several companions: which of its sets is meant?
        """
        if not reader.is_folder(path):
            return path if ends(path.name, (COMPANION,)) else _entry_of(path, reader)
        names = reader.names(path)
        companions = _paths(path, names, COMPANION)
        if companions:
            refuse_several(path, companions, "companion")
            return companions[0]
        tiffs = _paths(path, names, *ENDINGS)
        found = _entry_of(tiffs[0], reader) if tiffs else None
        # One plate in each of many files is many plates.
        return None if found in tiffs[:1] and len(tiffs) > 1 and _is_alone(tiffs[0], reader) else found

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """See :class:`fleet_common.plates.PlateFormat`."""
        ome = _read(entry, reader)
        if ome is None:
            raise failure(Reason.FORMAT_BROKEN, f"{entry} is no OME-TIFF: it is cut, or holds no OME-XML")
        made = lay_out(ome, entry, is_companion=ends(entry.name, (COMPANION,)))
        return Plate(
            format=self.name,
            entry=str(entry),
            reader=READER,
            files=made.files,
            expected=made.expected,
            identity=ome.uuid,
            started_at=ome.acquired,
            operator=ome.operator,
            instrument=ome.instrument,
            planes=made.planes,
            has_wells=bool(ome.plates),
            pixel_types=made.pixel_types,
        )


def _paths(folder: PurePosixPath, names: Names, *endings: str) -> list[PurePosixPath]:
    return [folder / name for name in named(names.files, *endings)]


def _entry_of(path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
    """The entry of the set that a TIFF belongs to; None if it is alone and no plate, or cannot be read yet."""
    if not ends(path.name, _TIFFS):
        return None
    try:
        ome = _read(path, reader)
    except RequestError as error:
        if error.reason in _UNREADABLE:
            return None
        raise
    if ome is None:
        return None
    if ome.metadata_file:
        return join(path.parent, ome.metadata_file)
    files = lay_out(ome, path, is_companion=False).files
    return PurePosixPath(files[0]) if len(files) > 1 or ome.plates else None


def _is_alone(path: PurePosixPath, reader: Reader) -> bool:
    ome = _read(path, reader)
    return ome is None or len(lay_out(ome, path, is_companion=False).files) == 1


def _read(path: PurePosixPath, reader: Reader) -> OmeXml | None:
    """The OME-XML of a companion or of a TIFF; None where a TIFF has none."""
    with reader.open(path) as stream:
        source: SeekableBytes | None = stream if ends(path.name, (COMPANION,)) else _described(stream)
        if source is None:
            return None
        ome = OmeXml(str(path))
        parse(source, str(path), ome, _DIALECT)
    return ome


def _described(stream: SeekableBytes) -> SeekableBytes | None:
    try:
        where = head(stream).description
        text = description(stream, where) if where else b""
    except NotTiff:
        return None
    return io.BytesIO(text) if _looks_like_ome(text) else None


def _looks_like_ome(text: bytes) -> bool:
    """As Bio-Formats, before it parses: something between brackets."""
    stripped = text.strip()
    return stripped.startswith(b"<") and stripped.endswith(b">") and b"OME" in stripped[:4096]
