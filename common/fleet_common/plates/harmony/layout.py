"""Makes a plate of a Harmony index: the same wells, fields and planes that Bio-Formats makes of it.

Bio-Formats 6.7 (``OperettaReader``) collects the different rows, columns, fields, planes, time points and channels of
all images and makes an image of every combination: a well without any image in the index becomes a blank well where
another well shares its row and another its column, and every well has every field. Pure functions, no threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from operator import itemgetter
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final, NamedTuple

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.harmony.index import OK, Index, IndexImage
from fleet_common.plates.model import Expected, FieldPosition, InstrumentError, Plane, Sizes
from fleet_common.storage.paths import join

MAX_PLANES: Final = 10_000_000

_KEY: Final = itemgetter(*range(6))


class Layout(NamedTuple):
    """What a plate consists of; planes in the order of the reader."""

    expected: Expected
    planes: tuple[Plane, ...]
    errors: tuple[InstrumentError, ...]


class Axes(NamedTuple):
    """The numbers that occur in the index, each mapped to its place in order, from 0."""

    field: Mapping[int, int]
    t: Mapping[int, int]
    z: Mapping[int, int]
    c: Mapping[int, int]


def lay_out(index: Index, present: frozenset[str]) -> Layout:
    """Lay out the images of an index.

    Args:
        index: The whole index.
        present: Paths that exist of those that images in another state than ``Ok`` name: an instrument lists an image
            that it could not take, and its file may never have been written.

    Raises:
        Permanent: ``format-broken`` when two images are the same plane or have the same file, when an image lies
            outside the plate or has no size, or when all combinations are more than 10 million planes; ``unsafe-path``
            and ``name-refused`` for a URL.
    """
    images = sorted(index.images, key=_KEY)
    _refuse_repeated(index, images)
    axes = Axes(*(_places(images, number) for number in (2, 3, 4, 5)))
    expected = _expected(index, images, axes)
    planes = tuple(_planes(index, images, axes, present))
    _refuse_shared_files(index, planes, images)
    return Layout(expected, planes, tuple(_errors(images, planes)))


def uncertain(index: Index) -> frozenset[PurePosixPath]:
    """The paths of images that the instrument recorded as failed: each may exist or not."""
    return frozenset(_path(index, image) for image in index.images if image.state != OK and image.url)


def _places(images: Sequence[IndexImage], number: int) -> Mapping[int, int]:
    return {value: place for place, value in enumerate(sorted({image[number] for image in images}))}  # type: ignore[misc]  # only indexes of int fields are passed


def _expected(index: Index, images: Sequence[IndexImage], axes: Axes) -> Expected:
    _refuse_outside(index, images)
    wells = frozenset(product({image.row - 1 for image in images}, {image.column - 1 for image in images}))
    _refuse_too_many(index, len(wells) * len(axes.field) * len(axes.t) * len(axes.z) * len(axes.c))
    sizes = _sizes(index, images, axes)
    usual = next(iter(sizes.values()))
    return Expected(
        name=index.plate_texts.get("Name", ""),
        barcode=index.plate_texts.get("PlateID", ""),
        rows=index.rows,
        columns=index.columns,
        wells=wells,
        fields_per_well=len(axes.field),
        sizes=usual,
        channels=tuple(index.channel_names.get(channel, "") for channel in axes.c),
        other_sizes=MappingProxyType(_other_sizes(sizes, usual, wells, len(axes.field))),
    )


def _sizes(index: Index, images: Sequence[IndexImage], axes: Axes) -> dict[FieldPosition, Sizes]:
    """The extent of every measured image: that of its first plane, in the order of the reader."""
    sizes: dict[FieldPosition, Sizes] = {}
    for image in images:
        position = (image.row - 1, image.column - 1, axes.field[image.field])
        if position not in sizes:
            x, y = _extent(index, image)
            sizes[position] = Sizes(x, y, len(axes.z), len(axes.c), len(axes.t))
    return sizes


def _other_sizes(
    sizes: Mapping[FieldPosition, Sizes], usual: Sizes, wells: frozenset[tuple[int, int]], fields: int
) -> dict[FieldPosition, Sizes]:
    """Name the images that differ; a blank image has the extent of the one before it, a first one that of the first."""
    if all(size == usual for size in sizes.values()):
        return {}
    others: dict[FieldPosition, Sizes] = {}
    last = usual
    for row, column in sorted(wells):
        for field in range(fields):
            last = sizes.get((row, column, field), last)
            if last != usual:
                others[row, column, field] = last
    return others


def _extent(index: Index, image: IndexImage) -> tuple[int, int]:
    if image.x and image.y:
        return image.x, image.y
    if image.c not in index.channel_sizes:
        raise _broken(index, image, "neither the image nor its channel has <ImageSizeX> and <ImageSizeY>")
    return index.channel_sizes[image.c]


def _planes(index: Index, images: Sequence[IndexImage], axes: Axes, present: frozenset[str]) -> Iterator[Plane]:
    for image in images:
        path = str(_path(index, image)) if image.url else None
        if image.state != OK and path not in present:
            path = None
        yield Plane(
            image.row - 1,
            image.column - 1,
            axes.field[image.field],
            axes.t[image.t],
            axes.z[image.z],
            axes.c[image.c],
            path,
        )


def _path(index: Index, image: IndexImage) -> PurePosixPath:
    try:
        return join(PurePosixPath(index.path).parent, image.url)
    except RequestError as error:
        raise failure(error.reason, f"{index.path}, line {image.line} in <Image>: {error}") from error


def _errors(images: Sequence[IndexImage], planes: Sequence[Plane]) -> Iterator[InstrumentError]:
    for image, plane in zip(images, planes, strict=True):
        if image.state != OK:
            yield InstrumentError(plane.where, image.state)


def _refuse_repeated(index: Index, images: Sequence[IndexImage]) -> None:
    for one, other in pairwise(images):
        if _KEY(one) == _KEY(other):
            raise _broken(
                index, other, f"this is the same plane as the image of line {one.line}, Bio-Formats would drop one"
            )


def _refuse_outside(index: Index, images: Sequence[IndexImage]) -> None:
    for image in images:
        if image.row > index.rows or image.column > index.columns:
            raise _broken(
                index,
                image,
                f"row {image.row}, column {image.column} is outside the plate of {index.rows} x {index.columns} wells",
            )


def _refuse_too_many(index: Index, planes: int) -> None:
    if planes > MAX_PLANES:
        raise failure(
            Reason.FORMAT_BROKEN,
            f"{index.path}: all combinations of its rows, columns, fields, planes, channels and time points are "
            f"{planes} planes, more than {MAX_PLANES}",
        )


def _refuse_shared_files(index: Index, planes: Sequence[Plane], images: Sequence[IndexImage]) -> None:
    paths = [plane.path for plane in planes if plane.path]
    if len({index.path, *paths}) == len(paths) + 1:
        return
    lines: dict[str, int] = {index.path: 1}
    for plane, image in zip(planes, images, strict=True):
        if plane.path is None:
            continue
        if plane.path in lines:
            raise _broken(
                index,
                image,
                f"its file {printable(image.url)} is already that of the image of line {lines[plane.path]}",
            )
        lines[plane.path] = image.line


def _broken(index: Index, image: IndexImage, what: str) -> RequestError:
    return failure(Reason.FORMAT_BROKEN, f"{index.path}, line {image.line} in <Image>: {what}")
