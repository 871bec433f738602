"""What an acquisition host keeps, against workers and OMERO: sent again, it is imported once and then forgotten."""

from __future__ import annotations

import json
from typing import Any

from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import tiff
from support.facility import Facility, until


def spool(facility: Facility, *words: str, account: str = "demo") -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of ``omero-fleet spool``."""
    done = facility.fleet.run(account, "spool", *words, "--json")
    return done.returncode, json.loads(done.stdout)


def kept(facility: Facility, request_id: str) -> list[str]:
    """The states under which the host keeps a request."""
    return [row["state"] for row in spool(facility, "list")[1]["requests"] if row["request_id"] == request_id]


def test_what_was_imported_already_is_forgotten_after_a_resend(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    """Given an import that nobody waited for, when it is sent again, then OMERO still has one fileset."""
    assert len(workers) == 2
    file = tiff(facility.share("confocal") / "spool-a.tif", size=64, seed=81)
    (request,) = facility.submit(file, target="Dataset:+name:E2E spool", wait=False).requests
    request_id = request["request_id"]
    until(lambda: "imported" in [one["state"] for one in facility.status(request_id)], 180, "the import")
    assert kept(facility, request_id) == ["sent"]

    code, out = spool(facility, "resend", request_id, "--wait", "--timeout", "180")

    assert (code, [row["state"] for row in out["requests"]]) == (0, ["already-imported"])
    assert kept(facility, request_id) == []
    assert len(facility.filesets_of(request_id)) == 1


def test_an_operator_settles_what_nobody_waited_for(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    """Given an import that nobody waited for, when the operator settles the spool, then it is forgotten."""
    assert len(workers) == 2
    file = tiff(facility.share("confocal") / "spool-b.tif", size=64, seed=82)
    (request,) = facility.submit(file, target="Dataset:+name:E2E spool", wait=False).requests
    request_id = request["request_id"]
    until(lambda: "imported" in [one["state"] for one in facility.status(request_id)], 180, "the import")

    code, out = spool(facility, "settle", account="operator")

    assert code == 0
    assert {"request_id": request_id, "source": "confocal/spool-b.tif", "state": "imported"} in out["settled"]
    assert kept(facility, request_id) == []


def test_an_outcome_that_was_waited_for_leaves_nothing_here(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    """As in the demo: submit with --wait."""
    assert len(workers) == 2
    file = tiff(facility.share("confocal") / "spool-c.tif", size=64, seed=83)
    done = facility.submit(file, target="Dataset:+name:E2E spool")
    assert done.states == ["imported"], done.errors
    assert kept(facility, done.requests[0]["request_id"]) == []
