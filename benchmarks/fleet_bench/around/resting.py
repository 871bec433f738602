"""What a worker takes that has nothing to do: processor time and memory, from the outside. Threading: one thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import psutil

from fleet_bench.around import lanes
from fleet_bench.around.figures import figure
from fleet_bench.model import Case, Effort, Result, Target
from fleet_bench.stage import Stage

NAME: Final = "around-rest"
_TITLE: Final = "a worker at rest"
_SETTLE_SECONDS: Final = 10.0
"""Its start is not measured."""
_SECONDS: Final = 60.0
_QUICK_SECONDS: Final = 10.0
_MEGABYTE: Final = 1e6


@dataclass(frozen=True, slots=True)
class Rest:
    """What a process took: share of one core, and memory at the end."""

    cpu_share: float
    memory_bytes: int


def measure(stage: Stage, effort: Effort) -> Result:
    """Start a worker with default settings on an empty lane, and look at it for a minute."""
    fleet = stage.fleet()
    fleet.apply_topology()
    lanes.empty(stage)
    with stage.workers(fleet) as (worker,):
        time.sleep(_SETTLE_SECONDS)
        rest = watch(worker.process.pid, _QUICK_SECONDS if effort.quick else _SECONDS)
    return Result(
        case=NAME,
        title=_TITLE,
        figures=(
            figure("processor", "% of a core", [rest.cpu_share * 100], Target(limit=1)),
            figure("memory", "MB", [rest.memory_bytes / _MEGABYTE], Target(limit=150)),
        ),
    )


def watch(pid: int, seconds: float) -> Rest:
    """Watch a process for so long."""
    process = psutil.Process(pid)
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after, took = process.cpu_times(), time.monotonic() - began
    used = (after.user - before.user) + (after.system - before.system)
    return Rest(used / took, process.memory_info().rss)


CASE: Final = Case(NAME, _TITLE, measure, minutes=1.3)
