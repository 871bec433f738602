"""``omero-fleet cancel`` wherever a request may be: nothing of it is left in OMERO."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest

from fleet_common.exits import Exit
from support.scenes import HALF, SLOW_PLATE, SLOWLY, Ending, Ground, Played, Row, Scene, check

EIGHT_HOURS: Final = 8 * 3600


def cancel(stage: Scene, request_id: str) -> None:
    """As an operator does."""
    done = stage.fleet.run("operator", "cancel", request_id, "--why", "a test")
    assert done.returncode == Exit.OK, done.stdout + done.stderr


def before_take(stage: Scene) -> list[Ending]:
    """Given a request in its lane, when it is cancelled and a worker comes."""
    plate = stage.plate()
    request_id = stage.submit(plate)
    cancel(stage, request_id)
    stage.worker(*SLOWLY).wait_ready()
    stage.until(lambda: stage.waiting() == 0, 30, "an empty lane")
    return [stage.ending(request_id, plate, state="cancelled", reason="cancelled", attempts=frozenset({0, 1}))]


def in_work(point: str, stage: Scene, **spec: Any) -> list[Ending]:
    """Given a worker in the middle of a request, when that is cancelled."""
    plate, name = stage.plate(**spec), point.partition(":")[0]
    stage.trapped(*SLOWLY, traps=[point])
    request_id = stage.submit(plate)
    stage.sprung(name)
    cancel(stage, request_id)
    stage.release(name)
    return [stage.ending(request_id, plate, state="cancelled", reason="cancelled")]


def waiting(stage: Scene) -> list[Ending]:
    """Given a request that waits eight hours for its next attempt, when it is cancelled, its status says so."""
    fleet = stage.with_settings("broker", retry_tiers_seconds=(EIGHT_HOURS,))
    fleet.apply_topology()
    plate = stage.plate()
    request_id = stage.submit(plate)
    plate.files[-1].unlink()
    worker = stage.worker(*SLOWLY, fleet=fleet)
    stage.story(request_id, lambda story: "retried" in story.kinds)
    worker.stop()
    cancel(stage, request_id)
    (status,) = stage.facility.status(request_id)
    assert status["state"] == "cancelled", status
    return [stage.ending(request_id, plate, state="cancelled", reason="cancelled")]


ROWS: Final = [
    Row("cancel-before-take", before_take, 20),
    Row("cancel-uploading", partial(in_work, f"uploading:hold:{HALF}"), 20),
    Row("cancel-importing", partial(in_work, "server-started:hold", **SLOW_PLATE), 25),
    Row("cancel-waiting", waiting, 20),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_cancelled_request_leaves_nothing_in_omero(played: Played, ground: Ground, row: Row) -> None:
    """No fileset, no folder, and the status says cancelled."""
    for ending in played(row):
        check(ground, ending)
