"""How busy the import slots are while requests wait: two workers, a lane full of tiny images, and one full of stacks.

A tiny image is registered, sent and started in as much time as the server needs to import it; a stack is not.

The share is that of slot-seconds, out of what the logs of the workers say: from the moment when all slots were taken
for the first time until the last request was begun, for from then on none waits. Threading: one thread; the workers are
processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Final

from fleet_bench.around import workerlog
from fleet_bench.around.figures import figure
from fleet_bench.around.images import singles, stacks, submit
from fleet_bench.around.lanes import waiting
from fleet_bench.around.workerlog import CALLED, GIVEN_BACK, TAKEN, Line
from fleet_bench.model import Case, Effort, Result, Target
from fleet_bench.stage import Stage
from fleet_common.settings import OmeroSettings
from fleet_stack.console import StackError
from fleet_stack.fleet import WorkerProcess
from fleet_stack.processes import wait_until

NAME: Final = "around-slots-busy"
_TITLE: Final = "import slots taken while requests wait"
_WORKERS: Final = 2
_FILESETS: Final = 4
"""Of each worker: more than the import slots in all, so that somebody always waits for one."""
_IMAGES: Final = 100
_QUICK_IMAGES: Final = 24
_STACKS: Final = 40
_QUICK_STACKS: Final = 16
_DEADLINE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Busy:
    """How the slots were used while requests waited.

    Attributes:
        share: Of the slot-seconds.
        all_share: Of the time in which all slots were taken.
        seconds: For how long requests waited.
    """

    share: float
    all_share: float
    seconds: float


def measure(stage: Stage, effort: Effort) -> Result:
    """Fill the lane with each, and look at the logs afterwards."""
    images = singles(stage.share, _QUICK_IMAGES if effort.quick else _IMAGES)
    deep = stacks(stage.share, _QUICK_STACKS if effort.quick else _STACKS)
    return result({"images of 8 kB": _busy(stage, images), "stacks of 15 MB": _busy(stage, deep)})


def result(seen: Mapping[str, Busy]) -> Result:
    """The figures of each kind of file."""
    figures = [
        made
        for what, busy in seen.items()
        for made in (
            figure(f"slot-seconds taken, {what}", "%", [busy.share * 100], Target(limit=95, at_most=False)),
            figure(f"all slots at once, {what}", "%", [busy.all_share * 100]),
        )
    ]
    notes = tuple(
        f"{what}: {_WORKERS} workers, {busy.seconds:.0f} s in which requests waited" for what, busy in seen.items()
    )
    return Result(case=NAME, title=_TITLE, figures=tuple(figures), notes=notes)


def _busy(stage: Stage, files: Sequence[Path]) -> Busy:
    fleet = stage.fleet(extra={**workerlog.SETTINGS, "worker": {"parallel_filesets": _FILESETS}})
    began = time.time()
    with stage.workers(fleet, _WORKERS) as workers:
        submit(fleet, files, stage.container("Dataset"))
        wait_until(lambda: not waiting(stage) and is_idle(workers), _DEADLINE_SECONDS, "the end of all requests")
    lines = [line for line in workerlog.read(worker.log for worker in workers) if line.at >= began]
    return busy_of(lines, OmeroSettings().import_slots)


def is_idle(workers: Sequence[WorkerProcess]) -> bool:
    """Whether no worker has a request in work."""
    return not any(worker.metric("omero_import_requests_in_progress") for worker in workers)


def busy_of(lines: Iterable[Line], slots: int) -> Busy:
    """Add up what the logs say.

    Args:
        lines: Of all workers, in the order of their times.
        slots: How many import slots there are.

    Raises:
        StackError: They were never all taken while requests waited.
    """
    told = list(lines)
    end = max((line.at for line in told if line.text == CALLED), default=0.0)
    spans = list(dropwhile(lambda span: span[1] < slots, _spans(told, end)))
    seconds = sum(length for length, _ in spans)
    if not seconds:
        raise StackError(f"{slots} import slots were never taken at once while requests waited")
    used = sum(length * held for length, held in spans)
    full = sum(length for length, held in spans if held >= slots)
    return Busy(used / (slots * seconds), full / seconds, seconds)


def _spans(lines: Iterable[Line], end: float) -> Iterator[tuple[float, int]]:
    """For how many seconds how many import slots were taken, one after the other, until the end."""
    held, since = 0, 0.0
    for line in lines:
        if line.at > end:
            break
        if line.kind == "import" and line.text in _STEPS:
            yield line.at - since, held
            held, since = held + _STEPS[line.text], line.at
    yield end - since, held


_STEPS: Final = {TAKEN: 1, GIVEN_BACK: -1}

CASE: Final = Case(NAME, _TITLE, measure, minutes=3)
