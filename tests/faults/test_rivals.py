"""Several workers that meet: at one request, at one new target, at one user's first import."""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest

from fleet_common.messages import Owner
from support.scenes import HALF, SLOW_PLATE, SLOWLY, Ending, Ground, Played, Row, Scene, check

EIGHT: Final = 8


def twice_at_once(stage: Scene) -> list[Ending]:
    """Given two workers, when one request is published twice."""
    plate = stage.plate(**SLOW_PLATE)
    for worker in [stage.worker() for _ in range(2)]:
        worker.wait_ready()
    request = stage.request(plate)
    request_id = stage.publish(request)
    stage.publish(request)
    return [stage.ending(request_id, plate, outcomes=2)]


def twice_at(point: str, stage: Scene) -> list[Ending]:
    """Given a worker that is somewhere in a request, when the request is published again, and another worker comes."""
    plate, name = stage.plate(), point.partition(":")[0]
    stage.trapped(*SLOWLY, traps=[point])
    request = stage.request(plate)
    request_id = stage.publish(request)
    stage.sprung(name)
    stage.publish(request)
    rival = stage.worker(*SLOWLY)
    stage.until(lambda: "lock-held" in rival.tail(), 60, "a rival that met the lock")
    stage.release(name)
    ending = stage.ending(request_id, plate, outcomes=2)
    assert {one["worker"] for one in ending.story.events if one["kind"] == "imported"} != {rival.name}
    return [ending]


def one_new_target(stage: Scene) -> list[Ending]:
    """Given two workers, when two plates ask for one screen that does not exist."""
    for worker in [stage.worker(*SLOWLY) for _ in range(2)]:
        worker.wait_ready()
    plates = [stage.plate(str(number)) for number in range(2)]
    ids = [stage.send(plate) for plate in plates]
    endings = [stage.ending(request_id, plate) for request_id, plate in zip(ids, plates, strict=True)]
    name = f"{stage.ground.run} {stage.name}"
    assert stage.ground.proof.query(
        "select count(distinct s.id), count(l) from ScreenPlateLink l join l.parent s where s.name = :name", name=name
    ) == [(1, 2)]
    return endings


def first_import(stage: Scene) -> list[Ending]:
    """Given eight workers and a user without a folder in the repository, when eight of their plates come at once."""
    # Three registrations at once, and room in the server's pool for them: otherwise nobody would race.
    fleet = stage.with_settings("omero", name="race", create_slots=3, import_slots=1)
    workers = [stage.worker(*SLOWLY, fleet=fleet) for _ in range(EIGHT)]
    for worker in workers:
        worker.wait_ready()
    plates = [stage.plate(str(number), wells=1, fields=1) for number in range(EIGHT)]
    ids = [stage.send(plate, owner=Owner(user="dave", group="other")) for plate in plates]
    return [stage.ending(request_id, plate) for request_id, plate in zip(ids, plates, strict=True)]


ROWS: Final = [
    Row("twice-at-once", twice_at_once, 30),
    *(
        Row(f"twice-{name}", partial(twice_at, point), 25)
        for name, point in {
            "registered": "registered:hold",
            "half-uploaded": f"uploading:hold:{HALF}",
            "importing": "server-step-1:hold",
        }.items()
    ),
    Row("one-new-target", one_new_target, 25),
    Row("first-import", first_import, 60),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_workers_that_meet_make_one_fileset_of_each_request(played: Played, ground: Ground, row: Row) -> None:
    """One of them imports it; the others give it back, or find it done."""
    for ending in played(row):
        check(ground, ending)
