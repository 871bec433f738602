"""What an installation puts where: the folders of the project are no modules of anybody."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"fleet_common", "fleet_producer", "fleet_worker"}
FOLDERS = ["common", "producer", "worker", "stack", "tests", "tools", "benchmarks", "charts", "docs"]


@dataclass(frozen=True)
class Wheel:
    """The names in a wheel, and the modules that it was built from."""

    names: list[str]
    modules: set[str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """Built from a copy, so that nothing is left in the project, and without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("common", "producer", "worker", "stack"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True, timeout=100)
    (built,) = folder.glob("omero_import_fleet-*.whl")
    packages = [source / name for name in ("common", "producer", "worker")]
    modules = {path.relative_to(package).as_posix() for package in packages for path in package.rglob("*.py")}
    with zipfile.ZipFile(built) as archive:
        return Wheel(archive.namelist(), modules)


def test_the_wheel_has_our_packages_and_its_metadata_and_nothing_else(wheel: Wheel) -> None:
    """No module named common, producer, worker, stack or tests."""
    top = {name.split("/")[0] for name in wheel.names}
    metadata = f"omero_import_fleet-{importlib.metadata.version('omero-import-fleet')}.dist-info"
    assert top == OURS | {metadata}


def test_the_wheel_has_every_module(wheel: Wheel) -> None:
    """As many as the folders have."""
    assert len(wheel.modules) > 100
    assert {name for name in wheel.names if name.endswith(".py")} == wheel.modules


@pytest.mark.parametrize("package", sorted(OURS))
def test_every_package_says_that_it_is_typed(wheel: Wheel, package: str) -> None:
    """Type checkers of others look for the mark."""
    assert f"{package}/py.typed" in wheel.names


@pytest.mark.parametrize("package", sorted(OURS))
def test_our_packages_are_installed_here(package: str) -> None:
    """Or the next test would prove nothing."""
    assert _found(package) == "True"


@pytest.mark.parametrize("name", FOLDERS)
def test_the_editable_installation_makes_no_module_of_a_folder(name: str, tmp_path: Path) -> None:
    """Somebody else's package may have that name: looked for from another folder, it is not ours."""
    assert _found(name, tmp_path) == "False"


def _found(name: str, cwd: Path | None = None) -> str:
    program = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.find_spec({name!r})\n"
        f"places = [] if spec is None else [spec.origin or '', *(spec.submodule_search_locations or [])]\n"
        f"print(any(place.startswith({str(ROOT)!r} + '/') and '/.venv/' not in place for place in places))"
    )
    ended = subprocess.run([sys.executable, "-I", "-c", program], cwd=cwd, capture_output=True, text=True, check=True)
    return ended.stdout.strip()
