"""IN Cell: plates of GE, Cytiva and Molecular Devices IN Cell Analyzer, and of Cytell.

A plate is a folder with ``<plate>.xdce`` and one TIFF (or ``.im``) per plane beside it, as the XDCE names them. Opened
by ``loci.formats.in.InCellReader``. The XDCE says how many images there are and then lists them: it is at its end once
it lists that many. :mod:`stack` reads the XDCE, :mod:`layout` makes wells and planes of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar, Final

from fleet_common.errors import Reason, failure
from fleet_common.plates.finding import ends, first_bytes, only_entry
from fleet_common.plates.incell.layout import Layout, lay_out
from fleet_common.plates.incell.stack import ImageStack
from fleet_common.plates.model import End, Expected, Names, Plate, Reader
from fleet_common.plates.tiff import extent_of
from fleet_common.plates.xmlstream import parse

READER: Final = "loci.formats.in.InCellReader"
ENDING: Final = ".xdce"

_MARKS: Final = (b"IN Cell Analyzer", b"Cytell")
_SNIFF_BYTES: Final = 2048
_TIFF_ENDINGS: Final = (".tif", ".tiff")


class InCellFormat:
    """The plate format ``incell``."""

    name: ClassVar[str] = "incell"

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """Take an XDCE or the folder that holds it.

        Raises:
            Permanent: ``unknown-format`` for a folder with several XDCEs: which of its plates is meant?
        """
        if not reader.is_folder(path):
            return path if _is_xdce(path, reader) else None
        return only_entry(path, reader, ENDING, lambda file: _is_xdce(file, reader), "XDCE")

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """See :class:`fleet_common.plates.PlateFormat`."""
        stack = ImageStack(str(entry))
        with reader.open(entry) as stream:
            parse(stream, str(entry), stack)
            stream.seek(0)
            _refuse_small(entry, stream.read(_SNIFF_BYTES) or b"")
        made = lay_out(stack)
        return Plate(
            format=self.name,
            entry=str(entry),
            reader=READER,
            files=(str(entry), *_files(made, reader)),
            expected=_expected(entry, stack, made, reader),
            identity=stack.uuid,
            started_at=stack.created,
            operator=stack.operator,
            instrument=stack.instrument,
            planes=made.planes,
            end=End.ENDED if len(stack.images) == stack.total else End.RUNNING,
            needs_bioformats=made.needs_bioformats,
            has_wells=True,
        )


def _is_xdce(path: PurePosixPath, reader: Reader) -> bool:
    """By its name and what Bio-Formats looks for in its first 2 kB; an empty file may become one."""
    if not ends(path.name, (ENDING,)):
        return False
    head = first_bytes(path, reader, _SNIFF_BYTES)
    return not head or any(mark in head for mark in _MARKS)


def _refuse_small(entry: PurePosixPath, head: bytes) -> None:
    if len(head) < _SNIFF_BYTES:
        raise failure(
            Reason.UNSUPPORTED,
            f"{entry} is smaller than {_SNIFF_BYTES} bytes, and Bio-Formats does not recognise it: make sure that the "
            "file is what the instrument wrote",
        )


def _files(made: Layout, reader: Reader) -> Iterator[str]:
    """Each image, and after it its thumbnail if that is there: Bio-Formats takes it along, nobody misses it."""
    listed: dict[PurePosixPath, Names] = {}
    for plane, thumbnail in zip(made.planes, made.thumbnails, strict=True):
        if plane.path:
            yield plane.path
        if thumbnail is not None:
            if thumbnail.parent not in listed:
                listed[thumbnail.parent] = _names(thumbnail.parent, reader)
            if thumbnail.name in listed[thumbnail.parent].files:
                yield str(thumbnail)


def _names(folder: PurePosixPath, reader: Reader) -> Names:
    return reader.names(folder) if reader.is_folder(folder) else Names((), ())


def _expected(entry: PurePosixPath, stack: ImageStack, made: Layout, reader: Reader) -> Expected | None:
    """None where nothing tells how large the images are: Bio-Formats asks the first TIFF, then the camera."""
    size = None
    if made.planes and made.planes[0].path and made.planes[0].path.lower().endswith(_TIFF_ENDINGS):
        size = extent_of(PurePosixPath(made.planes[0].path), reader)
    x, y = size or stack.camera
    if not x or not y:
        return None
    return Expected(
        name=entry.stem,
        barcode=stack.plate_id,
        rows=stack.rows,
        columns=stack.columns,
        wells=made.wells,
        fields_per_well=made.fields_per_well,
        sizes=made.sizes._replace(x=x, y=y),
        channels=tuple(stack.channels),
        other_sizes={position: sizes._replace(x=x, y=y) for position, sizes in made.other_sizes.items()},
    )
