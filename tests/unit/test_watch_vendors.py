"""Plates of every format that grow in a watched folder: in any order, and those of all vendors at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.growing import Growing, orders
from support.kits import KITS
from support.watching import Bench


def growing_in(bench: Bench, kit: str) -> Growing:
    return Growing.of(kit, bench.top, bench.folder / "instrument" / kit)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("order", range(4), ids=["index first", "index last", "any", "any other"])
@pytest.mark.parametrize("kit", KITS)
def test_a_plate_that_grows_is_published_once_and_not_before_its_last_file(bench: Bench, kit: str, order: int) -> None:
    """Given files that arrive with pauses shorter than the settle time, then one request lists all of them."""
    growing = growing_in(bench, kit)
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
    growing = {kit: growing_in(bench, kit) for kit in KITS}
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
    growing = growing_in(bench, kit)
    late = max(growing.made.images.values())
    for file in growing.made.files:
        if file != late:
            growing.write(file)
    bench.watch(600)
    assert bench.published == []
    growing.write(late)
    bench.watch(400)
    assert len(bench.published) == 1
