"""From a path on an acquisition host to a request that may be published."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fleet_common.assembling import Order, Prepared, check_files, sample_digest
from fleet_common.errors import Permanent, Reason, RequestError, Transient
from fleet_common.messages import Options, Owner, Partial, Priority, SubmittedBy, decode, encode, request_id_for
from fleet_common.storage import ManifestEntry, Share, Shares, digest
from fleet_producer.prepare import look_at, prepare
from fleet_stack.plates import tiff as write_tiff
from fleet_stack.plates.btsxml import Options as YokogawaOptions
from fleet_stack.plates.harmony import make_plate
from fleet_stack.plates.spec import MadePlate, PlateSpec
from fleet_stack.plates.yokogawa import make_yokogawa
from support.builders import BATCH, NOW

ORDER = Order(
    owner=Owner(user="alice", group="screening"),
    target="Screen:+name:X",
    lane="phenix1",
    priority=Priority.BULK,
    batch=BATCH,
    submitted_by=SubmittedBy(host="acquisition-1", instrument="Phenix 1"),
    options=Options(name="P"),
)
IMAGES = replace(ORDER, target="Dataset:+name:D", options=Options())
SAMPLE_BYTES = 64 * 1024


@pytest.fixture
def shares(tmp_path: Path) -> Shares:
    """One share."""
    root = tmp_path / "hcs"
    root.mkdir()
    return Shares([Share("hcs", root)])


@pytest.fixture
def root(shares: Shares) -> Path:
    """Where the share is mounted."""
    return shares["hcs"].root


@pytest.fixture
def plate(root: Path) -> MadePlate:
    """Two wells, one field, two channels."""
    return make_plate(root / "phenix1", PlateSpec(name="P1", wells=2, fields=1, channels=2, size=8))


def tiff(root: Path, name: str, content: bytes = b"cells") -> Path:
    """A file that counts as an image here: nobody opens it before OMERO does."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def prepared(path: Path, shares: Shares, order: Order = IMAGES) -> Prepared:
    """Prepare at noon."""
    return prepare(path, shares, order, lambda: NOW)


def refused(path: Path, shares: Shares, order: Order = IMAGES) -> RequestError:
    """Prepare, and fail."""
    with pytest.raises(RequestError) as caught:
        prepared(path, shares, order)
    return caught.value


# --- what a request says -------------------------------------------------------------------------------------------


def test_a_plate_becomes_a_request_of_all_its_files(shares: Shares, root: Path, plate: MadePlate) -> None:
    """Given a measurement's folder, then the entry file, the format and the digest of every file are in the request."""
    request = prepared(plate.folder, shares, ORDER).request
    entry = plate.entry.relative_to(root).as_posix()
    assert (request.source.share, request.source.path, request.source.format) == ("hcs", entry, "harmony")
    files = [plate.entry, *plate.companions, *plate.tiffs.values()]
    expected = [ManifestEntry(path.relative_to(root).as_posix(), path.stat().st_size) for path in files]
    manifest = request.source.manifest
    assert (manifest.files, manifest.bytes) == (len(files), sum(entry.size_bytes for entry in expected))
    assert manifest.digest == digest(expected)


def test_the_order_is_in_the_request(shares: Shares, plate: MadePlate) -> None:
    """Who, where to, how."""
    request = prepared(plate.folder, shares, ORDER).request
    assert (request.owner, request.target, request.lane, request.priority) == (
        ORDER.owner,
        "Screen:+name:X",
        "phenix1",
        Priority.BULK,
    )
    assert (request.batch, request.submitted_by, request.options) == (BATCH, ORDER.submitted_by, ORDER.options)
    assert request.submitted_at == NOW


def test_what_is_prepared_can_be_published(shares: Shares, plate: MadePlate) -> None:
    """It survives the wire."""
    request = prepared(plate.folder, shares, ORDER).request
    assert decode(encode(request)) == request


def test_the_folder_and_the_entry_file_are_the_same_plate(shares: Shares, plate: MadePlate) -> None:
    """A person and a watcher name it differently."""
    assert prepared(plate.folder, shares, ORDER) == prepared(plate.entry, shares, ORDER)


def test_a_path_may_be_relative(shares: Shares, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is typed."""
    tiff(root, "a/cell.tif")
    monkeypatch.chdir(root / "a")
    assert prepared(Path("cell.tif"), shares).request.source.path == "a/cell.tif"


@pytest.mark.parametrize("name", ["Größe.tif", "two words.tif", "plate [1].tif"])
def test_names_that_people_use_are_fine(shares: Shares, root: Path, name: str) -> None:
    """Umlauts, spaces, brackets."""
    assert prepared(tiff(root, name), shares).request.source.path == name


# --- the request id ------------------------------------------------------------------------------------------------


def test_a_plate_is_known_by_its_measurement_id(shares: Shares, plate: MadePlate) -> None:
    """Renaming the folder above it would change the digest, but the id itself is the instrument's."""
    request = prepared(plate.folder, shares, ORDER).request
    assert request.request_id == request_id_for(
        ORDER.owner, "hcs", plate.measurement_id, request.source.manifest.digest
    )


def test_a_single_file_is_known_by_its_path_and_content(shares: Shares, root: Path) -> None:
    """There is no measurement id."""
    request = prepared(tiff(root, "a.tif", b"cells"), shares).request
    identity = f"a.tif {hashlib.sha256(b'cells' + b'cells').hexdigest()}"
    assert request.request_id == request_id_for(IMAGES.owner, "hcs", identity, request.source.manifest.digest)


def test_the_same_file_has_the_same_id_again(shares: Shares, root: Path) -> None:
    """Submitting twice imports once, whatever lane, target, batch and options say the second time."""
    path = tiff(root, "a.tif")
    other = replace(IMAGES, lane="cv8000", target="Dataset:id:7", options=Options(name="x"), priority=Priority.URGENT)
    assert prepared(path, shares).request.request_id == prepared(path, shares, other).request.request_id


CHANGES: list[tuple[str, Callable[[Path], object]]] = [
    ("content", lambda path: path.write_bytes(b"sells")),
    ("size", lambda path: path.write_bytes(b"cells!")),
]


@pytest.mark.parametrize("change", [row[1] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_another_file_under_the_same_name_has_another_id(
    shares: Shares, root: Path, change: Callable[[Path], object]
) -> None:
    """Instruments use names again."""
    path = tiff(root, "a.tif")
    before = prepared(path, shares).request.request_id
    change(path)
    assert prepared(path, shares).request.request_id != before


@pytest.mark.parametrize(
    "order",
    [
        replace(IMAGES, nonce="1"),
        replace(IMAGES, owner=Owner(user="bob", group="screening")),
        replace(IMAGES, owner=Owner(user="alice", group="private-lab")),
    ],
    ids=["--again", "another user", "another group"],
)
def test_another_order_of_the_same_file_has_another_id(shares: Shares, root: Path, order: Order) -> None:
    """It is imported once more."""
    path = tiff(root, "a.tif")
    assert prepared(path, shares, order).request.request_id != prepared(path, shares).request.request_id


@pytest.mark.parametrize("size", [1, SAMPLE_BYTES - 1, SAMPLE_BYTES, SAMPLE_BYTES + 1, 3 * SAMPLE_BYTES])
def test_a_sample_is_the_first_and_the_last_64_kb(shares: Shares, root: Path, size: int) -> None:
    """Large files are not read whole."""
    content = os.urandom(size)
    tiff(root, "a.tif", content)
    expected = hashlib.sha256(content[:SAMPLE_BYTES] + content[-SAMPLE_BYTES:]).hexdigest()
    assert sample_digest(shares["hcs"], "a.tif") == expected


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_missing_plane_is_named_by_its_well(shares: Shares, plate: MadePlate) -> None:
    """Given a copy that is not finished, then the request is not made, and worth another try."""
    next(iter(plate.tiffs.values())).unlink()
    error = refused(plate.folder, shares, ORDER)
    assert (type(error), error.reason) == (Transient, Reason.MANIFEST_DIFFERS)
    assert "1 files are missing and 0 are empty" in str(error)
    assert "well A01, field 1, channel 1" in str(error)


def test_an_empty_plane_is_named_by_its_well(shares: Shares, plate: MadePlate) -> None:
    """A disk was full."""
    list(plate.tiffs.values())[-1].write_bytes(b"")
    error = refused(plate.folder, shares, ORDER)
    assert (type(error), error.reason) == (Permanent, Reason.FILE_EMPTY)
    assert "0 files are missing and 1 are empty" in str(error)


def test_missing_counts_more_than_empty(shares: Shares, plate: MadePlate) -> None:
    """An unfinished copy has both, and is not for good."""
    first, *_, last = plate.tiffs.values()
    first.unlink()
    last.write_bytes(b"")
    assert refused(plate.folder, shares, ORDER).reason is Reason.MANIFEST_DIFFERS


def test_a_plate_for_a_dataset_is_refused(shares: Shares, plate: MadePlate) -> None:
    """Before its files are looked at."""
    next(iter(plate.tiffs.values())).unlink()
    assert refused(plate.folder, shares, IMAGES).reason is Reason.TARGET_MISMATCH


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _path: None, Reason.MANIFEST_DIFFERS),
        (lambda path: path.write_bytes(b""), Reason.FILE_EMPTY),
        (_link, Reason.NOT_A_REGULAR_FILE),
        (os.mkfifo, Reason.NOT_A_REGULAR_FILE),
        (lambda path: path.mkdir(), Reason.UNKNOWN_FORMAT),
    ],
    ids=["nothing there", "empty", "a link", "a FIFO", "a folder of no format"],
)
def test_what_is_no_file_is_refused(shares: Shares, root: Path, make: Callable[[Path], object], reason: Reason) -> None:
    """Each with its own reason."""
    tiff(root, "neighbour.tif")
    make(root / "a.tif")
    assert refused(root / "a.tif", shares).reason is reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [("cell:1.tif", Reason.NAME_REFUSED), ("CON.tif", Reason.NAME_REFUSED), ("$x", Reason.NAME_REFUSED)],
)
def test_a_name_that_omero_would_change_is_refused(shares: Shares, root: Path, name: str, reason: Reason) -> None:
    """The error names the component."""
    error = refused(tiff(root, name), shares)
    assert (type(error), error.reason) == (Permanent, reason)
    assert name in str(error)


def test_a_path_outside_every_share_is_refused(shares: Shares, tmp_path: Path) -> None:
    """And the shares are named."""
    error = refused(tiff(tmp_path, "elsewhere/a.tif"), shares)
    assert (type(error), error.reason) == (Permanent, Reason.UNSAFE_PATH)
    assert "hcs=" in str(error)


def test_files_are_checked_without_being_opened(shares: Shares, plate: MadePlate) -> None:
    """100,000 files are measured, not read."""
    share, found = look_at(plate.folder, shares)
    for path in plate.tiffs.values():
        path.chmod(0)
    assert check_files(share, found).files == len(found.files)


# --- partial plates and damaged files ------------------------------------------------------------------------------


def test_a_partial_plate_needs_a_decision(shares: Shares, plate: MadePlate) -> None:
    """Given a plate that lacks an image, then it is refused, unless somebody decided so: that is in the request."""
    (missing, *_) = plate.tiffs.values()
    missing.unlink()
    assert refused(plate.folder, shares, ORDER).reason is Reason.MANIFEST_DIFFERS
    request = prepared(plate.folder, shares, replace(ORDER, partial_by="alice")).request
    assert request.source.partial == Partial(missing=1, decided_by="alice")
    assert request.source.manifest.files == len(plate.files) - 1


def test_a_partial_plate_is_another_request_than_the_whole_one(shares: Shares, plate: MadePlate) -> None:
    """Its manifest differs, so the whole plate can still be imported later."""
    whole = prepared(plate.folder, shares, ORDER).request
    next(iter(plate.tiffs.values())).write_bytes(b"")
    partial = prepared(plate.folder, shares, replace(ORDER, partial_by="alice")).request
    assert partial.request_id != whole.request_id


def test_a_plate_that_lacks_nothing_is_not_partial(shares: Shares, plate: MadePlate) -> None:
    """Whatever was decided beforehand; it is the very same request."""
    decided = prepared(plate.folder, shares, replace(ORDER, partial_by="alice")).request
    assert decided == prepared(plate.folder, shares, ORDER).request


def test_no_decision_makes_a_cut_file_whole(shares: Shares, plate: MadePlate) -> None:
    """A cut image shows noise, not a gap: it is refused by its name and well."""
    last = list(plate.tiffs.values())[-1]
    last.write_bytes(last.read_bytes()[:-10])
    for order in (ORDER, replace(ORDER, partial_by="alice")):
        error = refused(plate.folder, shares, order)
        assert error.reason is Reason.FILE_CUT
        assert f"{last.name} is cut (well A02" in str(error)


def test_an_image_of_another_type_is_refused_by_its_well(shares: Shares, plate: MadePlate) -> None:
    """Bio-Formats would show it as zeros, or leave a broken plate behind (ome/bioformats#3908)."""
    last = list(plate.tiffs.values())[-1]
    tifffile.imwrite(last, np.zeros((8, 8), "float32"))
    error = refused(plate.folder, shares, ORDER)
    assert error.reason is Reason.PIXELS_DIFFER
    assert f"{last.name} is of another pixel type (well A02" in str(error)


def test_an_image_that_is_cut_is_refused(shares: Shares, root: Path) -> None:
    """One that was cut to a third imports without an error."""
    whole = write_tiff(root / "whole.tif").read_bytes()
    error = refused(tiff(root, "cut.tif", whole[: len(whole) // 3]), shares)
    assert error.reason is Reason.FILE_CUT
    assert "cut.tif is cut" in str(error)


def test_an_instrument_that_still_runs_is_waited_for(shares: Shares, root: Path) -> None:
    """Given a measurement without its end, then it is refused, unless somebody decided to import what there is."""
    made = make_yokogawa(root, PlateSpec(name="Y", wells=1, fields=1, channels=1, size=8), YokogawaOptions(ended=False))
    error = refused(made.folder, shares, ORDER)
    assert error.reason is Reason.MANIFEST_DIFFERS
    assert "has not said that it is done" in str(error)
    partial = prepared(made.folder, shares, replace(ORDER, partial_by="alice")).request.source.partial
    assert partial == Partial(missing=0, decided_by="alice")
