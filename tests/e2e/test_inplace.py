"""A plate that OMERO gets links to: from submit to the images, with a real worker; and a worker without its mount."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_stack.fleet import Fleet, WorkerProcess
from fleet_stack.plates import MadePlate, PlateSpec, make_plate, tiff
from fleet_stack.readback import compare_plate, logged_in
from support.facility import Facility, until

SPEC = PlateSpec(name="in place", wells=4, fields=2, channels=2, size=32, seed=11)


def repository_of(facility: Facility) -> Path:
    """The server's managed repository."""
    return next(facility.layout.omero.glob("**/ManagedRepository"))


def linking(facility: Facility, folder: Path, repository: Path) -> Fleet:
    """The fleet with the share ``hcs`` imported in place."""
    in_place = {"repository": str(repository), "shares": {"hcs": str(facility.share("hcs"))}}
    return replace(facility.fleet, folder=folder, extra={**facility.fleet.extra, "in_place": in_place})


@pytest.fixture(scope="module")
def in_place(alone: Facility, tmp_path_factory: pytest.TempPathFactory) -> Facility:
    """The facility without other workers."""
    folder = tmp_path_factory.mktemp("in-place")
    return replace(alone, fleet=linking(alone, folder, repository_of(alone)))


@pytest.fixture(scope="module")
def worker(in_place: Facility) -> Iterator[WorkerProcess]:
    """The one worker, ready."""
    made = in_place.fleet.start_worker("in-place", in_place.layout.ports.spare[2])
    try:
        made.wait_ready()
        yield made
    finally:
        made.stop()


def stored(facility: Facility, fileset_id: int) -> list[Path]:
    """Where the server keeps the files of a fileset."""
    rows = facility.query(
        "select o.path, o.name from FilesetEntry e join e.originalFile o where e.fileset.id = :id", id=fileset_id
    )
    return [repository_of(facility) / path / name for path, name in rows]


def test_a_plate_is_linked_and_whole(in_place: Facility, worker: WorkerProcess) -> None:
    """Given an allow-listed share, when a plate is submitted, then OMERO has links to it, and reads every plane."""
    source: MadePlate = make_plate(in_place.share("hcs"), SPEC)
    done = in_place.submit(source.folder, target="Screen:+name:In place")
    assert done.states == ["imported"], done.errors + worker.tail()
    result = done.only["result"]
    assert result["transfer"] == "ln_s"
    links = stored(in_place, result["fileset_id"])
    assert sorted(link.readlink() for link in links) == sorted(source.files)
    with logged_in(in_place.fleet.stack.omero, "alice", "screening") as gateway:
        assert compare_plate(gateway, result["plate_ids"][0], source).different == ()
    assert worker.metric("omero_import_linked_files_total", lane="demo") == len(source.files)
    assert worker.metric("omero_import_files_total", lane="demo") == 0


def test_another_share_is_uploaded(in_place: Facility, worker: WorkerProcess) -> None:
    """Given a share that the settings do not name."""
    done = in_place.submit(
        tiff(in_place.share("confocal") / "uploaded.tif", size=32, seed=3), target="Dataset:+name:Up"
    )
    assert done.states == ["imported"], done.errors + worker.tail()
    assert "transfer" not in done.only["result"]
    assert not any(file.is_symlink() for file in stored(in_place, done.only["result"]["fileset_id"]))


def test_the_doctor_sees_the_repository(in_place: Facility) -> None:
    """It is the server's."""
    done = in_place.fleet.run("worker", "doctor")
    assert "ok    in-place: " in done.stdout, done.stdout + done.stderr


def test_a_worker_without_its_mount_takes_nothing(alone: Facility, tmp_path: Path) -> None:
    """Given an empty mount point, then worker and doctor say what is missing."""
    mount = tmp_path / "mount"
    mount.mkdir()
    fleet = linking(alone, tmp_path / "fleet", mount)
    doctor = fleet.run("worker", "doctor")
    assert "FAIL  in-place: repository-unavailable" in doctor.stdout
    made = fleet.start_worker("unmounted", alone.layout.ports.spare[3])
    try:
        until(lambda: "repository-unavailable" in made.fetch("/readyz")[1] or None, 60, "a worker that is not ready")
    finally:
        made.stop()
