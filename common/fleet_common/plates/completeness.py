"""Whether the files that a plate lists are there: a pure comparison with what was measured on disk.

Bio-Formats drops files that are missing and shows blank planes instead (ome/bioformats#2827), so nobody after this
check would notice. No I/O, no threads; sizes come from :func:`fleet_common.storage.measure`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet_common.plates.model import Plate


class Problem(enum.StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One file that is not as the plate lists it.

    Attributes:
        path: Relative to the share.
        problem: What is wrong.
        where: Well, field, channel, plane and time point; empty for a file that is no plane.
    """

    path: str
    problem: Problem
    where: str

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.path} is {self.problem}{place}"


def problems(plate: Plate, sizes: Mapping[str, int]) -> tuple[FileProblem, ...]:
    """Compare the files of a plate with their sizes on disk, in the plate's order.

    Args:
        plate: What its format read.
        sizes: Size in bytes by path, without the files that are not there.
    """
    bad = {path for path in plate.files if not sizes.get(path)}
    if not bad:
        return ()
    places = {plane.path: plane.where for plane in plate.planes if plane.path in bad}
    return tuple(
        FileProblem(path, Problem.EMPTY if path in sizes else Problem.MISSING, places.get(path, ""))
        for path in plate.files
        if path in bad
    )


def describe(found: Sequence[FileProblem], limit: int = 10) -> str:
    """Put problems into one sentence: how many, and the first ``limit`` by name."""
    shown = "; ".join(str(problem) for problem in found[:limit])
    more = f"; and {len(found) - limit} more" if len(found) > limit else ""
    missing = sum(problem.problem is Problem.MISSING for problem in found)
    return f"{missing} files are missing and {len(found) - missing} are empty: {shown}{more}"
