"""Makes a plate of a Yokogawa measurement: the same wells, fields and planes that Bio-Formats makes of it.

Bio-Formats 6.7 (``CV7000Reader``) makes an image for every well that has a record and every field number up to the
highest of the plate, blank where nothing was acquired; planes, channels and time points are counted per well; width and
height are those of the first TIFF. It loses planes of some layouts without a word, and for these the plate says which
newer Bio-Formats it needs. Pure functions, no threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final, NamedTuple

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.model import Expected, FieldPosition, InstrumentError, Plane, Sizes, WellPosition, well_name
from fleet_common.plates.yokogawa.channels import Numbering, numbered_by_6_7, numbered_by_7
from fleet_common.plates.yokogawa.records import Channel, MeasurementData, MeasurementDetail, PlateInfo, Record

MAX_PLANES: Final = 10_000_000
READS_EVERY_LAYOUT: Final = (7, 3, 1)
"""The Bio-Formats that was seen to read what 6.7 loses."""

NO_FILE: Final = "its record names no file"

Numbered = tuple[Record, int]
"""A record and the place of its channel."""


class Extent(NamedTuple):
    """Width and height of an image in pixels."""

    x: int
    y: int


class Layout(NamedTuple):
    """What a plate consists of; planes in the order of the reader.

    Attributes:
        expected: None while the extent of its images is not known.
        planes: In the order of the reader.
        errors: Of the instrument.
        needs_bioformats: As in :class:`Plate`.
    """

    expected: Expected | None
    planes: tuple[Plane, ...]
    errors: tuple[InstrumentError, ...]
    needs_bioformats: tuple[int, ...]


class _Bounds(NamedTuple):
    """The first and the number of planes, time points and channels of a well."""

    z: int
    t: int
    sizes: tuple[int, int, int]


class Measurement(NamedTuple):
    """The files of a measurement, read. ``path`` is that of the ``.mlf``, for errors."""

    path: str
    info: PlateInfo
    data: MeasurementData
    detail: MeasurementDetail
    acquired: Sequence[tuple[int, int, int]]


def lay_out(made: Measurement, extent: Extent | None) -> Layout:
    """Lay out the records of a measurement.

    Args:
        made: What its files say.
        extent: Of its images; None if no file tells.

    Raises:
        Permanent: ``format-broken`` when two records are the same plane or have the same file, when a record lies
            outside the plate or has a channel that the settings do not know, or when all combinations are more than 10
            million planes.
    """
    _refuse_outside(made)
    _refuse_shared_files(made)
    numbered = _readable_by_6_7(made)
    if numbered is not None:
        return _layout(made, numbered, extent, ())
    return _layout(made, _readable_by_7(made), extent, READS_EVERY_LAYOUT)


def plain_planes(folder: PurePosixPath, records: Sequence[Record]) -> tuple[Plane, ...]:
    """The planes as long as the settings are missing: with the instrument's own numbers of fields and channels."""
    return tuple(
        Plane(r.row, r.column, r.field, r.t, r.z, r.channel - 1, str(folder / r.name) if r.name else None)
        for r in sorted(records)
    )


def _readable_by_6_7(made: Measurement) -> list[Numbered] | None:
    """The records with their channels, in the order of the reader; None where it would fail or lose a plane."""
    numbered = _numbered(made, numbered_by_6_7(made.detail.channels, made.acquired))
    if isinstance(numbered, Record) or _repeated(numbered) is not None:
        return None
    wells = {_well(record) for record, _ in numbered}
    from_first = {_well(record) for record, place in numbered if place == 0}
    # A well without any file moves all images after it to other wells (ome/bioformats#4005).
    with_file = {_well(record) for record, _ in numbered if record.name}
    return numbered if wells == from_first == with_file else None


def _readable_by_7(made: Measurement) -> list[Numbered]:
    numbered = _numbered(made, numbered_by_7(made.detail.channels, made.acquired))
    if isinstance(numbered, Record):
        raise _broken(
            made,
            numbered,
            f"channel {numbered.channel} is not among those that the settings give to action {numbered.action + 1} of "
            f"timeline {numbered.timeline + 1}, and Bio-Formats would mistake it for another",
        )
    repeated = _repeated(numbered)
    if repeated is not None:
        one, other = repeated
        raise _broken(made, other, f"this is the same plane as in line {one.line}, and Bio-Formats would drop one")
    dense = {place: number for number, place in enumerate(sorted({place for _, place in numbered}))}
    return [(record, dense[place]) for record, place in numbered]


def _numbered(made: Measurement, numbering: Numbering) -> list[Numbered] | Record:
    """The records with their channels, sorted; or the first record without one."""
    numbered: list[Numbered] = []
    for record in made.data.records:
        place = numbering.place(record)
        if place is None:
            return record
        numbered.append((record, place))
    numbered.sort(key=_key)
    return numbered


def _key(numbered: Numbered) -> tuple[int, ...]:
    record, place = numbered
    return (*record[:5], place, record.line)


def _repeated(numbered: Sequence[Numbered]) -> tuple[Record, Record] | None:
    for one, other in pairwise(numbered):
        if _key(one)[:-1] == _key(other)[:-1]:
            return one[0], other[0]
    return None


def _layout(made: Measurement, numbered: Sequence[Numbered], extent: Extent | None, needs: tuple[int, ...]) -> Layout:
    bounds = _bounds(numbered, channels=max(place for _, place in numbered) + 1 if needs else 0)
    fields = max(record.field for record, _ in numbered) + 1
    _refuse_too_many(made, sum(z * c * t for z, c, t in (one.sizes for one in bounds.values())) * fields)
    folder = PurePosixPath(made.path).parent
    return Layout(
        expected=None if extent is None else _expected(made, numbered, bounds, fields, extent),
        planes=tuple(_planes(folder, numbered, bounds)),
        errors=(*made.data.errors, *_unnamed(numbered, bounds)),
        needs_bioformats=needs,
    )


def _bounds(numbered: Sequence[Numbered], channels: int) -> dict[WellPosition, _Bounds]:
    """The extent of each well; of 6.7 each has channels of its own, of newer ones all have the same."""
    least: dict[WellPosition, tuple[int, int]] = {}
    most: dict[WellPosition, tuple[int, int, int]] = {}
    for record, place in numbered:
        well, z, t = _well(record), record.z, record.t
        z0, t0 = least.get(well, (z, t))
        z1, t1, c1 = most.get(well, (z, t, place))
        least[well] = min(z0, z), min(t0, t)
        most[well] = max(z1, z), max(t1, t), max(c1, place)
    return {
        well: _Bounds(z, t, (most[well][0] - z + 1, channels or most[well][2] + 1, most[well][1] - t + 1))
        for well, (z, t) in least.items()
    }


def _expected(
    made: Measurement, numbered: Sequence[Numbered], bounds: Mapping[WellPosition, _Bounds], fields: int, extent: Extent
) -> Expected:
    wells = frozenset(_well(record) for record, _ in numbered if record.name)
    usual = Counter(bounds[well].sizes for well in sorted(wells)).most_common(1)[0][0]
    return Expected(
        name=made.info.name,
        barcode=made.info.product_id,
        rows=made.info.rows,
        columns=made.info.columns,
        wells=wells,
        fields_per_well=fields,
        sizes=Sizes(*extent, *usual),
        channels=_names(numbered, made.detail.channels, usual[1]),
        other_sizes=MappingProxyType(
            {
                position: Sizes(*extent, *bounds[position[:2]].sizes)
                for position in _positions(wells, fields)
                if bounds[position[:2]].sizes != usual
            }
        ),
    )


def _positions(wells: frozenset[WellPosition], fields: int) -> Iterator[FieldPosition]:
    for row, column in sorted(wells):
        for field in range(fields):
            yield row, column, field


def _names(numbered: Sequence[Numbered], channels: Sequence[Channel], count: int) -> tuple[str, ...]:
    cameras = {channel.number: channel.camera for channel in reversed(channels)}
    by_place = {place: record.channel for record, place in reversed(numbered)}
    return tuple(
        f"Channel #{by_place[place]}, Camera #{cameras[by_place[place]]}" if place in by_place else ""
        for place in range(count)
    )


def _planes(
    folder: PurePosixPath, numbered: Sequence[Numbered], bounds: Mapping[WellPosition, _Bounds]
) -> Iterator[Plane]:
    prefix = f"{folder}/" if folder.parts else ""
    for record, place in numbered:
        path = f"{prefix}{record.name}" if record.name else None
        yield Plane(*_placed(record, place, bounds), path)


def _placed(record: Record, place: int, bounds: Mapping[WellPosition, _Bounds]) -> tuple[int, int, int, int, int, int]:
    well = bounds[_well(record)]
    return record.row, record.column, record.field, record.t - well.t, record.z - well.z, place


def _unnamed(numbered: Sequence[Numbered], bounds: Mapping[WellPosition, _Bounds]) -> Iterator[InstrumentError]:
    for record, place in numbered:
        if not record.name:
            yield InstrumentError(Plane(*_placed(record, place, bounds), None).where, NO_FILE)


def _well(record: Record) -> WellPosition:
    return record.row, record.column


def _refuse_outside(made: Measurement) -> None:
    for record in made.data.records:
        if record.row >= made.info.rows or record.column >= made.info.columns:
            raise _broken(
                made,
                record,
                f"well {well_name(record.row, record.column)} is outside the plate of {made.info.rows} x "
                f"{made.info.columns} wells",
            )


def _refuse_shared_files(made: Measurement) -> None:
    lines: dict[str, int] = {}
    for record in made.data.records:
        if record.name in lines:
            raise _broken(
                made, record, f"its file {printable(record.name)} is already that of line {lines[record.name]}"
            )
        if record.name:
            lines[record.name] = record.line


def _refuse_too_many(made: Measurement, planes: int) -> None:
    if planes > MAX_PLANES:
        raise failure(
            Reason.FORMAT_BROKEN,
            f"{made.path}: all combinations of its wells, fields, planes, channels and time points are {planes} "
            f"planes, more than {MAX_PLANES}",
        )


def _broken(made: Measurement, record: Record, what: str) -> RequestError:
    return failure(Reason.FORMAT_BROKEN, f"{made.path}, line {record.line} in <bts:MeasurementRecord>: {what}")
