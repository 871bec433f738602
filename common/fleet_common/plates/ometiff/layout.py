"""Makes files, wells and planes of an OME-XML: the same as Bio-Formats makes of it.

Bio-Formats 6.7 (``OMETiffReader.initFile``) lays every ``TiffData`` into the planes of its image, in the order that the
image says; one without a number of planes fills up what no other names. Where a file is missing it fails with an error
that names a UUID, or shows blank planes if the OME-XML has no UUID of its own. Pure functions, no threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final, NamedTuple

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.model import Expected, FieldPosition, Plane, Sizes
from fleet_common.plates.ometiff.ome import OmeImage, OmePlate, OmeXml, TiffData
from fleet_common.storage.paths import join

MAX_PLANES: Final = 10_000_000

Files = list[str | None]
"""The file of every plane of an image, in the order of the image."""


class Layout(NamedTuple):
    """What a set consists of.

    Attributes:
        files: The companion, then every file in the order of the planes.
        expected: None if it is no plate, or one that Expected cannot tell.
        planes: Of a plate.
        pixel_types: Of its images, where they are told.
    """

    files: tuple[str, ...]
    expected: Expected | None
    planes: tuple[Plane, ...]
    pixel_types: Mapping[FieldPosition, str]


def lay_out(ome: OmeXml, entry: PurePosixPath, *, is_companion: bool) -> Layout:
    """Lay out the planes.

    Args:
        ome: The OME-XML.
        entry: The file that holds it.
        is_companion: Whether that has no planes of its own.

    Raises:
        Permanent: ``format-broken`` with line and element when it has no image, when planes lie outside their image or
            in two files, or when a file is not named; ``unsafe-path`` and ``name-refused`` for a name.
    """
    if ome.metadata_file:
        raise failure(
            Reason.FORMAT_BROKEN,
            f"{entry} has only pixels: name {printable(ome.metadata_file)}, which has the metadata",
        )
    if not ome.images:
        raise failure(Reason.FORMAT_BROKEN, f"{entry} has no <Image>")
    _refuse_too_many(entry, ome)
    names = _Names(ome, entry, is_companion=is_companion)
    files = [_files(image, names) for image in ome.images]
    used = dict.fromkeys(path for image in files for path in image if path is not None)
    listed = dict.fromkeys((str(entry), *used)) if is_companion else used
    return Layout(tuple(listed) or (str(entry),), *_plate(ome, entry, files))


class _Names:
    """Finds the file of a TiffData; the same UUID must mean the same file, as for Bio-Formats."""

    def __init__(self, ome: OmeXml, entry: PurePosixPath, *, is_companion: bool) -> None:
        self._own = "" if is_companion else ome.uuid
        self._is_companion = is_companion
        self._entry = entry
        self._by_uuid: dict[str, str] = {}

    def of(self, data: TiffData) -> str:
        """The path of its file."""
        if not data.uuid and not data.file:
            if self._is_companion:
                raise self.broken(data, "it names no file, and a companion has no planes")
            return str(self._entry)
        # A file that was renamed still knows itself by its UUID.
        path = str(self._entry) if self._own and data.uuid == self._own else self._named(data)
        if self._by_uuid.setdefault(data.uuid or path, path) != path:
            raise self.broken(data, f"the file {printable(data.file)} has the UUID of another one")
        return path

    def _named(self, data: TiffData) -> str:
        if not data.file:
            raise self.broken(data, "its UUID has no FileName")
        try:
            return str(join(self._entry.parent, data.file))
        except RequestError as error:
            raise failure(error.reason, f"{self._entry}, line {data.line} in <TiffData>: {error}") from error

    def broken(self, data: TiffData, what: str) -> RequestError:
        """The error of a TiffData."""
        return failure(Reason.FORMAT_BROKEN, f"{self._entry}, line {data.line} in <TiffData>: {what}")


def _files(image: OmeImage, names: _Names) -> Files:
    """The file of every plane; None for one that no TiffData has."""
    axes = _axes(image)
    files: Files = [None] * _planes_of(image)
    certain: set[int] = set()
    for data in image.data:
        path = names.of(data)
        first = _index(data, axes, names)
        own = range(first, first + (data.planes or 1))
        if own.stop > len(files):
            raise names.broken(data, f"its last plane is {own.stop}, and the image has {len(files)}")
        if not certain.isdisjoint(own):
            raise names.broken(data, "another one has these planes, too")
        certain.update(own)
        stop = next((plane for plane in range(own.stop, len(files)) if plane in certain), len(files))
        files[first : own.stop] = [path] * len(own)
        files[own.stop : stop] = [path if data.planes is None else None] * (stop - own.stop)
    return files


def _axes(image: OmeImage) -> Sequence[tuple[str, int]]:
    """The axes of the planes, the fastest first, and their lengths."""
    lengths = {"Z": image.z, "C": _file_channels(image), "T": image.t}
    return [(axis, lengths[axis]) for axis in image.order[2:]]


def _file_channels(image: OmeImage) -> int:
    """Several samples of a pixel are channels in OMERO and one in the file."""
    return image.c // image.samples if image.c % image.samples == 0 else image.c


def _planes_of(image: OmeImage) -> int:
    return image.z * _file_channels(image) * image.t


def _index(data: TiffData, axes: Sequence[tuple[str, int]], names: _Names) -> int:
    at = {"Z": data.z, "C": data.c, "T": data.t}
    index, step = 0, 1
    for axis, length in axes:
        if at[axis] >= length:
            raise names.broken(data, f"First{axis} is {at[axis]}, and Size{axis} is {length}")
        index += at[axis] * step
        step *= length
    return index


def _plate(
    ome: OmeXml, entry: PurePosixPath, files: Sequence[Files]
) -> tuple[Expected | None, tuple[Plane, ...], Mapping[FieldPosition, str]]:
    if len(ome.plates) != 1:
        return None, (), {}
    plate = ome.plates[0]
    images = {image.id: (image, paths) for image, paths in zip(ome.images, files, strict=True)}
    placed: dict[FieldPosition, tuple[OmeImage, Files]] = {}
    for (row, column), ids in sorted(plate.wells.items()):
        for field, image_id in enumerate(ids):
            if image_id not in images:
                raise failure(
                    Reason.FORMAT_BROKEN, f"{entry}: the plate has the image {printable(image_id)}, which is not there"
                )
            placed[row, column, field] = images[image_id]
    planes = tuple(plane for position, (image, paths) in placed.items() for plane in _planes(position, image, paths))
    types = {position: image.type for position, (image, _) in placed.items() if image.type}
    return _expected(ome, plate, placed), planes, MappingProxyType(types)


def _planes(position: FieldPosition, image: OmeImage, paths: Files) -> Iterator[Plane]:
    """In the order of the image."""
    axes = _axes(image)
    for number, path in enumerate(paths):
        at, rest = {}, number
        for axis, length in axes:
            rest, at[axis] = divmod(rest, length)
        yield Plane(*position, at["T"], at["Z"], at["C"], path)


def _expected(ome: OmeXml, plate: OmePlate, placed: Mapping[FieldPosition, tuple[OmeImage, Files]]) -> Expected | None:
    """None where wells differ in their fields, where images are in no well or in two, or where planes have no file."""
    fields = {len(ids) for ids in plate.wells.values()}
    ids = Counter(image.id for image, _ in placed.values())
    whole = all(path is not None for _, paths in placed.values() for path in paths)
    if len(fields) != 1 or 0 in fields or len(ids) != len(ome.images) or ids.total() != len(ids) or not whole:
        return None
    sizes = {position: Sizes(image.x, image.y, image.z, image.c, image.t) for position, (image, _) in placed.items()}
    usual = Counter(sizes.values()).most_common(1)[0][0]
    return Expected(
        name=plate.name,
        barcode=plate.barcode,
        rows=plate.rows or max(row for row, _ in plate.wells) + 1,
        columns=plate.columns or max(column for _, column in plate.wells) + 1,
        wells=frozenset(plate.wells),
        fields_per_well=fields.pop(),
        sizes=usual,
        channels=tuple(ome.images[0].channels),
        other_sizes=MappingProxyType({position: size for position, size in sizes.items() if size != usual}),
    )


def _refuse_too_many(entry: PurePosixPath, ome: OmeXml) -> None:
    planes = sum(_planes_of(image) for image in ome.images)
    if planes > MAX_PLANES:
        raise failure(Reason.FORMAT_BROKEN, f"{entry} has {planes} planes, more than {MAX_PLANES}")
