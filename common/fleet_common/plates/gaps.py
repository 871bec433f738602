"""What is missing of a plate, for people: a sentence per channel instead of one per file.

An acquisition in which some channels are taken less often than the plan says lacks thousands of files, and they are all
one fact. Pure functions, no threads. :mod:`fleet_common.plates.completeness` finds the files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from math import prod
from typing import Final

from fleet_common.plates.completeness import FileProblem
from fleet_common.plates.model import Plane, Plate, well_name

MAX_WELLS_TOLD: Final = 8


def gaps(plate: Plate, found: Iterable[FileProblem]) -> tuple[str, ...]:
    """Say channel by channel where planes are missing or empty; nothing of files that are no planes.

    Args:
        plate: What its format read.
        found: What :func:`fleet_common.plates.problems` says of it.
    """
    bad = {problem.path for problem in found}
    lost: dict[int, list[Plane]] = defaultdict(list)
    for plane in plate.planes:
        if plane.path in bad:
            lost[plane.c].append(plane)
    many = Counter(plane.c for plane in plate.planes)
    return tuple(
        f"{_channel(plate, channel)}: {len(planes)} of {many[channel]} planes are missing or empty: {_where(planes)}"
        for channel, planes in sorted(lost.items())
    )


def _channel(plate: Plate, channel: int) -> str:
    names = plate.expected.channels if plate.expected else ()
    name = names[channel] if channel < len(names) else ""
    return f"channel {channel + 1} ({name})" if name else f"channel {channel + 1}"


def _where(planes: list[Plane]) -> str:
    wells = {(plane.row, plane.column) for plane in planes}
    axes = {
        "field": {plane.field for plane in planes},
        "plane": {plane.z for plane in planes},
        "time point": {plane.t for plane in planes},
    }
    told = ", ".join([_wells(wells), *(_numbers(what, numbers) for what, numbers in axes.items())])
    return told if len(planes) == len(wells) * prod(map(len, axes.values())) else f"{told}; not at all of these"


def _wells(wells: set[tuple[int, int]]) -> str:
    told = " ".join(well_name(*well) for well in sorted(wells)[:MAX_WELLS_TOLD])
    more = f" and {len(wells) - MAX_WELLS_TOLD} more" if len(wells) > MAX_WELLS_TOLD else ""
    return f"well{'s' if len(wells) > 1 else ''} {told}{more}"


def _numbers(what: str, numbers: set[int]) -> str:
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(_ranges(numbers))}"


def _ranges(numbers: set[int]) -> Iterator[str]:
    """Numbers that follow each other in one, counted from 1."""
    for _, run in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        first, *rest = [number + 1 for _, number in run]
        yield f"{first}-{rest[-1]}" if rest else str(first)
