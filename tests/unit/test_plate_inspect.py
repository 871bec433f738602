"""omero-fleet plate inspect and paths check, on real folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fleet_common import cli
from fleet_common.exits import Exit
from fleet_common.plates import Expected, FileProblem, Plane, Plate, Problem, Sizes
from fleet_producer.platepicture import picture
from fleet_stack.plates import MadePlate, PlateSpec, make_plate
from fleet_stack.plates.omezarr import Options as OmeZarrOptions
from fleet_stack.plates.omezarr import make_omezarr


@pytest.fixture
def plate(tmp_path: Path) -> MadePlate:
    """Six wells, one of them not measured, two channels."""
    positions = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1))
    return make_plate(tmp_path, PlateSpec(name="P1", positions=positions, fields=1, channels=2, size=8))


def inspect(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str]:
    code = cli.run(["plate", "inspect", *map(str, arguments)])
    return code, capsys.readouterr().out


def tiffs(plate: MadePlate, row: int, column: int) -> list[Path]:
    return [path for key, path in plate.tiffs.items() if (key.row, key.column) == (row, column)]


def test_a_whole_plate_is_shown(plate: MadePlate, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a plate, then its format, its files and a picture of its wells are shown."""
    code, out = inspect(capsys, plate.folder)
    assert code == Exit.OK
    lines = out.splitlines()
    assert f"files            {len(plate.files)} of {len(plate.files)}" in lines
    assert "A ###........." in lines
    assert "B ##-........." in lines
    assert "H ............" in lines
    assert "problems:" not in out


def test_what_is_missing_is_in_picture_and_words(plate: MadePlate, capsys: pytest.CaptureFixture[str]) -> None:
    """Given one well without a channel and one without any file."""
    tiffs(plate, 0, 1)[1].unlink()
    for path in tiffs(plate, 1, 0):
        path.write_bytes(b"")
    code, out = inspect(capsys, plate.folder)
    assert code == Exit.REFUSED
    assert "A #o#" in out
    assert "B x#-" in out
    assert f"{len(plate.files) - 3} of {len(plate.files)}" in out
    assert "well A02, field 1, channel 2" in out
    assert "channel 2" in out.partition("gaps:")[2]


def test_cut_files_are_named(plate: MadePlate, capsys: pytest.CaptureFixture[str]) -> None:
    """And not when nobody wants to open them."""
    cut = tiffs(plate, 0, 0)[0]
    cut.write_bytes(cut.read_bytes()[:-5])
    code, out = inspect(capsys, plate.folder)
    assert code == Exit.REFUSED
    assert f"{cut.name} is cut (well A01" in out
    assert inspect(capsys, plate.folder, "--no-tiffs")[0] == Exit.OK


def test_an_image_of_another_type_is_named_and_drawn(plate: MadePlate, capsys: pytest.CaptureFixture[str]) -> None:
    """As one that is not as it should be, in its well."""
    tifffile.imwrite(tiffs(plate, 0, 1)[0], np.zeros((8, 8), "float32"))
    code, out = inspect(capsys, plate.folder)
    assert code == Exit.REFUSED
    assert "A #o#" in out
    assert "is of another pixel type (well A02, field 1, channel 1, plane 1, time point 1): float instead of" in out
    assert "gaps:" not in out, "nothing is missing"


def test_odd_sizes_are_named_when_asked_for(plate: MadePlate, capsys: pytest.CaptureFixture[str]) -> None:
    odd = tiffs(plate, 0, 0)[0]
    odd.write_bytes(odd.read_bytes() + b"more")
    assert inspect(capsys, plate.folder)[0] == Exit.OK
    code, out = inspect(capsys, plate.folder, "--same-sizes")
    assert code == Exit.REFUSED
    assert "of another size" in out


def test_a_program_is_told_everything(plate: MadePlate, capsys: pytest.CaptureFixture[str]) -> None:
    for path in tiffs(plate, 0, 1):
        path.unlink()
    code, out = inspect(capsys, plate.folder, "--json")
    report = json.loads(out)
    assert code == Exit.REFUSED
    assert (report["files"], report["files_there"]) == (len(plate.files), len(plate.files) - 2)
    assert report["wells"] == ["A01", "A02", "A03", "B01", "B02", "B03"]
    assert report["acquisition"] == "no end mark"
    assert len(report["problems"]) == 2


def test_what_a_person_should_know_before_the_import_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a Zarr that lacks a chunk of a smaller resolution; nothing is missing, all the same."""
    spec = PlateSpec(name="P", wells=1, fields=1, channels=2, size=8)
    made = make_omezarr(tmp_path, spec, OmeZarrOptions("0.5", levels=2))
    made.smaller[0].unlink()
    code, out = inspect(capsys, made.folder)
    assert code == Exit.OK
    assert "needs_bioformats newer than any release" in out
    assert "warnings:\n  well A01, field 1: 1 of 2 chunks of the resolution 1 are absent" in out


def test_many_problems_are_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_plate(tmp_path, PlateSpec(name="P", wells=24, fields=1, channels=1, size=8))
    for path in made.tiffs.values():
        path.unlink()
    _, out = inspect(capsys, made.folder)
    assert "and 4 more; all of them with --json" in out


def test_an_image_has_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.img").write_bytes(b"cells")
    code, out = inspect(capsys, tmp_path / "a.img")
    assert code == Exit.OK
    assert "whole" not in out


def test_a_picture_of_1536_wells_fits_a_terminal() -> None:
    """Rows beyond Z have two letters, columns are counted in tens."""
    wells = frozenset((row, column) for row in range(32) for column in range(48))
    planes = tuple(Plane(row, column, 0, 0, 0, 0, f"{row}/{column}") for row, column in sorted(wells))
    expected = Expected("P", "", 32, 48, wells, 1, Sizes(8, 8, 1, 1, 1), ("",))
    plate = Plate("x", "i", "", ("i",), expected=expected, planes=planes)
    drawn = picture(plate, [FileProblem("31/47", Problem.MISSING, "")])
    assert drawn[0] == "   1234567891         2         3         4        "
    assert max(map(len, drawn)) <= 80
    assert drawn[-1] == f"AF {'#' * 47}x"


class TestPathsCheck:
    """omero-fleet paths check."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        (tmp_path / "hcs/P1").mkdir(parents=True)
        file = tmp_path / "producer.toml"
        file.write_text(f'[shares]\nhcs = "{tmp_path}/hcs"\ngone = "{tmp_path}/gone"\n')
        return file

    def run(self, capsys: pytest.CaptureFixture[str], config: Path, *arguments: Any) -> tuple[int, str]:
        code = cli.run(["--config", str(config), "paths", "check", *map(str, arguments)])
        return code, capsys.readouterr().out

    def test_each_share_is_looked_at(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, out = self.run(capsys, config)
        assert code == Exit.UNFIT
        assert f"hcs = {config.parent}/hcs  folder  1 names" in out
        assert "gone = " in out
        assert "cannot be listed" in out

    def test_a_path_is_said_with_its_share(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (config.parent / "gone").mkdir()
        (config.parent / "gone/x").touch()
        code, out = self.run(capsys, config, config.parent / "hcs/P1")
        assert code == Exit.OK
        assert f"{config.parent}/hcs/P1  hcs/P1" in out

    @pytest.mark.parametrize("path", ["/elsewhere", "hcs/P2"])
    def test_a_path_in_no_share_or_that_is_not_there_is_unfit(
        self, config: Path, capsys: pytest.CaptureFixture[str], path: str
    ) -> None:
        code, out = self.run(capsys, config, config.parent / path, "--json")
        assert code == Exit.UNFIT
        (place,) = json.loads(out)["paths"]
        assert place["problem"]

    def test_watched_folders_are_paths_too(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        config.write_text(f'{config.read_text()}\n[[watch.folders]]\npath = "{config.parent}/hcs/P1"\n')
        _, out = self.run(capsys, config)
        assert "hcs/P1  hcs/P1" in out

    def test_without_shares_there_is_nothing_to_check(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "empty.toml").touch()
        assert self.run(capsys, tmp_path / "empty.toml")[0] == Exit.USAGE
