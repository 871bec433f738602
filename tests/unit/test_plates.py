"""Formats by name, the format of a path, single files, and whether a plate is complete."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.errors import Permanent, Reason, RequestError, Transient
from fleet_common.plates import (
    Expected,
    Plane,
    Plate,
    Problem,
    Sizes,
    describe,
    detect,
    format_names,
    plate_format,
    problems,
    registry,
    well_name,
)
from fleet_common.plates.model import NO_READER_YET
from fleet_common.plates.versions import version_name
from fleet_common.storage import Share, ShareReader


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """A share with a measurement, a plain folder and an image."""
    for path in ("plate/Images/Index.idx.xml", "plain/a.tif", "image.tif"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / "empty.tif").touch()
    return Share("hcs", tmp_path)


def found(share: Share, path: str) -> tuple[str, str]:
    """The format's name and the entry of a path."""
    with ShareReader(share) as reader:
        made, entry = detect(PurePosixPath(path), reader)
        return made.name, str(entry)


def read(share: Share, path: str) -> Plate:
    """Find the format of a path and read the plate."""
    with ShareReader(share) as reader:
        made, entry = detect(PurePosixPath(path), reader)
        return made.read(entry, reader)


def test_formats_are_known_by_name() -> None:
    """The single file is always there, and asked last."""
    assert "harmony" in format_names()
    assert format_names()[-1] == "file"
    assert [plate_format(name).name for name in format_names()] == list(format_names())
    assert plate_format("harmony") is plate_format("harmony")


def test_a_format_that_is_not_installed_is_unsupported() -> None:
    """A worker that lacks a facility's own format says which ones it has."""
    with pytest.raises(Permanent, match=r"'other' is not installed here \(installed: .*harmony.*, file\)") as caught:
        plate_format("other")
    assert caught.value.reason is Reason.UNSUPPORTED


def test_a_format_is_imported_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a facility's format that cannot be imported; then only its own use fails, by its name."""
    broken = importlib.metadata.EntryPoint("broken", "no.such.module:Format", registry.GROUP)
    monkeypatch.setattr(registry, "_installed", registry._installed.__wrapped__)  # what is installed is kept
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [broken] if group == registry.GROUP else [])
    assert format_names() == ("broken", "file")
    assert plate_format("file").name == "file"
    with pytest.raises(ModuleNotFoundError, match="no"):
        plate_format("broken")


@pytest.mark.parametrize(
    ("path", "format_name", "entry"),
    [
        ("plate", "harmony", "plate/Images/Index.idx.xml"),
        ("plate/Images/Index.idx.xml", "harmony", "plate/Images/Index.idx.xml"),
        ("image.tif", "file", "image.tif"),
        ("plain/a.tif", "file", "plain/a.tif"),
    ],
)
def test_the_format_of_a_path_is_found(share: Share, path: str, format_name: str, entry: str) -> None:
    """A plate by its folder or index, every other file by itself."""
    assert found(share, path) == (format_name, entry)


def test_a_folder_of_no_known_format_is_refused(share: Share) -> None:
    """The person is told what to name instead."""
    with pytest.raises(Permanent, match="name the plate's folder or its entry file") as caught:
        found(share, "plain")
    assert caught.value.reason is Reason.UNKNOWN_FORMAT


def test_a_single_file_is_all_that_it_needs(share: Share) -> None:
    """Bio-Formats on the server chooses the reader."""
    with ShareReader(share) as reader:
        plate = plate_format("file").read(PurePosixPath("image.tif"), reader)
    assert plate == Plate(format="file", entry="image.tif", reader="", files=("image.tif",))
    assert plate.measured_wells == frozenset()


@pytest.mark.parametrize(("path", "reason"), [("gone.tif", Reason.MANIFEST_DIFFERS), ("empty.tif", Reason.FILE_EMPTY)])
def test_a_single_file_must_be_there_and_not_empty(share: Share, path: str, reason: Reason) -> None:
    """Found by its name, refused when it is read."""
    with pytest.raises(RequestError) as caught:
        read(share, path)
    assert caught.value.reason is reason


def test_a_link_is_no_single_file(share: Share) -> None:
    """Neither to a file nor to a folder."""
    (share.root / "link.tif").symlink_to("image.tif")
    (share.root / "link").symlink_to("plain", target_is_directory=True)
    for path in ("link.tif", "link"):
        with pytest.raises(Permanent) as caught:
            read(share, path)
        assert caught.value.reason is Reason.NOT_A_REGULAR_FILE


def test_detection_on_a_missing_mount_is_transient(tmp_path: Path) -> None:
    """A share that is away is no verdict on a request."""
    with pytest.raises(Transient) as caught:
        found(Share("hcs", tmp_path / "gone"), "plate")
    assert caught.value.reason is Reason.SHARE_UNAVAILABLE


PLATE = Plate(
    format="x",
    entry="p/index",
    reader="",
    files=("p/index", "p/a.tiff", "p/b.tiff", "p/c.tiff"),
    planes=(
        Plane(0, 0, 0, 0, 0, 0, "p/a.tiff"),
        Plane(0, 0, 0, 0, 0, 1, "p/b.tiff"),
        Plane(1, 2, 3, 1, 4, 0, "p/c.tiff"),
        Plane(1, 2, 3, 1, 4, 1, None),
    ),
)
WHOLE = dict.fromkeys(PLATE.files, 5)


def test_a_whole_plate_has_no_problems() -> None:
    """Files beside those of the plate do not matter."""
    assert problems(PLATE, WHOLE | {"p/other": 0}) == ()


def test_missing_and_empty_files_are_named_with_well_and_field() -> None:
    """In the order of the plate, in words for the people at the microscope."""
    (entry, missing, empty) = problems(PLATE, {"p/a.tiff": 1, "p/c.tiff": 0})
    assert (entry.path, entry.problem, entry.where) == ("p/index", Problem.MISSING, "")
    assert (missing.path, missing.problem) == ("p/b.tiff", Problem.MISSING)
    assert str(empty) == "p/c.tiff is empty (well B03, field 4, channel 1, plane 5, time point 2)"


def test_many_problems_are_one_sentence() -> None:
    """How many of which kind, and the first by name."""
    found_problems = problems(PLATE, {"p/a.tiff": 0})
    assert describe(found_problems, limit=1) == "3 files are missing and 1 are empty: p/index is missing; and 3 more"
    assert describe(found_problems[:1]) == "1 files are missing and 0 are empty: p/index is missing"


@given(st.dictionaries(st.sampled_from(PLATE.files), st.integers(0, 3)))
def test_a_file_is_a_problem_exactly_when_it_has_no_bytes(sizes: dict[str, int]) -> None:
    """Missing and empty, nothing else."""
    bad = {problem.path: problem.problem for problem in problems(PLATE, sizes)}
    for path in PLATE.files:
        assert (path in bad) == (sizes.get(path, 0) == 0)
        assert bad.get(path) in (None, Problem.EMPTY if path in sizes else Problem.MISSING)


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [(0, 0, "A01"), (1, 2, "B03"), (15, 23, "P24"), (25, 9, "Z10"), (26, 0, "AA01"), (31, 47, "AF48")],
)
def test_a_well_has_the_name_that_people_write(row: int, column: int, name: str) -> None:
    """Up to 1536 wells, whose rows go beyond Z."""
    assert well_name(row, column) == name


def test_expected_planes_count_every_image_with_its_own_sizes() -> None:
    """Four images of six planes, but one of them has two."""
    expected = Expected(
        name="",
        barcode="",
        rows=8,
        columns=12,
        wells=frozenset({(0, 0), (0, 1)}),
        fields_per_well=2,
        sizes=Sizes(4, 4, 3, 2, 1),
        channels=("a", "b"),
        other_sizes={(0, 1, 1): Sizes(4, 4, 1, 2, 1)},
    )
    assert (expected.images, expected.planes) == (4, 20)


@pytest.mark.parametrize(
    ("version", "name"), [((8, 3, 0), "8.3.0"), (NO_READER_YET, "newer than any release"), ((), "")]
)
def test_versions_of_bioformats_are_named(version: tuple[int, ...], name: str) -> None:
    """As people write them."""
    assert version_name(version) == name
