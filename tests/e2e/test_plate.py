"""A plate goes from an acquisition host into OMERO, and is there what it was on disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import MadePlate, PlateSpec, make_plate
from fleet_stack.readback import Comparison, compare_plate, logged_in
from support.facility import Facility

SPEC = PlateSpec(name="e2e plate ü", wells=24, fields=2, channels=2, planes=2, size=48, seed=7)


@dataclass(frozen=True)
class Imported:
    """One plate that was submitted and imported, and what OMERO says of it."""

    source: MadePlate
    status: Mapping[str, Any]
    comparison: Comparison

    @property
    def fileset(self) -> int:
        """Its fileset's id."""
        return int(self.status["result"]["fileset_id"])


@pytest.fixture(scope="module")
def imported(facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]) -> Imported:
    """Given a plate on the share, when it is submitted for alice, then it is imported."""
    source = make_plate(facility.share("hcs"), SPEC)
    done = facility.submit(source.folder, target="Screen:+name:E2E screen", options=("--batch", "plates"))
    assert done.exit_code == 0, done.errors + workers[0].tail() + workers[1].tail()
    assert done.states == ["imported"]
    with logged_in(facility.fleet.stack.omero, "alice", "screening") as gateway:
        comparison = compare_plate(gateway, done.only["result"]["plate_ids"][0], source)
    return Imported(source, done.only, comparison)


def test_every_plane_read_back_equals_its_tiff(imported: Imported) -> None:
    """24 wells x 2 fields x 2 channels x 2 planes: all equal, none left out."""
    assert imported.comparison.planes == 24 * 2 * 2 * 2
    assert imported.comparison.different == ()


def test_wells_and_fields_are_as_written(imported: Imported) -> None:
    """The plate has its 24 wells with 2 fields each."""
    assert (imported.comparison.wells, imported.comparison.fields) == (24, 48)


def test_channels_planes_and_time_points_are_as_written(facility: Facility, imported: Imported) -> None:
    """Each image has the sizes that the plate was made with."""
    rows = facility.query(
        "select distinct p.sizeX, p.sizeY, p.sizeZ, p.sizeC, p.sizeT from Pixels p where p.image.fileset.id = :id",
        id=imported.fileset,
    )
    assert rows == [(48, 48, 2, 2, 1)]


def test_the_plate_belongs_to_its_owner_in_the_group_and_screen(imported: Imported) -> None:
    """Not to the service account, and not orphaned."""
    comparison = imported.comparison
    assert (comparison.owner, comparison.group, comparison.screens) == ("alice", "screening", ("E2E screen",))


def test_the_plate_is_named_as_the_official_importer_names_it(imported: Imported) -> None:
    """Without --name the name comes from the plate itself."""
    assert imported.comparison.name == SPEC.name


def test_the_fileset_entries_equal_the_manifest(facility: Facility, imported: Imported) -> None:
    """Every file of the plate is an entry, with its size, and nothing else is."""
    rows = facility.query(
        "select e.clientPath, o.size from FilesetEntry e join e.originalFile o where e.fileset.id = :id",
        id=imported.fileset,
    )
    share = facility.share("hcs")
    expected = {f"hcs/{path.relative_to(share).as_posix()}" for path in imported.source.files}
    assert {path for path, _ in rows} == expected
    assert sum(size for _, size in rows) == sum(path.stat().st_size for path in imported.source.files)


def test_the_server_holds_the_same_bytes(facility: Facility, imported: Imported) -> None:
    """The managed repository has each file with its content."""
    rows = facility.query(
        "select o.path, o.name from FilesetEntry e join e.originalFile o where e.fileset.id = :id", id=imported.fileset
    )
    repository = next(facility.layout.omero.glob("**/ManagedRepository"))
    stored = sorted((repository / path / name).read_bytes() for path, name in rows)
    assert stored == sorted(path.read_bytes() for path in imported.source.files)


def test_the_outcome_tells_what_omero_holds(imported: Imported) -> None:
    """Counts, ids and seconds by OMERO's own phase names."""
    result = imported.status["result"]
    assert (result["wells"], result["images"], result["planes"]) == (24, 48, 192)
    assert result["plate_ids"] == [imported.comparison.plate_id]
    assert {"upload", "setId", "metadata", "pixeldata", "thumbnails"} <= result["seconds"].keys()


def test_omero_importtime_reads_our_times(facility: Facility, imported: Imported) -> None:
    """``omero fs importtime`` prints the phases that the worker wrote."""
    omero = facility.fleet.stack.omero
    # The omero command refuses to run as root, and takes a password from a file only through its environment.
    script = (
        "import os, sys; from omero.cli import argv; "
        f"sys.exit(argv(['omero', '-s', '{omero.host}', '-p', '{omero.ssl_port}', '-u', 'alice', "
        f"'fs', 'importtime', 'Fileset:{imported.fileset}']))"
    )
    password = omero.users["alice"].read_text(encoding="utf-8").strip()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"OMERO_PASSWORD": password, "HOME": str(facility.layout.state), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert "upload" in done.stdout.lower(), done.stdout + done.stderr
    assert "thumbnail" in done.stdout.lower()


def test_provenance_stays_with_the_fileset(facility: Facility, imported: Imported) -> None:
    """The fleet's own namespace says where the fileset came from, and that it was verified."""
    rows = facility.query(
        "select pair.name, pair.value from FilesetAnnotationLink l join l.child.mapValue pair"
        " where l.parent.id = :id and l.child.ns = :ns",
        id=imported.fileset,
        ns="omero-import-fleet/request",
    )
    told = dict(rows)
    assert told["request_id"] == imported.status["request_id"]
    assert told["result"] == "verified"
    assert told["source"].startswith("hcs/e2e plate ü__")


def test_an_operator_sees_the_request_and_its_batch(facility: Facility, imported: Imported) -> None:
    """Status is read from the event log."""
    (status,) = facility.status("--batch", "plates")
    assert status["request_id"] == imported.status["request_id"]
    assert status["state"] == "imported"
    assert status["attempt"] == 1


def test_follow_tells_the_whole_story(facility: Facility, imported: Imported) -> None:
    """From accepted or started to imported, and ends with 0."""
    done = facility.fleet.run("operator", "follow", imported.status["request_id"])
    assert done.returncode == 0, done.stderr
    assert "started" in done.stdout
    assert "upload" in done.stdout
    assert done.stdout.splitlines()[-1].split()[3] == "imported"


def test_submitting_the_same_plate_again_imports_nothing(facility: Facility, imported: Imported) -> None:
    """The second request finds the first one's fileset."""
    done = facility.submit(imported.source.folder, target="Screen:+name:E2E screen")
    assert (done.exit_code, done.states) == (0, ["already-imported"])
    assert facility.filesets_of(imported.status["request_id"]) == [imported.fileset]


def test_submit_again_on_purpose_makes_another_fileset(facility: Facility, imported: Imported) -> None:
    """``--again`` is an explicit decision, and gives the plate another request id."""
    done = facility.submit(
        imported.source.folder, target="Screen:+name:E2E screen", options=("--again", "--name", "once more")
    )
    assert (done.exit_code, done.states) == (0, ["imported"])
    plate_id = done.only["result"]["plate_ids"][0]
    assert plate_id != imported.comparison.plate_id
    assert facility.query("select p.name from Plate p where p.id = :id", id=plate_id) == [("once more",)]


def test_metrics_show_the_throughput(imported: Imported, workers: tuple[WorkerProcess, WorkerProcess]) -> None:
    """Files, bytes, planes and seconds by phase are counted by the worker that did it."""
    worker = next(one for one in workers if one.name == imported.status["worker"])
    assert worker.metric("omero_import_files_total") >= len(imported.source.files)
    assert worker.metric("omero_import_planes_total") >= 192
    assert worker.metric("omero_import_requests_total", outcome="imported") >= 1
    assert worker.metric("omero_import_phase_seconds_count", phase="upload") >= 1
    assert worker.metric("omero_import_slots_held", kind="import") == 0
