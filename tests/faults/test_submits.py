"""Publishing that goes wrong: a confirm that is lost, a negative one, and a lane without a queue."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import Final

import pytest

from fleet_common.messages import Owner, Priority
from fleet_stack.fleet import Fleet, clean_environment
from fleet_stack.plates import MadePlate
from support.scenes import SLOWLY, Ending, Ground, Played, Row, Scene, check

NOBODY: Final = Owner(user="nobody", group="screening")


def confirm_lost(stage: Scene) -> list[Ending]:
    """Given a request that the broker has, when its confirm is lost with the connection, then it is sent again."""
    plate = stage.plate()
    fleet, proxy = stage.behind_proxy("broker")
    proxy.hold_answers_to(b"import.requests")
    command = subprocess.Popen(
        _submit(stage, fleet, plate), env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    stage.until(proxy.heard.is_set, 30, "a request on its way")
    stage.until(lambda: stage.waiting() == 1, 30, "the request in its lane")
    proxy.cut()
    proxy.release()
    told, errors = command.communicate(timeout=90)
    assert command.returncode == 0, errors
    assert stage.waiting() == 2
    (request,) = json.loads(told)["requests"]
    stage.worker(*SLOWLY)
    return [stage.ending(request["request_id"], plate, outcomes=2)]


def refused(stage: Scene) -> list[Ending]:
    """Given a lane that is full, when a plate is submitted, that fails; when there is room, it is sent again."""
    plate = stage.plate()
    broker = stage.broker
    limit = ("-p", "fleet", "--apply-to", "queues", f"full-{stage.name}", f"^import.lane.{stage.lane}\\.")
    broker.ctl("set_policy", *limit, '{"max-length": 1}')
    fillers = [stage.request(stage.plate(name), owner=NOBODY) for name in "ab"]
    for filler in fillers:
        stage.publish(filler)
    failed = _run(stage, plate)
    assert failed.returncode != 0
    broker.ctl("clear_policy", "-p", "fleet", f"full-{stage.name}")
    done = _run(stage, plate)
    assert done.returncode == 0, done.stderr
    (request,) = json.loads(done.stdout)["requests"]
    stage.worker(*SLOWLY)
    return [stage.ending(request["request_id"], plate)]


def unroutable(stage: Scene) -> list[Ending]:
    """Given a lane without a queue, when a plate is submitted, that fails; when the lane is made, it is sent again."""
    plate = stage.plate()
    with stage.facility.channel("admin") as channel:
        for priority in Priority:
            channel.queue_delete(f"import.lane.{stage.lane}.{priority}")
    failed = _run(stage, plate)
    assert failed.returncode != 0
    stage.fleet.apply_topology()
    done = _run(stage, plate)
    assert done.returncode == 0, done.stderr
    (request,) = json.loads(done.stdout)["requests"]
    stage.worker(*SLOWLY)
    return [stage.ending(request["request_id"], plate)]


def _run(stage: Scene, plate: MadePlate) -> subprocess.CompletedProcess[str]:
    words = _submit(stage, stage.fleet, plate)
    return subprocess.run(words, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)


def _submit(stage: Scene, fleet: Fleet, plate: MadePlate) -> list[str]:
    extra = {**fleet.extra, "producer": {**fleet.extra.get("producer", {}), "lane": stage.lane}}
    told = replace(fleet, extra=extra, folder=fleet.folder / "submit")
    target = f"Screen:+name:{stage.ground.run} {stage.name}"
    owner = ("--user", "alice", "--group", "screening")
    return told.command("admin", "submit", str(plate.folder), "--target", target, *owner, "--json")


ROWS: Final = [
    Row("confirm-lost", confirm_lost, 25),
    Row("confirm-negative", refused, 25),
    Row("unroutable", unroutable, 60),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_request_that_was_hard_to_publish_is_imported_once(played: Played, ground: Ground, row: Row) -> None:
    """Whoever submits is told; to submit again does no harm."""
    for ending in played(row):
        check(ground, ending)
