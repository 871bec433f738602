"""The maker of plates: the real layout, the same bytes for the same spec."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fleet_stack.console import StackError
from fleet_stack.plates import MadePlate, PlaneKey, PlateSpec, make_plate, tiff
from fleet_stack.plates.__main__ import main

SMALL = PlateSpec(wells=2, fields=2, channels=2, size=16)


def digest(made: MadePlate) -> str:
    """One digest over the names and bytes of a plate."""
    total = hashlib.sha256()
    for path in made.files:
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def test_a_plate_has_the_layout_of_an_export(tmp_path: Path) -> None:
    """Measurement folder, index, one TIFF per plane, companions."""
    made = make_plate(tmp_path, SMALL)
    assert made.folder == tmp_path / "demo__2026-01-01T10_00_00-Measurement 1"
    assert made.entry == made.folder / "Images" / "Index.idx.xml"
    assert made.tiffs[PlaneKey(0, 1, 1, 0, 0, 1)].name == "r01c02f02p01-ch2sk1fk1fl1.tiff"
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(made.files)
    assert len(made.files) == 1 + 2 + 2 * 2 * 2


def test_the_same_spec_gives_the_same_bytes(tmp_path: Path) -> None:
    """So that a test can make a plate anew anywhere."""
    assert digest(make_plate(tmp_path / "one", SMALL)) == digest(make_plate(tmp_path / "two", SMALL))


def test_another_seed_gives_another_measurement(tmp_path: Path) -> None:
    """Other pixels, another id."""
    one = make_plate(tmp_path / "one", SMALL)
    two = make_plate(tmp_path / "two", PlateSpec(wells=2, fields=2, channels=2, size=16, seed=1))
    assert one.measurement_id != two.measurement_id
    assert not {path.read_bytes() for path in one.tiffs.values()} & {path.read_bytes() for path in two.tiffs.values()}


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_no_two_planes_are_alike(tmp_path: Path, dtype: str) -> None:
    """A plane that was lost, repeated or exchanged on its way must show."""
    spec = PlateSpec(wells=2, fields=2, channels=2, planes=2, timepoints=2, size=32, dtype=dtype)
    planes = [tifffile.imread(path) for path in make_plate(tmp_path, spec).tiffs.values()]
    assert {(plane.shape, plane.dtype) for plane in planes} == {((32, 32), np.dtype(dtype))}
    assert len({plane.tobytes() for plane in planes}) == len(planes) == 32
    assert all(plane.std() > 0 for plane in planes)


@pytest.mark.parametrize(
    ("wells", "rows", "columns", "width"),
    [
        (1, 8, 12, 1),
        (24, 8, 12, 12),
        (96, 8, 12, 12),
        (25, 8, 12, 5),
        (97, 16, 24, 24),
        (384, 16, 24, 24),
        (1536, 32, 48, 48),
    ],
)
def test_wells_fill_the_smallest_usual_plate(tmp_path: Path, wells: int, rows: int, columns: int, width: int) -> None:
    """In a full rectangle where the number allows it."""
    made = make_plate(tmp_path, PlateSpec(wells=wells, fields=1, channels=1, size=8))
    assert (made.rows, made.columns) == (rows, columns)
    assert len(made.wells) == wells
    assert max(column for _, column in made.wells) + 1 == width


def test_wells_and_fields_can_be_left_out(tmp_path: Path) -> None:
    """For sparse plates."""
    spec = PlateSpec(positions=((7, 11), (0, 0)), fields=2, channels=1, size=8, absent=frozenset({(0, 0, 0)}))
    made = make_plate(tmp_path, spec)
    assert [key[:3] for key in made.tiffs] == [(0, 0, 1), (7, 11, 0), (7, 11, 1)]


@pytest.mark.parametrize(
    "spec",
    [
        PlateSpec(wells=0),
        PlateSpec(wells=1537),
        PlateSpec(positions=((40, 0),)),
        PlateSpec(harmony=7),
        PlateSpec(fields=0),
    ],
)
def test_what_is_no_plate_is_refused(tmp_path: Path, spec: PlateSpec) -> None:
    """Before anything is written."""
    with pytest.raises(StackError):
        make_plate(tmp_path, spec)
    assert not list(tmp_path.iterdir())


def test_the_command_prints_the_file_to_submit(tmp_path: Path) -> None:
    """Alone on stdout, so that a shell can use it."""
    arguments = [
        "harmony",
        str(tmp_path),
        "--wells",
        "2",
        "--fields",
        "1",
        "--size",
        "8",
        "--bits",
        "8",
        "--harmony",
        "3",
    ]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == f"{tmp_path}/demo__2026-01-01T10_00_00-Measurement 1/Images/Index.idx.xml\n"
    assert "HarmonyV3" in Path(answer.stdout.strip()).read_text()


def test_the_command_makes_single_images(tmp_path: Path) -> None:
    """Folders above are made."""
    answer = CliRunner().invoke(main, ["tiff", str(tmp_path / "new" / "a.tif"), "--size", "8"])
    assert answer.exit_code == 0, answer.output
    assert tifffile.imread(answer.stdout.strip()).shape == (8, 8)


def test_the_help_shows_examples() -> None:
    """One per line."""
    answer = CliRunner().invoke(main, ["--help"])
    assert "\n    python -m fleet_stack.plates harmony /data/hcs --wells 24\n" in answer.stdout


def test_a_single_image_is_a_tiff(tmp_path: Path) -> None:
    """Another seed, another image."""
    one, two = (tifffile.imread(tiff(tmp_path / f"{seed}.tif", size=16, seed=seed)) for seed in (1, 2))
    assert one.shape == (16, 16)
    assert (one != two).any()
