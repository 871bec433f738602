"""Eight workers of eight uploads each, sixty plates, and workers that are killed: OMERO stays usable for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from fleet_stack.fleet import WorkerProcess
from support.bystander import Bystander
from support.scenes import Ending, Ground, Played, Row, Scene, check
from support.stories import Story, ended, read_until

WORKERS: Final = 8
PLATES: Final = 60
KILLS: Final = 4
IMPORT_SLOTS: Final = 4
PATIENCE_SECONDS: Final = 5.0
"""No call of another client may take longer."""
DEADLINE_SECONDS: Final = 420.0
MOST_LOST: Final = 5
"""Imports that begin at one moment may garble a message of OMERO to itself, which ends some; that is not the load's."""


def crowd(stage: Scene) -> list[Ending]:
    """Given eight workers and sixty plates, when workers are killed now and then, while somebody else uses OMERO."""
    plates = [stage.plate(str(number), wells=1, fields=1 + number % 3) for number in range(PLATES)]
    workers = [_start(stage) for _ in range(WORKERS)]
    for worker in workers:
        worker.wait_ready()
    with Bystander(stage.fleet.stack.omero, stage.ground.proof) as other:
        ids = [stage.send(plate) for plate in plates]
        for kill in range(1, KILLS + 1):
            _ended(stage, ids, kill * PLATES // (KILLS + 2))
            workers[kill].process.kill()
            workers.append(_start(stage))
        _ended(stage, ids, PLATES)
    assert other.failures == []
    assert other.slowest_seconds < PATIENCE_SECONDS
    assert max(other.running) <= IMPORT_SLOTS, other.running
    attempts = frozenset({1, 2})
    return [stage.ending(one, plate, attempts=attempts) for one, plate in zip(ids, plates, strict=True)]


def _start(stage: Scene) -> WorkerProcess:
    return stage.worker("--parallel-upload", "8", "--parallel-filesets", "2")


def _ended(stage: Scene, ids: list[str], wanted: int) -> None:
    """Wait until so many of the requests have ended."""

    def enough(told: Mapping[str, Story]) -> bool:
        return sum(map(ended, told.values())) >= wanted

    read_until(stage.facility, ids, enough, DEADLINE_SECONDS)


ROWS: Final = [Row("crowd", crowd, 240, alone=True)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_omero_stays_usable_while_the_fleet_is_busy_and_dies(played: Played, ground: Ground, row: Row) -> None:
    """No call over five seconds, no failed login, no more imports than slots, and every plate is there once."""
    endings = played(row)
    assert len(endings) == PLATES
    for ending in endings:
        check(ground, ending)
    retried = [one for ending in endings for one in ending.story.events if one["kind"] == "retried"]
    assert {one["reason"] for one in retried} <= {"import-interrupted"}, retried
    assert len(retried) <= MOST_LOST, retried
