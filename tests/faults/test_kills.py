"""``kill -9`` of a worker at every point of an import: the next one ends what it began, and OMERO has it once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pytest

from support.scenes import HALF, SLOW_PLATE, SLOWLY, Ending, Ground, Played, Row, Scene, check


@dataclass(frozen=True)
class Kill:
    """Where workers die.

    Attributes:
        points: Each kills one worker, in this order.
        plate: What is special about the plate.
    """

    points: tuple[str, ...]
    plate: Mapping[str, Any]


def _kill(*points: str, **plate: Any) -> Kill:
    return Kill(points, plate)


KILLS: Final[Mapping[str, Kill]] = {
    "taken": _kill("taken"),
    "container-made": _kill("container-made"),
    "inside-register": _kill("inside-register"),
    "registered": _kill("registered"),
    "half-uploaded": _kill(f"uploading:kill:{HALF}"),
    "uploaded": _kill("uploaded"),
    "announced": _kill("announced", **SLOW_PLATE),
    "inside-verify-upload": _kill("inside-verify-upload"),
    "inside-verify-upload-of-many": _kill("inside-verify-upload", **SLOW_PLATE),
    "server-started": _kill("server-started", **SLOW_PLATE),
    **{f"server-step-{number}": _kill(f"server-step-{number}", **SLOW_PLATE) for number in range(1, 6)},
    "imported-not-annotated": _kill("imported-not-annotated"),
    "told-not-acked": _kill("told-not-acked"),
    "deleting": _kill(f"uploading:kill:{HALF}", "deleting"),
    "adopting": _kill("server-started", "adopting", **SLOW_PLATE),
    "half-uploaded-twice": _kill(f"uploading:kill:{HALF}:2", f"uploading:kill:{HALF}:2"),
}


def play(kill: Kill, stage: Scene) -> list[Ending]:
    """Given a request, when a worker dies at each point in turn, then the next one ends it."""
    plate = stage.plate(**kill.plate)
    seen: dict[str, int] = {}
    request_id = ""
    for point in kill.points:
        trap = point if ":" in point else f"{point}:kill"
        worker = stage.trapped(*SLOWLY, traps=[trap])
        if not request_id:
            worker.wait_ready()
            request_id = stage.send(plate)
        name = trap.partition(":")[0]
        seen[name] = seen.get(name, 0) + 1
        stage.killed(worker, name, seen[name])
    stage.worker(*SLOWLY)
    # Between fileset and folder nothing says any more whose the folder was.
    return [stage.ending(request_id, plate, lost_folder="deleting" in kill.points)]


ROWS: Final = [Row(name, partial(play, kill), 20 + 10 * len(kill.points)) for name, kill in KILLS.items()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_killed_worker_costs_a_request_nothing(played: Played, ground: Ground, row: Row) -> None:
    """OMERO has it once, with the plate's bytes, nothing of the attempts that died, and the kill was no attempt."""
    for ending in played(row):
        check(ground, ending)
