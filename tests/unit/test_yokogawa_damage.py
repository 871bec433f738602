"""Made Yokogawa measurements: what only their files have, damaged and growing; the rest is tested for all formats."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fleet_common.errors import FleetError, Permanent, Reason
from fleet_common.plates import End, Plate, Sizes, detect, problems, well_name
from fleet_common.storage import Share, ShareReader, measure
from fleet_stack.console import StackError
from fleet_stack.plates import PlateSpec
from fleet_stack.plates.__main__ import main
from fleet_stack.plates.btsxml import Options
from fleet_stack.plates.yokogawa import DATA, DETAIL, YokogawaPlate, make_yokogawa
from support.yokogawa import Folder, complete, read

SMALL = PlateSpec(name="P1", wells=3, fields=2, channels=2, size=8)
XML_OF_A_MEASUREMENT = ("entry", "data", "detail", "settings")


@pytest.fixture
def made(tmp_path: Path) -> YokogawaPlate:
    """A plate of 3 wells, 2 fields and 2 channels."""
    return make_yokogawa(tmp_path / "hcs", SMALL)


def look(made: YokogawaPlate) -> tuple[Plate, list[str]]:
    """The plate and what is wrong with its files, from its folder as producer and worker read it."""
    share = Share("hcs", made.folder.parent)
    with ShareReader(share) as reader:
        found, entry = detect(PurePosixPath(made.folder.name), reader)
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


def test_a_file_that_comes_late_changes_the_list(made: YokogawaPlate) -> None:
    """Bio-Formats would take it along, so the digest of a request that was made before no longer fits."""
    before, _ = look(made)
    (made.folder / "PostProcess.ppf").write_text("x")
    after, wrong = look(made)
    assert wrong == []
    assert set(after.files) - set(before.files) == {"P1/PostProcess.ppf"}


def test_the_same_barcode_measured_again_is_another_measurement(made: YokogawaPlate) -> None:
    """The begin tells them apart."""
    before, _ = look(made)
    rewritten(made.detail, "2026-01-01T10:00:00", "2026-01-02T10:00:00")
    after, _ = look(made)
    assert before.expected is not None
    assert after.expected is not None
    assert before.expected.barcode == after.expected.barcode
    assert before.identity != after.identity


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Every file of a plate with two time points, by name."""
    spec = dataclasses.replace(SMALL, wells=2, timepoints=2)
    made = make_yokogawa(tmp_path_factory.mktemp("whole"), spec, Options(errors=((1, 0),)))
    return {path.name: path.read_bytes() for path in made.files}


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
