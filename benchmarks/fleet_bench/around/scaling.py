"""Workers 1, 2, 4 and 8 on one server with default settings: images a second, and what another client notices.

The other client asks for an object ten times a second and logs in now and then; first with no worker at work, then
beside each number of them. A rate is that from the first registration to the end of the last import, as the workers'
logs say. Threading: one thread, and that of the other client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from fleet_bench.around import workerlog
from fleet_bench.around.figures import figure, quantile, quantile_figure
from fleet_bench.around.images import singles, submit
from fleet_bench.around.lanes import waiting
from fleet_bench.around.slotsbusy import is_idle
from fleet_bench.around.workerlog import CALLED, GIVEN_BACK, Line
from fleet_bench.model import Case, Curve, Effort, Figure, Result, Target
from fleet_bench.stage import GROUP, USER, Stage
from fleet_stack.bystander import Bystander
from fleet_stack.console import StackError
from fleet_stack.processes import wait_until
from fleet_stack.readback import logged_in

NAME: Final = "around-workers"
_TITLE: Final = "1 to 8 workers on one server, with another client beside them"
_WORKERS: Final = (1, 2, 4, 8)
_IMAGES: Final = 96
_QUICK_IMAGES: Final = 12
_IDLE_SECONDS: Final = 20.0
_QUICK_IDLE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.1
_DEADLINE_SECONDS: Final = 600.0
_MS: Final = 1000.0
_P95: Final = 0.95


@dataclass(frozen=True, slots=True)
class Load:
    """What so many workers did, and what the other client saw.

    Attributes:
        images_per_second: 0 where there was no worker.
        asked_seconds: Of each call of the other client.
        login_seconds: Of each of its logins.
    """

    workers: int
    images_per_second: float
    asked_seconds: tuple[float, ...]
    login_seconds: tuple[float, ...]


def measure(stage: Stage, effort: Effort) -> Result:
    """Measure the server at rest, then beside more and more workers."""
    with _asking(stage) as ask:
        idle = _watched(stage, ask, lambda: _rest(_QUICK_IDLE_SECONDS if effort.quick else _IDLE_SECONDS), 0)
        images = _QUICK_IMAGES if effort.quick else _IMAGES
        loads = [_loaded(stage, ask, workers, images) for workers in _WORKERS]
    return result(idle, loads)


def result(idle: Load, loads: Sequence[Load]) -> Result:
    """The figures of a server at rest and under load."""
    rates = [load.images_per_second for load in loads]
    asked = [quantile(load.asked_seconds, _P95) for load in loads]
    slowest = [max(load.login_seconds) for load in (idle, *loads)]
    worst = max(asked) / quantile(idle.asked_seconds, _P95)
    return Result(
        case=NAME,
        title=_TITLE,
        figures=(
            figure(
                "rate of the most workers by the best", "x", [rates[-1] / max(rates)], Target(limit=0.85, at_most=False)
            ),
            figure("another client's p95, worst by idle", "x", [worst], Target(limit=3)),
            figure("the slowest login", "s", [max(slowest)], Target(limit=5)),
            quantile_figure("another client's call, idle p95", "ms", _in_ms(idle), _P95, None),
            *(_rate(load) for load in loads),
            *(
                quantile_figure(f"its call beside {load.workers}, p95", "ms", _in_ms(load), _P95, None)
                for load in loads
            ),
        ),
        curves=(
            Curve(name="rate", x="workers", y="images/s", points=_points(loads, rates)),
            Curve(name="another client", x="workers", y="p95, s", points=_points(loads, asked)),
        ),
    )


def _points(loads: Sequence[Load], values: Sequence[float]) -> tuple[tuple[float, float], ...]:
    return tuple((float(load.workers), value) for load, value in zip(loads, values, strict=True))


def _rate(load: Load) -> Figure:
    return figure(f"rate of {load.workers}", "images/s", [load.images_per_second])


def _in_ms(load: Load) -> list[float]:
    return [seconds * _MS for seconds in load.asked_seconds]


def _loaded(stage: Stage, ask: Callable[[], Any], count: int, images: int) -> Load:
    fleet = stage.fleet(extra=workerlog.SETTINGS)
    files, dataset = singles(stage.share, images), stage.container("Dataset")
    began = time.time()

    with stage.workers(fleet, count) as workers:

        def work() -> None:
            submit(fleet, files, dataset)
            wait_until(lambda: not waiting(stage) and is_idle(workers), _DEADLINE_SECONDS, "the end of all requests")

        seen = _watched(stage, ask, work, count)
    lines = [line for line in workerlog.read(worker.log for worker in workers) if line.at >= began]
    return Load(count, rate_of(lines, images), seen.asked_seconds, seen.login_seconds)


def rate_of(lines: Iterable[Line], images: int) -> float:
    """Images a second, from the first registration to the end of the last import.

    Raises:
        StackError: Another number of images was imported.
    """
    told = list(lines)
    begun = [line.at for line in told if line.text == CALLED]
    ended = [line.at for line in told if line.text == GIVEN_BACK and line.kind == "import"]
    if len(ended) != images:
        raise StackError(f"{len(ended)} imports of {images} came to an end")
    return images / (max(ended) - min(begun))


def _watched(stage: Stage, ask: Callable[[], Any], work: Callable[[], None], workers: int) -> Load:
    with Bystander(stage.description.omero, ask, user=USER, pause_seconds=_PAUSE_SECONDS) as other:
        work()
    if other.failures:
        raise StackError(f"another client failed beside {workers} workers: {other.failures[0]}")
    return Load(workers, 0.0, tuple(other.asked_seconds), tuple(other.login_seconds))


def _rest(seconds: float) -> None:
    time.sleep(seconds)


@contextmanager
def _asking(stage: Stage) -> Iterator[Callable[[], Any]]:
    """One call of a client that stays logged in."""
    dataset = stage.container("Dataset")
    with logged_in(stage.description.omero, USER, GROUP) as gateway:
        yield lambda: gateway.getObject("Dataset", dataset)


CASE: Final = Case(NAME, _TITLE, measure, minutes=6)
