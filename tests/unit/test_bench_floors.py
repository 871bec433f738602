"""Floors beside the fleet's times, from bare imports that are handed in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_bench import bare, floors
from fleet_bench.bare import AtOnce, Bare
from fleet_bench.floors import Bounds
from fleet_bench.material import Fileset
from fleet_bench.model import Floor, Pair, Run

FLEET, IMPORTER = Run(whole_seconds=20.0, upload_seconds=10.0), Run(whole_seconds=40.0, upload_seconds=30.0)
PAIRS = [Pair(fleet=FLEET, importer=IMPORTER)]
STAGE: Any = SimpleNamespace()


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Bare imports of half a minute; how they were made, in order."""
    made: list[str] = []

    @contextlib.contextmanager
    def logged_in(_: Any, **__: Any) -> Iterator[None]:
        yield None

    def run(*_: Any, uploads: int, imports: int) -> Bare:
        made.append(f"run {uploads}x{imports}")
        return Bare(register_seconds=1.0, upload_seconds=5.0, server_seconds=24.0)

    def at_once(*_: Any, uploads: int, imports: int) -> AtOnce:
        made.append(f"at once {uploads}x{imports}")
        return AtOnce(whole_seconds=15.0, upload_seconds=8.0)

    monkeypatch.setattr(bare, "logged_in", logged_in)
    monkeypatch.setattr(bare, "run", run)
    monkeypatch.setattr(bare, "run_at_once", at_once)
    monkeypatch.setattr(bare, "hashes_of", lambda _: [])
    return made


def measured(filesets: int, imports: int) -> dict[str, Floor]:
    """The floors of a comparison, by name."""
    made = [Fileset((Path(str(number)),)) for number in range(filesets)]
    bounds = Bounds(made, ("Screen", 1), uploads=4, imports=imports)
    return {one.name: one for one in floors.measure(STAGE, bounds, PAIRS)}


def test_each_floor_is_a_fraction_of_the_time_that_it_bounds() -> None:
    found = measured(4, 4)
    assert {name: (one.of, one.fraction) for name, one in found.items()} == {
        "cheapest calls per file": ("upload", 0.5),
        "server's own time": ("whole", 1.2),
        "calls and server's time": ("whole", 1.5),
        "bare imports at once, whole": ("whole", 0.75),
        "bare imports at once, upload": ("upload", 0.8),
    }


@pytest.mark.parametrize(("filesets", "at_once"), [(1, 4), (4, 1)])
def test_one_fileset_at_a_time_has_nothing_beside_it(filesets: int, at_once: int) -> None:
    assert not [name for name in measured(filesets, at_once) if "at once" in name]


def test_long_imports_are_measured_until_a_minute_is_over(imports: list[str]) -> None:
    """A plate takes minutes."""
    measured(4, 4)
    assert imports == ["run 4x4"] * 2 + ["at once 4x4"] * 3
