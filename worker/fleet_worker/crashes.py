"""What to do with a request that workers died of: a pure decision, enumerated by tests.

The broker counts how often a delivery came back. That counts neighbours of a poisonous request too, and restarts of the
broker. So a request that came back often is only a suspect: it is marked, and runs alone from then on. Only deaths of
workers that had nothing else in work count against it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

SUSPECT_AFTER: Final = 3
"""So many times it came back without an outcome."""
CRASH_LIMIT: Final = 3
"""So many workers died of it alone."""


class Course(enum.StrEnum):
    """What comes next for a request that was just taken.

    ``SET_ASIDE`` puts a copy that carries the count into the lane, ``LATER`` the same into a retry tier, until a worker
    has nothing else in work.
    """

    RUN = "run"
    RUN_ALONE = "run-alone"
    SET_ASIDE = "set-aside"
    LATER = "later"
    BURY = "bury"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What comes next, and how many workers died of the request alone."""

    course: Course
    deaths: int = 0


def judge(*, alone: int | None, deliveries: int, idle: bool, reconnected: bool) -> Judgement:
    """Decide by the counts.

    Args:
        alone: Deaths of workers that had it alone, as its copy carries them; None while nobody suspects it.
        deliveries: How often this copy came back from a worker without an outcome.
        idle: Whether this worker has nothing else in work.
        reconnected: Whether this worker has just lost and found the broker: then so have others, and what came back
            came from workers that live.
    """
    if alone is None:
        return Judgement(Course.SET_ASIDE if deliveries >= SUSPECT_AFTER and not reconnected else Course.RUN)
    if reconnected and deliveries:
        # A new copy has not come back yet, so this time is not counted against it later.
        return Judgement(Course.SET_ASIDE, alone)
    deaths = alone + deliveries
    if deaths >= CRASH_LIMIT:
        return Judgement(Course.BURY, deaths)
    return Judgement(Course.RUN_ALONE if idle else Course.LATER, deaths)
