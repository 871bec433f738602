"""``omero-fleet submit`` ends with its documented exit code, says why, and publishes nothing unless all is well.

``docs/reference/exit-codes.md`` has the codes. Calls that should publish nothing carry a batch name of their own, which
the event log must never have heard of.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_stack.fleet import Fleet, WorkerProcess
from fleet_stack.plates import MadePlate, PlateSpec, make_plate, tiff
from support.facility import Facility, Submitted
from support.handmade import assert_workers_go_on

SCREEN, DATASET = "Screen:+name:E2E refused", "Dataset:+name:E2E refused"
UNHEARD = "unheard of"
DEADLINE_SECONDS = 3.0
START_SECONDS = 15.0
"""What a command may take to start and to end on a busy machine."""


@pytest.fixture(scope="module")
def folder(facility: Facility) -> Path:
    """A folder of the share with good and bad files."""
    place = facility.share("confocal") / "submit"
    place.mkdir(exist_ok=True)
    tiff(place / "good.tif", size=32, seed=51)
    tiff(place / "a:b.tif", size=32, seed=52)
    (place / "empty.tif").write_bytes(b"")
    (place / "link.tif").unlink(missing_ok=True)
    (place / "link.tif").symlink_to("good.tif")
    return place


@pytest.fixture(scope="module")
def plate(facility: Facility) -> MadePlate:
    """A whole plate."""
    return _plate(facility, "submit", 53)


@pytest.fixture(scope="module")
def holed(facility: Facility) -> MadePlate:
    """A plate whose first plane is missing and whose last one is empty."""
    made = _plate(facility, "submit holed", 54)
    planes = list(made.tiffs.values())
    planes[0].unlink()
    planes[-1].write_bytes(b"")
    return made


def _plate(facility: Facility, name: str, seed: int) -> MadePlate:
    return make_plate(facility.share("hcs"), PlateSpec(name=name, wells=2, fields=2, channels=1, size=16, seed=seed))


def _refused(facility: Facility, *paths: Path, target: str, options: tuple[str, ...] = ()) -> Submitted:
    return facility.submit(*paths, target=target, options=("--batch", UNHEARD, *options), wait=False)


def test_every_bad_file_is_named_and_the_good_one_is_not_published(facility: Facility, folder: Path) -> None:
    """Exit 3 with one line a file: path, reason, what is wrong and what to do."""
    names = {
        "missing.tif": "manifest-differs",
        "empty.tif": "file-empty",
        "a:b.tif": "name-refused",
        "link.tif": "not-a-regular-file",
    }
    done = _refused(facility, folder / "good.tif", *(folder / name for name in names), target=DATASET)
    assert (done.exit_code, done.requests) == (3, [])
    for name, reason in names.items():
        assert f"{folder / name}: {reason}: " in done.errors
    assert "good.tif:" not in done.errors
    assert "4 of 5 are not fit for import; nothing was published" in done.errors


def test_missing_and_empty_planes_are_named_by_well_and_field(facility: Facility, holed: MadePlate) -> None:
    """Exit 3; both are told, not only the first."""
    done = _refused(facility, holed.folder, target=SCREEN)
    assert done.exit_code == 3
    assert "1 files are missing and 1 are empty" in done.errors
    assert "is missing (well A01, field 1, channel 1" in done.errors
    assert "is empty (well A02, field 2, channel 1" in done.errors


@pytest.mark.parametrize(("target", "wanted"), [(SCREEN, "goes into a Dataset"), (DATASET, "goes into a Screen")])
def test_a_target_that_does_not_fit_is_refused(
    facility: Facility, folder: Path, plate: MadePlate, target: str, wanted: str
) -> None:
    """Exit 3 for one of the two, and neither is published: OMERO would say OK and link nothing."""
    done = _refused(facility, folder / "good.tif", plate.folder, target=target)
    assert done.exit_code == 3
    assert "target-mismatch" in done.errors
    assert wanted in done.errors
    assert "1 of 2 are not fit" in done.errors


def test_a_path_in_no_share_is_refused(facility: Facility, tmp_path: Path) -> None:
    """Exit 3, with the shares that there are."""
    done = _refused(facility, tiff(tmp_path / "elsewhere.tif"), target=DATASET)
    assert done.exit_code == 3
    assert "lies in no share of this host" in done.errors
    assert f"confocal={facility.share('confocal')}" in done.errors


def test_a_share_that_is_not_mounted_is_refused(facility: Facility, tmp_path: Path) -> None:
    """Exit 3: an empty mount point is not an empty plate."""
    gone = tmp_path / "gone"
    done = _refused(facility, gone / "x.tif", target=DATASET, options=("--share", f"gone={gone}"))
    assert done.exit_code == 3
    assert "share-unavailable" in done.errors


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("Plate:5", (), "is no target"),
        ("Screen:id:none", (), "is no id"),
        ("Project:name:P", (), "cannot hold images"),
        (DATASET, ("--share", "confocal"), "NAME=DIR"),
        (DATASET, ("--parallel-upload", "0"), "parallel_upload"),
        (DATASET, ("--lane", "Other Lane"), "lane"),
    ],
)
def test_words_that_mean_nothing_are_a_usage_error(
    facility: Facility, folder: Path, target: str, options: tuple[str, ...], words: str
) -> None:
    """Exit 2, with what is wrong, and nothing is published."""
    done = _refused(facility, folder / "good.tif", target=target, options=options)
    assert done.exit_code == 2, done.errors
    assert words in done.errors
    assert "Traceback" not in done.errors


@pytest.mark.parametrize("waits", [False, True])
def test_another_lane_is_refused_by_the_broker(facility: Facility, folder: Path, waits: bool) -> None:  # noqa: FBT001  a parameter
    """Exit 5: the producer demo may not publish for the instrument hcs, and is told so."""
    options = ("--lane", "hcs", "--batch", UNHEARD)
    done = facility.submit(folder / "good.tif", target=DATASET, options=options, wait=waits, timeout_seconds=20)
    assert done.exit_code == 5, done.errors
    assert "403" in done.errors or "ACCESS_REFUSED" in done.errors
    assert "hcs" in done.errors
    assert "Traceback" not in done.errors


def test_a_lane_that_does_not_exist_is_refused(facility: Facility, folder: Path) -> None:
    """Exit 5: nobody is there to take it, and the topic permission says so at once."""
    done = _refused(facility, folder / "good.tif", target=DATASET, options=("--lane", "nowhere"))
    assert done.exit_code == 5, done.errors
    assert "nowhere" in done.errors


@pytest.fixture(params=["nothing listens", "nobody answers"])
def away(request: pytest.FixtureRequest, facility: Facility, tmp_path: Path) -> Iterator[Fleet]:
    """The fleet's settings with another port for RabbitMQ: closed, or open and silent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "nobody answers":
            listener.listen()
        port = listener.getsockname()[1]
        broker = replace(facility.fleet.stack.broker, amqp_port=port)
        yield replace(facility.fleet, stack=replace(facility.fleet.stack, broker=broker), folder=tmp_path / "away")


def test_without_a_broker_the_command_ends_within_its_deadline(facility: Facility, folder: Path, away: Fleet) -> None:
    """Exit 5, whether it was to wait for the outcome or not, with the address and the word that it may be repeated."""
    elsewhere = replace(facility, fleet=away)
    options = ("--deadline", str(DEADLINE_SECONDS), "--batch", UNHEARD)
    with ThreadPoolExecutor() as pool:
        for done, seconds in pool.map(lambda waits: _timed(elsewhere, folder, options, waits), (False, True)):
            assert done.exit_code == 5, done.errors
            assert seconds < DEADLINE_SECONDS + START_SECONDS
            assert f"127.0.0.1:{away.stack.broker.amqp_port}" in done.errors
            assert "may safely be repeated" in done.errors


def _timed(facility: Facility, folder: Path, options: tuple[str, ...], waits: bool) -> tuple[Submitted, float]:  # noqa: FBT001  of the map above
    began = time.monotonic()
    done = facility.submit(folder / "good.tif", target=DATASET, options=options, wait=waits)
    return done, time.monotonic() - began


def test_names_in_any_script_are_imported_as_they_are(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess], folder: Path
) -> None:
    """Umlauts as one character and as two, and characters beyond the first 65,536."""
    assert workers
    names = ["Zelle \u00e4\u00df.tif", "Zelle a\u0308.tif", "\u7d30\u80de \U0001f52c.tif"]
    files = [tiff(folder / name, size=32, seed=60 + number) for number, name in enumerate(names)]
    done = facility.submit(*files, target="Dataset:+name:E2E Umläute")
    assert (done.exit_code, done.states) == (0, ["imported"] * 3), done.errors
    rows = facility.query(
        "select e.clientPath, i.name from FilesetEntry e join e.fileset f join f.images i, DatasetImageLink l"
        " where l.child = i and l.parent.name = :name",
        name="E2E Umläute",
    )
    assert sorted(rows) == sorted((f"confocal/submit/{name}", name) for name in names)


def test_a_dead_request_is_told_and_ends_the_waiting_command(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess], folder: Path
) -> None:
    """Exit 6 with reason and next action of the one that is no image; the good one beside it is imported."""
    assert workers
    (folder / "notes.txt").write_text("no image\n" * 9, encoding="utf-8")
    good = tiff(folder / "beside.tif", size=32, seed=70)
    done = facility.submit(folder / "notes.txt", good, target=DATASET)
    assert (done.exit_code, done.states) == (6, ["dead", "imported"]), done.errors
    status = done.requests[0]["status"]
    assert status["reason"] == "unknown-format"
    assert status["next_action"] == "Submit a file that Bio-Formats on the server can read."


def test_the_workers_go_on_and_heard_nothing_of_what_was_refused(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess], folder: Path
) -> None:
    """The event log knows no request of the batch that was refused again and again."""
    assert_workers_go_on(facility, workers, "submit")
    done = facility.fleet.run("operator", "status", "--batch", UNHEARD)
    assert done.returncode == 10, done.stdout
    paths = facility.query("select e.id from FilesetEntry e where e.clientPath = 'confocal/submit/good.tif'")
    assert paths == []
    assert folder.is_dir()
