"""OME-TIFF sets: the same files and images as the Bio-Formats of the server, and what that one says of missing ones.

Every set of this module is asked about in one Java process, see ``answers``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_stack.omero.bioformats import ReaderError, UsedFiles
from fleet_stack.plates import PlateSpec
from fleet_stack.plates.ometiff import OmeTiffSet, Options, make_ometiff
from support.bioformats import Answer, compare

Change = Callable[[OmeTiffSet], object]


def small(**changes: object) -> PlateSpec:
    """A plate of 3 wells, 2 fields and 2 channels."""
    values = {"name": "P1", "wells": 3, "fields": 2, "channels": 2, "size": 16} | changes
    return PlateSpec(**values)  # type: ignore[arg-type]  # every test names fields of the spec


def unchanged(_: OmeTiffSet) -> None:
    """Leave the set as it was made."""


def with_junk(made: OmeTiffSet) -> None:
    """What others leave there."""
    (made.folder / "sub").mkdir()
    for name in ("Thumbs.db", "notes.txt", "other.ome.tif", "sub/P1_A01_f01.ome.tif", ".hidden"):
        (made.folder / name).write_text("x")


def renamed(made: OmeTiffSet) -> None:
    """A single file knows itself by its UUID."""
    made.entry.rename(made.entry.with_name("another.ome.tif"))


SETS: dict[str, tuple[PlateSpec, Options, Change]] = {
    "companion": (small(), Options(), unchanged),
    "companion without UUID": (small(), Options(known=False), unchanged),
    "companion and fields": (small(), Options(each="field"), unchanged),
    "companion and one file": (small(), Options(each="plate"), unchanged),
    "stacks": (small(planes=3, timepoints=2), Options(), unchanged),
    "stacks in fields": (small(planes=3, timepoints=2), Options(each="field"), unchanged),
    "another order": (small(planes=3, timepoints=2), Options(order="XYZTC"), unchanged),
    "another order in files": (small(planes=2, timepoints=2), Options(companion=False, order="XYTZC"), unchanged),
    "filled up": (small(planes=3), Options(each="field", counted=False), unchanged),
    "files": (small(), Options(companion=False), unchanged),
    "files of fields": (small(), Options(companion=False, each="field"), unchanged),
    "one file": (small(), Options(companion=False, each="plate"), unchanged),
    "one file, renamed": (small(), Options(companion=False, each="plate"), renamed),
    "sparse": (small(positions=((0, 0), (2, 3), (7, 11))), Options(), unchanged),
    "384 wells": (small(positions=((15, 23), (0, 3)), fields=11), Options(), unchanged),
    "eight bits": (small(dtype="uint8"), Options(), unchanged),
    "tif": (small(), Options(ending=".tif"), unchanged),
    "junk": (small(), Options(), with_junk),
    "umlaut": (small(name="Plätte 1 #2"), Options(), unchanged),
    "umlaut in files": (small(name="Plätte 1 #2"), Options(companion=False), unchanged),
}

IMAGES: dict[str, tuple[PlateSpec, Options, Change]] = {
    "images": (small(), Options(plate=False), unchanged),
    "images in files": (small(), Options(plate=False, companion=False, each="field"), unchanged),
    "one stack": (small(wells=1, fields=1, planes=3), Options(plate=False, companion=False), unchanged),
}

DAMAGED: dict[str, tuple[PlateSpec, Options, Change]] = {
    "missing image": (small(), Options(), lambda made: list(made.tiffs.values())[7].unlink()),
    "missing image, no UUID": (small(), Options(known=False), lambda made: list(made.tiffs.values())[7].unlink()),
    "missing first image": (small(), Options(), lambda made: next(iter(made.tiffs.values())).unlink()),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Every made set as we read it and as Bio-Formats does."""
    root = tmp_path_factory.mktemp("share")
    entries: dict[str, Path] = {}
    for name, (spec, options, change) in (SETS | IMAGES | DAMAGED).items():
        made = make_ometiff(root / name, spec, options)
        change(made)
        entries[name] = made.entry if made.entry.exists() else made.folder / "another.ome.tif"
    return compare(root, entries, "ome-tiff")


@pytest.mark.parametrize("name", [*SETS, *IMAGES])
def test_the_file_list_is_that_of_bioformats(answers: dict[str, Answer], name: str) -> None:
    """Same files, same order, the entry first."""
    answer = answers[name]
    assert list(answer.plate.files) == answer.reader_files
    assert answer.plate.files[0] == answer.plate.entry
    assert answer.missed == []
    assert isinstance(answer.used, UsedFiles)
    assert answer.plate.reader == answer.used.reader_class


@pytest.mark.parametrize("name", SETS)
def test_the_expected_images_are_those_of_bioformats(answers: dict[str, Answer], name: str) -> None:
    """As many images, and each as large in x, y, planes, channels and time points."""
    answer = answers[name]
    assert answer.expected_sizes == answer.reader_sizes
    assert answer.plate.needs_bioformats == ()


@pytest.mark.parametrize("name", IMAGES)
def test_images_without_a_plate_are_expected_by_their_files_alone(answers: dict[str, Answer], name: str) -> None:
    """They have no wells, and go into a Dataset."""
    assert answers[name].plate.expected is None


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing image", "Unmatched UUID"), ("missing first image", "No such file")],
)
def test_the_reader_fails_at_a_missing_file_that_we_name(answers: dict[str, Answer], name: str, words: str) -> None:
    """Its error names a UUID; ours names well and field."""
    answer = answers[name]
    assert isinstance(answer.used, ReaderError)
    assert words in str(answer.used)
    assert len(answer.missed) == 1


def test_the_reader_drops_a_missing_file_where_the_metadata_has_no_uuid(answers: dict[str, Answer]) -> None:
    """Then it takes the companion for the file, shows a blank plane and says nothing."""
    answer = answers["missing image, no UUID"]
    assert set(answer.plate.files) - set(answer.reader_files) == set(answer.missed)
    assert len(answer.missed) == 1
