"""What a scan finds below a folder: plates of known formats, groups of Bio-Formats, and what is left out, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import LeaseLost, Permanent, Reason, RequestError, failure
from fleet_common.plates import Plate, Sizes
from fleet_common.storage import Share, ShareReader, list_tree
from fleet_stack.plates import PlateSpec, make_plate
from fleet_worker.scan.answers import Answer, Refusal, Refused, Scanned
from fleet_worker.scan.finding import Findings, find
from fleet_worker.scan.groups import GROUP, largest, plate_of

SIZES = (Sizes(8, 6, 1, 2, 1),)


def scanned(*files: str, is_plate: bool = False) -> Scanned:
    """An answer."""
    return Scanned("loci.formats.in.FakeReader", files, SIZES, is_plate)


@dataclass
class BioFormats:
    """Knows groups by their files; what it does not know is one image, unless it is a text."""

    groups: list[tuple[str, ...]] = field(default_factory=list)
    says: Mapping[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def ask(self, path: str) -> Answer:
        """As prepared, else the group with this file, else the file alone."""
        self.asked.append(path)
        if path in self.says:
            return self.says[path]
        if path.endswith(".txt"):
            return Refused(Refusal.UNKNOWN)
        return scanned(*next((group for group in self.groups if path in group), (path,)))


@dataclass
class Folder:
    """A folder ``run`` on a share."""

    root: Path

    def write(self, *names: str) -> None:
        """Files with something in them."""
        for name in names:
            (self.root / "run" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / "run" / name).write_bytes(b"x")

    def find(self, bioformats: BioFormats) -> Findings:
        """Look through it."""
        share = Share("hcs", self.root)
        paths = sorted(entry.path for entry in list_tree(share, "run").entries)
        with ShareReader(share) as reader:
            return find("run", paths, reader, bioformats.ask)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty one."""
    (tmp_path / "run").mkdir()
    return Folder(tmp_path)


def entries(found: Findings) -> list[tuple[str, str]]:
    """Format and entry of everything that can be imported."""
    return [(plate.format, plate.entry) for plate in found.plates]


def test_images_by_themselves_are_what_submit_makes_of_them(folder: Folder) -> None:
    """Same format, same files: so a scan and a submit of one file are one request."""
    folder.write("a.tif", "deep/er/b.tif", "notes.txt")
    found = folder.find(BioFormats())
    assert entries(found) == [("file", "run/a.tif"), ("file", "run/deep/er/b.tif")]
    assert [(plate.reader, plate.files) for plate in found.plates] == [("", (plate.entry,)) for plate in found.plates]
    assert (found.unknown, found.left_out) == (1, [])


def test_a_group_is_one_request_and_asked_about_once(folder: Folder) -> None:
    """Its first file in order is the entry."""
    folder.write("a.ids", "a.ics", "b.ids", "b.ics")
    bioformats = BioFormats([("run/a.ids", "run/a.ics"), ("run/b.ids", "run/b.ics")])
    found = folder.find(bioformats)
    assert entries(found) == [(GROUP, "run/a.ics"), (GROUP, "run/b.ics")]
    assert [plate.files for plate in found.plates] == [("run/a.ics", "run/a.ids"), ("run/b.ics", "run/b.ids")]
    assert bioformats.asked == ["run/a.ics", "run/b.ics"]


def test_a_file_that_was_taken_for_an_image_before_its_set_was_seen_is_no_request(folder: Folder) -> None:
    """Given a TIFF that can be read alone, and a log that groups it with another, then only the set is imported."""
    folder.write("a.tif", "z.log", "b.tif")
    whole = scanned("run/z.log", "run/a.tif", "run/b.tif")
    found = folder.find(BioFormats(says={"run/z.log": whole}))
    assert [plate.files for plate in found.plates] == [("run/z.log", "run/a.tif", "run/b.tif")]


def test_plates_of_known_formats_come_first_and_have_their_folder_to_themselves(folder: Folder) -> None:
    """Given two plates beside images, then Bio-Formats is asked about the images alone."""
    made = [make_plate(folder.root / "run" / name, PlateSpec(name="p", wells=1, fields=1)) for name in ("one", "two")]
    folder.write("a.tif", "one/p/notes.tif")
    (made[0].folder / "Images" / "stray.tif").write_bytes(b"x")
    bioformats = BioFormats()
    found = folder.find(bioformats)
    plates = [("harmony", plate.entry.relative_to(folder.root).as_posix()) for plate in made]
    assert entries(found)[:2] == plates
    assert not any("Images" in path for path in bioformats.asked)
    assert "run/a.tif" in bioformats.asked


def test_a_broken_plate_is_left_out_with_its_reason_and_not_torn_into_images(folder: Folder) -> None:
    """A half-written index must not give a hundred single images."""
    made = make_plate(folder.root / "run", PlateSpec(name="p", wells=2, fields=1))
    made.entry.write_bytes(made.entry.read_bytes()[:200])
    bioformats = BioFormats()
    found = folder.find(bioformats)
    assert (found.plates, bioformats.asked) == ([], [])
    (left,) = found.left_out
    assert "format-broken" in str(left)


@pytest.mark.parametrize(
    ("why", "says"),
    [(Refusal.FAILED, "Bio-Formats failed at it: oh"), (Refusal.HUNG, "hung at it"), (Refusal.DIED, "died of it")],
)
def test_a_file_that_fails_is_named_and_the_rest_goes_on(folder: Folder, why: Refusal, says: str) -> None:
    """A file costs only itself."""
    folder.write("a.tif", "bad.tif", "c.tif")
    found = folder.find(BioFormats(says={"run/bad.tif": Refused(why, "oh")}))
    assert entries(found) == [("file", "run/a.tif"), ("file", "run/c.tif")]
    (left,) = found.left_out
    assert left.path == "run/bad.tif"
    assert says in str(left)


@pytest.mark.parametrize("outside", ["/etc/passwd", "../other/b.tif", "run/../../b.tif"])
def test_a_group_with_a_file_outside_the_share_is_left_out(folder: Folder, outside: str) -> None:
    """A vendor's index may name any path; nothing outside the share is ever sent."""
    folder.write("a.log", "b.tif")
    found = folder.find(BioFormats(says={"run/a.log": scanned("run/a.log", outside)}))
    assert entries(found) == [("file", "run/b.tif")]
    assert "unsafe-path" in str(found.left_out[0])


def test_hidden_files_are_not_asked_about(folder: Folder) -> None:
    """As OMERO's importer does; the second is what an office program leaves."""
    folder.write(".DS_Store", "~$table.xlsx", "a.tif")
    bioformats = BioFormats()
    folder.find(bioformats)
    assert bioformats.asked == ["run/a.tif"]


def test_an_attempt_that_must_stop_stops(folder: Folder) -> None:
    """Whatever the question raises ends the scan."""
    folder.write("a.tif")

    def ask(_path: str) -> Answer:
        raise LeaseLost("gone")

    share = Share("hcs", folder.root)
    with ShareReader(share) as reader, pytest.raises(LeaseLost):
        find("run", ["run/a.tif"], reader, ask)


def test_a_share_that_goes_away_ends_the_scan(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are not left out: they are looked for again later."""
    folder.write("a.tif")

    def away(_self: ShareReader, _path: PurePosixPath) -> bool:
        raise failure(Reason.SHARE_UNAVAILABLE, "away")

    monkeypatch.setattr(ShareReader, "is_folder", away)
    with pytest.raises(RequestError) as caught:
        folder.find(BioFormats())
    assert caught.value.reason is Reason.SHARE_UNAVAILABLE


def test_a_plate_that_bioformats_alone_knows_is_a_plate() -> None:
    """Even of one file: it goes into a Screen."""
    plate = plate_of("run/a.c01", scanned("run/a.c01", is_plate=True))
    assert (plate.format, plate.is_plate, plate.images) == (GROUP, True, SIZES)
    assert not plate_of("run/a.tif", scanned("run/a.tif")).is_plate


def test_the_entry_of_a_group_is_the_file_that_was_asked_about() -> None:
    """OMERO opens the first; the others keep the reader's order."""
    assert plate_of("b", scanned("c", "b", "a")).files == ("b", "c", "a")


def test_a_name_that_omero_refuses_is_refused() -> None:
    """Before anything is published."""
    with pytest.raises(Permanent):
        plate_of("run/a.log", scanned("run/a.log", "run/a:b.tif"))


@given(st.lists(st.frozensets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=6))
def test_what_is_left_of_groups_holds_every_file_and_no_part_of_another(sets: list[frozenset[str]]) -> None:
    """No file is forgotten, no group is imported twice in part."""
    groups = [Plate(GROUP, min(files), "reader", tuple(sorted(files))) for files in sets]
    left = [frozenset(group.files) for group in largest(groups)]
    assert frozenset().union(*left) == frozenset().union(*sets)
    assert not any(one < other for one in left for other in left)
