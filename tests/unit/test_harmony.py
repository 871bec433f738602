"""Harmony indexes: what is read from a good one, and what is refused in a bad one."""

from __future__ import annotations

import dataclasses
import io
import tracemalloc
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_common.errors import FleetError, Permanent, Reason
from fleet_common.plates import Names, Plane, Plate, Sizes, boundedxml
from fleet_common.plates.harmony import HarmonyFormat, index, layout, xml
from fleet_common.storage import Share, ShareReader
from fleet_stack.plates import MadePlate, PlateSpec, make_plate

ENTRY = PurePosixPath("plate/Images/Index.idx.xml")
FORMAT = HarmonyFormat()

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<EvaluationInputData Version="1" xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">
<User>alice</User><InstrumentType>Phenix</InstrumentType>
<Plates><Plate>
<PlateID>B1</PlateID><MeasurementID>m-1</MeasurementID><MeasurementStartTime>2026-01-01T10:00:00+01:00</MeasurementStartTime>
<Name>P1</Name><PlateRows>8</PlateRows><PlateColumns>12</PlateColumns>
</Plate></Plates>
<Images>
"""
TAIL = "</Images>\n</EvaluationInputData>\n"


class Folder:
    """A reader over files in memory, which shows that a format needs nothing else."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def open(self, path: PurePosixPath) -> io.BytesIO:
        """See Reader."""
        return io.BytesIO(self.files[str(path)])

    def names(self, folder: PurePosixPath) -> Names:
        """See Reader."""
        prefix = f"{folder}/" if folder.parts else ""
        below = [path.removeprefix(prefix) for path in self.files if path.startswith(prefix)]
        files = tuple(name for name in below if "/" not in name)
        return Names(files, tuple({name.split("/")[0] for name in below if "/" in name}))

    def is_folder(self, path: PurePosixPath) -> bool:
        """See Reader."""
        return not path.parts or any(name.startswith(f"{path}/") for name in self.files)


def image(url: str = "a.tiff", *, leave: str = "", **changes: object) -> str:
    """One image of the index on one line; ``leave`` names an element that it lacks."""
    values = {
        "State": "Ok",
        "URL": url,
        "Row": 1,
        "Col": 1,
        "FieldID": 1,
        "PlaneID": 1,
        "TimepointID": 0,
        "ChannelID": 1,
    }
    values |= {"ChannelName": "DAPI", "ImageSizeX": 16, "ImageSizeY": 16} | changes
    return f"<Image>{''.join(f'<{k}>{v}</{k}>' for k, v in values.items() if k != leave)}</Image>\n"


def read_text(text: str, *others: str, entry: PurePosixPath = ENTRY) -> Plate:
    """Read an index that is given as text, with empty files beside it."""
    files = {str(entry): text.encode()} | dict.fromkeys(others, b"x")
    return FORMAT.read(entry, Folder(files))


def read(*images: str, others: tuple[str, ...] = ()) -> Plate:
    """Read an index of these images."""
    return read_text(HEAD + "".join(images) + TAIL, *others)


def refusal(text: str) -> Permanent:
    """The error of an index, which names file and line."""
    with pytest.raises(Permanent) as caught:
        read_text(text)
    assert caught.value.reason is Reason.FORMAT_BROKEN, caught.value
    assert str(caught.value).startswith(str(ENTRY)), caught.value
    return caught.value


def test_a_plate_tells_who_measured_what_and_when() -> None:
    """Everything that routing and provenance need."""
    plate = read(image())
    assert plate.expected is not None
    assert (plate.expected.name, plate.expected.barcode) == ("P1", "B1")
    assert (plate.expected.rows, plate.expected.columns) == (8, 12)
    assert (plate.identity, plate.started_at) == ("m-1", "2026-01-01T10:00:00+01:00")
    assert (plate.operator, plate.instrument) == ("alice", "Phenix")
    assert (plate.format, plate.entry, plate.reader) == ("harmony", str(ENTRY), "loci.formats.in.OperettaReader")


def test_numbers_become_places_in_order() -> None:
    """Fields 2 and 9 are the first and second field, whatever the instrument calls them."""
    plate = read(
        image("d.tiff", FieldID=9, ChannelID=4, ChannelName="Alexa"),
        image("c.tiff", FieldID=9, ChannelID=2),
        image("b.tiff", FieldID=2, ChannelID=4, ChannelName="Alexa"),
        image("a.tiff", FieldID=2, ChannelID=2),
    )
    assert [(plane.field, plane.c, plane.path) for plane in plate.planes] == [
        (0, 0, "plate/Images/a.tiff"),
        (0, 1, "plate/Images/b.tiff"),
        (1, 0, "plate/Images/c.tiff"),
        (1, 1, "plate/Images/d.tiff"),
    ]
    assert plate.expected is not None
    assert plate.expected.channels == ("DAPI", "Alexa")
    assert plate.files == (str(ENTRY), *(f"plate/Images/{name}.tiff" for name in "abcd"))


def test_every_combination_is_expected_but_only_measured_wells_have_files() -> None:
    """Bio-Formats makes blank wells and fields, so OMERO will hold them."""
    plate = read(image("a.tiff"), image("b.tiff", Row=2, Col=3, FieldID=2, PlaneID=5, TimepointID=3))
    expected = plate.expected
    assert expected is not None
    assert expected.wells == {(0, 0), (0, 2), (1, 0), (1, 2)}
    assert plate.measured_wells == {(0, 0), (1, 2)}
    assert expected.sizes == Sizes(16, 16, 2, 1, 2)
    assert (expected.images, expected.planes) == (8, 32)


def test_images_of_other_sizes_are_named() -> None:
    """A blank image has the extent of the one before it."""
    plate = read(image("a.tiff"), image("b.tiff", FieldID=2, ImageSizeX=8), image("c.tiff", Col=2, FieldID=3))
    expected = plate.expected
    assert expected is not None
    assert expected.sizes == Sizes(16, 16, 1, 1, 1)
    narrow = Sizes(8, 16, 1, 1, 1)
    assert expected.other_sizes == dict.fromkeys([(0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1)], narrow)
    assert expected.sizes_of((0, 1, 0)) == narrow
    assert expected.sizes_of((0, 1, 2)) == expected.sizes


def test_sizes_and_names_may_be_said_once_per_channel() -> None:
    """HarmonyV6 moves them to <Maps>."""
    maps = (
        "<Maps><Map><Entry ChannelID='1'><FlatfieldProfile>{}</FlatfieldProfile></Entry></Map>"
        "<Map><Entry ChannelID='1'><ChannelName>Cy5</ChannelName><ImageSizeX>32</ImageSizeX>"
        "<ImageSizeY>24</ImageSizeY></Entry></Map></Maps><Images>"
    )
    lean = image().replace("<ChannelName>DAPI</ChannelName><ImageSizeX>16</ImageSizeX><ImageSizeY>16</ImageSizeY>", "")
    plate = read_text((HEAD + lean + TAIL).replace("<Images>", maps).replace("HarmonyV5", "HarmonyV6"))
    assert plate.expected is not None
    assert plate.expected.sizes == Sizes(32, 24, 1, 1, 1)
    assert plate.expected.channels == ("Cy5",)


def test_an_image_that_the_instrument_could_not_take_needs_no_file() -> None:
    """Its state is recorded; its file is listed only where it exists."""
    plate = read(
        image("a.tiff"),
        image("b.tiff", ChannelID=2, State="FocusFailed"),
        image("c.tiff", ChannelID=3, State="FocusFailed"),
        image("", ChannelID=4, State="x" * 1000),
        others=("plate/Images/c.tiff",),
    )
    assert plate.files == (str(ENTRY), "plate/Images/a.tiff", "plate/Images/c.tiff")
    assert [(error.where, error.state) for error in plate.errors] == [
        ("well A01, field 1, channel 2, plane 1, time point 1", "FocusFailed"),
        ("well A01, field 1, channel 3, plane 1, time point 1", "FocusFailed"),
        ("well A01, field 1, channel 4, plane 1, time point 1", "x" * 200),
    ]
    assert [plane.path is None for plane in plate.planes] == [False, True, False, True]


def test_companions_come_after_the_entry_in_the_order_of_java() -> None:
    """Files of the measurement's folder and of its folders, but no image and no hidden name."""
    plate = read(
        image(),
        others=(
            "plate/z.txt",
            "plate/Evaluation1/PlateResults.xml",
            "plate/Evaluation1/deep/lost.txt",
            "plate/Evaluation1/x.TIFF",
            "plate/Images/ignored.txt",
            "plate/.hidden",
            "plate/A.txt",
            "elsewhere/b.txt",
        ),
    )
    assert plate.files[1:-1] == ("plate/A.txt", "plate/Evaluation1/PlateResults.xml", "plate/z.txt")


@pytest.mark.parametrize("entry", ["Index.idx.xml", "Images/Index.idx.xml"])
def test_an_index_without_a_measurement_folder_is_refused(entry: str) -> None:
    """Bio-Formats would take the whole share for companions."""
    with pytest.raises(Permanent, match="put the measurement into a folder of its own") as caught:
        read_text(HEAD + image() + TAIL, entry=PurePosixPath(entry))
    assert caught.value.reason is Reason.UNSAFE_PATH


def test_a_companion_with_a_refused_name_is_refused() -> None:
    """It would be uploaded under another name."""
    with pytest.raises(Permanent, match=r"'a:b\.txt'"):
        read(image(), others=("plate/sub/a:b.txt",))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://host/a.tiff", Reason.UNSAFE_PATH),
        ("../a.tiff", Reason.UNSAFE_PATH),
        ("/etc/passwd", Reason.UNSAFE_PATH),
        ("..\\a.tiff", Reason.UNSAFE_PATH),
        (" \n", Reason.NAME_REFUSED),
        ("CON.tiff", Reason.NAME_REFUSED),
    ],
)
def test_a_url_out_of_the_images_is_refused_with_its_line(url: str, reason: Reason) -> None:
    """Everything that an index refers to goes through the one join."""
    with pytest.raises(Permanent, match="line 9 in <Image>") as caught:
        read(image(url))
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("images", "line", "words"),
    [
        ([image(), image("b.tiff")], 10, "same plane as the image of line 9"),
        ([image(), image(ChannelID=2)], 10, "its file 'a.tiff' is already that of the image of line 9"),
        ([image("Index.idx.xml")], 9, "already that of the image of line 1"),
        ([image(Row=9)], 9, "row 9, column 1 is outside the plate of 8 x 12 wells"),
        ([image(Col=13)], 9, "row 1, column 13 is outside the plate of 8 x 12 wells"),
        ([image(leave="ImageSizeX")], 9, "neither the image nor its channel"),
        ([image(leave="URL")], 9, "no <URL> although its state is Ok"),
        ([image("")], 9, "no <URL> although its state is Ok"),
        ([image(leave="Row")], 9, "<Row> is missing"),
        ([image(Row="one")], 9, "<Row> is 'one', not a whole number"),
        ([image(Row="٣")], 9, "not a whole number"),
        ([image(Row=" 1")], 9, "not a whole number"),
        ([image(Row=0)], 9, "<Row> is 0, not within 1 and 256"),
        ([image(FieldID=10**8)], 9, "<FieldID> is 100000000, not within"),
        ([image(ImageSizeX=0)], 9, "<ImageSizeX> is 0, not within"),
        ([image(ImageSizeY=10**6)], 9, "<ImageSizeY> is 1000000, not within"),
        ([image() + "<Image id='x'/>"], 10, "an image is only referred to here"),
        ([], 10, "it lists no image"),
    ],
)
def test_a_wrong_image_is_refused_with_its_line(images: list[str], line: int, words: str) -> None:
    """The person who exports again must find the place."""
    message = str(refusal(HEAD + "".join(images) + TAIL))
    assert f"line {line} in <" in message
    assert words in message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("EvaluationInputData", "Other", "root element is <Other>"),
        ("HarmonyV5", "OperettaV1", "not that of HarmonyV1 to HarmonyV7"),
        (' xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5"', "", "not that of HarmonyV1"),
        ("HarmonyV5", "HarmonyV0", "not that of HarmonyV1"),
        ("<PlateRows>8</PlateRows>", "", "<PlateRows> is missing"),
        ("<PlateColumns>12<", "<PlateColumns>0<", "<PlateColumns> is 0"),
        ("<PlateColumns>12<", "<PlateColumns>9999<", "<PlateColumns> is 9999"),
        ("</Plate></Plates>", "</Plate><Plate><PlateRows>1</PlateRows></Plate></Plates>", "a second plate begins"),
        ("<Plates><Plate>", "<Plots><Plate>", "mismatched tag"),
        ("<Name>P1</Name>", "<Name>P1</Name><Name>P2</Name>", "given twice"),
        ("<Name>P1</Name>", "<Name><b>P1</b></Name>", "inside an element that holds only text"),
        ("<Name>P1</Name>", f"<Name>{'x' * 5000}</Name>", "longer than 4096 characters"),
        ("<Name>P1</Name>", "<a>" * 40 + "</a>" * 40, "nested deeper than 32"),
        ("<Name>P1</Name>", "<Name>&undefined;</Name>", "undefined entity"),
    ],
)
def test_a_wrong_index_is_refused_with_a_line(old: str, new: str, words: str) -> None:
    """Whatever is wrong with it has a place and a sentence."""
    text = HEAD + image() + TAIL
    assert old in text
    message = str(refusal(text.replace(old, new)))
    assert ", line " in message
    assert words in message


def test_no_plate_at_all_is_refused() -> None:
    """An index of images only says nothing of rows and columns."""
    start, _, rest = HEAD.partition("<Plates>")
    assert "it has no <Plate>" in str(refusal(start + rest.partition("</Plates>")[2] + image() + TAIL))


@pytest.mark.parametrize("length", [0, 1, 100, 500, 900])
def test_a_truncated_index_is_refused(length: int) -> None:
    """As long as it is being written, it is not an index."""
    refusal((HEAD + image() * 2 + TAIL)[:length])


@pytest.mark.parametrize(
    "namespace", ["http://www.perkinelmer.com/PEHH/HarmonyV8", "43B2A954-E3C3/HarmonyV9", "x/HarmonyV12"]
)
def test_a_newer_layout_is_unsupported(namespace: str) -> None:
    """Nobody knows what its files are."""
    with pytest.raises(Permanent, match="not known here") as caught:
        read_text((HEAD + image() + TAIL).replace("http://www.perkinelmer.com/PEHH/HarmonyV5", namespace))
    assert caught.value.reason is Reason.UNSUPPORTED


ENTITIES = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE EvaluationInputData>",
        "<!DOCTYPE EvaluationInputData SYSTEM 'file:///etc/passwd'>",
        "<!DOCTYPE EvaluationInputData PUBLIC 'x' 'http://host/x.dtd'>",
        "<!DOCTYPE EvaluationInputData [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
        f"<!DOCTYPE EvaluationInputData [<!ENTITY e0 'ha'>{ENTITIES}]>",
        "<!DOCTYPE EvaluationInputData [<!ENTITY % p SYSTEM 'http://host/x'> %p;]>",
    ],
)
def test_a_doctype_is_refused_before_any_entity_is_read(doctype: str) -> None:
    """No file is read, no host asked, no memory filled."""
    head = HEAD.replace("<EvaluationInputData", f"{doctype}<EvaluationInputData", 1).replace("<Name>P1", "<Name>&e9;")
    message = str(refusal(head + image() + TAIL))
    assert "DOCTYPE" in message
    assert "line 2" in message


@pytest.mark.parametrize("encoding", ["U-TF-8", "gbk", "utf-7"])
def test_an_encoding_that_cannot_be_read_is_refused(encoding: str) -> None:
    """Python does not know it, or expat takes none whose characters have several bytes."""
    assert "encoding" in str(refusal(HEAD.replace("utf-8", encoding) + image() + TAIL))


def test_predefined_entities_are_read() -> None:
    """A plate may be called A & B."""
    plate = read_text((HEAD + image() + TAIL).replace("<Name>P1", "<Name>A &amp; B &#228;"))
    assert plate.expected is not None
    assert plate.expected.name == "A & B ä"


def test_a_tag_of_many_megabytes_is_refused_early() -> None:
    """Expat keeps a whole tag in memory; here it stops after a little more than the limit."""
    stream = Endless(HEAD.encode() + b"<a x='", b"y" * 1000)
    with pytest.raises(Permanent, match="a tag or comment is longer than"):
        xml.parse(stream, str(ENTRY), index.Index(str(ENTRY)))
    assert stream.given < 4 * boundedxml.MAX_TAG_BYTES


def test_ever_new_names_are_refused() -> None:
    """Expat keeps every name of an element or attribute that it has seen."""
    message = str(refusal(HEAD + "".join(f"<n{n}/>" for n in range(2000)) + image() + TAIL))
    assert "different names" in message


@pytest.mark.parametrize(
    ("module", "bound"),
    [(xml, "MAX_ELEMENTS"), (index, "MAX_IMAGES"), (layout, "MAX_PLANES"), (boundedxml, "MAX_BYTES")],
)
def test_an_index_is_bounded(monkeypatch: pytest.MonkeyPatch, module: object, bound: str) -> None:
    """Elements, images, bytes, and the planes that sparse numbers multiply to."""
    text = HEAD + "".join(image(f"{n}.tiff", ChannelID=n) for n in range(1, 6)) + TAIL
    read_text(text)
    monkeypatch.setattr(module, bound, 4)
    assert " more than 4" in str(refusal(text)) or "larger than 4 bytes" in str(refusal(text))


def test_sparse_numbers_cannot_make_the_server_allocate_a_huge_plate() -> None:
    """Given 1,200 images on the diagonal of all axes; then Bio-Formats would allocate 34 million planes for them."""
    rows = [image(f"{n}.tiff", Row=n % 8 + 1, Col=n % 12 + 1, FieldID=n, ChannelID=n % 300 + 1) for n in range(1200)]
    assert "34560000 planes, more than 10000000" in str(refusal(HEAD + "".join(rows) + TAIL))


class Endless:
    """A file that begins as given and then repeats itself for ever."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self._rest = head
        self._body = body
        self.given = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        while len(self._rest) < size:
            self._rest += self._body
        chunk, self._rest = self._rest[:size], self._rest[size:]
        self.given += size
        return chunk


class Repeated:
    """A large index that is never whole in memory: its images differ by channel."""

    def __init__(self, images: int) -> None:
        self._images = images
        self._next = 0
        self._rest = HEAD.encode()

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        while len(self._rest) < size and self._next <= self._images:
            self._rest += self._image().encode() if self._next < self._images else TAIL.encode()
            self._next += 1
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk

    def _image(self) -> str:
        padding = f"<OrientationMatrix>{'0' * 4000}</OrientationMatrix>"
        text = image(f"{self._next}.tiff", ChannelID=self._next, leave="ChannelName")
        return text.replace("</Image>", f"{padding}</Image>")


def test_a_large_index_is_not_held_in_memory() -> None:
    """Given an index of 20 MB; when it is parsed; then the memory is that of its images, a tenth of it."""
    images = 5_000
    collected = index.Index(str(ENTRY))
    tracemalloc.start()
    try:
        xml.parse(Repeated(images), str(ENTRY), collected)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(collected.images) == images
    assert peak < 4_000_000


@given(st.text(st.sampled_from("<>/&;!-[]='\" aIURL\n\0é"), max_size=60), st.integers(0, 700))
@settings(max_examples=200)
def test_no_text_breaks_the_parser_in_another_way(junk: str, place: int) -> None:
    """Whatever stands in an index, it is read or refused by an error of the fleet."""
    text = HEAD + image() + TAIL
    try:
        plate = read_text(text[:place] + junk + text[place:])
    except FleetError:
        return
    assert plate.files[0] == str(ENTRY)


def listed(made: MadePlate) -> Plate:
    """Read a made plate from its folder."""
    with ShareReader(Share("hcs", made.folder.parent)) as reader:
        entry = FORMAT.find_entry(PurePosixPath(made.folder.name), reader)
        assert entry is not None
        return FORMAT.read(entry, reader)


def test_a_made_plate_is_read_as_it_was_made(tmp_path: Path) -> None:
    """Maker and format agree on files, planes, wells and names."""
    made = make_plate(tmp_path, PlateSpec(wells=6, fields=2, channels=2, planes=2, timepoints=2, size=8))
    plate = listed(made)
    assert plate.files == tuple(path.relative_to(tmp_path).as_posix() for path in made.files)
    assert [plane[:6] for plane in plate.planes] == [tuple(key) for key in made.tiffs]
    assert plate.identity == made.measurement_id
    assert plate.expected is not None
    assert plate.expected.wells == set(made.wells)
    assert dataclasses.replace(plate.expected, wells=frozenset()) == dataclasses.replace(
        plate.expected,
        name="demo",
        barcode="demo",
        rows=8,
        columns=12,
        wells=frozenset(),
        fields_per_well=2,
        sizes=Sizes(8, 8, 2, 2, 2),
        channels=("HOECHST 33342", "Alexa 488"),
    )


@pytest.mark.parametrize(
    ("files", "path", "entry"),
    [
        (["p/Images/Index.idx.xml"], "p", "p/Images/Index.idx.xml"),
        (["p/Images/Index.idx.xml"], "p/Images", "p/Images/Index.idx.xml"),
        (["p/Images/Index.idx.xml"], "p/Images/Index.idx.xml", "p/Images/Index.idx.xml"),
        (["p/raw/Index.ref.xml"], "p/raw", "p/raw/Index.ref.xml"),
        (["p/Images/Index.ref.xml", "p/Images/Index.idx.xml"], "p", "p/Images/Index.idx.xml"),
        (["p/Images/Index.ref.xml", "p/Images/Index.idx.xml"], "p/Images/Index.ref.xml", "p/Images/Index.ref.xml"),
        (["p/Images/Index.xml"], "p", "p/Images/Index.xml"),
        (["p/index.idx.xml"], "p", "p/index.idx.xml"),
        (["p/Images/a.tiff"], "p", None),
        (["p/Images/a.tiff"], "p/Images/a.tiff", None),
        (["p/q/Images/Index.idx.xml"], "p", None),
    ],
)
def test_the_entry_of_a_measurement_is_found(files: list[str], path: str, entry: str | None) -> None:
    """By its index, the folder that holds it, or the measurement's folder."""
    reader = Folder(dict.fromkeys(files, HEAD.encode()))
    assert FORMAT.find_entry(PurePosixPath(path), reader) == (None if entry is None else PurePosixPath(entry))


def test_another_index_xml_is_no_measurement() -> None:
    """The name is common; only what Harmony wrote counts."""
    reader = Folder({"p/Index.xml": b"<html/>"})
    assert FORMAT.find_entry(PurePosixPath("p"), reader) is None
    assert FORMAT.find_entry(PurePosixPath("p/Index.xml"), reader) is None


def test_a_plane_says_where_it_is() -> None:
    """In the words of the people at the microscope."""
    assert Plane(15, 23, 8, 0, 2, 4, None).where == "well P24, field 9, channel 5, plane 3, time point 1"
