"""The event log is lost with its broker node, and status --verify brings every outcome back from OMERO."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from fleet_common.exits import Exit
from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import PlateSpec, make_plate, tiff
from support.facility import Facility, Submitted
from support.stories import EVENT_LOG

BATCH = "lost"
PLATE = PlateSpec(name="lost plate", wells=3, fields=2, channels=2, size=24, seed=77)


@pytest.fixture(scope="module")
def imported(facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]) -> Mapping[str, Any]:
    """A plate and an image of one batch, and what the event log said of them, by request id."""
    plate = make_plate(facility.share("hcs") / "lost", PLATE).folder
    image = tiff(facility.share("confocal") / "lost.tif", seed=78)
    sent: list[Submitted] = [
        facility.submit(plate, target="Screen:+name:Lost", options=("--batch", BATCH)),
        facility.submit(image, target="Dataset:+name:Lost", options=("--batch", BATCH)),
    ]
    assert [one.exit_code for one in sent] == [0, 0], workers[0].tail() + workers[1].tail()
    return {one.only["request_id"]: one.only for one in sent}


@pytest.fixture(scope="module")
def lost(facility: Facility, imported: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, after the log was deleted with all that was told, and declared again."""
    with facility.channel("topology") as channel:
        channel.queue_delete(EVENT_LOG)
    facility.fleet.apply_topology()
    assert facility.status("--batch", BATCH) == []
    return imported


@pytest.fixture(scope="module")
def rebuilt(facility: Facility, lost: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first request by its id, and then all others by their batch."""
    first = next(iter(lost))
    assert [one["request_id"] for one in facility.status(first, "--verify")] == [first]
    assert [one["request_id"] for one in facility.status("--batch", BATCH)] == [first]
    return {one["request_id"]: one for one in facility.status("--batch", BATCH, "--verify")}


def test_every_outcome_of_the_batch_comes_back(rebuilt: Mapping[str, Any], lost: Mapping[str, Any]) -> None:
    """Also that of a request whose id nobody kept."""
    assert rebuilt.keys() == lost.keys()
    assert {one["state"] for one in rebuilt.values()} == {"already-imported"}


@pytest.mark.parametrize("what", ["lane", "batch", "source", "attempt"])
def test_each_is_known_as_before(rebuilt: Mapping[str, Any], lost: Mapping[str, Any], what: str) -> None:
    """OMERO keeps it beside the fileset."""
    assert {key: one[what] for key, one in rebuilt.items()} == {key: one[what] for key, one in lost.items()}


def test_each_has_the_result_that_was_told_first(rebuilt: Mapping[str, Any], lost: Mapping[str, Any]) -> None:
    """Fileset, plates, images, wells, planes, files, bytes and target; only the times are gone."""
    before = {key: {**one["result"], "seconds": {}} for key, one in lost.items()}
    assert {key: one["result"] for key, one in rebuilt.items()} == before


def test_the_log_has_it_for_good(facility: Facility, rebuilt: Mapping[str, Any]) -> None:
    """Whoever looks or follows now sees it without OMERO, and nothing is told again."""
    assert {one["request_id"]: one for one in facility.status("--batch", BATCH)} == rebuilt
    done = facility.fleet.run("operator", "status", "--batch", BATCH, "--verify")
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    followed = facility.fleet.run("operator", "follow", next(iter(rebuilt)), "--timeout", "30")
    assert followed.returncode == Exit.OK
    assert followed.stdout.count("\n") == 1


def test_what_was_never_imported_is_not_in_omero(facility: Facility, rebuilt: Mapping[str, Any]) -> None:
    """The text names the request."""
    nobody = uuid.uuid4()
    assert str(nobody) not in rebuilt
    done = facility.fleet.run("operator", "status", str(nobody), "--verify")
    assert done.returncode == Exit.NOT_FOUND
    assert f"{nobody}  not in OMERO" in done.stderr


def test_a_producer_may_not_tell_outcomes(facility: Facility, rebuilt: Mapping[str, Any]) -> None:
    """It cannot even read the log."""
    assert rebuilt
    assert facility.fleet.run("demo", "status", "--verify").returncode not in {Exit.OK, Exit.NOT_FOUND}
