"""Workers that stand still for longer than the broker waits, and workers that are told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import pytest

from support.scenes import HALF, SLOW_PLATE, SLOWLY, Ending, Ground, Played, Row, Scene, check

HEARTBEATS_SECONDS: Final = 32.0
"""Three heartbeats and a little: by then the broker has given the delivery and the lock away."""
STEP: Final = "server-step-1"
AT: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "half-uploaded": (f"uploading:{{}}:{HALF}", {}),
    "importing": (f"{STEP}:{{}}", SLOW_PLATE),
}


def stopped(where: str, stage: Scene, *, successor: bool) -> list[Ending]:
    """Given a worker that stands still, when it goes on after three heartbeats, perhaps beside another one."""
    trap, spec = AT[where]
    plate = stage.plate(**spec)
    worker = stage.trapped(*SLOWLY, traps=[trap.format("stop")])
    request_id = stage.send(plate)
    stage.sprung(trap.partition(":")[0])
    if successor:
        stage.worker(*SLOWLY)
    stage.last(HEARTBEATS_SECONDS)
    worker.process.send_signal(signal.SIGCONT)
    ending = stage.ending(request_id, plate)
    stage.until(lambda: worker.metric("omero_import_requests_in_progress") == 0, 60, "a worker that let go")
    return [ending]


def told_to_stop(where: str, stage: Scene, *, grace: bool, twice: bool = False) -> list[Ending]:
    """Given a worker in the middle of a request, when it is told to stop, once or twice."""
    trap, spec = AT[where]
    plate, point = stage.plate(**spec), trap.partition(":")[0]
    fleet = stage.fleet if grace or twice else stage.with_settings("worker", grace_seconds=1)
    worker = stage.trapped(*SLOWLY, traps=[trap.format("hold")], fleet=fleet)
    request_id = stage.send(plate)
    stage.sprung(point)
    worker.process.send_signal(signal.SIGTERM)
    stage.until(lambda: "worker stops" in worker.tail(), 20, "a worker that stops")
    if twice:
        worker.process.send_signal(signal.SIGTERM)
    if not grace:
        stage.until(lambda: "are handed back" in worker.tail(), 20, "a worker that hands back")
    stage.release(point)
    assert worker.process.wait(60) == 0, worker.tail()
    if grace:
        ending = stage.ending(request_id, plate)
        assert ending.story.kinds == ["started", "imported"]
        return [ending]
    stage.worker(*SLOWLY)
    ending = stage.ending(request_id, plate)
    assert ending.story.kinds[:3] == ["started", "handed-back", "started"]
    return [ending]


def _rows(name: str, play: Callable[..., list[Ending]], seconds: int, **named: Any) -> list[Row]:
    return [Row(f"{name}-{where}", partial(play, where, **named), seconds) for where in AT]


ROWS: Final = [
    *_rows("stopped", stopped, 60, successor=True),
    *_rows("stopped-alone", stopped, 60, successor=False),
    *_rows("sigterm-long", told_to_stop, 15, grace=True),
    *_rows("sigterm-short", told_to_stop, 25, grace=False),
    *_rows("sigterm-twice", told_to_stop, 25, grace=False, twice=True),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_worker_that_pauses_or_ends_leaves_one_complete_fileset(played: Played, ground: Ground, row: Row) -> None:
    """Whoever ends the request: once, and at its first attempt."""
    for ending in played(row):
        check(ground, ending)
