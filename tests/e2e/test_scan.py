"""A folder that no plate format knows: one scan request, which a worker expands into imports of what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import PlateSpec, make_plate, tiff
from support.facility import Facility, Submitted, until
from support.ics import ics_pair

TARGET = "Dataset:+name:E2E scan"
BATCH = "a folder"
NAMES = ("a.tif", "deep/b.tif", "pair.ics")


@pytest.fixture(scope="module")
def folder(facility: Facility) -> Path:
    """Two images, an image of two files, a text, and two TIFFs that are cut: one so that its reader does not notice."""
    made = facility.share("confocal") / "scan"
    (made / "deep").mkdir(parents=True)
    tiff(made / "a.tif", size=64, seed=91)
    tiff(made / "deep" / "b.tif", size=64, seed=92)
    ics_pair(made, "pair")
    (made / "notes.txt").write_text("no image\n" * 9)
    whole = (made / "a.tif").read_bytes()
    (made / "cut.tif").write_bytes(whole[:64])
    (made / "half.tif").write_bytes(whole[: len(whole) // 2])
    return made


@pytest.fixture(scope="module")
def scan(facility: Facility, workers: tuple[WorkerProcess, WorkerProcess], folder: Path) -> Submitted:
    """Given the folder, when it is submitted, then its scan is expanded."""
    done = facility.submit(folder, target=TARGET, options=("--batch", BATCH))
    assert done.exit_code == 0, done.errors + workers[0].tail() + workers[1].tail()
    return done


@pytest.fixture(scope="module")
def imported(facility: Facility, scan: Submitted) -> Mapping[str, dict[str, Any]]:
    """The status of every request that the scan gave, by the path of its entry in the folder."""

    def look() -> Mapping[str, dict[str, Any]] | None:
        others = [
            one for one in facility.status("--batch", BATCH) if one["request_id"] != scan.requests[0]["request_id"]
        ]
        ended = {one["source"].removeprefix("confocal/scan/"): one for one in others if one.get("result")}
        return ended if len(ended) == len(NAMES) else None

    return until(look, 300, "all imports of the scan")


def test_the_scan_tells_what_it_found(scan: Submitted) -> None:
    """How many requests, how many files are no images, and what was left out by name."""
    assert scan.states == ["expanded"]
    assert scan.requests[0]["format"] == "scan"
    message = scan.only["message"]
    assert message.startswith(
        "3 import requests, 1 files are no images, 2 left out: 'scan/cut.tif': Bio-Formats failed"
    )
    assert "; 'scan/half.tif': file-cut: " in message


def test_everything_in_it_is_imported_once(facility: Facility, imported: Mapping[str, dict[str, Any]]) -> None:
    """Images by themselves, and both files of the pair as one fileset of one image."""
    assert sorted(imported) == sorted(NAMES)
    for status in imported.values():
        assert status["state"] == "imported"
        assert len(facility.filesets_of(status["request_id"])) == 1
    assert imported["pair.ics"]["result"]["files"] == 2
    assert imported["pair.ics"]["result"]["images"] == 1
    paths = facility.query("select e.clientPath from FilesetEntry e where e.clientPath like 'confocal/scan/%'")
    assert sorted(path for (path,) in paths) == [
        f"confocal/scan/{name}" for name in ("a.tif", "deep/b.tif", "pair.ics", "pair.ids")
    ]


def test_the_same_folder_again_brings_nothing_new(
    facility: Facility, imported: Mapping[str, dict[str, Any]], scan: Submitted, folder: Path
) -> None:
    """Its requests are published again, and found to be imported; so is an image that is submitted alone."""
    assert len(imported) == len(NAMES)
    before = facility.query("select count(f) from Fileset f")
    again = facility.submit(folder, target=TARGET, options=("--batch", "the folder again"))
    assert (again.states, again.requests[0]["request_id"]) == (["expanded"], scan.requests[0]["request_id"])

    def look() -> list[dict[str, Any]] | None:
        found = facility.status("--batch", "the folder again")
        over = [one for one in found if one["state"] in {"imported", "already-imported"}]
        return over if len(over) == len(NAMES) else None

    until(look, 300, "the second round")
    alone = facility.submit(folder / "a.tif", target=TARGET)
    assert alone.states == ["already-imported"]
    assert alone.requests[0]["request_id"] == imported["a.tif"]["request_id"]
    assert facility.query("select count(f) from Fileset f") == before


def test_a_plate_beside_an_image_goes_into_its_screen(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    """Given both in one folder and a Screen as target, then the plate is imported, and the image named as left out."""
    assert workers
    made = facility.share("hcs") / "scan of plates"
    made.mkdir()
    make_plate(made, PlateSpec(name="E2E scan", wells=1, fields=1, channels=1, size=32))
    tiff(made / "overview.tif", size=32, seed=93)
    done = facility.submit(made, target="Screen:+name:E2E scan", options=("--batch", "a folder of plates"))
    assert done.states == ["expanded"], done.errors
    assert "1 import requests, 1 left out: 'scan of plates/overview.tif': target-mismatch" in done.only["message"]

    def look() -> dict[str, Any] | None:
        found = facility.status("--batch", "a folder of plates")
        return next((one for one in found if one["state"] == "imported"), None)

    status = until(look, 300, "the plate")
    assert len(status["result"]["plate_ids"]) == 1
