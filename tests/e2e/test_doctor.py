"""``omero-fleet doctor`` against a real broker and a real OMERO: what is well, what is not, and a sweep."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from fleet_common.exits import Exit
from support.facility import Facility


def examined(facility: Facility, *arguments: str, **settings: Any) -> tuple[int, dict[str, Any]]:
    """Exit code and findings by check, as a worker's account."""
    fleet = replace(facility.fleet, extra=settings) if settings else facility.fleet
    done = fleet.run("worker", "doctor", "--json", *arguments)
    found = json.loads(done.stdout)
    return done.returncode, found | {one["check"]: one for one in found["findings"]}


def test_a_facility_that_is_well_passes(facility: Facility) -> None:
    """Every share holds something, the topology is there, and the account has Sudo only."""
    for name in ("hcs", "confocal"):
        (facility.share(name) / "something").mkdir(exist_ok=True)
    code, found = examined(facility)
    assert code == Exit.OK, found
    assert {one["verdict"] for one in found["findings"]} <= {"ok", "warn"}
    assert "import_slots may be 4 at most" in found["slots"]["text"]
    assert found["size"]["text"].startswith("3 workers with parallel_filesets 2 keep 4 import slots busy")
    assert found["topology"]["verdict"] in {"ok", "warn"}
    assert found["sweep"] is None


def test_a_sweep_that_finds_nothing_says_so(facility: Facility) -> None:
    """Dry or not."""
    (facility.share("hcs") / "something").mkdir(exist_ok=True)
    (facility.share("confocal") / "something").mkdir(exist_ok=True)
    code, found = examined(facility, "--sweep", "--dry-run")
    assert (code, found["sweep"]["folders"]) == (Exit.OK, [])


def test_more_slots_than_omero_bears_are_refused(facility: Facility) -> None:
    """With what they may be, and what to change."""
    code, found = examined(facility, omero={"import_slots": 7})
    assert code == Exit.UNFIT
    assert (found["slots"]["verdict"], "OMERO bears 4" in found["slots"]["text"]) == ("fail", True)
    assert "Set import_slots to 4" in found["slots"]["advice"]


def test_a_broker_that_is_not_there_is_said_to_be_so(facility: Facility) -> None:
    """And OMERO is looked at all the same."""
    code, found = examined(facility, broker={"port": 9})
    assert (code, found["broker"]["verdict"], found["omero"]["verdict"]) == (Exit.UNREACHABLE, "fail", "ok")
