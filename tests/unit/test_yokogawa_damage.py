"""Made Yokogawa measurements: intact, damaged in every way that was seen, and growing in every order."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fleet_common.errors import FleetError, Permanent, Reason, Transient
from fleet_common.plates import End, Plate, Sizes, detect, plate_format, problems, well_name
from fleet_common.storage import Share, ShareReader, measure
from fleet_stack.console import StackError
from fleet_stack.plates import PlaneKey, PlateSpec, pixels
from fleet_stack.plates.__main__ import main
from fleet_stack.plates.btsxml import Options
from fleet_stack.plates.yokogawa import DATA, DETAIL, YokogawaPlate, make_yokogawa
from support.memory import Vanishing
from support.yokogawa import FORMAT, Folder, complete, read

SMALL = PlateSpec(name="P1", wells=3, fields=2, channels=2, size=8)
XML_OF_A_MEASUREMENT = ("entry", "data", "detail", "settings")


@pytest.fixture
def made(tmp_path: Path) -> YokogawaPlate:
    """A plate of 3 wells, 2 fields and 2 channels."""
    return make_yokogawa(tmp_path / "hcs", SMALL)


def look(made: YokogawaPlate, folder: Path | None = None) -> tuple[Plate, list[str]]:
    """The plate and what is wrong with its files, from its folder as producer and worker read it."""
    there = folder or made.folder
    share = Share("hcs", there.parent)
    with ShareReader(share) as reader:
        found, entry = detect(PurePosixPath(there.name), reader)
        assert found.name == "yokogawa"
        plate = found.read(entry, reader)
    return plate, [str(problem) for problem in problems(plate, measure(share, plate.files))]


def rewritten(path: Path, old: str, new: str) -> None:
    """Change a text of a file wherever it stands."""
    text = path.read_text("utf-8-sig")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8-sig")


def test_an_intact_plate_is_read_as_it_was_made(made: YokogawaPlate) -> None:
    """Maker and format agree on files, planes, wells and names."""
    plate, wrong = look(made)
    assert wrong == []
    assert plate.files == tuple(f"P1/{path.name}" for path in made.files)
    assert [tuple(plane[:6]) for plane in plate.planes] == [tuple(key) for key in made.tiffs]
    assert plate.expected is not None
    assert plate.expected.wells == {(0, 0), (0, 1), (0, 2)} == plate.measured_wells
    assert plate.expected.sizes == Sizes(8, 8, 1, 2, 1)
    assert (plate.expected.rows, plate.expected.columns, plate.expected.barcode) == (8, 12, "BC-0815")
    assert (plate.operator, plate.instrument, plate.end) == ("demo operator", "CV8000", End.ENDED)


def test_a_screening_plate_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """384 wells, 9 fields, 5 channels; all images have the bytes of one, as only their number matters here."""
    content = pixels.tiff(tmp_path / "one.tif", size=8).read_bytes()
    monkeypatch.setattr(pixels, "tiff", lambda path, **_: path.write_bytes(content))
    made = make_yokogawa(tmp_path, PlateSpec(name="S", wells=384, fields=9, channels=5, size=8))
    plate, wrong = look(made)
    assert wrong == []
    assert len(plate.planes) == 17_280
    assert len(plate.files) == 17_280 + 5 + 5
    assert plate.expected is not None
    assert (plate.expected.images, plate.expected.planes) == (3456, 17_280)
    assert (plate.expected.rows, plate.expected.columns) == (16, 24)


def test_every_missing_and_empty_image_is_named_by_well_and_field(made: YokogawaPlate) -> None:
    """In words for the people at the microscope, each as what it is."""
    made.tiffs[PlaneKey(0, 1, 1, 0, 0, 1)].unlink()
    made.tiffs[PlaneKey(0, 2, 0, 0, 0, 0)].write_bytes(b"")
    _, wrong = look(made)
    assert wrong == [
        "P1/P1_A02_T0001F002L01A01Z01C02.tif is missing (well A02, field 2, channel 2, plane 1, time point 1)",
        "P1/P1_A03_T0001F001L01A01Z01C01.tif is empty (well A03, field 1, channel 1, plane 1, time point 1)",
    ]


def test_a_missing_well_is_no_empty_well(made: YokogawaPlate) -> None:
    """Given a well whose files were lost, and wells that nobody acquired; then only the first is missed."""
    for key, path in made.tiffs.items():
        if key.column == 1:
            path.unlink()
    plate, wrong = look(made)
    assert len(wrong) == 4
    assert all("well A02" in words for words in wrong)
    assert plate.expected is not None
    assert (0, 1) in plate.expected.wells
    assert (0, 3) not in plate.expected.wells


def test_a_well_that_the_instrument_gave_up_is_an_error_of_the_acquisition(tmp_path: Path) -> None:
    """No copy can bring it back, so nothing is missed."""
    plate, wrong = look(make_yokogawa(tmp_path, SMALL, Options(errors=((1, 2),))))
    assert wrong == []
    assert [(error.where, error.state) for error in plate.errors] == [
        ("well B03, time point 1", "AF Error at B03 No. 0 (P1)")
    ]
    assert plate.expected is not None
    assert (1, 2) not in plate.expected.wells


@pytest.mark.parametrize("part", ["data", "detail", "settings", "product"])
def test_a_missing_file_of_the_instrument_is_not_yet_there(made: YokogawaPlate, part: str) -> None:
    """One may look again later; images are listed as far as they are known."""
    path: Path = getattr(made, part)
    path.unlink()
    plate, wrong = look(made)
    assert wrong == [f"P1/{path.name} is missing"]
    assert len(plate.planes) == (0 if part == "data" else 12)
    assert plate.end is (End.RUNNING if part == "detail" else End.ENDED)


def test_a_missing_shading_correction_is_missed(made: YokogawaPlate) -> None:
    """The instrument names it; Bio-Formats leaves it out without a word."""
    made.shading[1].unlink()
    assert look(made)[1] == ["P1/SC_40x_M10_CH02.tif is missing"]


def test_without_its_entry_a_folder_is_no_plate(made: YokogawaPlate) -> None:
    """The entry itself is missed by its name."""
    made.entry.unlink()
    with ShareReader(Share("hcs", made.folder.parent)) as reader:
        assert FORMAT.find_entry(PurePosixPath("P1"), reader) is None
        with pytest.raises(Transient) as caught:
            FORMAT.read(PurePosixPath("P1/P1.wpi"), reader)
    assert caught.value.reason is Reason.MANIFEST_DIFFERS


@pytest.mark.parametrize("part", XML_OF_A_MEASUREMENT)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.99])
def test_a_cut_file_of_the_instrument_is_refused_with_its_line(made: YokogawaPlate, part: str, share: float) -> None:
    """As long as it is being written, it is none."""
    path: Path = getattr(made, part)
    content = path.read_bytes().rstrip()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(Permanent) as caught:
        look(made)
    assert caught.value.reason is Reason.FORMAT_BROKEN
    assert str(caught.value).startswith(f"P1/{path.name}, line ")


def test_a_cut_or_other_image_keeps_its_place(made: YokogawaPlate) -> None:
    """Whether images are whole is for another check, which finds well and field by the file's name."""
    first, second = list(made.tiffs.values())[:2]
    first.write_bytes(first.read_bytes()[:40])
    tifffile.imwrite(second, np.zeros((8, 8), "float32"))
    plate, wrong = look(made)
    assert wrong == []
    assert plate.expected is not None
    assert plate.expected.sizes == Sizes(8, 8, 1, 2, 1)
    where = {plane.path: plane.where for plane in plate.planes}
    assert where[f"P1/{second.name}"] == "well A01, field 1, channel 2, plane 1, time point 1"


def test_a_file_that_comes_late_changes_the_list(made: YokogawaPlate) -> None:
    """Bio-Formats would take it along, so the digest of a request that was made before no longer fits."""
    before, _ = look(made)
    (made.folder / "PostProcess.ppf").write_text("x")
    after, wrong = look(made)
    assert wrong == []
    assert set(after.files) - set(before.files) == {"P1/PostProcess.ppf"}


def test_a_renamed_folder_is_the_same_measurement(made: YokogawaPlate) -> None:
    """Identity and names do not depend on where it lies."""
    before, _ = look(made)
    moved = made.folder.rename(made.folder.with_name("other"))
    after, wrong = look(made, moved)
    assert wrong == []
    assert after.identity == before.identity
    assert [name.removeprefix("other/") for name in after.files] == [name.removeprefix("P1/") for name in before.files]


def test_the_same_barcode_measured_again_is_another_measurement(made: YokogawaPlate) -> None:
    """The begin tells them apart."""
    before, _ = look(made)
    rewritten(made.detail, "2026-01-01T10:00:00", "2026-01-02T10:00:00")
    after, _ = look(made)
    assert before.expected is not None
    assert after.expected is not None
    assert before.expected.barcode == after.expected.barcode
    assert before.identity != after.identity


@pytest.mark.parametrize("name", ["Plätte 1 #2", "板 (7)"])
def test_names_of_any_language_are_kept(tmp_path: Path, name: str) -> None:
    """Folder, files and records."""
    plate, wrong = look(make_yokogawa(tmp_path, dataclasses.replace(SMALL, name=name)))
    assert wrong == []
    assert plate.entry == f"{name}/{name}.wpi"


def test_paths_of_more_than_300_characters_are_read(tmp_path: Path) -> None:
    """Deep folders are the rule on shares of facilities."""
    folder = tmp_path.joinpath(*["a folder with a long name that goes on and on"] * 6)
    plate, wrong = look(make_yokogawa(folder, SMALL))
    assert len(str(folder)) > 300
    assert wrong == []
    assert len(plate.planes) == 12


def test_a_share_that_vanishes_is_no_verdict_on_the_plate(made: YokogawaPlate) -> None:
    """Whichever call it is that fails, the error of the share gets through."""
    there = Folder({path.name: path.read_bytes() for path in made.files}, PurePosixPath("P1"))
    outcomes = [_outcome(Vanishing(there, calls)) for calls in range(12)]
    calls_of_a_whole_look = outcomes.index("read")
    assert calls_of_a_whole_look == 8
    assert set(outcomes[:calls_of_a_whole_look]) == {"share-unavailable"}


def _outcome(reader: Vanishing) -> str:
    try:
        read_as = plate_format("yokogawa")
        entry = read_as.find_entry(PurePosixPath("P1"), reader)  # type: ignore[arg-type]  # it passes every call on
        assert entry is not None
        read_as.read(entry, reader)  # type: ignore[arg-type]  # as above
    except Transient as error:
        return error.reason
    return "read"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Every file of a plate with two time points, by name."""
    spec = dataclasses.replace(SMALL, wells=2, timepoints=2)
    made = make_yokogawa(tmp_path_factory.mktemp("whole"), spec, Options(errors=((1, 0),)))
    return {path.name: path.read_bytes() for path in made.files}


@given(choice=st.data())
@examples(max_examples=150, deadline=None)
def test_no_subset_of_the_files_is_complete(whole: Mapping[str, bytes], choice: st.DataObject) -> None:
    """Whatever has arrived so far, some of it empty, some of it without a manifest: only all of it is complete."""
    lost = choice.draw(st.sets(st.sampled_from(sorted(whole))))
    empty = choice.draw(st.sets(st.sampled_from(sorted(whole)), max_size=1))
    there = Folder({name: b"" if name in empty else whole[name] for name in whole if name not in lost})
    assert completes(there) == (not lost and not empty)


@given(order=st.data())
@examples(max_examples=60, deadline=None)
def test_a_growing_plate_is_complete_with_its_last_file(whole: Mapping[str, bytes], order: st.DataObject) -> None:
    """Files arrive in any order, the manifest first, last or in between, some of it cut on the way."""
    arriving = order.draw(st.permutations(sorted(whole)))
    there = Folder({})
    for name in arriving:
        assert not completes(there)
        if Path(name).suffix in {".wpi", ".mlf", ".mrf", ".mes"}:
            body = whole[name].rstrip()
            there.files[name] = body[: order.draw(st.integers(0, len(body) - 1))]
            assert not completes(there)
        there.files[name] = whole[name]
    assert completes(there)


@pytest.mark.parametrize("first", [True, False])
def test_the_manifest_may_come_first_or_last(whole: Mapping[str, bytes], first: bool) -> None:  # noqa: FBT001  a parameter of the test
    """The two orders in which copying tools really copy."""
    manifest = [name for name in sorted(whole) if not name.endswith(".tif")]
    images = [name for name in sorted(whole) if name.endswith(".tif")]
    there = Folder({})
    for name in [*manifest, *images] if first else [*images, *manifest]:
        assert not completes(there)
        there.files[name] = whole[name]
    assert completes(there)


@given(steps=st.data())
@examples(max_examples=60, deadline=None)
def test_a_record_that_is_written_as_it_is_acquired_is_never_complete_too_early(
    whole: Mapping[str, bytes], steps: st.DataObject
) -> None:
    """Given a .mlf that is closed after every record, with long pauses: only the end of the measurement counts."""
    lines = whole[DATA].decode("utf-8-sig").splitlines(keepends=True)
    images = [line for line in lines if 'Type="IMG"' in line]
    running = whole[DETAIL].replace(b'bts:EndTime="2026-01-01T11:30:00+01:00" ', b"")
    there = Folder({name: content for name, content in whole.items() if not name.startswith("P1_")} | {DETAIL: running})
    for count in range(len(images)):
        there.files[DATA] = "".join([*lines[:2], *images[: count + 1], lines[-1]]).encode()
        name = images[count].partition(">")[2].partition("<")[0]
        assert not completes(there)
        if steps.draw(st.booleans()):
            there.files[name] = whole[name]
            assert not completes(there)
    there.files[DETAIL] = whole[DETAIL]
    all_there = set(there.files) == set(whole)
    assert completes(there) == all_there
    there.files.update(whole)
    assert completes(there)


def completes(there: Folder) -> bool:
    """Whether the plate is complete; what cannot be read is not."""
    try:
        return complete(there)
    except FleetError:
        return False


def test_progress_is_told_while_the_plate_grows(whole: Mapping[str, bytes]) -> None:
    """N of M images, with the wells that are still to come."""
    there = Folder({name: content for name, content in whole.items() if not name.startswith("P1_A02")})
    plate = read(there)
    missing = problems(plate, there.sizes)
    assert len(missing) == 8
    assert len(plate.planes) == 16
    assert {well_name(plane.row, plane.column) for plane in plate.planes} == {"A01", "A02"}
    assert all(problem.where.startswith("well A02") for problem in missing)


def test_the_same_spec_makes_the_same_bytes(tmp_path: Path) -> None:
    """So that a test can make a plate anew anywhere."""
    one, two = (make_yokogawa(tmp_path / name, SMALL) for name in ("one", "two"))
    assert [path.name for path in one.files] == [path.name for path in two.files]
    assert [path.read_bytes() for path in one.files] == [path.read_bytes() for path in two.files]
    assert len({path.read_bytes() for path in one.tiffs.values()}) == 12


def test_wells_may_lie_anywhere(tmp_path: Path) -> None:
    """On the smallest usual plate that has them; fields may be left out."""
    spec = PlateSpec(
        name="P1", positions=((15, 23), (0, 0)), fields=2, channels=1, size=8, absent=frozenset({(0, 0, 0)})
    )
    plate, wrong = look(make_yokogawa(tmp_path, spec))
    assert wrong == []
    assert plate.expected is not None
    assert (plate.expected.rows, plate.expected.columns) == (16, 24)
    assert [tuple(plane[:3]) for plane in plate.planes] == [(0, 0, 1), (15, 23, 0), (15, 23, 1)]


@pytest.mark.parametrize("spec", [PlateSpec(wells=1537), PlateSpec(positions=((40, 0),)), PlateSpec(fields=0)])
def test_what_is_no_plate_is_not_made(tmp_path: Path, spec: PlateSpec) -> None:
    """Before anything is written."""
    with pytest.raises(StackError):
        make_yokogawa(tmp_path, spec)
    assert not list(tmp_path.iterdir())


def test_the_command_prints_the_file_to_submit(tmp_path: Path) -> None:
    """Alone on stdout, so that a shell can use it."""
    arguments = ["yokogawa", str(tmp_path), "--wells", "2", "--fields", "1", "--size", "8", "--running"]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == f"{tmp_path}/demo/demo.wpi\n"
    assert "EndTime" not in (tmp_path / "demo" / DETAIL).read_text("utf-8-sig")
    shutil.rmtree(tmp_path / "demo")
    assert CliRunner().invoke(main, ["yokogawa", str(tmp_path), "--name", "P1"]).exit_code == 0
