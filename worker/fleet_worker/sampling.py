"""A few planes of a new plate, read back and looked at: blank ones, and copies of their neighbour in the stack.

Bio-Formats fills what it does not find with black planes (ome/bioformats#2827), and those of a CV7000 with a copy of
the first plane (``cv7000.duplicate_missing_planes``). The manifest rules missing files out; a file that the reader does
not take for the plane it is, or an instrument that wrote one image twice, shows only in pixels. A sample proves nothing
about the rest, so what it finds is a warning. Choice and judgement are pure; :func:`look` reads, on the attempt's
thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby, islice
from typing import Final, Protocol, TypeVar

from fleet_common.errors import Reason, RequestError
from fleet_common.plates import FieldPosition, Plate
from fleet_common.plates import Plane as PlanePlace
from fleet_worker.omero.facts import ImageFacts, ImportedFacts, Plane

MAX_BYTES: Final = 32 * 1024 * 1024
"""Larger planes are not read: OMERO sends no message over 64 MB."""
MAX_SECONDS: Final = 60.0
"""To open a plate of many files takes the server seconds; the sample ends here, whatever it was to be."""
PER_IMAGE: Final = 2
"""Planes of one image, if there are enough of them: to open an image costs the server far more than to read a plane."""
_NAMED: Final = 3
_WIDTHS: Final = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "float": 4, "double": 8}
_T = TypeVar("_T")
_Key = tuple[int, int, int, int, int, int]
"""Row, column, field, time point, plane and channel."""
_NOT_THE_PLANES_FAULT: Final = frozenset({Reason.OMERO_UNAVAILABLE, Reason.OMERO_BUSY, Reason.SESSION_LOST})


class Session(Protocol):
    """Reads planes of one image, each given by z, c and t."""

    def read_planes(self, image: ImageFacts, places: Sequence[tuple[int, int, int]]) -> tuple[Plane, ...]:
        """The raw pixels, in the order of ``places``."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One plane to look at.

    Attributes:
        where: Well, field, channel, plane and time point, for people.
        image: As OMERO holds it.
        places: z, c and t of the plane, then of its neighbour in the stack if that has a file, too.
    """

    where: str
    image: ImageFacts
    places: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of the sample.

    Attributes:
        seen: How many planes were looked at.
        blank: Where all pixels have one value.
        repeated: Where a plane equals its neighbour.
        unreadable: Where the server could not read a plane that it says it has.
    """

    seen: int = 0
    blank: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each thing that was found."""
        found = (
            (self.blank, "blank, although their files are there"),
            (self.repeated, "equal to their neighbour in the stack, although both have a file"),
            (self.unreadable, "not readable in OMERO"),
        )
        return tuple(self._sentence(places, what) for places, what in found if places)

    def _sentence(self, places: Sequence[str], what: str) -> str:
        more = f"; and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
        return f"{len(places)} of {self.seen} sampled planes are {what}: {'; '.join(places[:_NAMED])}{more}"


def choose(plate: Plate, present: Iterable[str], facts: ImportedFacts, count: int) -> tuple[Sample, ...]:
    """Choose planes of every channel and of images all over the plate, two or more of each.

    Args:
        plate: What the format lists; without planes there is nothing to choose from.
        present: The paths of the files that were imported.
        facts: What OMERO holds, verified against the plate.
        count: At most so many.
    """
    there = frozenset(present)
    images = _images(facts)
    planes: dict[_Key, PlanePlace] = {
        plane[:6]: plane for plane in plate.planes if plane.path in there and _fits(plane, images)
    }
    return tuple(_sample(plane, planes.keys(), images) for plane in _chosen(planes.values(), count))


def look(
    session: Session,
    samples: Sequence[Sample],
    *,
    check: Callable[[], None],
    monotonic: Callable[[], float],
) -> Look:
    """Read the sample and judge it; ends early after `MAX_SECONDS`.

    Args:
        session: The owner's.
        samples: What to read, image by image.
        check: Raises when the attempt must stop.
        monotonic: A clock, in seconds.

    Raises:
        RequestError: The server or the session is gone, or ``check`` says so.
    """
    seen, deadline = Look(), monotonic() + MAX_SECONDS
    for _, of_image in groupby(samples, key=lambda sample: sample.image.id):
        check()
        if monotonic() > deadline:
            break
        together = tuple(of_image)
        for sample, planes in zip(together, _read(session, together), strict=True):
            seen = _with(seen, sample, planes)
    return seen


def is_blank(plane: Plane) -> bool:
    """Whether all pixels have one value; no camera gives such a plane."""
    width = _WIDTHS.get(plane.pixel_type, 1)
    return bool(plane.data) and plane.data == plane.data[:width] * (len(plane.data) // width)


def _with(seen: Look, sample: Sample, planes: Sequence[Plane]) -> Look:
    here = (sample.where,)
    if not planes:
        return Look(seen.seen + 1, seen.blank, seen.repeated, seen.unreadable + here)
    if is_blank(planes[0]):
        return Look(seen.seen + 1, seen.blank + here, seen.repeated, seen.unreadable)
    repeats = here if any(planes[0].data == other.data for other in planes[1:]) else ()
    return Look(seen.seen + 1, seen.blank, seen.repeated + repeats, seen.unreadable)


def _read(session: Session, samples: Sequence[Sample]) -> Sequence[Sequence[Plane]]:
    """The planes of each sample of one image; none of one at which the server fails, and not as a whole."""
    try:
        planes = iter(session.read_planes(samples[0].image, [place for sample in samples for place in sample.places]))
    except RequestError as error:
        if error.reason in _NOT_THE_PLANES_FAULT:
            raise
        return [()] if len(samples) == 1 else [_read(session, (sample,))[0] for sample in samples]
    return [tuple(islice(planes, len(sample.places))) for sample in samples]


def _images(facts: ImportedFacts) -> dict[FieldPosition, ImageFacts]:
    held = {image.id: image for image in facts.images}
    return {
        (well.row, well.column, field): held[image_id]
        for plate in facts.plates
        for well in plate.wells
        for field, image_id in enumerate(well.image_ids)
        if image_id in held
    }


def _fits(plane: PlanePlace, images: Mapping[FieldPosition, ImageFacts]) -> bool:
    image = images.get(plane[:3])
    if image is None or plane.z >= image.size_z or plane.c >= image.size_c or plane.t >= image.size_t:
        return False
    return image.size_x * image.size_y * _WIDTHS.get(image.pixel_type, 8) <= MAX_BYTES


def _spread(things: Sequence[_T], count: int) -> list[_T]:
    """At most ``count`` of them, evenly, the first among them."""
    wanted = min(count, len(things))
    return [things[number * len(things) // wanted] for number in range(wanted)]


def _chosen(planes: Iterable[PlanePlace], count: int) -> list[PlanePlace]:
    """So many, of as few images as have enough of them, image by image."""
    by_image: dict[FieldPosition, list[PlanePlace]] = defaultdict(list)
    # By channel first, so that a sample of few planes still holds every channel.
    for plane in sorted(planes, key=lambda plane: (plane.c, plane.t, plane.z)):
        by_image[plane[:3]].append(plane)
    images = sorted(by_image)
    for number in range(-(-count // PER_IMAGE), min(count, len(images)) + 1):
        found = {_turn(by_image[image], at, count) for at, image in zip(range(count), cycle(_spread(images, number)))}
        if len(found) == count:
            return sorted(found)
    return _spread([plane for image in images for plane in by_image[image]], count)


def _turn(planes: Sequence[PlanePlace], at: int, count: int) -> PlanePlace:
    """The plane as far into its image as the turn is into the sample."""
    return planes[len(planes) * at // count]


def _sample(plane: PlanePlace, there: Container[_Key], images: Mapping[FieldPosition, ImageFacts]) -> Sample:
    neighbour = plane.z - 1 if plane.z else 1
    beside = (*plane[:4], neighbour, plane.c)
    places = [(plane.z, plane.c, plane.t)] + [(neighbour, plane.c, plane.t)] * (beside in there)
    return Sample(plane.where, images[plane[:3]], tuple(places))
