"""Makes wells, fields and planes of an OME-Zarr plate, and finds the planes of which nothing was written.

Only the full resolution decides about planes: smaller ones are made of it. A plane whose chunks are all absent is
listed with the first of them, so that it is missed; one that has some of them is listed with one that is there, and
what is absent is told as a warning. Does no I/O but through the store that it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from types import MappingProxyType
from typing import Final, NamedTuple

from fleet_common.errors import Reason, failure
from fleet_common.plates.model import Expected, FieldPosition, Plane, Sizes, WellPosition, well_name
from fleet_common.plates.omezarr.metadata import Array, Attributes, Multiscale, PlateMeta, WellRef
from fleet_common.plates.omezarr.store import Store

MAX_CHUNKS: Final = 10_000_000
MAX_WARNINGS: Final = 20


class Layout(NamedTuple):
    """What a plate consists of.

    Attributes:
        expected: None as long as an image is not known, or where wells differ in their fields.
        planes: Of all fields that are known.
        warnings: Chunks that are absent, and images of another type than the others, by well and field.
    """

    expected: Expected | None
    planes: tuple[Plane, ...]
    warnings: tuple[str, ...]


class _Image(NamedTuple):
    """A field, its axes and its array in full resolution."""

    position: FieldPosition
    parts: tuple[str, ...]
    axes: str
    array: Array
    channels: tuple[str, ...]

    @property
    def sizes(self) -> Sizes:
        """Its extent; a direction that it has not is 1 long."""
        lengths = dict(zip(self.axes, self.array.shape, strict=True))
        return Sizes(*(lengths.get(axis, 1) for axis in "xyzct"))


def lay_out(store: Store, plate: PlateMeta) -> Layout:
    """Read all groups and arrays of a plate.

    Raises:
        Permanent: ``format-broken`` when a well is there twice, when axes and dimensions differ, or when there can be
            more than 10 million chunks; ``unsafe-path`` and ``name-refused`` for a path.
    """
    _refuse_repeated(store, plate)
    fields: dict[WellPosition, int] = {}
    images: list[_Image] = []
    planes: list[Plane] = []
    warnings: list[str] = []
    chunks = 0
    for well in sorted(plate.wells, key=lambda well: (well.row, well.column)):
        found = _fields(store, well)
        fields[well.row, well.column] = len(found)
        for number, parts in enumerate(found):
            image, others = _image(store, (well.row, well.column, number), parts)
            if image is None:
                continue
            chunks += image.array.chunk_count
            _refuse_too_many(store, chunks)
            images.append(image)
            planes.extend(_planes(store, image))
            warnings.extend(_absent(store, image, others))
    return Layout(_expected(plate, fields, images), tuple(planes), _shortened([*_other_types(images), *warnings]))


def _fields(store: Store, well: WellRef) -> list[tuple[str, ...]]:
    store.row(well.path)
    group = store.group((well.path,))
    return [(well.path, image.path) for image in group.well.images] if group and group.well else []


def _image(
    store: Store, position: FieldPosition, parts: tuple[str, ...]
) -> tuple[_Image | None, dict[tuple[str, ...], Array]]:
    """A field, and its smaller resolutions; None as long as its metadata is not there."""
    group = store.group(parts)
    if group is None or not group.multiscales:
        return None, {}
    scale = group.multiscales[0]
    levels = {(*parts, dataset.path): store.array((*parts, dataset.path)) for dataset in scale.datasets}
    full, *smaller = levels
    array = levels[full]
    if array is None:
        return None, {}
    axes = _axes(store, full, scale, array)
    image = _Image(position, full, axes, array, _channels(group))
    return image, {path: level for path in smaller if (level := levels[path]) is not None}


def _axes(store: Store, parts: tuple[str, ...], scale: Multiscale, array: Array) -> str:
    axes = "".join(axis.name for axis in scale.axes)
    if len(axes) != len(array.shape) or len(set(axes)) != len(axes) or not axes.endswith("yx"):
        raise failure(
            Reason.FORMAT_BROKEN,
            f"{store.folder(parts)}: its axes are {axes}, and its array has {len(array.shape)} dimensions: "
            "planes must be the last two, y and x",
        )
    return axes


def _channels(group: Attributes) -> tuple[str, ...]:
    return tuple(channel.label for channel in group.omero.channels) if group.omero else ()


def _planes(store: Store, image: _Image) -> Iterator[Plane]:
    folder = store.folder(image.parts)
    sizes = image.sizes
    for t, z, c in product(range(sizes.t), range(sizes.z), range(sizes.c)):
        place = {"t": t, "z": z, "c": c}
        chunks = image.array.chunks_of(tuple(place[axis] for axis in image.axes[:-2]))
        paths = [f"{folder}/{name}" for name in chunks]
        path = next(filter(store.has, paths), paths[0])
        store.need(path)
        yield Plane(*image.position, t, z, c, path)


def _absent(store: Store, image: _Image, smaller: Mapping[tuple[str, ...], Array]) -> Iterator[str]:
    row, column, field = image.position
    for parts, array in ((image.parts, image.array), *smaller.items()):
        absent = array.chunk_count - store.chunks_in(parts)
        if absent > 0:
            yield (
                f"well {well_name(row, column)}, field {field + 1}: {absent} of {array.chunk_count} chunks of the "
                f"resolution {parts[-1]} are absent and read as a fill value"
            )


def _other_types(images: list[_Image]) -> Iterator[str]:
    """Every image may have a type of its own in OMERO, too; but no instrument writes such a plate on purpose."""
    usual = next(iter(Counter(image.array.pixels for image in images).most_common(1)), ("", 0))[0]
    for image in images:
        if image.array.pixels != usual:
            row, column, field = image.position
            kinds = f"{image.array.pixels} instead of {usual}"
            yield f"well {well_name(row, column)}, field {field + 1}: its pixels are {kinds}"


def _shortened(warnings: list[str]) -> tuple[str, ...]:
    more = len(warnings) - MAX_WARNINGS
    return (*warnings[:MAX_WARNINGS], f"{more} more of fields and resolutions") if more > 0 else tuple(warnings)


def _expected(plate: PlateMeta, fields: Mapping[WellPosition, int], images: list[_Image]) -> Expected | None:
    many = set(fields.values())
    if len(many) != 1 or len(images) != sum(fields.values()) or not images:
        return None
    sizes = {image.position: image.sizes for image in images}
    usual = Counter(sizes.values()).most_common(1)[0][0]
    return Expected(
        name=plate.name,
        barcode="",
        rows=len(plate.rows),
        columns=len(plate.columns),
        wells=frozenset(fields),
        fields_per_well=many.pop(),
        sizes=usual,
        channels=images[0].channels or ("",) * usual.c,
        other_sizes=MappingProxyType({position: size for position, size in sizes.items() if size != usual}),
    )


def _refuse_repeated(store: Store, plate: PlateMeta) -> None:
    places = Counter((well.row, well.column) for well in plate.wells)
    paths = Counter(well.path for well in plate.wells)
    outside = [well for well in plate.wells if well.row >= len(plate.rows) or well.column >= len(plate.columns)]
    if len(places) != len(plate.wells) or len(paths) != len(plate.wells) or outside:
        raise failure(
            Reason.FORMAT_BROKEN,
            f"{store.folder(())}: two of its wells are the same, or one lies outside its "
            f"{len(plate.rows)} x {len(plate.columns)} wells",
        )


def _refuse_too_many(store: Store, chunks: int) -> None:
    if chunks > MAX_CHUNKS:
        raise failure(Reason.FORMAT_BROKEN, f"{store.folder(())} can have more than {MAX_CHUNKS} chunks")
