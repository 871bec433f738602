"""``kill -9`` between the copy of a request and the ack of its original: then there are two, and one result.

And workers that die of one request again and again, until it is taken for what it is.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Final

import pytest

from fleet_stack.fleet import WorkerProcess
from support.scenes import HALF, SLOWLY, Ending, Ground, Played, Row, Scene, check
from support.stories import Story, ended, read_until

MOST_STARTS: Final = 14
"""Of workers that die of one request: three times among others, three times alone, and some in vain."""


def retry_copied(stage: Scene) -> list[Ending]:
    """Given a plate without one of its files, when its worker dies after the copy for later, and the file comes."""
    plate = stage.plate()
    request, file = stage.request(plate), plate.files[-1]
    away = file.rename(file.with_suffix(".away"))
    worker = stage.trapped(*SLOWLY, traps=["retry-copied:kill"])
    request_id = stage.publish(request)
    stage.killed(worker, "retry-copied")
    away.rename(file)
    stage.worker(*SLOWLY)
    return [stage.ending(request_id, plate, outcomes=2, attempts=frozenset({1, 2}))]


def dead_copied(stage: Scene) -> list[Ending]:
    """Given a request that can never succeed, when its worker dies after the dead letter."""
    plate = stage.plate()
    worker = stage.trapped(*SLOWLY, traps=["dead-copied:kill"])
    request_id = stage.send(plate, target="Screen:id:987654321")
    stage.killed(worker, "dead-copied")
    stage.worker(*SLOWLY)
    ending = stage.ending(request_id, plate, state="dead", reason="target-not-found")
    letter = stage.facility.dead_letter(request_id)
    assert (letter["reason"], letter["attempt"]) == ("target-not-found", 1)
    return [ending]


def handed_back_copied(stage: Scene) -> list[Ending]:
    """Given a worker that is told twice to stop in the middle of an upload, when it dies after the hand-back."""
    plate = stage.plate()
    worker = stage.trapped(*SLOWLY, traps=[f"uploading:hold:{HALF}", "handed-back-copied:kill"])
    request_id = stage.send(plate)
    stage.sprung("uploading")
    worker.process.send_signal(signal.SIGTERM)
    stage.until(lambda: "worker stops" in worker.tail(), 20, "a worker that stops")
    worker.process.send_signal(signal.SIGTERM)
    stage.until(lambda: "are handed back" in worker.tail(), 20, "a worker that hands back")
    stage.release("uploading")
    stage.killed(worker, "handed-back-copied")
    stage.worker(*SLOWLY)
    return [stage.ending(request_id, plate, outcomes=2)]


def poison(stage: Scene) -> list[Ending]:
    """Given a request that every worker dies of half way, and a neighbour, when workers are started again and again."""
    plate, neighbour = stage.plate("deadly"), stage.plate("neighbour")
    ids = [stage.send(one) for one in (plate, neighbour)]
    for number in range(1, MOST_STARTS):
        worker = stage.trapped("--parallel-upload", "1", traps=[f"poison:kill:{HALF}:0"], name=f"victim-{number}")
        if _both_end_before(worker, stage, ids):
            break
    return [
        stage.ending(ids[0], plate, state="dead", reason="crash-loop", debris=True),
        stage.ending(ids[1], neighbour),
    ]


def _both_end_before(worker: WorkerProcess, stage: Scene, ids: list[str]) -> bool:
    """Wait until a worker dies or both requests have ended; whether they have."""

    def have_ended(told: Mapping[str, Story]) -> bool:
        return all(map(ended, told.values()))

    told = read_until(stage.facility, ids, lambda told: worker.process.poll() is not None or have_ended(told))
    return have_ended(told)


ROWS: Final = [
    Row("retry-copied", retry_copied, 25),
    Row("dead-copied", dead_copied, 20),
    Row("handed-back-copied", handed_back_copied, 25),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_two_copies_of_a_request_have_one_result(played: Played, ground: Ground, row: Row) -> None:
    """Whether it was to be tried again, to be buried, or given back."""
    for ending in played(row):
        check(ground, ending)


@pytest.mark.parametrize("row", [Row("poison", poison, 120)], ids=lambda row: row.name)
def test_a_request_that_workers_die_of_is_buried_and_its_neighbour_is_not(
    played: Played, ground: Ground, row: Row
) -> None:
    """With the reason crash-loop; who only was in the same worker is imported, at its first attempt."""
    for ending in played(row):
        check(ground, ending)
