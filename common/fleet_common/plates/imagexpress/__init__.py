"""ImageXpress: plates of Molecular Devices ImageXpress, as MetaXpress keeps and exports them.

A plate is a folder with ``<plate>.HTD``, the plan of the acquisition, and one TIFF per plane: beside it, or in
``TimePoint_<t>`` and ``ZStep_<z>``. Opened by ``loci.formats.in.MetaxpressTiffReader``. The plan exists before the
first image, and no file marks the end, so a plate is complete when every plane of the plan has its file. :mod:`htd`
reads the plan, :mod:`names` knows the names of files, :mod:`layout` makes wells and planes of both.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import ClassVar, Final

from fleet_common.errors import Reason, failure
from fleet_common.names import printable
from fleet_common.plates.finding import ends, first_bytes, only_entry
from fleet_common.plates.imagexpress.htd import Plan, parse
from fleet_common.plates.imagexpress.layout import Layout, lay_out
from fleet_common.plates.imagexpress.names import THUMB, thumbnails
from fleet_common.plates.model import Expected, Names, Plate, Reader, Sizes
from fleet_common.plates.tiff import extent_of

READER: Final = "loci.formats.in.MetaxpressTiffReader"
ENDING: Final = ".htd"

_MARK: Final = b"HTSInfoFile"
_SNIFF_BYTES: Final = 64
_INNER: Final = re.compile(r"(?:TimePoint|ZStep)_[0-9]+")
_TRIED_TIFFS: Final = 3


class ImageXpressFormat:
    """The plate format ``imagexpress``."""

    name: ClassVar[str] = "imagexpress"

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """Take an HTD or the folder that holds it; a copy in a folder of images stands for the plate above it.

        Raises:
            Permanent: ``unknown-format`` for a folder with several HTDs: which of its plates is meant?
        """
        if not reader.is_folder(path):
            return _outermost(path, reader) if _is_htd(path, reader) else None
        found = only_entry(path, reader, ENDING, lambda file: _is_htd(file, reader), "HTD")
        return found and _outermost(found, reader)

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """See :class:`fleet_common.plates.PlateFormat`.

        Raises:
            Transient: ``manifest-differs`` as long as the HTD has no end: it is still being written.
        """
        plan = _plan(entry, reader)
        top = reader.names(entry.parent)
        _refuse_unreadable(entry, top)
        made = lay_out(plan, entry, top, reader)
        return Plate(
            format=self.name,
            entry=str(entry),
            reader=READER,
            files=(str(entry), *(plane.path for plane in made.planes if plane.path), *thumbnails(entry.parent, top)),
            expected=_expected(entry, plan, made, reader),
            identity=plan.identity,
            planes=made.planes,
            has_wells=True,
        )


def _is_htd(path: PurePosixPath, reader: Reader) -> bool:
    """By its name and first bytes; an empty file may become one, and one in UTF-16 is refused with a reason."""
    if not ends(path.name, (ENDING,)):
        return False
    head = first_bytes(path, reader, _SNIFF_BYTES)
    return not head or _MARK in head.replace(b"\0", b"")


def _outermost(entry: PurePosixPath, reader: Reader) -> PurePosixPath:
    """MetaXpress puts a copy of the HTD into every folder of an export; the plate is that of the uppermost."""
    folder, found = entry.parent, entry
    while _INNER.fullmatch(folder.name):
        folder = folder.parent
        if entry.name in reader.names(folder).files:
            found = folder / entry.name
    return found


def _plan(entry: PurePosixPath, reader: Reader) -> Plan:
    with reader.open(entry) as stream:
        return parse(stream, str(entry))


def _refuse_unreadable(entry: PurePosixPath, top: Names) -> None:
    if THUMB in str(entry).lower():
        raise failure(
            Reason.UNSUPPORTED,
            f"the path {printable(str(entry))} holds {THUMB}, and Bio-Formats takes every file below it for a "
            "thumbnail: rename the folder or the HTD",
        )
    prefix = f"{entry.stem}_"
    pnl = next((name for name in top.files if name.startswith(prefix) and name.lower().endswith(".pnl")), None)
    if pnl is not None:
        raise failure(
            Reason.UNSUPPORTED, f"{entry} is a plate of CellWorx, its images are in {printable(pnl)} and the like"
        )


def _expected(entry: PurePosixPath, plan: Plan, made: Layout, reader: Reader) -> Expected | None:
    """None as long as no image tells how large they are; the reader asks the first that is there."""
    size = next(filter(None, (extent_of(path, reader) for path in made.first_files[:_TRIED_TIFFS])), None)
    if size is None:
        return None
    return Expected(
        name=entry.stem,
        barcode=entry.stem,
        rows=plan.rows,
        columns=plan.columns,
        wells=frozenset(plan.wells),
        fields_per_well=plan.sites,
        sizes=Sizes(*size, plan.steps, len(plan.waves), plan.timepoints),
        channels=plan.waves,
    )
