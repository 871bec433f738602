"""Whether the files that a plate lists are there and whole: a pure comparison with what was seen on disk.

Bio-Formats drops files that are missing and shows blank planes instead (ome/bioformats#2827), so nobody after this
check would notice. No I/O, no threads; sizes come from :func:`fleet_common.storage.measure`,
judgements from :func:`fleet_common.storage.judge`.
"""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet_common.plates.model import Plane, Plate
from fleet_common.storage.tiffs import Judgement, Wholeness


class Problem(enum.StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    EMPTY = "empty"
    CUT = "cut"
    NOT_TIFF = "not a TIFF"
    OTHER_SIZE = "of another size than its channel's other files"
    OTHER_TYPE = "of another pixel type"


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One file that is not as the plate lists it.

    Attributes:
        path: Relative to the share.
        problem: What is wrong.
        where: Well, field, channel, plane and time point; empty for a file that is no plane.
        detail: How that was seen; empty where the problem says it all.
    """

    path: str
    problem: Problem
    where: str
    detail: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.path} is {self.problem}{place}{f': {self.detail}' if self.detail else ''}"


def problems(plate: Plate, sizes: Mapping[str, int]) -> tuple[FileProblem, ...]:
    """Compare the files of a plate with their sizes on disk, in the plate's order.

    Args:
        plate: What its format read.
        sizes: Size in bytes by path, without the files that are not there.
    """
    bad = {path: Problem.EMPTY if path in sizes else Problem.MISSING for path in plate.files if not sizes.get(path)}
    return _placed(plate, {path: (problem, "") for path, problem in bad.items()})


def present(plate: Plate, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """The files that are there and not empty, in the plate's order: what a partial import consists of."""
    return tuple(path for path in plate.files if sizes.get(path))


def damages(plate: Plate, judged: Mapping[str, Judgement]) -> tuple[FileProblem, ...]:
    """Name the files that are there and not whole, and planes of another type than the others, in the plate's order.

    A single file that only looks like a TIFF is left to Bio-Formats, which refuses it; of a plate it would make a blank
    plane instead.

    Args:
        plate: What its format read.
        judged: What is known of its TIFFs, by path.
    """
    known = {Wholeness.CUT: Problem.CUT} | ({Wholeness.NOT_TIFF: Problem.NOT_TIFF} if plate.planes else {})
    bad = {path: (known[one.wholeness], one.why) for path, one in judged.items() if one.wholeness in known}
    return _placed(plate, bad | _other_types(plate, {path: one.pixels for path, one in judged.items() if one.pixels}))


def odd_sizes(plate: Plate, sizes: Mapping[str, int]) -> tuple[FileProblem, ...]:
    """Name planes whose file has another size than most files of their channel: for uncompressed images only."""
    usual = {
        channel: Counter(sizes.get(plane.path or "", 0) for plane in planes).most_common(1)[0][0]
        for channel, planes in _by_channel(plate).items()
    }
    odd = {
        plane.path: (Problem.OTHER_SIZE, f"{sizes[plane.path]} bytes instead of {usual[plane.c]}")
        for plane in plate.planes
        if plane.path and sizes.get(plane.path, usual[plane.c]) != usual[plane.c]
    }
    return _placed(plate, odd)


def describe(found: Sequence[FileProblem], limit: int = 10) -> str:
    """Put problems into one sentence: how many, and the first ``limit`` by name."""
    shown = "; ".join(str(problem) for problem in found[:limit])
    more = f"; and {len(found) - limit} more" if len(found) > limit else ""
    many = Counter(problem.problem for problem in found)
    cut, other = many[Problem.CUT] + many[Problem.NOT_TIFF], many[Problem.OTHER_SIZE] + many[Problem.OTHER_TYPE]
    damaged = (f", {cut} are not whole" if cut else "") + (f", {other} differ from the others" if other else "")
    return f"{many[Problem.MISSING]} files are missing and {many[Problem.EMPTY]} are empty{damaged}: {shown}{more}"


def _by_channel(plate: Plate) -> Mapping[int, Sequence[Plane]]:
    channels: dict[int, list[Plane]] = defaultdict(list)
    for plane in plate.planes:
        if plane.path:
            channels[plane.c].append(plane)
    return channels


def _other_types(plate: Plate, types: Mapping[str, str]) -> dict[str, tuple[Problem, str]]:
    """Planes that have not the type of their image as the index says it, or else the usual one of the plate.

    Readers take one type for all images of a plate, and show the pixels of any other as zeros or as noise
    (ome/bioformats#3908).
    """
    planes = [plane for plane in plate.planes if plane.path in types]
    usual = next(iter(Counter(types[plane.path or ""] for plane in planes).most_common(1)), ("", 0))[0]
    wanted = {plane.path or "": plate.pixel_types.get(plane[:3], usual) for plane in planes}
    return {
        path: (Problem.OTHER_TYPE, f"{types[path]} instead of {one}")
        for path, one in wanted.items()
        if types[path] != one
    }


def _placed(plate: Plate, bad: Mapping[str, tuple[Problem, str]]) -> tuple[FileProblem, ...]:
    if not bad:
        return ()
    places = {plane.path: plane.where for plane in plate.planes if plane.path in bad}
    return tuple(
        FileProblem(path, bad[path][0], places.get(path, ""), bad[path][1]) for path in plate.files if path in bad
    )
