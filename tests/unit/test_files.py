"""The files of a request as a worker finds them: the same as the manifest, not yet the same, or empty for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet_common.errors import Permanent, Reason, RequestError, Transient
from fleet_common.messages import ImportRequest, Manifest, Partial
from fleet_common.plates import Plate
from fleet_common.storage import ManifestEntry, Share, Shares, summarise
from fleet_stack.plates import MadePlate, PlateSpec, make_plate
from fleet_worker.files import find_files
from fleet_worker.scan.groups import GROUP
from support.builders import a_request, a_source


def no_group(_share: Share, path: str) -> Plate:
    """Bio-Formats is asked about groups only."""
    raise AssertionError(path)


@dataclass
class Mount:
    """A share on the worker, and what the producer saw of it."""

    root: Path
    seen: dict[str, int] = field(default_factory=dict)

    def see(self, *files: Path) -> None:
        """The producer lists these files as they are now."""
        self.seen = {file.relative_to(self.root).as_posix(): file.stat().st_size for file in files}

    def request(self, entry: str, plate_format: str, target: str) -> ImportRequest:
        """The request of that producer."""
        total = summarise(ManifestEntry(path, size) for path, size in self.seen.items())
        manifest = Manifest(files=total.files, bytes=total.bytes, digest=total.digest)
        return a_request(source=a_source(path=entry, format=plate_format, manifest=manifest), target=target)

    def find(self, entry: str, plate_format: str = "file", target: str = "Dataset:id:5") -> tuple[ManifestEntry, ...]:
        """What the worker finds."""
        request = self.request(entry, plate_format, target)
        return find_files(request, Shares([Share("hcs", self.root)]), no_group).entries


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """A share with one image, which the producer saw."""
    made = Mount(tmp_path)
    (tmp_path / "cell.tif").write_bytes(b"cells")
    made.see(tmp_path / "cell.tif")
    return made


@dataclass
class PlateMount:
    """A share with a small plate, which the producer saw."""

    mount: Mount
    made: MadePlate

    @property
    def plane(self) -> Path:
        """One of its image files."""
        return self.made.entry.parent / min(path.name for path in self.made.entry.parent.glob("*.tif*"))

    def see(self) -> None:
        """The producer lists it as it is now."""
        self.mount.see(*self.made.files)

    def find(self) -> tuple[ManifestEntry, ...]:
        """What the worker finds."""
        entry = self.made.entry.relative_to(self.mount.root).as_posix()
        return self.mount.find(entry, "harmony", "Screen:id:5")

    def find_partial(self) -> tuple[ManifestEntry, ...]:
        """What the worker finds of a plate that was submitted as partial."""
        entry = self.made.entry.relative_to(self.mount.root).as_posix()
        request = self.mount.request(entry, "harmony", "Screen:id:5")
        source = request.source.model_copy(update={"partial": Partial(missing=2, decided_by="alice")})
        request = request.model_copy(update={"source": source})
        return find_files(request, Shares([Share("hcs", self.mount.root)]), no_group).entries

    def refused(self) -> RequestError:
        """How the worker refuses it."""
        with pytest.raises(RequestError) as caught:
            self.find()
        return caught.value


@pytest.fixture
def plate(tmp_path: Path) -> PlateMount:
    """A plate of two wells."""
    made = make_plate(tmp_path, PlateSpec(wells=2, fields=1, channels=2, size=8))
    seen = PlateMount(Mount(tmp_path), made)
    seen.see()
    return seen


# --- one file -----------------------------------------------------------------------------------------------------


def test_a_file_as_the_manifest_says_is_found(mount: Mount) -> None:
    """With its size."""
    assert mount.find("cell.tif") == (ManifestEntry("cell.tif", 5),)


@pytest.mark.parametrize(
    "change",
    [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"cell"), lambda path: path.unlink()],
    ids=["empty", "shorter", "missing"],
)
def test_a_file_that_is_not_as_the_manifest_says_may_still_come(mount: Mount, change: Callable[[Path], None]) -> None:
    """Given a mount that lags, when a file is empty, short or away for a moment, then it is tried again, and found."""
    (mount.root / "other.tif").write_bytes(b"so that the root is not empty, as without its mount")
    change(mount.root / "cell.tif")
    with pytest.raises(Transient) as caught:
        mount.find("cell.tif")
    assert caught.value.reason is Reason.MANIFEST_DIFFERS
    (mount.root / "cell.tif").write_bytes(b"cells")
    assert mount.find("cell.tif") == (ManifestEntry("cell.tif", 5),)


def test_a_file_that_is_empty_in_the_manifest_too_is_refused_for_good(mount: Mount) -> None:
    """Its producer lists what no image can be: waiting will not fill it."""
    (mount.root / "cell.tif").write_bytes(b"")
    mount.see(mount.root / "cell.tif")
    with pytest.raises(Permanent, match=r"cell\.tif is empty") as caught:
        mount.find("cell.tif")
    assert caught.value.reason is Reason.FILE_EMPTY


def test_a_file_that_was_empty_and_has_grown_since_is_another(mount: Mount) -> None:
    """The manifest says empty, the worker sees five bytes."""
    mount.seen = {"cell.tif": 0}
    with pytest.raises(Transient, match="the worker sees 1 files with 5 bytes, the manifest says 1 files with 0 bytes"):
        mount.find("cell.tif")


# --- a plate ------------------------------------------------------------------------------------------------------


def test_a_plate_as_the_manifest_says_is_found(plate: PlateMount) -> None:
    """All its files."""
    assert {entry.path: entry.size_bytes for entry in plate.find()} == plate.mount.seen


def test_a_plane_that_is_empty_for_a_moment_may_still_come(plate: PlateMount) -> None:
    """Given a plane that the manifest has whole, when it is empty here, then it is named, tried again, and found."""
    content = plate.plane.read_bytes()
    plate.plane.write_bytes(b"")
    error = plate.refused()
    assert (type(error), error.reason) == (Transient, Reason.MANIFEST_DIFFERS)
    assert f"0 files are missing and 1 are empty: {plate.plane.relative_to(plate.mount.root)} is empty" in str(error)
    plate.plane.write_bytes(content)
    assert len(plate.find()) == len(plate.mount.seen)


def test_a_plane_that_is_empty_in_the_manifest_too_is_refused_for_good(plate: PlateMount) -> None:
    """With well and field."""
    plate.plane.write_bytes(b"")
    plate.see()
    error = plate.refused()
    assert (type(error), error.reason) == (Permanent, Reason.FILE_EMPTY)
    assert "is empty (well " in str(error)


def test_a_plate_that_lacks_a_file_beside_an_empty_one_may_still_come(plate: PlateMount) -> None:
    """Whatever else is wrong, a missing file may yet appear."""
    plate.plane.write_bytes(b"")
    plate.see()
    others = [file for file in plate.made.files if file not in {plate.plane, plate.made.entry}]
    others[-1].unlink()
    error = plate.refused()
    assert (type(error), error.reason) == (Transient, Reason.MANIFEST_DIFFERS)
    assert "1 files are missing and 1 are empty" in str(error)


def test_an_index_that_is_empty_for_a_moment_may_still_come(plate: PlateMount) -> None:
    """No producer could have read a plate without it."""
    plate.made.entry.write_bytes(b"")
    error = plate.refused()
    assert (type(error), error.reason) == (Transient, Reason.MANIFEST_DIFFERS)


# --- a partial plate ----------------------------------------------------------------------------------------------


def test_a_partial_plate_is_what_is_there(plate: PlateMount) -> None:
    """Given a person who decided to import a plate without two of its files, then the others are its files."""
    gone = plate.plane
    gone.unlink()
    others = [file for file in plate.made.files if file not in {gone, plate.made.entry}]
    others[-1].write_bytes(b"")
    plate.mount.see(plate.made.entry, *others[:-1])
    assert {entry.path: entry.size_bytes for entry in plate.find_partial()} == plate.mount.seen


def test_a_partial_plate_that_got_another_file_is_another(plate: PlateMount) -> None:
    """What was decided holds for what was there; more, or less, of it is looked at again."""
    gone = plate.plane
    content = gone.read_bytes()
    gone.unlink()
    plate.mount.see(*(file for file in plate.made.files if file != gone))
    gone.write_bytes(content)
    with pytest.raises(Transient) as caught:
        plate.find_partial()
    assert caught.value.reason is Reason.MANIFEST_DIFFERS


def test_a_plate_that_lacks_files_is_not_partial_unless_somebody_decided_so(plate: PlateMount) -> None:
    """The same manifest without the decision is refused."""
    gone = plate.plane
    gone.unlink()
    plate.mount.see(*(file for file in plate.made.files if file != gone))
    assert plate.refused().reason is Reason.MANIFEST_DIFFERS


def test_a_group_is_listed_by_bioformats_again(tmp_path: Path) -> None:
    """Given a request for a group, then its files are those that Bio-Formats names on this mount."""
    made = Mount(tmp_path)
    files = [tmp_path / "set-1.x", tmp_path / "set-1.y"]
    for file in files:
        file.write_bytes(b"x")
    made.see(*files)
    group = Plate(GROUP, "set-1.x", "reader", ("set-1.x", "set-1.y"))
    request = made.request("set-1.x", GROUP, "Dataset:id:5")
    found = find_files(request, Shares([Share("hcs", tmp_path)]), lambda _share, _path: group)
    assert (found.plate, [entry.path for entry in found.entries]) == (group, ["set-1.x", "set-1.y"])


def test_a_group_of_other_files_than_the_manifests_is_not_imported(tmp_path: Path) -> None:
    """Given a file of the group that is not visible here yet, then it is waited for."""
    made = Mount(tmp_path)
    files = [tmp_path / "set-1.x", tmp_path / "set-1.y"]
    for file in files:
        file.write_bytes(b"x")
    made.see(*files)
    part = Plate(GROUP, "set-1.x", "reader", ("set-1.x",))
    with pytest.raises(Transient) as caught:
        find_files(
            made.request("set-1.x", GROUP, "Dataset:id:5"), Shares([Share("hcs", tmp_path)]), lambda _share, _path: part
        )
    assert caught.value.reason is Reason.MANIFEST_DIFFERS
