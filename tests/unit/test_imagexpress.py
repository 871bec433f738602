"""HTDs of ImageXpress plates: what is read from a good one, what is refused in a bad one, and where they are found."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fleet_common.errors import FleetError, Permanent, Reason, Transient
from fleet_common.plates import End, detect
from fleet_common.plates.imagexpress import htd
from fleet_common.plates.imagexpress.htd import Plan, parse
from fleet_stack.plates import PlateSpec
from fleet_stack.plates.imagexpress import Options
from support.imagexpress import ENTRY, FORMAT, PLATE_ID, TIFF, plan, read
from support.memory import Memory

ROW1 = '"WellsSelection1", TRUE, TRUE, FALSE'
SITES = '"SiteSelection1", TRUE, TRUE'


def parsed(*changes: tuple[str, str]) -> Plan:
    """The plan of the usual HTD with texts of it changed."""
    return parse(io.BytesIO(plan(*changes)), str(ENTRY))


def refused(*changes: tuple[str, str]) -> str:
    """The error of a changed HTD, which names the file."""
    with pytest.raises(Permanent) as caught:
        parsed(*changes)
    assert caught.value.reason is Reason.FORMAT_BROKEN, caught.value
    assert str(caught.value).startswith(f"{ENTRY}: ")
    return str(caught.value)


def test_an_htd_tells_the_plan() -> None:
    """Rows and columns of the plate, chosen wells and sites, waves, and the plate's own id."""
    assert parsed() == Plan(
        rows=8,
        columns=12,
        wells=((0, 0), (0, 1)),
        sites=2,
        waves=("DAPI", "FITC"),
        waves_named=True,
        timepoints=1,
        steps=1,
        identity=PLATE_ID,
    )


def test_a_plate_tells_what_an_htd_knows() -> None:
    """Name and barcode are those of its HTD; operator, instrument and time are not in it, and no end either."""
    plate = read(["P1_A01_s1_w1.TIF"])
    assert plate.expected is not None
    assert (plate.expected.name, plate.expected.barcode, plate.identity) == ("P1", "P1", PLATE_ID)
    assert (plate.expected.rows, plate.expected.columns) == (8, 12)
    assert plate.expected.sizes == (8, 6, 1, 2, 1)
    assert plate.expected.channels == ("DAPI", "FITC")
    assert (plate.format, plate.entry, plate.reader) == (
        "imagexpress",
        str(ENTRY),
        "loci.formats.in.MetaxpressTiffReader",
    )
    assert (plate.operator, plate.instrument, plate.started_at, plate.end) == ("", "", "", End.UNKNOWN)


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig"])
def test_an_htd_may_be_written_in_several_ways(ending: str, encoding: str) -> None:
    """MetaXpress writes CR LF and the code page of its host; people rewrite it with other editors."""
    text = plan().decode().replace("\r\n", ending)
    assert parse(io.BytesIO(text.encode(encoding)), str(ENTRY)) == parsed()


def test_the_end_needs_no_line_break() -> None:
    """The last line is whole without it."""
    assert parsed(('"EndFile"\r\n', '"EndFile"')) == parsed() == parsed(('"EndFile"', '"EndFile"\r\n\r\n'))


def test_an_htd_without_sites_and_waves_has_one_of_each() -> None:
    """Nothing says that the only site is chosen, and names of files tell neither."""
    one = parse(io.BytesIO(plan(spec=PlateSpec(name="P1", wells=1, fields=1, channels=1))), str(ENTRY))
    assert (one.sites, one.waves, one.waves_named) == (1, ("DAPI",), False)


def test_only_chosen_sites_count() -> None:
    """Three of a grid of two by two."""
    made = parse(io.BytesIO(plan(spec=PlateSpec(name="P1", wells=1, fields=3))), str(ENTRY))
    assert made.sites == 3


def test_one_chosen_site_of_many_is_one_field() -> None:
    """Then the names of files need not tell it."""
    assert parsed(('"SiteSelection1", TRUE, TRUE', '"SiteSelection1", TRUE, FALSE')).sites == 1


@pytest.mark.parametrize(("steps", "planes"), [("0", 1), ("1", 1), ("7", 7)])
def test_no_step_is_one_plane(steps: str, planes: int) -> None:
    """MetaXpress 6.7 writes 0 where there is no stack."""
    assert parsed(('"ZSteps", 1', f'"ZSteps", {steps}')).steps == planes


def test_missing_time_points_and_steps_are_one() -> None:
    """As for Bio-Formats."""
    made = parsed(('"TimePoints", 1\r\n', ""), ('"ZSteps", 1\r\n', ""))
    assert (made.timepoints, made.steps) == (1, 1)


def test_a_wave_without_a_name_has_none() -> None:
    """Its number is enough."""
    assert parsed(('"WaveName1", "DAPI"\r\n', "")).waves == ("", "FITC")


def test_a_single_wave_may_be_named_in_files() -> None:
    """Waves is TRUE although there is but one."""
    made = parsed(('"NWavelengths", 2', '"NWavelengths", 1'), ('"WaveName2", "FITC"\r\n', ""))
    assert (made.waves, made.waves_named) == (("DAPI",), True)


def test_other_lines_are_passed_over() -> None:
    """A description may go over several lines, and newer versions may say more."""
    odd = '"Description", "one\r\ntwo, 3"\r\n"Objective", "20x", 4\r\nWaveName9", no\r\n\r\n'.replace("WaveName9", "W")
    assert parsed(('"PlateType", 2\r\n', odd)) == parsed()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"XWells", 12', '"XWells", 0', "line 8 in 'XWells': 0 is not within 1 and 48"),
        ('"XWells", 12', '"XWells", 49', "49 is not within"),
        ('"XWells", 12', '"XWells", 9999999', "'9999999' is not a whole number"),
        ('"XWells", 12', '"XWells", -1', "'-1' is not a whole number"),
        ('"XWells", 12', '"XWells", ٣', "not a whole number"),
        ('"XWells", 12', '"XWells", ', "'' is not a whole number"),
        ('"XWells", 12\r\n', "", "in 'YWells': it comes before XWells"),
        ('"YWells", 8\r\n', "", "in 'WellsSelection1': it comes before YWells"),
        ('"YWells", 8', '"YWells", 8\r\n"YWells", 8', "line 10 in 'YWells': it is given twice"),
        ('"YWells", 8', '"YWells", 9', "WellsSelection9 is missing"),
        ('"YWells", 8', '"YWells", 7', "in 'WellsSelection8': its number is not within 1 and 7"),
        ('"XWells", 12', '"XWells", 11', "it has 12 values, not 11 as XWells says"),
        (ROW1, '"WellsSelection1", TRUE, FALSE', "it has 11 values, not 12"),
        (ROW1, '"WellsSelection1", TRUE, maybe, FALSE', "' maybe' is neither TRUE nor FALSE"),
        (ROW1, '"WellsSelection1", FALSE, FALSE, FALSE', "no well is chosen"),
        ('"WellsSelection2"', '"WellsSelection1"', "it is given twice"),
        ('"WellsSelection2"', '"WellsSelection0"', "its number is not within 1 and 8"),
        ('"WellsSelection2"', '"WellsSelectionB"', "it does not end with a number"),
        (SITES, '"SiteSelection1", FALSE, FALSE', "no site is chosen"),
        (SITES + "\r\n", "", "SiteSelection1 is missing"),
        ('"YSites", 2\r\n', "", "in 'SiteSelection1': it comes before YSites"),
        ('"Sites", TRUE', '"Sites", FALSE', "Sites is FALSE, and there is a SiteSelection"),
        ('"Waves", TRUE', '"Waves", 1', "'1' is neither TRUE nor FALSE"),
        ('"NWavelengths", 2', '"NWavelengths", 0', "0 is not within 1 and 64"),
        ('"NWavelengths", 2', '"NWavelengths", 1', "in 'WaveName2': its number is not within 1 and 1"),
        ('"NWavelengths", 2\r\n', "", "its number is not within 1 and 0, as NWavelengths before it says"),
        ('"WaveName1", "DAPI"', f'"WaveName1", "{"x" * 300}"', "longer than 200 characters"),
        ('"TimePoints", 1', '"TimePoints", 0', "0 is not within 1 and"),
        ('"TimePoints", 1', '"TimePoints", 9999', "it plans 79992 images"),
        ('"HTSInfoFile", Version 1.0', '"Other", Version 1.0', "line 1: it does not begin with"),
        ('"EndFile"', '"EndFile"\r\n"EndFile"', "there is more after"),
    ],
)
def test_a_wrong_htd_is_refused_with_its_line(monkeypatch: pytest.MonkeyPatch, old: str, new: str, words: str) -> None:
    """Whatever Bio-Formats would fail at, or understand in another way than people."""
    monkeypatch.setattr(htd, "MAX_PLANES", 50_000)
    assert words in refused((old, new))


@pytest.mark.parametrize(("taken", "words"), [("Sites", "XSites or YSites"), ("NWavelengths", "NWavelengths is")])
def test_an_htd_without_sites_or_waves_is_refused(taken: str, words: str) -> None:
    """Bio-Formats would end with a NullPointerException."""
    lines = [line for line in plan().decode().split("\r\n") if taken not in line and "Site" not in line]
    kept = [line for line in lines if "WaveName" not in line]
    with pytest.raises(Permanent, match=f"{words}.* missing"):
        parse(io.BytesIO("\r\n".join(kept).encode()), str(ENTRY))


def test_wells_that_bioformats_cannot_name_are_unsupported() -> None:
    """It calls the row after Z '[', finds no file, and shows blank images (seen with 6.7)."""
    spec = PlateSpec(name="P1", positions=((0, 0), (26, 0)))
    with pytest.raises(Permanent, match="below row Z") as caught:
        parse(io.BytesIO(plan(spec=spec)), str(ENTRY))
    assert caught.value.reason is Reason.UNSUPPORTED


def test_a_large_plate_without_these_wells_is_fine() -> None:
    """1,536 wells of which the rows from A to Z are used."""
    made = parse(io.BytesIO(plan(spec=PlateSpec(name="P1", positions=((25, 47), (0, 0))))), str(ENTRY))
    assert (made.rows, made.columns, made.wells) == (32, 48, ((0, 0), (25, 47)))


def test_utf_16_is_refused_with_the_way_out() -> None:
    """Bio-Formats reads an HTD as UTF-8 and fails."""
    with pytest.raises(Permanent, match="UTF-16, which Bio-Formats cannot read"):
        parse(io.BytesIO(plan().decode().encode("utf-16")), str(ENTRY))


@pytest.mark.parametrize("cut", [1, 10, 11, 12, 100, 400, 1200])
def test_an_htd_without_its_last_line_is_not_there_yet(cut: int) -> None:
    """As long as it is being written, it is no plan: no verdict on the plate."""
    whole = plan()
    with pytest.raises(Transient, match="still being written, or was cut") as caught:
        parse(io.BytesIO(whole[: len(whole) - 2 - cut]), str(ENTRY))
    assert caught.value.reason is Reason.MANIFEST_DIFFERS


def test_an_htd_of_zeros_at_its_end_is_not_there_yet() -> None:
    """Copies over SMB reserve the whole length first."""
    whole = plan()
    with pytest.raises(Transient, match="still being written"):
        parse(io.BytesIO(whole[:700] + bytes(len(whole) - 700)), str(ENTRY))


class Endless:
    """A file without end."""

    given = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        self.given += size
        return b"x" * size


def test_a_huge_htd_is_not_read_on() -> None:
    """It stops a byte after the limit."""
    stream = Endless()
    with pytest.raises(Permanent, match="larger than 1048576 bytes"):
        parse(stream, str(ENTRY))
    assert stream.given == htd.MAX_BYTES + 1


def test_a_plan_cannot_make_anybody_allocate_millions_of_planes() -> None:
    """Given an HTD of 2 kB that plans 1.6 billion images."""
    assert "more than 1000000" in refused(
        ('"TimePoints", 1', '"TimePoints", 10000'), ('"ZSteps", 1', '"ZSteps", 10000')
    )


@given(st.integers(0, 1300))
@examples(max_examples=300, deadline=None)
def test_no_part_of_an_htd_is_taken_for_the_whole(length: int) -> None:
    """A cut plan would plan fewer images, and the plate would be complete too early."""
    whole = plan()
    part = whole[:length]
    try:
        made = parse(io.BytesIO(part), str(ENTRY))
    except FleetError:
        return
    assert part.rstrip() == whole.rstrip()
    assert made == parsed()


@given(st.binary(max_size=40), st.integers(0, 1300))
@examples(max_examples=300, deadline=None)
def test_no_bytes_break_the_parser_in_another_way(junk: bytes, place: int) -> None:
    """Whatever stands in an HTD, it is read or refused by an error of the fleet."""
    whole = plan()
    try:
        made = parse(io.BytesIO(whole[:place] + junk + whole[place:]), str(ENTRY))
    except FleetError:
        return
    assert made.wells


HTD = plan()


@pytest.mark.parametrize(
    ("files", "path", "entry"),
    [
        (["p/P1.HTD"], "p", "p/P1.HTD"),
        (["p/P1.HTD"], "p/P1.HTD", "p/P1.HTD"),
        (["p/P1.htd"], "p", "p/P1.htd"),
        (["p/P1.HTD", "p/TimePoint_1/P1.HTD"], "p/TimePoint_1", "p/P1.HTD"),
        (["p/P1.HTD", "p/TimePoint_1/P1.HTD"], "p/TimePoint_1/P1.HTD", "p/P1.HTD"),
        (["p/P1.HTD", "p/TimePoint_1/ZStep_2/P1.HTD"], "p/TimePoint_1/ZStep_2", "p/P1.HTD"),
        (["P1.HTD", "TimePoint_1/P1.HTD"], "TimePoint_1", "P1.HTD"),
        (["p/TimePoint_1/P1.HTD"], "p/TimePoint_1", "p/TimePoint_1/P1.HTD"),
        (["p/P2.HTD", "p/TimePoint_1/P1.HTD"], "p/TimePoint_1", "p/TimePoint_1/P1.HTD"),
        (["p/P1.HTD", "p/sub/P1.HTD"], "p/sub", "p/sub/P1.HTD"),
        (["p/a.TIF"], "p", None),
        (["p/P1.HTD", "p/a.TIF"], "p/a.TIF", None),
        (["p/q/P1.HTD"], "p", None),
        (["p/.P1.HTD"], "p", None),
        (["p/P1.HTD.tmp"], "p", None),
    ],
)
def test_the_entry_of_a_plate_is_found(files: list[str], path: str, entry: str | None) -> None:
    """By its HTD or its folder; a copy in an export's folder stands for the plate above it."""
    found = FORMAT.find_entry(PurePosixPath(path), Memory(dict.fromkeys(files, HTD)))
    assert found == (None if entry is None else PurePosixPath(entry))


@pytest.mark.parametrize("content", [b"<html>", b"heights\n1 2 3", TIFF])
def test_what_is_called_so_and_is_none_is_no_plate(content: bytes) -> None:
    """Other programs have files of this ending, too."""
    reader = Memory({"p/x.htd": content, "p/a.tif": TIFF})
    assert FORMAT.find_entry(PurePosixPath("p"), reader) is None
    assert FORMAT.find_entry(PurePosixPath("p/x.htd"), reader) is None


@pytest.mark.parametrize("content", [b"", plan().decode().encode("utf-16")])
def test_a_plate_is_recognised_before_it_can_be_read(content: bytes) -> None:
    """An empty HTD was just created, and one in UTF-16 gets an error that says so: neither is a file for itself."""
    reader = Memory({"p/P1.HTD": content})
    entry = FORMAT.find_entry(PurePosixPath("p"), reader)
    assert entry == PurePosixPath("p/P1.HTD")
    with pytest.raises(Permanent) as caught:
        FORMAT.read(entry, reader)
    assert caught.value.reason in (Reason.FILE_EMPTY, Reason.FORMAT_BROKEN)


def test_of_two_plates_in_a_folder_one_must_be_named() -> None:
    """Nobody wants half of what was acquired; each is found by its HTD."""
    reader = Memory({"p/P1.HTD": HTD, "p/P2.HTD": HTD})
    with pytest.raises(Permanent, match=r"2 plates \('P1\.HTD', 'P2\.HTD'\): name the HTD of the one") as caught:
        FORMAT.find_entry(PurePosixPath("p"), reader)
    assert caught.value.reason is Reason.UNKNOWN_FORMAT
    assert FORMAT.find_entry(PurePosixPath("p/P2.HTD"), reader) == PurePosixPath("p/P2.HTD")


def test_the_format_is_installed() -> None:
    """And no other format takes its plates."""
    found, entry = detect(PurePosixPath("p"), Memory({"p/P1.HTD": HTD}))
    assert (found.name, str(entry)) == ("imagexpress", "p/P1.HTD")


def test_options_of_the_maker_reach_its_htd() -> None:
    """What the tests change is really written."""
    assert b'"ZSteps", 0' in plan(options=Options(z_steps=0))
    assert b'"XSites", 5\r\n"YSites", 4' in plan(options=Options(grid=(5, 4)))
