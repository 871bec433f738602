"""OME-Zarr plates: a folder of metadata and chunks, OME-Zarr 0.4 on Zarr 2 and 0.5 on Zarr 3.

The entry is ``.zattrs`` or ``zarr.json`` at the top. Metadata names wells, fields and arrays, and an array's shape says
which chunks there can be; a chunk that is not there is legal and reads as a fill value. So a chunk is never missing by
itself, but a plane of which no chunk is there is: a camera writes no plane of one value. Where only some chunks are
absent, the plate says so as a warning. A server needs the external OMEZarrReader for 0.4; for 0.5 no reader was found.
:mod:`store` finds the files, :mod:`metadata` reads what they say, :mod:`layout` makes wells and planes of it.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar, Final

from fleet_common.plates.finding import first_bytes
from fleet_common.plates.model import NO_READER_YET, End, Plate, Reader
from fleet_common.plates.omezarr.layout import lay_out
from fleet_common.plates.omezarr.metadata import PlateMeta
from fleet_common.plates.omezarr.store import GROUPS, Store, Version

READER: Final = "loci.formats.in.ZarrReader"
SUFFIX: Final = ".zarr"
NEEDS: Final = {Version.V2: (7, 3, 1), Version.V3: NO_READER_YET}
"""OMEZarrReader, which reads Zarr 2 only, was last made for 7.3.1 (ome/ZarrReader#103); for Zarr 3 any is too old."""

_SNIFF_BYTES: Final = 1 << 20


class OmeZarrFormat:
    """The plate format ``ome-zarr``."""

    name: ClassVar[str] = "ome-zarr"

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """Take the folder of a plate, or the metadata at its top."""
        if not reader.is_folder(path):
            return path if path.name in GROUPS.values() and _is_plate(path, reader) else None
        names = reader.names(path).files
        found = (path / name for name in GROUPS.values() if name in names)
        return next((entry for entry in found if _is_plate(entry, reader)), None)

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """See :class:`fleet_common.plates.PlateFormat`."""
        store = Store(entry, reader)
        plate = store.plate()
        made = lay_out(store, plate)
        return Plate(
            format=self.name,
            entry=str(entry),
            reader=READER,
            files=store.files,
            expected=made.expected,
            planes=made.planes,
            end=_end(store, plate),
            needs_bioformats=NEEDS[store.version],
            warnings=(*_of_name(entry), *made.warnings),
            has_wells=True,
        )


def _is_plate(path: PurePosixPath, reader: Reader) -> bool:
    """Whether the metadata speaks of a plate; an empty file at the top of a ``.zarr`` may become one."""
    head = first_bytes(path, reader, _SNIFF_BYTES)
    return b'"plate"' in head if head else path.parent.name.lower().endswith(SUFFIX)


def _end(store: Store, plate: PlateMeta) -> End:
    """A writer's unfinished files, then the end of each acquisition, which few writers tell."""
    if store.unfinished:
        return End.RUNNING
    ended = [acquisition.endtime is not None for acquisition in plate.acquisitions]
    return End.ENDED if ended and all(ended) else End.UNKNOWN


def _of_name(entry: PurePosixPath) -> tuple[str, ...]:
    if SUFFIX in f"{entry.parent}".lower():
        return ()
    return (f"its folder is not called *{SUFFIX}, by which Bio-Formats knows a Zarr: rename it before it is imported",)
