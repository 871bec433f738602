"""The worker sees other files than the acquisition host: nothing is imported until both see the same.

A share that is mounted on two hosts shows a new file at different times; a copy grows while it is written. Here the
acquisition host has folders of its own, so that a file can be there and not yet here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import MadePlate, PlateSpec, make_plate, tiff
from fleet_stack.readback import compare_plate, logged_in
from support.facility import Facility, Submitted
from support.handmade import assert_workers_go_on, image_request, letter, post
from support.stories import Story, ended, stories

FIRST_WAIT_SECONDS = 10.0
PLACE = "manifest"
MISSING, GROWING, NOWHERE = "a plane is missing", "a plane is still being copied", "the whole plate is missing"
BY_HAND = "a single file is missing"
PLATES = (MISSING, GROWING, NOWHERE)
ALL = (*PLATES, BY_HAND)


@dataclass(frozen=True)
class Told:
    """Which request is which, and what was told of all of them."""

    keys: Mapping[str, str]
    plates: Mapping[str, MadePlate]
    stories: Mapping[str, Story]

    def story(self, name: str) -> Story:
        """What was told of one."""
        return self.stories[self.keys[name]]

    def attempt(self, name: str, number: int) -> list[dict[str, Any]]:
        """The events of one attempt."""
        return [event for event in self.story(name).events if event["attempt"] == number]


@pytest.fixture(scope="module")
def host(facility: Facility) -> Path:
    """The share as the acquisition host sees it: another folder of the same name."""
    folder = facility.layout.state / "host" / "hcs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def plates(host: Path) -> Mapping[str, MadePlate]:
    """Three plates, whole on the acquisition host."""
    return {
        name: make_plate(
            host / PLACE, PlateSpec(name=f"plate {seed}", wells=2, fields=2, channels=1, size=24, seed=seed)
        )
        for seed, name in enumerate(PLATES, 41)
    }


def _here(facility: Facility, host: Path, file: Path) -> Path:
    """Where the worker sees a file of the acquisition host."""
    return facility.share("hcs") / file.relative_to(host)


@pytest.fixture(scope="module")
def differing(facility: Facility, host: Path, plates: Mapping[str, MadePlate]) -> None:
    """The worker's mount lacks a plane of the first, has half a plane of the second, and nothing of the third."""
    for name in (MISSING, GROWING):
        shutil.copytree(plates[name].folder, _here(facility, host, plates[name].folder), dirs_exist_ok=True)
    _here(facility, host, _last_plane(plates[MISSING])).unlink()
    growing = _here(facility, host, _last_plane(plates[GROWING]))
    growing.write_bytes(growing.read_bytes()[:100])


def _last_plane(plate: MadePlate) -> Path:
    return list(plate.tiffs.values())[-1]


@pytest.fixture(scope="module")
def submitted(
    facility: Facility,
    workers: tuple[WorkerProcess, ...],
    host: Path,
    plates: Mapping[str, MadePlate],
    differing: None,
) -> Submitted:
    """When the acquisition host submits all three."""
    assert workers
    assert differing is None
    share = ("--share", f"hcs={host}")
    folders = [plates[name].folder for name in PLATES]
    return facility.submit(*folders, target="Screen:+name:E2E manifest", options=share, wait=False)


@pytest.fixture(scope="module")
def retried(facility: Facility, plates: Mapping[str, MadePlate], submitted: Submitted) -> Told:
    """Then each is tried, and put off; so is a request by hand for a file that is not there."""
    assert submitted.exit_code == 0, submitted.errors
    keys = dict(zip(PLATES, (one["request_id"] for one in submitted.requests), strict=True))
    _single_file(facility).parent.mkdir(exist_ok=True)
    by_hand = letter(image_request(facility, _single_file(facility)))
    post(facility, [by_hand])
    keys[BY_HAND] = by_hand.key
    return Told(keys, plates, stories(facility, list(keys.values())))


@pytest.fixture(scope="module")
def imported(facility: Facility, host: Path, plates: Mapping[str, MadePlate], retried: Told) -> Told:
    """When the files have come, then the next attempt imports all plates; in place of the single file came another."""
    for plate in plates.values():
        shutil.copytree(plate.folder, _here(facility, host, plate.folder), dirs_exist_ok=True)
    tiff(_single_file(facility), size=48, seed=44)
    return Told(retried.keys, plates, stories(facility, list(retried.keys.values()), _tried_twice))


def _single_file(facility: Facility) -> Path:
    return facility.share("confocal") / PLACE / "later.tif"


def _tried_twice(story: Story) -> bool:
    return ended(story) or story.kinds.count("retried") == 2


@pytest.mark.parametrize("name", ALL)
def test_other_files_put_the_request_off(retried: Told, name: str) -> None:
    """It is tried again after 10 s, with the reason that is documented."""
    event = retried.story(name).only("retried")
    assert (event["reason"], event["attempt"]) == ("manifest-differs", 1)
    assert event["delay_seconds"] == FIRST_WAIT_SECONDS
    assert "the same files as the acquisition host" in event["next_action"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (MISSING, ("1 files are missing", "r01c02f02", "well A02", "field 2", "channel 1")),
        (GROWING, ("the worker sees", "bytes, the manifest says", "not yet visible here")),
        (NOWHERE, ("Index.idx.xml", "is not there on this host")),
        (BY_HAND, ("confocal/manifest/later.tif", "is not there on this host")),
    ],
)
def test_the_text_says_what_differs(retried: Told, name: str, words: tuple[str, ...]) -> None:
    """File, well and field, or how much is here and how much should be."""
    message = retried.story(name).only("retried")["message"]
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize("name", PLATES)
def test_nothing_is_imported_in_part(imported: Told, name: str) -> None:
    """The attempt that saw other files went no further than its checks."""
    phases = {event["progress"]["phase"] for event in imported.attempt(name, 1) if event["kind"] == "progress"}
    assert phases == {"check"}


@pytest.mark.parametrize("name", PLATES)
def test_once_the_files_are_there_the_second_attempt_imports_them(
    facility: Facility, imported: Told, name: str
) -> None:
    """One fileset, of the second attempt; the log tells the whole story in order."""
    story = imported.story(name)
    outcome = story.only("imported")
    assert outcome["attempt"] == 2
    assert sorted(story.kinds) == sorted(["accepted", "started", "retried", "started", "imported"])
    assert facility.filesets_of(imported.keys[name]) == [outcome["result"]["fileset_id"]]


@pytest.mark.parametrize("name", PLATES)
def test_every_plane_is_the_one_of_the_acquisition_host(facility: Facility, imported: Told, name: str) -> None:
    """Also the one that came late, and the one of which half was there."""
    plate = imported.story(name).only("imported")["result"]["plate_ids"][0]
    with logged_in(facility.fleet.stack.omero, "alice", "screening") as gateway:
        comparison = compare_plate(gateway, plate, imported.plates[name])
    assert (comparison.planes, comparison.different) == (4, ())


def test_another_file_of_the_same_name_is_not_taken_for_the_missing_one(facility: Facility, imported: Told) -> None:
    """Its size is not the manifest's, so the request is put off again, and longer."""
    again = imported.attempt(BY_HAND, 2)[-1]
    assert (again["kind"], again["reason"], again["delay_seconds"]) == ("retried", "manifest-differs", 60.0)
    assert f"{_single_file(facility).stat().st_size} bytes, the manifest says 1 files with 100" in again["message"]
    assert facility.filesets_of(imported.keys[BY_HAND]) == []


def test_the_workers_go_on_after_differences(
    facility: Facility, imported: Told, workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    """Both live, are ready, and import what is good; both counters tell of what was put off."""
    assert imported.stories
    assert_workers_go_on(facility, workers, PLACE)
    counted = [
        worker.metric("omero_import_requests_total", outcome="retried", reason="manifest-differs") for worker in workers
    ]
    assert sum(counted) >= len(ALL)
