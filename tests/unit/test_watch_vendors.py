"""Plates of every format that grow in a watched folder: in any order, and those of all vendors at once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fleet_stack.plates import PlateSpec
from support.kits import KITS, Made
from support.watching import Bench

SPEC = PlateSpec(wells=2, fields=1, channels=2, size=8)


@dataclass
class Growing:
    """A plate that is written file by file into a watched folder.

    Attributes:
        made: The plate as it will be, elsewhere.
        top: The watched folder.
    """

    made: Made
    top: Path

    @classmethod
    def of(cls, bench: Bench, kit: str) -> Growing:
        aside = bench.folder / "instrument" / kit
        aside.mkdir(parents=True)
        seed = sorted(KITS).index(kit) + 1
        made = KITS[kit].make(aside, replace(SPEC, name=f"P{seed}", seed=seed))
        return cls(made, bench.top)

    @property
    def others(self) -> list[Path]:
        """All files but those of the index."""
        return [file for file in self.made.files if file not in self.made.index]

    def write(self, file: Path) -> None:
        target = self.top / file.relative_to(self.made.folder.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())


def orders(growing: Growing) -> Iterator[Sequence[Path]]:
    """Index first, index last, and two of any order."""
    index, others = [*growing.made.index], growing.others
    yield [*index, *others]
    yield [*others, *index]
    for seed in range(2):
        yield random.Random(seed).sample([*index, *others], len(index) + len(others))  # noqa: S311  any order


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("order", range(4), ids=["index first", "index last", "any", "any other"])
@pytest.mark.parametrize("kit", KITS)
def test_a_plate_that_grows_is_published_once_and_not_before_its_last_file(bench: Bench, kit: str, order: int) -> None:
    """Given files that arrive with pauses shorter than the settle time, then one request lists all of them."""
    growing = Growing.of(bench, kit)
    for file in list(orders(growing))[order]:
        growing.write(file)
        bench.watch(45)
        assert bench.published == []
    bench.watch(300)
    (request,) = bench.broker.requests
    assert request.source.format == KITS[kit].format
    assert request.source.manifest.files == len(growing.made.files)


def test_many_vendors_write_at_the_same_time(bench: Bench) -> None:
    """Given an instrument of each vendor, a file of each in turn, then each is published once, none before its end."""
    growing = {kit: Growing.of(bench, kit) for kit in KITS}
    left = {kit: list(orders(one))[2] for kit, one in growing.items()}
    while any(left.values()):
        for kit, files in left.items():
            for file in files[:1]:
                growing[kit].write(file)
            left[kit] = files[1:]
        bench.watch(20)
        at_work = {one.made.folder.name for kit, one in growing.items() if left[kit]}
        assert not at_work & {path.split("/")[1] for path in bench.sources}
    bench.watch(300)
    assert len(bench.published) == len(set(bench.published)) == len(KITS)
    assert sorted(path.split("/")[1] for path in bench.sources) == sorted(
        one.made.folder.name for one in growing.values()
    )


@pytest.mark.parametrize("kit", KITS)
def test_a_long_pause_needs_an_end_mark_or_a_missing_file(bench: Bench, kit: str) -> None:
    """Given any one image that comes hours after all the others, then the plate waits for it."""
    growing = Growing.of(bench, kit)
    late = max(growing.made.images.values())
    for file in growing.made.files:
        if file != late:
            growing.write(file)
    bench.watch(600)
    assert bench.published == []
    growing.write(late)
    bench.watch(400)
    assert len(bench.published) == 1
