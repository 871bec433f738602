"""Makes a plate of an XDCE: the same wells, fields and planes that Bio-Formats makes of it.

Bio-Formats 6.7 (``InCellReader``) divides the number of images by the planes of one to know how many images there are,
and deals them to the wells that have any, field after field. Where wells differ in their fields, or images in their
planes, it makes fewer images than there are and the last wells are lost without a word (ome/bioformats#3898); such a
plate is refused here. Where time points differ in their wavelengths, each becomes an image of its own. Pure functions,
no threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.plates.incell.stack import ImageStack, StackImage
from fleet_common.plates.model import FieldPosition, Plane, Sizes, WellPosition
from fleet_common.storage.paths import join

IGNORES_SCHEDULES_THAT_ARE_OFF: Final = (8, 1, 1)
"""The Bio-Formats that does not count the time points of a schedule that is off (ome/bioformats#4283)."""


class Layout(NamedTuple):
    """What a plate consists of; planes in the order of the reader.

    Attributes:
        planes: Those that are listed.
        thumbnails: One per plane; None where there is none.
        wells: All of them.
        fields_per_well: In each of these wells.
        sizes: Of every image but those in ``other_sizes``, without width and height.
        other_sizes: Where time points differ.
        needs_bioformats: As in :class:`fleet_common.plates.Plate`.
    """

    planes: tuple[Plane, ...]
    thumbnails: tuple[PurePosixPath | None, ...]
    wells: frozenset[WellPosition]
    fields_per_well: int
    sizes: Sizes
    other_sizes: Mapping[FieldPosition, Sizes]
    needs_bioformats: tuple[int, ...]


def lay_out(stack: ImageStack) -> Layout:
    """Lay out the images of an XDCE.

    Raises:
        Permanent: ``format-broken`` when two images are the same plane or have the same file, or when there are more
            images than it says; ``unsupported`` where Bio-Formats would lose images; ``unsafe-path`` and
            ``name-refused`` for a file name.
    """
    images = sorted(stack.images)
    _refuse_none(stack)
    _refuse_repeated(stack, images)
    waves = [stack.waves_of(t) for t in range(stack.time_points)]
    split = len(set(waves)) > 1
    if len(images) == stack.total:
        _refuse_lost(stack, images, sum(waves) * stack.slices)
    paths = [_path(stack, image, image.name) for image in images]
    _refuse_shared_files(stack, images, paths)
    return Layout(
        planes=tuple(_planes(images, paths, len(waves) if split else 0)),
        thumbnails=tuple(_path(stack, image, image.thumbnail) if image.thumbnail else None for image in images),
        wells=frozenset(stack.wells),
        fields_per_well=stack.fields * (len(waves) if split else 1),
        sizes=Sizes(0, 0, stack.slices, waves[0], 1 if split else len(waves)),
        other_sizes=dict(_other_sizes(stack, waves)) if split else {},
        needs_bioformats=_needs(stack),
    )


def _planes(images: Sequence[StackImage], paths: Sequence[PurePosixPath], split: int) -> Iterator[Plane]:
    """Args: split: The number of time points where each is an image of its own, else 0."""
    for image, path in zip(images, paths, strict=True):
        field = image.field * split + image.t if split else image.field
        yield Plane(image.row, image.column, field, 0 if split else image.t, image.z, image.c, str(path))


def _other_sizes(stack: ImageStack, waves: Sequence[int]) -> Iterator[tuple[FieldPosition, Sizes]]:
    for row, column in stack.wells:
        for field in range(stack.fields):
            for t, many in enumerate(waves):
                if many != waves[0]:
                    yield (row, column, field * len(waves) + t), Sizes(0, 0, stack.slices, many, 1)


def _needs(stack: ImageStack) -> tuple[int, ...]:
    """A schedule that is off must not differ in wavelengths, or older readers fail."""
    listed = {many or stack.waves for many in stack.waves_by_time}
    return () if stack.scheduled or listed <= {stack.waves} else IGNORES_SCHEDULES_THAT_ARE_OFF


def _path(stack: ImageStack, image: StackImage, name: str) -> PurePosixPath:
    try:
        return join(PurePosixPath(stack.path).parent, name)
    except RequestError as error:
        raise failure(error.reason, f"{stack.path}, line {image.line} in <Image>: {error}") from error


def _refuse_none(stack: ImageStack) -> None:
    if not stack.total and not stack.images:
        raise failure(Reason.FORMAT_BROKEN, f"{stack.path} lists no image: nothing was acquired")
    if len(stack.images) > stack.total:
        raise failure(
            Reason.FORMAT_BROKEN,
            f"{stack.path} lists {len(stack.images)} images and says that there are {stack.total}: Bio-Formats would "
            "lose the last wells",
        )


def _refuse_repeated(stack: ImageStack, images: Sequence[StackImage]) -> None:
    for one, other in pairwise(images):
        if one[:6] == other[:6]:
            raise _broken(stack, other, f"this is the same plane as the image of line {one.line}")


def _refuse_shared_files(stack: ImageStack, images: Sequence[StackImage], paths: Sequence[PurePosixPath]) -> None:
    lines: dict[PurePosixPath, int] = {PurePosixPath(stack.path): 1}
    for image, path in zip(images, paths, strict=True):
        if path in lines:
            raise _broken(stack, image, f"its file {printable(image.name)} is already that of line {lines[path]}")
        lines[path] = image.line


def _refuse_lost(stack: ImageStack, images: Sequence[StackImage], planes: int) -> None:
    """Once all are listed, they must be as many as a plate without gaps has."""
    made, wanted = stack.total // planes, len(stack.wells) * stack.fields
    if made != wanted or stack.total % planes:
        raise failure(
            Reason.UNSUPPORTED,
            f"{stack.path} lists {len(images)} images of {planes} planes each in {len(stack.wells)} wells with "
            f"{stack.fields} fields, which would be {wanted * planes}: Bio-Formats makes images of {made} fields and "
            "loses the others (ome/bioformats#3898); acquire the same fields, planes and wavelengths in every well",
        )


def _broken(stack: ImageStack, image: StackImage, what: str) -> RequestError:
    return failure(Reason.FORMAT_BROKEN, f"{stack.path}, line {image.line} in <Image>: {what}")
