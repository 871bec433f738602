"""Files of real microscopes, published by others: read where they are, never part of the project.

The folder is named by FLEET_TEST_DATA, or is ``shared/data`` beside the repository.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from fleet_common.exits import Exit
from fleet_stack.fleet import WorkerProcess
from fleet_stack.plates import MadePlate, PlaneKey, PlateSpec
from fleet_stack.readback import compare_plate, logged_in
from support.facility import Facility, Submitted

DATA = Path(os.environ.get("FLEET_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
HARMONY, LEICA, IMAGEXPRESS = "harmony-phenix-1well", "leica-lif", "imagexpress-export-2wells-2timepoints"
CHANNELS = 6
CUT_BYTES = 4096
"""Inside the XML with which a LIF begins."""

pytestmark = pytest.mark.skipif(
    not (DATA / HARMONY).is_dir(), reason=f"no real acquisitions in {DATA}; FLEET_TEST_DATA names another folder"
)


def copied(facility: Facility, share: str, name: str) -> Path:
    """One of the folders, copied onto a share without the rights of its files."""
    target = facility.share(share) / "real" / name
    for path in sorted((DATA / name).rglob("*")):
        if path.is_file():
            copy = target / path.relative_to(DATA / name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return target


def harmony(folder: Path, plain: Path) -> MadePlate:
    """The Phenix measurement as the comparison wants it: well A1, one field, six channels, TIFFs not compressed.

    The instrument writes LZW, which Pillow reads; tifffile alone does not.
    """
    images = folder / "Images"
    tiffs = {PlaneKey(0, 0, 0, 0, 0, c): f"r01c01f01p01-ch{c + 1}sk1fk1fl1.tiff" for c in range(CHANNELS)}
    for name in tiffs.values():
        with Image.open(images / name) as picture:
            tifffile.imwrite(plain / name, np.asarray(picture), photometric="minisblack", metadata=None)
    return MadePlate(
        spec=PlateSpec(name="BR00121482"),
        folder=folder,
        entry=images / "Index.idx.xml",
        companions=(),
        tiffs={key: plain / name for key, name in tiffs.items()},
        measurement_id="5de72537-0fda-42a5-8715-2e605ccb652c",
        rows=16,
        columns=24,
    )


@pytest.fixture(scope="module")
def plate(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess], tmp_path_factory: pytest.TempPathFactory
) -> tuple[MadePlate, Submitted]:
    """Given a measurement of an Opera Phenix, when it is submitted, then it is imported."""
    source = harmony(copied(facility, "hcs", HARMONY), tmp_path_factory.mktemp("plain"))
    done = facility.submit(source.folder, target="Screen:+name:Phenix")
    assert done.states == ["imported"], done.errors + workers[0].tail() + workers[1].tail()
    return source, done


def test_every_plane_of_a_phenix_well_equals_its_tiff(facility: Facility, plate: tuple[MadePlate, Submitted]) -> None:
    """One well, one field and six channels of a 384-well plate."""
    source, done = plate
    with logged_in(facility.fleet.stack.omero, "alice", "screening") as gateway:
        comparison = compare_plate(gateway, done.only["result"]["plate_ids"][0], source)
    assert comparison.different == ()
    assert (comparison.wells, comparison.fields, comparison.planes) == (1, 1, CHANNELS)
    assert (comparison.name, comparison.screens) == ("BR00121482", ("Phenix",))


def test_a_phenix_well_has_the_sizes_of_the_instrument(facility: Facility, plate: tuple[MadePlate, Submitted]) -> None:
    """What OMERO holds is what the camera made."""
    source, done = plate
    rows = facility.query(
        "select p.sizeX, p.sizeY, p.sizeZ, p.sizeC, p.sizeT from Pixels p where p.image.fileset.id = :id",
        id=done.only["result"]["fileset_id"],
    )
    assert rows == [(1080, 1080, 1, CHANNELS, 1)]
    assert {tifffile.imread(path).shape for path in source.tiffs.values()} == {(1080, 1080)}
    planes = {tifffile.imread(path).tobytes() for path in source.tiffs.values()}
    assert len(planes) == CHANNELS


def test_a_lif_is_one_fileset_with_three_images(
    facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    """One file of a Leica confocal holds three series; each becomes an image of the Dataset."""
    source = copied(facility, "confocal", LEICA) / "testdata_2channel_xz.lif"
    done = facility.submit(source, target="Dataset:+name:Leica")
    assert done.states == ["imported"], done.errors + workers[0].tail() + workers[1].tail()
    result = done.only["result"]
    assert (result["files"], result["images"], result["plate_ids"]) == (1, 3, [])
    assert facility.filesets_of(done.only["request_id"]) == [result["fileset_id"]]
    rows = facility.query(
        "select l.child.id from DatasetImageLink l where l.parent.name = 'Leica' and l.child.fileset.id = :id",
        id=result["fileset_id"],
    )
    assert sorted(row[0] for row in rows) == sorted(result["image_ids"])


def test_a_plate_that_plans_more_than_it_holds_is_not_published(facility: Facility) -> None:
    """An ImageXpress export of two of four channels and two of six time points: each image that misses is named."""
    source = copied(facility, "confocal", IMAGEXPRESS)
    done = facility.submit(source, target="Screen:+name:ImageXpress", wait=False)
    assert (done.exit_code, done.requests) == (Exit.REFUSED, [])
    assert "manifest-differs" in done.errors
    assert "well B02, field 1, channel 3, plane 1, time point 1" in done.errors
    assert facility.query("select s.id from Screen s where s.name = 'ImageXpress'") == []


@dataclass(frozen=True)
class Refused:
    """An import that the server's Bio-Formats could not do."""

    facility: Facility
    done: Submitted

    @property
    def request_id(self) -> str:
        """The request's id."""
        return str(self.done.only["request_id"])


@pytest.fixture(scope="module")
def refused(facility: Facility, workers: tuple[WorkerProcess, WorkerProcess]) -> Refused:
    """Given a file of a Leica confocal that a full disk has cut, when it is submitted, then it is refused."""
    source = copied(facility, "confocal", LEICA) / "testdata_2channel_xz.lif"
    cut = source.with_name("cut.lif")
    cut.write_bytes(source.read_bytes()[:CUT_BYTES])
    done = facility.submit(cut, target="Dataset:+name:cut")
    assert done.requests, done.errors + workers[0].tail() + workers[1].tail()
    return Refused(facility, done)


def test_what_bio_formats_cannot_open_is_dead_with_that_reason(refused: Refused) -> None:
    """The submitter is told that the reader failed, and what to do."""
    assert (refused.done.exit_code, refused.done.states) == (6, ["dead"])
    status = refused.done.only
    assert (status["reason"], status["attempt"]) == ("reader-failed", 1)
    assert "confocal/real/leica-lif/cut.lif" in status["message"]
    assert "Bio-Formats" in status["next_action"]


def test_the_dead_letter_says_which_reader_failed(refused: Refused) -> None:
    """The operator finds what the server said beside the request."""
    headers = refused.facility.dead_letter(refused.request_id)
    assert headers["reason"] == "reader-failed"
    assert "at loci.formats.in.LIFReader" in headers["log-tail"]


def test_nothing_of_a_refused_import_stays_in_omero(refused: Refused) -> None:
    """No fileset, no file, no folder."""
    assert refused.facility.filesets_of(refused.request_id) == []
    assert refused.facility.query("select o.id from OriginalFile o where o.name = 'cut.lif'") == []
    assert refused.facility.query("select e.id from FilesetEntry e where e.clientPath like '%cut.lif'") == []
    repository = next(refused.facility.layout.omero.glob("**/ManagedRepository"))
    assert list(repository.rglob("cut.lif")) == []


def test_a_refused_import_leaves_the_workers_ready(
    refused: Refused, workers: tuple[WorkerProcess, WorkerProcess]
) -> None:
    """One bad plate is not everybody's problem."""
    assert refused.done.exit_code == 6
    assert all(worker.process.poll() is None and worker.ready() for worker in workers)
