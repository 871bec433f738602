"""What is left when all rows that run side by side were played: the states of requests, and no debris after a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import pytest

from support.scenes import Ending, Ground, Played, Row, scene

IMPORTED: Final = frozenset({"imported", "already-imported"})


@pytest.fixture(scope="module")
def endings(played: Played, chosen: Iterable[Row]) -> list[Ending]:
    """Of all rows that are played side by side; a row that failed says so in its own test."""
    found: list[Ending] = []
    for row in chosen:
        if not row.alone:
            try:
                found += played(row)
            except AssertionError:
                continue
    return found


@pytest.fixture(scope="module")
def statuses(ground: Ground, endings: list[Ending]) -> Mapping[str, dict[str, Any]]:
    """What an operator sees of every request, by its id."""
    assert endings
    return {one["request_id"]: one for one in ground.facility.status()}


def test_status_shows_the_true_state_of_each_request(
    statuses: Mapping[str, dict[str, Any]], endings: list[Ending]
) -> None:
    """Imported, dead or cancelled, at an attempt that was made."""
    for ending in endings:
        status = statuses[ending.request_id]
        expected = IMPORTED if ending.state == "imported" else {ending.state}
        assert status["state"] in expected, status
        assert status["attempt"] in ending.attempts, status


@pytest.fixture(scope="module")
def swept(ground: Ground, endings: list[Ending]) -> Mapping[str, Any]:
    """Given that OMERO has ended the sessions of dead workers, when a person sweeps, nobody importing any more."""
    assert endings
    ground.proof.end_sessions()
    with scene(ground, Row("sweep", lambda _: [], lanes=("demo",))) as stage:
        done = stage.fleet.run("worker", "doctor", "--sweep", "--older-than", "0s", "--json", timeout_seconds=300)
    assert done.returncode == 0, done.stdout + done.stderr
    report: Mapping[str, Any] = json.loads(done.stdout)["sweep"]
    return report


def test_a_sweep_leaves_no_upload_unfinished(ground: Ground, swept: Mapping[str, Any]) -> None:
    """Not even of a request that nobody took again after the last worker died of it."""
    assert {one["fate"] for one in swept["filesets"]} <= {"deleted"}, swept
    assert ground.proof.unfinished() == []


def test_a_sweep_leaves_no_folder_without_a_fileset(ground: Ground, swept: Mapping[str, Any]) -> None:
    """In the whole repository, those of dates aside."""
    assert {one["fate"] for one in swept["folders"]} <= {"deleted"}, swept
    assert ground.proof.folders_without_fileset() == []
