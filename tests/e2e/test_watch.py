"""A watched folder into which instruments of five formats write at once, before a real broker and a real OMERO."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from fleet_stack.fleet import Fleet, WorkerProcess, clean_environment
from fleet_stack.plates import PlateSpec
from support.facility import Facility, until
from support.kits import KITS, Made
from support.stories import Story, ended, stories

VENDORS: Final = ("harmony", "yokogawa", "imagexpress, folders", "incell", "ome-tiff, companion")
SPEC: Final = PlateSpec(wells=3, fields=2, channels=2, size=16)
SETTLE_SECONDS: Final = 4.0
FOLDER: Final = "watched"
SETTINGS: Final[Mapping[str, Any]] = {
    "poll_seconds": 0.5,
    "slowest_seconds": 1.0,
    "busy_percent": 100,
    "rules": [{"user": "alice", "group": "screening", "target": "Screen:+name:watched {instrument}", "lane": "demo"}],
}
# Bounds every test; the fixture of the first waits for imports.
pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Acquired:
    """A plate, and when its last file was there.

    Attributes:
        made: Where it was made; the watched copy has the same names.
        ended_at: By this host's clock.
        story: Of its request.
        request_id: The only request for it.
    """

    made: Made
    ended_at: datetime
    story: Story
    request_id: str


def acquire(facility: Facility, vendor: str, aside: Path) -> tuple[Made, datetime]:
    """Write a plate as an instrument does: file by file, in an order of its own, with pauses."""
    aside.mkdir()
    number = VENDORS.index(vendor) + 1
    made = KITS[vendor].make(aside, replace(SPEC, name=f"watched-{number}", seed=number))
    top, order = facility.share("hcs") / FOLDER, random.Random(number)  # noqa: S311  any order
    for file in order.sample(made.files, len(made.files)):
        target = top / file.relative_to(made.folder.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
        time.sleep(order.uniform(0, 0.4))  # what an instrument does between two images
    return made, datetime.now(UTC)


@pytest.fixture(scope="module")
def watching(facility: Facility, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """``omero-fleet watch`` over one folder, as the producer ``demo``."""
    folder = facility.share("hcs") / FOLDER
    folder.mkdir()
    folders = [{"path": str(folder), "settle_seconds": SETTLE_SECONDS, "instrument": "of all vendors"}]
    fleet: Fleet = replace(
        facility.fleet,
        folder=tmp_path_factory.mktemp("watch"),
        extra={**facility.fleet.extra, "watch": {**SETTINGS, "folders": folders}},
    )
    log = fleet.folder / "watch.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            fleet.command("demo", "watch"), stdout=output, stderr=output, env=clean_environment(), text=True
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        print(log.read_text()[-5000:])  # noqa: T201  pytest shows it beside a failure


@pytest.fixture(scope="module")
def acquired(
    facility: Facility,
    workers: tuple[WorkerProcess, WorkerProcess],
    watching: subprocess.Popen[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, Acquired]:
    """Given a watch, when five instruments write a plate each at the same time, then each plate is imported."""
    aside = tmp_path_factory.mktemp("instruments")
    with ThreadPoolExecutor(len(VENDORS)) as pool:
        writing = {vendor: pool.submit(acquire, facility, vendor, aside / vendor) for vendor in VENDORS}
    written = {vendor: done.result() for vendor, done in writing.items()}
    assert watching.poll() is None
    ids = until(lambda: all_requests(facility), 120, "a request for each plate")
    told = stories(facility, list(ids.values()), ended, 200)
    assert all(worker.process.poll() is None for worker in workers)
    return {
        vendor: Acquired(made, ended_at, told[ids[made.folder.name]], ids[made.folder.name])
        for vendor, (made, ended_at) in written.items()
    }


def requests(facility: Facility) -> list[tuple[str, str]]:
    """Plate's folder and request id of everything that came from the watched folder."""
    sources = ((one["source"].split("/"), str(one["request_id"])) for one in facility.status() if one.get("source"))
    return [(path[2], request_id) for path, request_id in sources if path[:2] == ["hcs", FOLDER]]


def all_requests(facility: Facility) -> dict[str, str] | None:
    """Request id by plate, once there is one for each."""
    found = dict(requests(facility))
    return found if len(found) == len(VENDORS) else None


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_plate_is_published_after_its_last_file(acquired: Mapping[str, Acquired], vendor: str) -> None:
    """And not before it was quiet for the settle time."""
    plate = acquired[vendor]
    accepted = datetime.fromisoformat(plate.story.only("accepted")["at"])
    assert (accepted - plate.ended_at).total_seconds() > SETTLE_SECONDS / 2


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_plate_is_in_omero_with_its_wells(facility: Facility, acquired: Mapping[str, Acquired], vendor: str) -> None:
    """One fileset, one plate, the wells and the images that were acquired."""
    plate = acquired[vendor]
    assert plate.story.kinds[-1] == "imported", plate.story.events[-1]
    result = plate.story.events[-1]["result"]
    assert facility.filesets_of(plate.request_id) == [result["fileset_id"]]
    (plate_id,) = result["plate_ids"]
    wells = facility.query("select w.row, w.column from Well w where w.plate.id = :id", id=plate_id)
    assert set(wells) >= {(key.row, key.column) for key in plate.made.images}
    assert result["images"] == SPEC.wells * SPEC.fields
    ((screen,),) = facility.query("select l.parent.name from ScreenPlateLink l where l.child.id = :id", id=plate_id)
    assert screen == "watched of all vendors"


def test_every_plate_is_published_exactly_once(facility: Facility, acquired: Mapping[str, Acquired]) -> None:
    """And nothing else was."""
    assert sorted(name for name, _ in requests(facility)) == sorted(
        plate.made.folder.name for plate in acquired.values()
    )
