"""Yokogawa plates: the same files and images as the Bio-Formats of the server, and where that one loses planes.

Every plate of this module is asked about in one Java process, see ``answers``.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import tifffile

from fleet_stack.layout import cache_root
from fleet_stack.omero import jars, java
from fleet_stack.omero.bioformats import ReaderError, UsedFiles
from fleet_stack.plates import PlaneKey, PlateSpec, tiff
from fleet_stack.plates.btsxml import Options
from fleet_stack.plates.yokogawa import YokogawaPlate, make_yokogawa
from support.bioformats import Answer, compare

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


Change = Callable[[YokogawaPlate], object]


def small(**changes: object) -> PlateSpec:
    """A plate of 3 wells, 2 fields and 2 channels."""
    values = {"wells": 3, "fields": 2, "channels": 2, "size": 16} | changes
    return PlateSpec(**values)  # type: ignore[arg-type]  # every test names fields of the spec


def rewritten(path: Path, old: str, new: str) -> None:
    """Replace what a pattern finds in a file."""
    text, count = re.subn(old, new, path.read_text("utf-8-sig"))
    assert count
    path.write_text(text, "utf-8-sig")


def unchanged(_: YokogawaPlate) -> None:
    """Leave the plate as it was made."""


def with_junk(made: YokogawaPlate) -> None:
    """What facilities and analysis software leave there."""
    (made.folder / "sub").mkdir()
    # UTF-16 sorts an emoji before a full-width letter, Unicode the other way round
    names = ("\N{GRINNING FACE}.txt", "\N{FULLWIDTH LATIN CAPITAL LETTER A}.txt", "Thumbs.db", "0.ppf", "DC_CAM1.tif")
    for name in (*names, "sub/lost.tif", ".hidden", "PostProcess.ppf"):
        (made.folder / name).write_text("x")


def without_second_planes_in_a02(made: YokogawaPlate) -> None:
    """Wells may have planes and channels of their own."""
    rewritten(
        made.data, r'  <bts:MeasurementRecord[^>]*Column="2"[^>]*ZIndex="2"[^<]*</bts:MeasurementRecord>\r?\n?', ""
    )
    for key, path in made.tiffs.items():
        if key.column == 1 and key.z == 1:
            path.unlink()


def without_a02(made: YokogawaPlate) -> None:
    """Lose all images of a well."""
    for key, path in made.tiffs.items():
        if key.column == 1:
            path.unlink()


def with_lone_brackets(made: YokogawaPlate) -> None:
    """Some instruments write one more at the end."""
    for path in (made.entry, made.data, made.detail, made.settings):
        path.write_text(path.read_text("utf-8-sig").rstrip() + ">\r\n\r\n", "utf-8-sig")


def with_a_wider_first_image(made: YokogawaPlate) -> None:
    """Bio-Formats gives its extent to all."""
    tiff(next(iter(made.tiffs.values())), size=24)


def with_a_record_without_a_file(made: YokogawaPlate) -> None:
    """An image that was never written."""
    path = list(made.tiffs.values())[3]
    rewritten(made.data, re.escape(path.name), "")
    path.unlink()


PLATES: dict[str, tuple[PlateSpec, Options, Change]] = {
    "plain": (small(), Options(), unchanged),
    "CV7000": (small(), Options(system="CV7000"), unchanged),
    "everything": (small(planes=3, timepoints=2, channels=3), Options(actions={0: 1}), unchanged),
    "sparse": (
        small(positions=((0, 0), (2, 3), (7, 11)), absent=frozenset({(2, 3, 0)})),
        Options(errors=((1, 0),)),
        unchanged,
    ),
    "384 wells": (small(positions=((15, 23), (0, 3)), fields=11), Options(), unchanged),
    "eight bits": (small(dtype="uint8"), Options(), unchanged),
    "two actions": (small(channels=3), Options(actions={0: 1}), unchanged),
    "gap of channels": (small(), Options(numbers=(1, 3)), unchanged),
    "uneven wells": (small(planes=2), Options(), without_second_planes_in_a02),
    "no shading": (small(companions=False), Options(), unchanged),
    "junk": (small(), Options(), with_junk),
    "umlaut": (small(name="Plätte 1 #2"), Options(), unchanged),
    "lone brackets": (small(), Options(), with_lone_brackets),
    "wider first image": (small(), Options(), with_a_wider_first_image),
    "no file named": (small(), Options(), with_a_record_without_a_file),
    "capitals": (small(), Options(), lambda made: made.entry.rename(made.entry.with_suffix(".WPI"))),
    "running": (small(), Options(ended=False), unchanged),
}

DAMAGED: dict[str, Change] = {
    "missing image": lambda made: made.tiffs[PlaneKey(0, 1, 1, 0, 0, 1)].unlink(),
    "missing well": without_a02,
    "missing shading": lambda made: made.shading[0].unlink(),
    "missing product": lambda made: made.product.unlink(),
    "missing data": lambda made: made.data.unlink(),
    "missing detail": lambda made: made.detail.unlink(),
    "missing settings": lambda made: made.settings.unlink(),
}

NEWER: dict[str, Options] = {
    "second channel first": Options(numbers=(2, 3)),
    "channel of two actions": Options(numbers=(1, 2, 1), actions={2: 1}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, YokogawaPlate]:
    """Every plate of this module."""
    root = tmp_path_factory.mktemp("share")
    specs = PLATES | {name: (small(), Options(), change) for name, change in DAMAGED.items()}
    specs |= {name: (small(channels=len(options.numbers)), options, unchanged) for name, options in NEWER.items()}
    plates = {}
    for name, (spec, options, change) in specs.items():
        plates[name] = make_yokogawa(root / name, spec, options)
        change(plates[name])
    return plates


@pytest.fixture(scope="module")
def answers(made: dict[str, YokogawaPlate]) -> dict[str, Answer]:
    """Every made plate as we read it and as Bio-Formats does."""
    root = made["plain"].folder.parent.parent
    return compare(root, {name: _entry(plate) for name, plate in made.items()}, "yokogawa")


def _entry(plate: YokogawaPlate) -> Path:
    return next(path for path in plate.folder.iterdir() if path.suffix.lower() == ".wpi")


@pytest.mark.parametrize("name", PLATES)
def test_the_file_list_is_that_of_bioformats(answers: dict[str, Answer], name: str) -> None:
    """Same files, same order, the entry first."""
    answer = answers[name]
    assert list(answer.plate.files) == answer.reader_files
    assert answer.plate.files[0] == answer.plate.entry
    assert answer.missed == []


@pytest.mark.parametrize("name", PLATES)
def test_the_expected_images_are_those_of_bioformats(answers: dict[str, Answer], name: str) -> None:
    """As many images, and each as large in x, y, planes, channels and time points."""
    answer = answers[name]
    assert answer.expected_sizes == answer.reader_sizes
    assert isinstance(answer.used, UsedFiles)
    assert answer.plate.expected is not None
    assert answer.plate.expected.images == answer.used.series_count
    assert answer.plate.reader == answer.used.reader_class
    assert answer.plate.needs_bioformats == ()


@pytest.mark.parametrize(
    ("name", "lost"), [("missing image", 1), ("missing well", 4), ("missing shading", 1), ("missing product", 1)]
)
def test_bioformats_drops_missing_files_where_we_name_them(answers: dict[str, Answer], name: str, lost: int) -> None:
    """This is why completeness is checked before anything is published."""
    answer = answers[name]
    assert set(answer.plate.files) - set(answer.reader_files) == set(answer.missed)
    assert len(answer.missed) == lost
    assert len(answer.reader_sizes) == 6


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing data", "Missing MeasurementData.mlf"),
        ("missing detail", "NullPointerException"),
        ("missing settings", "NullPointerException"),
    ],
)
def test_the_reader_dies_where_we_say_what_is_missing(answers: dict[str, Answer], name: str, words: str) -> None:
    """An import would end dead, though the file may be there a minute later."""
    answer = answers[name]
    assert isinstance(answer.used, ReaderError)
    assert words in str(answer.used)
    assert len(answer.missed) == 1


def test_the_reader_loses_channels_where_we_ask_for_a_newer_one(answers: dict[str, Answer]) -> None:
    """It fails where the first channel was not acquired, and makes two of three where two actions acquire one."""
    failed, merged = (answers[name] for name in NEWER)
    assert isinstance(failed.used, ReaderError)
    assert "ArrayIndexOutOfBounds" in str(failed.used)
    assert {size.c for size in merged.reader_sizes} == {2}
    assert {size.c for size in merged.expected_sizes} == {3}
    assert [answer.plate.needs_bioformats for answer in (failed, merged)] == [(7, 3, 1)] * 2
    assert list(merged.plate.files) == merged.reader_files


def test_wells_and_channels_have_the_places_and_names_of_bioformats(
    answers: dict[str, Answer], made: dict[str, YokogawaPlate]
) -> None:
    """Given the metadata that the importer gets; then these wells have images, and all wells as many."""
    ome = _metadata(made["sparse"].entry)
    plate, expected = ome.find(f"{OME}Plate"), answers["sparse"].plate.expected
    assert plate is not None
    assert expected is not None
    fields = {
        (int(well.get("Row", "")), int(well.get("Column", ""))): len(well.findall(f"{OME}WellSample"))
        for well in plate.findall(f"{OME}Well")
    }
    assert {position: count for position, count in fields.items() if count} == dict.fromkeys(
        expected.wells, expected.fields_per_well
    )
    assert (plate.get("Name"), plate.get("ExternalIdentifier")) == (expected.name, expected.barcode)
    assert (plate.get("Rows"), plate.get("Columns")) == (str(expected.rows), str(expected.columns))
    assert tuple(channel.get("Name") for channel in next(ome.iter(f"{OME}Pixels")).iter(f"{OME}Channel")) == (
        expected.channels
    )


def _metadata(entry: Path) -> ET.Element:
    """What ``showinf -omexml`` of the same jar says."""
    told = _run("loci.formats.tools.ImageInfo", "-nopix", "-no-upgrade", "-novalid", "-omexml-only", str(entry))
    return ET.fromstring(told)  # noqa: S314  from our own program, of a plate of our own


def _run(*command: str) -> str:
    with tempfile.TemporaryDirectory(prefix="bioformats-") as scratch:
        options = [*java.QUIET, f"-Djava.io.tmpdir={scratch}", *java.OPTIONS]
        done = subprocess.run(
            ["java", *options, "-cp", jars.used_files_classpath(cache_root()), *command],
            env=java.environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=True,
        )
    return done.stdout


def test_every_plane_goes_where_the_format_says(
    answers: dict[str, Answer], made: dict[str, YokogawaPlate], tmp_path: Path
) -> None:
    """Given channels of two actions, in an order that is not the instrument's; then pixels show the right places."""
    converted = tmp_path / "converted.tif"
    last = ["-series", "5", "-no-upgrade", "-novalid"]
    _run("loci.formats.tools.ImageConverter", *last, str(made["everything"].entry), str(converted))
    plate = answers["everything"].plate
    assert plate.expected is not None
    sizes = plate.expected.sizes
    planes = [plane for plane in plate.planes if (plane.column, plane.field) == (2, 1)]
    with tifffile.TiffFile(converted) as file:
        assert len(file.pages) == len(planes) == sizes.z * sizes.c * sizes.t
        for plane in planes:
            assert plane.path is not None
            page = file.pages[plane.c + sizes.c * (plane.z + sizes.z * plane.t)]
            assert (page.asarray() == tifffile.imread(answers["everything"].share.root / plane.path)).all()
