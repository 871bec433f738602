"""What plate formats produce and what they read through: data and two protocols.

No I/O and no threads. :mod:`fleet_common.storage.reading` implements :class:`Reader`; the modules of the formats
implement :class:`PlateFormat`; :mod:`fleet_common.plates.registry` finds them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

NO_READER_YET: Final = (99, 0, 0)
"""A version that no server has: for ``needs_bioformats`` of what no released Bio-Formats was found to read."""

WellPosition = tuple[int, int]
"""Row and column of a well, both from 0: (1, 2) is B3."""

FieldPosition = tuple[int, int, int]
"""Row, column and field of an image, all from 0."""


class Names(NamedTuple):
    """The names in one folder, in no order."""

    files: tuple[str, ...]
    folders: tuple[str, ...]


class Bytes(Protocol):
    """An open file of bytes."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to ``size`` bytes, none at the end."""


class SeekableBytes(Bytes, Protocol):
    """An open file of bytes that can be read from any place."""

    def seek(self, offset: int, /) -> int:
        """Go to an offset from the beginning, and return it."""


class Reader(Protocol):
    """All that a plate format may ask of the world; every path is relative to the share."""

    def open(self, path: PurePosixPath) -> AbstractContextManager[SeekableBytes]:
        """Open a regular file that is not empty."""

    def names(self, folder: PurePosixPath) -> Names:
        """List one folder; a link or special file in it is an error."""

    def is_folder(self, path: PurePosixPath) -> bool:
        """Whether the path is a folder."""


class Sizes(NamedTuple):
    """The extent of one image: pixels in x and y, z planes, channels, time points."""

    x: int
    y: int
    z: int
    c: int
    t: int


class Plane(NamedTuple):
    """One plane as the vendor's index lists it; all numbers from 0, in the order of the reader.

    Attributes:
        row: Of the well.
        column: Of the well.
        field: In the well.
        t: Time point.
        z: Plane in the stack.
        c: Channel.
        path: Its file relative to the share; None when the instrument recorded that it has none.
    """

    row: int
    column: int
    field: int
    t: int
    z: int
    c: int
    path: str | None

    @property
    def where(self) -> str:
        """For people: ``well B03, field 2, channel 1``, and plane and time point, all from 1."""
        return (
            f"well {well_name(self.row, self.column)}, field {self.field + 1}, channel {self.c + 1}, "
            f"plane {self.z + 1}, time point {self.t + 1}"
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """What OMERO must hold once the plate is imported.

    Attributes:
        name: The plate's name as the reader gives it.
        barcode: The plate's own id; empty where the format has none.
        rows: Rows of the plate, used or not.
        columns: Columns of the plate, used or not.
        wells: Every well that OMERO will hold. A reader may make wells without any image in the index; they are blank.
        fields_per_well: Fields, which are images, in each of these wells.
        sizes: Of every image that ``other_sizes`` does not name.
        channels: Names in channel order; an empty text where the index gives none.
        other_sizes: Sizes of single images where they vary.
    """

    name: str
    barcode: str
    rows: int
    columns: int
    wells: frozenset[WellPosition]
    fields_per_well: int
    sizes: Sizes
    channels: tuple[str, ...]
    other_sizes: Mapping[FieldPosition, Sizes] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def images(self) -> int:
        """The number of images in OMERO."""
        return len(self.wells) * self.fields_per_well

    @property
    def planes(self) -> int:
        """The number of planes in OMERO, blank ones included."""
        usual = self.sizes.z * self.sizes.c * self.sizes.t
        return self.images * usual + sum(s.z * s.c * s.t - usual for s in self.other_sizes.values())

    def sizes_of(self, position: FieldPosition) -> Sizes:
        """The sizes of one image."""
        return self.other_sizes.get(position, self.sizes)


@dataclass(frozen=True, slots=True)
class InstrumentError:
    """A plane that the instrument itself recorded as failed: a fault of the acquisition, not of a copy.

    Attributes:
        where: Well, field, channel, plane and time point, for people.
        state: The instrument's word for it, at most 200 characters.
    """

    where: str
    state: str


class End(enum.StrEnum):
    """What the vendor's own files say of the end of the acquisition.

    ``UNKNOWN`` where the format has no such mark; then only files and quiet tell.
    """

    UNKNOWN = "unknown"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Plate:
    """One import candidate as its plate format understands it.

    Attributes:
        format: The name of the format.
        entry: The file that is given to Bio-Formats, relative to the share.
        reader: The full Java name of the Bio-Formats reader; empty to let the server choose.
        files: Every file of the fileset, relative to the share, the entry first, in the order of the reader.
        expected: What OMERO must hold; None when the format cannot know.
        identity: The measurement's own id; empty where there is none.
        started_at: When the measurement began, ISO 8601 as in the index; empty if not told.
        operator: Who measured; empty if not told.
        instrument: The type of the instrument; empty if not told.
        planes: Every plane that the index lists, in the order of the reader.
        errors: Planes that the instrument recorded as failed.
        end: Whether the instrument says that it is done.
        needs_bioformats: The first version of Bio-Formats that reads this layout, such as (8, 3, 0); empty for any.
        warnings: What a person should know of the plate before it is imported, although nothing is missing.
        has_wells: Whether it is a plate although nothing is expected of it.
        images: Sizes of all images in the order of the reader, where the format knows them but no wells.
        pixel_types: The type of an image's pixels as OME calls it, where the index says it.
    """

    format: str
    entry: str
    reader: str
    files: tuple[str, ...]
    expected: Expected | None = None
    identity: str = ""
    started_at: str = ""
    operator: str = ""
    instrument: str = ""
    planes: tuple[Plane, ...] = ()
    errors: tuple[InstrumentError, ...] = ()
    end: End = End.UNKNOWN
    needs_bioformats: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    has_wells: bool = False
    images: tuple[Sizes, ...] = ()
    pixel_types: Mapping[FieldPosition, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_plate(self) -> bool:
        """Whether OMERO makes a plate of it, and not images alone."""
        return self.has_wells or self.expected is not None

    @property
    def measured_wells(self) -> frozenset[WellPosition]:
        """The wells that have a file; a subset of ``expected.wells``."""
        return frozenset((plane.row, plane.column) for plane in self.planes if plane.path)


class PlateFormat(Protocol):
    """The parser of one vendor's layout. Has no state and does no I/O but through a :class:`Reader`."""

    @property
    def name(self) -> str:
        """The name in requests and settings, as its entry point is called."""

    def find_entry(self, path: PurePosixPath, reader: Reader) -> PurePosixPath | None:
        """The entry file when ``path``, a file or a folder, is a plate of this format; None when it is not."""

    def read(self, entry: PurePosixPath, reader: Reader) -> Plate:
        """Parse the plate.

        Raises:
            Permanent: ``format-broken`` with file, line and element; ``unsafe-path`` and ``name-refused`` for what the
                index refers to; ``unsupported`` for a version of the layout that cannot be imported.
        """


def well_name(row: int, column: int) -> str:
    """The name of a well as people write it: (1, 2) is ``B03``, row 26 is ``AA``."""
    letters = ""
    number = row + 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{column + 1:02d}"
