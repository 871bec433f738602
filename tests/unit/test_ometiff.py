"""OME-TIFF sets: which file is the entry, what is read from an OME-XML, and what is refused in a bad one."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fleet_common.errors import FleetError, Permanent, Reason, Transient
from fleet_common.plates import End, Plate, Sizes, detect, problems
from fleet_common.plates.ometiff import OmeTiffFormat, layout, ome
from fleet_stack.plates import PlateSpec
from fleet_stack.plates.ometiff import OmeTiffSet, Options, make_ometiff
from support.memory import Memory

FORMAT = OmeTiffFormat()
SPEC = PlateSpec(name="P1", wells=2, fields=2, channels=2, size=8)
ENTRY = PurePosixPath("P1/P1.companion.ome")
FIRST = PurePosixPath("P1/P1_A01_f01_t1_z1_c1.ome.tif")


def a_set(root: Path, options: Options, spec: PlateSpec = SPEC) -> Memory:
    """A set of the spec in memory."""
    make_ometiff(root, spec, options)
    return Memory.of(root)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> OmeTiffSet:
    """A companion and a file for every plane."""
    return make_ometiff(tmp_path_factory.mktemp("made"), SPEC)


@pytest.fixture
def there(made: OmeTiffSet) -> Memory:
    """Its files."""
    return Memory.of(made.folder.parent)


def changed(there: Memory, *changes: tuple[str, str]) -> Memory:
    """The set with texts of its companion changed, each once."""
    there.change(str(ENTRY), *changes)
    return there


def read(there: Memory, path: str = "P1") -> Plate:
    """Find and read the set."""
    entry = FORMAT.find_entry(PurePosixPath(path), there)
    assert entry is not None
    return FORMAT.read(entry, there)


def an_ome_tiff(xml: str) -> bytes:
    """A TIFF of one plane with this description."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((8, 8), "uint16"), metadata=None, description=xml.encode())
    return stream.getvalue()


def alone(plate: str = "", image: str = '<Image ID="Image:0">') -> str:
    """The OME-XML of a file that needs no other."""
    return (
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{plate}{image}'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8" SizeY="8" SizeZ="1" SizeC="1" SizeT="1">'
        '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )


ONE_WELL = (
    '<Plate ID="Plate:0"><Well ID="Well:0" Row="1" Column="2"><WellSample ID="WellSample:0" Index="0">'
    '<ImageRef ID="Image:0"/></WellSample></Well></Plate>'
)


def test_a_set_tells_what_its_metadata_knows(there: Memory) -> None:
    """Name, barcode, channels, identity, instrument and time."""
    plate = read(there)
    assert plate.expected is not None
    assert (plate.expected.name, plate.expected.barcode) == ("P1", "BC-0007")
    assert (plate.expected.rows, plate.expected.columns) == (8, 12)
    assert plate.expected.channels == ("DAPI", "FITC")
    assert plate.identity.startswith("urn:uuid:")
    assert (plate.instrument, plate.started_at, plate.end) == ("demo microscope", "2026-01-01T10:00:00", End.UNKNOWN)


@pytest.mark.parametrize("path", ["P1", str(ENTRY), str(FIRST), "P1/P1_A02_f02_t1_z1_c2.ome.tif"])
def test_any_file_of_a_set_leads_to_its_companion(there: Memory, path: str) -> None:
    """Whoever submits a TIFF of a plate means the plate."""
    found, entry = detect(PurePosixPath(path), there)
    assert (found.name, entry) == ("ome-tiff", ENTRY)


@pytest.mark.parametrize("path", ["P1", str(FIRST), "P1/P1_A02_f02_t1_z1_c2.ome.tif"])
def test_without_a_companion_the_file_of_the_first_plane_is_the_entry(tmp_path: Path, path: str) -> None:
    """So that every submission of the set is the same request."""
    found, entry = detect(PurePosixPath(path), a_set(tmp_path, Options(companion=False)))
    assert (found.name, entry) == ("ome-tiff", FIRST)


def test_a_companion_that_is_not_there_yet_is_missed(there: Memory) -> None:
    """Its TIFFs name it; an aborted acquisition may never write it."""
    there.remove(str(ENTRY))
    assert FORMAT.find_entry(PurePosixPath("P1"), there) == ENTRY
    with pytest.raises(Transient) as caught:
        FORMAT.read(ENTRY, there)
    assert caught.value.reason is Reason.MANIFEST_DIFFERS


def test_of_two_companions_one_must_be_named(there: Memory) -> None:
    """Nobody wants half of what was acquired."""
    there.put("P1/P2.companion.ome", there.files[str(ENTRY)])
    with pytest.raises(Permanent, match="name the companion of the one") as caught:
        FORMAT.find_entry(PurePosixPath("P1"), there)
    assert caught.value.reason is Reason.UNKNOWN_FORMAT
    assert FORMAT.find_entry(ENTRY, there) == ENTRY


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ome.tif", an_ome_tiff(alone())),
        ("a.ome.tif", an_ome_tiff("ImageJ=1.53")),
        ("a.ome.tif", an_ome_tiff("<html>OME</html>")),
        ("a.ome.tif", an_ome_tiff("<OME ")),
        ("a.ome.tif", b"II*"),
        ("a.ome.tif", b""),
        ("a.tif", an_ome_tiff(alone())),
        ("a.png", b"x"),
    ],
)
def test_a_file_that_is_no_set_is_left_to_others(name: str, content: bytes) -> None:
    """A single image, of whatever kind, is a file for itself; a folder of such is no plate."""
    there = Memory({f"p/{name}": content, "p/b.ome.tif": content})
    assert FORMAT.find_entry(PurePosixPath("p", name), there) is None
    assert FORMAT.find_entry(PurePosixPath("p"), there) is None
    assert detect(PurePosixPath("p", name), there)[0].name == "file"


def test_a_single_file_with_a_plate_is_a_plate() -> None:
    """Its wells and fields are expected; two of them in a folder are two plates."""
    there = Memory({"p/a.ome.tif": an_ome_tiff(alone(ONE_WELL))})
    plate = read(there, "p")
    assert plate.files == ("p/a.ome.tif",)
    assert plate.expected is not None
    assert plate.expected.wells == {(1, 2)}
    assert plate.expected.sizes == Sizes(8, 8, 1, 1, 1)
    assert (plate.expected.rows, plate.expected.columns) == (2, 3)
    there.put("p/b.ome.tif", an_ome_tiff(alone(ONE_WELL)))
    assert FORMAT.find_entry(PurePosixPath("p"), there) is None
    assert FORMAT.find_entry(PurePosixPath("p/b.ome.tif"), there) == PurePosixPath("p/b.ome.tif")


def test_images_without_a_plate_have_files_and_no_wells(tmp_path: Path) -> None:
    """What is missing is named by its file."""
    there = a_set(tmp_path, Options(plate=False))
    there.remove(str(FIRST))
    plate = read(there)
    assert (plate.expected, plate.planes, plate.is_plate) == (None, (), False)
    assert [str(problem) for problem in problems(plate, there.sizes)] == [f"{FIRST} is missing"]


def test_prefixes_of_names_do_not_matter(there: Memory) -> None:
    """Some programs write ``OME:Image``."""
    text = there.files[str(ENTRY)].decode().replace("<", "<o:").replace("<o:/", "</o:").replace("<o:?xml", "<?xml")
    before = read(there)
    there.put(str(ENTRY), text.replace("xmlns=", "xmlns:o=").encode())
    assert read(there) == before


def test_samples_of_a_pixel_are_one_plane() -> None:
    """RGB is three channels in OMERO and one in the file."""
    xml = (
        alone(ONE_WELL)
        .replace('SizeC="1"', 'SizeC="3"')
        .replace("<TiffData", '<Channel ID="Channel:0" SamplesPerPixel="3"/><TiffData')
    )
    plate = read(Memory({"p/a.ome.tif": an_ome_tiff(xml)}), "p")
    assert len(plate.planes) == 1
    assert plate.expected is not None
    assert plate.expected.sizes.c == 3


def test_a_plane_that_no_file_has_is_no_missing_file(there: Memory) -> None:
    """The metadata says so itself; what OMERO will make of it is not certain, so it is not expected."""
    text = there.files[str(ENTRY)].decode()
    cut = text[text.index("<TiffData") : text.index("</TiffData>") + len("</TiffData>")]
    plate = read(changed(there, (cut, "")))
    assert plate.planes[0].path is None
    assert plate.expected is None
    assert problems(plate, there.sizes) == ()


@pytest.mark.parametrize(
    "change",
    [
        ('<WellSample ID="WellSample:0:0:1" Index="1"><ImageRef ID="Image:1"/></WellSample>', ""),
        ('<ImageRef ID="Image:1"/>', '<ImageRef ID="Image:0"/>'),
        ("</Plate>", '<Well ID="Well:0:9" Row="7" Column="7"/></Plate>'),
        ("</Plate>", '</Plate><Plate ID="Plate:1"/>'),
    ],
)
def test_a_plate_that_cannot_be_told_is_not_expected(there: Memory, change: tuple[str, str]) -> None:
    """Wells that differ, an image in two wells or in none, two plates: its files are checked all the same."""
    plate = read(changed(there, change))
    assert plate.expected is None
    assert plate.is_plate
    assert len(plate.files) == 9


def test_references_to_images_outside_wells_are_passed_over(there: Memory) -> None:
    """Datasets and folders refer to images, too."""
    before = read(there)
    after = read(changed(there, ("</Plate>", '</Plate><Dataset ID="Dataset:0"><ImageRef ID="Image:0"/></Dataset>')))
    assert after == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('DimensionOrder="XYCZT"', "", "DimensionOrder is missing"),
        ('DimensionOrder="XYCZT"', 'DimensionOrder="XYXYX"', "is none of the OME model"),
        ('SizeX="8"', "", "SizeX is missing"),
        ('SizeZ="1"', 'SizeZ="0"', "SizeZ is 0"),
        ('FirstC="1"', 'FirstC="2"', "FirstC is 2, and SizeC is 2"),
        ('FirstC="1"', 'FirstC="0"', "another one has these planes, too"),
        ('PlaneCount="1"', 'PlaneCount="3"', "its last plane is 3, and the image has 2"),
        ('PlaneCount="1"', 'PlaneCount="x"', "PlaneCount is 'x'"),
        ('<UUID FileName="P1_A01_f01_t1_z1_c1.ome.tif">', "<UUID>", "its UUID has no FileName"),
        ('FileName="P1_A01_f01_t1_z1_c1', 'FileName="P1_A01_f01_t1_z1_c3', ""),
        ('<ImageRef ID="Image:1"/>', '<ImageRef ID="Image:77"/>', "the plate has the image 'Image:77'"),
        ('Row="0" Column="1"', 'Row="0" Column="0"', "this well is there twice"),
        ('Row="0" Column="1"', 'Column="1"', "Row is missing"),
        ("</Plate>", "", "mismatched tag"),
        ("<OME ", "<!DOCTYPE OME><OME ", "it has a DOCTYPE"),
        ("<Microscope", "&x;<Microscope", "undefined entity"),
        ("<Plate ", '<Well Row="0" Column="0"/><Plate ', "it stands outside a <Plate>"),
        ("<Plate ", "<TiffData/><Plate ", "it stands outside an <Image>"),
        ("<Plate ", "<BinaryOnly/><Plate ", "MetadataFile is missing"),
        ("<Plate ", '<BinaryOnly MetadataFile="x.companion.ome"/><Plate ', "name 'x.companion.ome'"),
    ],
)
def test_a_wrong_ome_xml_is_refused(there: Memory, old: str, new: str, words: str) -> None:
    """By file and line, and by what is wrong with it; an empty text stands for what is fine."""
    changed(there, (old, new))
    if not words:
        assert read(there).files[0] == str(ENTRY)
        return
    with pytest.raises(Permanent) as caught:
        read(there)
    assert caught.value.reason is Reason.FORMAT_BROKEN
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(ENTRY))


def test_one_uuid_is_one_file(there: Memory) -> None:
    """Bio-Formats fails with Inconsistent UUID filenames."""
    text = there.files[str(ENTRY)].decode()
    first, second = (text.split("urn:uuid:")[n][:36] for n in (2, 3))
    with pytest.raises(Permanent, match="has the UUID of another one"):
        read(changed(there, (second, first)))


def test_a_companion_has_no_planes_of_its_own(there: Memory) -> None:
    """Without a UUID a TiffData is in the file that holds it."""
    text = there.files[str(ENTRY)].decode()
    uuid = text[text.index("<UUID") : text.index("</UUID>") + len("</UUID>")]
    with pytest.raises(Permanent, match="a companion has no planes"):
        read(changed(there, (uuid, "")))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a.ome.tif", Reason.UNSAFE_PATH),
        ("/etc/passwd", Reason.UNSAFE_PATH),
        ("http://example.org/a.ome.tif", Reason.UNSAFE_PATH),
        ("sub\\a.ome.tif", Reason.UNSAFE_PATH),
        ("a?b.ome.tif", Reason.NAME_REFUSED),
    ],
)
def test_a_file_outside_the_set_is_refused_with_its_line(there: Memory, name: str, reason: Reason) -> None:
    """Names stand in a file that anybody may have written."""
    with pytest.raises(Permanent, match=r"companion\.ome, line \d+ in <TiffData>") as caught:
        read(changed(there, (FIRST.name, name)))
    assert caught.value.reason is reason


def test_files_may_lie_in_folders_below(there: Memory) -> None:
    """As Bio-Formats finds them."""
    there.put("P1/sub/a.ome.tif", there.files[str(FIRST)])
    assert read(changed(there, (FIRST.name, "sub/a.ome.tif"))).files[1] == "P1/sub/a.ome.tif"


@pytest.mark.parametrize("bound", ["MAX_IMAGES", "MAX_TIFF_DATA", "MAX_CHANNELS", "MAX_ROWS_OR_COLUMNS"])
def test_an_ome_xml_is_bounded(there: Memory, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Nobody makes the host keep millions."""
    monkeypatch.setattr(ome, bound, 1)
    with pytest.raises(Permanent) as caught:
        read(there)
    assert caught.value.reason is Reason.FORMAT_BROKEN


def test_a_plan_cannot_make_anybody_allocate_millions_of_planes(there: Memory) -> None:
    """Given an image of 1,000,000 x 2 x 1,000,000 planes in an OME-XML of 4 kB."""
    changes = (('SizeZ="1"', 'SizeZ="1000000"'), ('SizeT="1"', 'SizeT="1000000"'))
    with pytest.raises(Permanent, match=f"more than {layout.MAX_PLANES}"):
        read(changed(there, *changes))


@given(st.binary(max_size=30), st.integers(0, 3500))
@examples(max_examples=100, deadline=None)
def test_no_bytes_break_the_parser_in_another_way(made: OmeTiffSet, junk: bytes, place: int) -> None:
    """Whatever stands in a companion, it is read or refused by an error of the fleet."""
    whole = made.entry.read_bytes()
    there = Memory({str(ENTRY): whole[:place] + junk + whole[place:]})
    try:
        plate = FORMAT.read(ENTRY, there)
    except FleetError:
        return
    assert plate.files[0] == str(ENTRY)
