"""A plate format of a facility's own, installed as a package beside the fleet, exactly as the how-to says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fleet_common.exits import Exit
from fleet_stack.plates import tiff

HOW_TO = Path(__file__).resolve().parents[2] / "docs/how-to/write-a-plate-format.md"


def block(language: str) -> str:
    """The one block of the page in a language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    return str(text)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages with the module of the how-to, and what an installer writes down of it."""
    (group, points), *_ = tomllib.loads(block("toml"))["project"]["entry-points"].items()
    ((name, value),) = points.items()
    module = tmp_path / "site" / f"{value.partition(':')[0].replace('.', '/')}.py"
    module.parent.mkdir(parents=True)
    module.write_text(block("python"), encoding="utf-8")
    (module.parent / "__init__.py").touch()
    told = tmp_path / "site/my_formats-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: my-formats\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    return tmp_path / "site"


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Two wells in its index, and the image of one."""
    folder = tmp_path / "hcs/plate1"
    folder.mkdir(parents=True)
    (folder / "wells.csv").write_text("0,2,A03.tif\n1,0,B01.tif\n", encoding="utf-8")
    tiff(folder / "A03.tif")
    return folder


def inspect(plate: Path, *sites: Path) -> subprocess.CompletedProcess[str]:
    """Call ``omero-fleet plate inspect --json`` with more folders of packages."""
    command = (sys.executable, "-m", "fleet_common.cli", "plate", "inspect", str(plate), "--json")
    paths = os.pathsep.join(map(str, sites))
    return subprocess.run(
        command, env=dict(os.environ) | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )


def test_an_installed_format_is_found_by_the_command(site: Path, plate: Path) -> None:
    """Given a plate of it that lacks a file, then the command names format, wells and file."""
    done = inspect(plate, site)
    assert done.returncode == Exit.REFUSED, done.stderr
    told = json.loads(done.stdout)
    assert (told["format"], told["wells"], told["files_there"]) == ("wells-csv", ["A03", "B01"], 2)
    (problem,) = told["problems"]
    assert "B01.tif is missing (well B01, field 1" in problem


def test_without_it_the_folder_is_no_plate(plate: Path) -> None:
    """The formats that are there are named."""
    done = inspect(plate)
    assert done.returncode == Exit.REFUSED
    assert "unknown-format" in done.stderr
    assert "wells-csv" not in done.stderr
