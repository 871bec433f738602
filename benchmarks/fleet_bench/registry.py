"""All cases by name, in the order in which they are measured. Plain data.

First those that take as long as they take, last those whose rounds take longest: they share what is left of the time.
"""

from __future__ import annotations

from typing import Final

from fleet_bench import around
from fleet_bench.cases import best, big, inplace, latency, many, plate, singles
from fleet_bench.model import Case

CASES: Final[tuple[Case, ...]] = (
    *around.CASES,
    *many.CASES,
    *best.CASES,
    *latency.CASES,
    *singles.CASES,
    *big.CASES,
    *inplace.CASES,
    *plate.CASES,
)


def chosen(names: str) -> tuple[Case, ...]:
    """The cases that a comma separated list names, by their beginning or whole; all when it is empty.

    Raises:
        ValueError: A name is that of no case.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if not any(case.name.startswith(name) for case in CASES)]
    if unknown:
        raise ValueError(
            f"no case begins with {', '.join(unknown)}: there are {', '.join(case.name for case in CASES)}"
        )
    return tuple(case for case in CASES if not wanted or any(case.name.startswith(name) for name in wanted))
