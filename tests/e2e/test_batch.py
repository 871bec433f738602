"""A batch of single images over two workers: each imported once, all in one new Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import tiff
from support.facility import Facility, Submitted

COUNT = 40
TARGET = "Dataset:+name:E2E batch"


@pytest.fixture(scope="module")
def images(facility: Facility) -> Sequence[Path]:
    """40 TIFFs on the share."""
    folder = facility.share("confocal") / "batch"
    folder.mkdir(exist_ok=True)
    return [tiff(folder / f"cell {number:02d}.tif", size=64, seed=number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def batch(facility: Facility, workers: tuple[WorkerProcess, WorkerProcess], images: Sequence[Path]) -> Submitted:
    """Given 40 images, when they are submitted as one batch, then all are imported."""
    done = facility.submit(*images, target=TARGET, options=("--batch", "forty"))
    assert done.exit_code == 0, done.errors + workers[0].tail() + workers[1].tail()
    return done


def test_every_image_is_imported_exactly_once(facility: Facility, batch: Submitted) -> None:
    """40 requests, 40 filesets with one image each, and no more."""
    assert batch.states == ["imported"] * COUNT
    for request in batch.requests:
        assert len(facility.filesets_of(request["request_id"])) == 1
    paths = facility.query("select e.clientPath from FilesetEntry e where e.clientPath like 'confocal/batch/%'")
    assert len(paths) == len(set(paths)) == COUNT


def test_both_workers_took_part(batch: Submitted) -> None:
    """Two workers on the same queue share the work."""
    assert {request["status"]["worker"] for request in batch.requests} == {"w0", "w1"}


def test_two_workers_made_one_dataset(facility: Facility, batch: Submitted) -> None:
    """The new container was created once, and holds every image."""
    datasets = facility.query("select d.id from Dataset d where d.name = 'E2E batch'")
    assert len(datasets) == 1
    rows = facility.query("select count(link) from DatasetImageLink link where link.parent.id = :id", id=datasets[0][0])
    assert rows == [(COUNT,)]
    assert all(request["status"]["state"] == "imported" for request in batch.requests)


def test_images_are_named_after_their_files(facility: Facility, batch: Submitted) -> None:
    """As the official importer names them."""
    assert len(batch.requests) == COUNT
    rows = facility.query(
        "select i.name from DatasetImageLink l join l.child i where l.parent.name = 'E2E batch' order by i.name"
    )
    assert [name for (name,) in rows] == [f"cell {number:02d}.tif" for number in range(COUNT)]


def test_the_batch_has_a_roll_up(facility: Facility, batch: Submitted) -> None:
    """``status --batch`` counts the outcomes."""
    assert len(batch.requests) == COUNT
    done = facility.fleet.run("operator", "status", "--batch", "forty")
    assert f"{COUNT} requests: {COUNT} imported" in done.stdout


def test_the_same_batch_again_brings_nothing_new(facility: Facility, batch: Submitted, images: Sequence[Path]) -> None:
    """Every request of the second call finds what the first one made."""
    before = facility.query("select count(f) from Fileset f")
    done = facility.submit(*images, target=TARGET)
    assert (done.exit_code, done.states) == (0, ["already-imported"] * COUNT)
    assert facility.query("select count(f) from Fileset f") == before
    assert [one["request_id"] for one in done.requests] == [one["request_id"] for one in batch.requests]
