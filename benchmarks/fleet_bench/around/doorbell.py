"""From ``submit`` to an idle worker: how long until ``importFileset`` is called, and until the first byte is in OMERO.

``omero-fleet submit`` runs inside this process, whose modules are loaded: from the first line of the command, which
then reads settings and image, writes the spool, connects to the broker and publishes. The end is what the worker's log
says, written on the same host's clock. Threading: one thread; the worker is a process of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet_bench.around import workerlog
from fleet_bench.around.figures import quantile_figure
from fleet_bench.around.images import singles, words
from fleet_bench.around.slotsbusy import is_idle
from fleet_bench.around.workerlog import CALLED, FIRST_BYTES, GIVEN_BACK, Line
from fleet_bench.model import Case, Effort, Result, Target
from fleet_bench.stage import LANE, Stage
from fleet_common import cli
from fleet_stack.console import StackError
from fleet_stack.fleet import Fleet, WorkerProcess
from fleet_stack.processes import wait_until

NAME: Final = "around-doorbell"
_TITLE: Final = "from submit to an idle worker's importFileset and first byte"
_SAMPLES: Final = 60
_QUICK_SAMPLES: Final = 15
_WARM_UP: Final = 5
_DONE_SECONDS: Final = 60.0
_REST_SECONDS: Final = 0.3
"""More than a worker needs from the end of a request until it listens for the next."""
_MS: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Ring:
    """One request: when it was submitted, in seconds since 1970."""

    request: str
    at: float


def measure(stage: Stage, effort: Effort) -> Result:
    """Submit one image after the other, each when the worker has nothing to do."""
    count = _WARM_UP + (_QUICK_SAMPLES if effort.quick else _SAMPLES)
    fleet = stage.fleet(extra=workerlog.SETTINGS)
    files = singles(stage.share, count)
    with stage.workers(fleet) as (worker,):
        rings = [_ring(fleet, worker, file, stage.container("Dataset")) for file in files]
        return result(rings[_WARM_UP:], workerlog.read([worker.log]))


def _ring(fleet: Fleet, worker: WorkerProcess, file: Path, dataset: int) -> Ring:
    arguments = ["--config", str(fleet.settings(LANE)), *words([file], dataset, "--skip", "all", "--json")]
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(io.StringIO()):
        at = time.time()
        code = cli.run(arguments)
    if code:
        raise StackError(f"submit ended with {code}")
    (request,) = json.loads(told.getvalue())["requests"]
    _wait_done(worker, request["request_id"])
    return Ring(request["request_id"], at)


def _wait_done(worker: WorkerProcess, request: str) -> None:
    """Wait until the server is done with it, and the worker has nothing in work."""

    def done() -> bool:
        lines = workerlog.read([worker.log], about=request)
        return any((line.text, line.kind) == (GIVEN_BACK, "staged") for line in lines) and is_idle([worker])

    wait_until(done, _DONE_SECONDS, f"the end of request {request}")
    time.sleep(_REST_SECONDS)


def result(rings: Iterable[Ring], lines: Iterable[Line]) -> Result:
    """The figures of some rings and of the worker's log."""
    ends = first_times(lines)
    called = [(ends[CALLED][ring.request] - ring.at) * _MS for ring in rings]
    bytes_ = [(ends[FIRST_BYTES][ring.request] - ring.at) * _MS for ring in rings]
    return Result(
        case=NAME,
        title=_TITLE,
        figures=(
            quantile_figure("importFileset, median", "ms", called, 0.5, Target(limit=150)),
            quantile_figure("importFileset, p99", "ms", called, 0.99, Target(limit=500)),
            quantile_figure("first bytes, median", "ms", bytes_, 0.5, Target(limit=350)),
            quantile_figure("first bytes, p99", "ms", bytes_, 0.99, Target(limit=1000)),
        ),
        notes=("omero-fleet submit runs in a process that is loaded already, from its first line on",),
    )


def first_times(lines: Iterable[Line]) -> Mapping[str, Mapping[str, float]]:
    """When each thing happened first to each request."""
    found: dict[str, dict[str, float]] = {CALLED: {}, FIRST_BYTES: {}}
    for line in lines:
        if line.text in found:
            found[line.text].setdefault(line.request, line.at)
    return found


CASE: Final = Case(NAME, _TITLE, measure, minutes=1.5)
