"""Many requests in one lane and few in others: nobody waits for all of them; and a lane that is deleted in between."""

from __future__ import annotations

import uuid
from typing import Final

import pytest

from fleet_common.messages import ImportRequest, Manifest, Owner, Priority
from fleet_stack.plates import MadePlate
from support.scenes import SLOWLY, Ending, Ground, Played, Row, Scene, check
from support.stories import Story, stories

NOBODY: Final = Owner(user="nobody", group="screening")
MANY: Final = 58
LARGE_BYTES: Final = 8 * 1024**3
"""What each of the many says that it has, so that each costs its lane's turn a lot."""


def many_and_one(stage: Scene) -> list[Ending]:
    """Given 58 plates on one lane, one of them urgent and one bulk, and one on another, when a worker comes."""
    crowded, quiet = stage.fleet.lanes
    model = stage.plate("model", wells=1, fields=1)
    refused = [_refused(stage, model, crowded) for _ in range(MANY)]
    crowd = [stage.publish(request) for request in refused]
    plates = {name: stage.plate(name, wells=1, fields=1) for name in ("other", "urgent", "bulk")}
    ids = {
        "bulk": stage.send(plates["bulk"], lane=crowded, priority=Priority.BULK),
        "other": stage.send(plates["other"], lane=quiet),
        "urgent": stage.send(plates["urgent"], lane=crowded, priority=Priority.URGENT),
    }
    stage.worker(*SLOWLY)
    told = stories(stage.facility, [*crowd, *ids.values()], lambda story: bool(_starts(story)), 180)
    order = sorted(told, key=lambda request_id: _starts(told[request_id])[0])
    assert order.index(ids["urgent"]) == 0
    assert order.index(ids["other"]) <= 2, "the other lane waited for more than one turn"
    assert order.index(ids["bulk"]) < MANY, "bulk waited for everything else"
    return [stage.ending(ids[name], plate) for name, plate in plates.items()]


def _refused(stage: Scene, model: MadePlate, lane: str) -> ImportRequest:
    """A request as large as a plate, and ended at once: its owner is no user of OMERO."""
    request = stage.request(model, lane=lane, owner=NOBODY)
    source = request.source.model_copy(update={"manifest": Manifest(files=1000, bytes=LARGE_BYTES, digest="0" * 64)})
    return request.model_copy(update={"request_id": uuid.uuid4(), "source": source})


def _starts(story: Story) -> list[tuple[str, int]]:
    return [(event["at"], event["seq"]) for event in story.events if event["kind"] == "started"]


def class_kept(stage: Scene) -> list[Ending]:
    """Given an urgent plate without one of its files, when it is tried again, then it is urgent all the same."""
    plate = stage.plate()
    request, file = stage.request(plate, priority=Priority.URGENT), plate.files[-1]
    away = file.rename(file.with_suffix(".away"))
    worker = stage.worker(*SLOWLY)
    request_id = stage.publish(request)
    stage.story(request_id, lambda story: "retried" in story.kinds)
    worker.stop()
    stage.until(lambda: stage.waiting("urgent") == 1, 30, "the request in its class")
    away.rename(file)
    stage.worker(*SLOWLY)
    return [stage.ending(request_id, plate, attempts=frozenset({2, 3, 4}))]


def lane_deleted(stage: Scene) -> list[Ending]:
    """Given an import, when its lane is deleted and made again, then it ends, and the lane works."""
    plate, later = stage.plate(), stage.plate("later")
    stage.trapped(*SLOWLY, traps=["server-step-1:hold"])
    request_id = stage.send(plate)
    stage.sprung("server-step-1")
    with stage.facility.channel("admin") as channel:
        for priority in Priority:
            channel.queue_delete(f"import.lane.{stage.lane}.{priority}")
    stage.fleet.apply_topology()
    stage.release("server-step-1")
    ending = stage.ending(request_id, plate)
    assert ending.story.kinds == ["started", "imported"]
    return [ending, stage.ending(stage.send(later), later)]


ROWS: Final = [
    Row("many-and-one", many_and_one, 60, lanes=("row-crowded", "row-quiet")),
    Row("class-kept", class_kept, 25),
    Row("lane-deleted", lane_deleted, 30),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_lanes_and_classes_are_fair_and_keep_what_is_theirs(played: Played, ground: Ground, row: Row) -> None:
    """The order is that of the classes and the turns of the lanes."""
    for ending in played(row):
        check(ground, ending)
