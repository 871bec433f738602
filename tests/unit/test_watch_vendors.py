"""Plates of every format that grow in a watched folder: in any order, and those of all vendors at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fleet_producer.completeness import State
from support.growing import SPEC, Growing, orders
from support.kits import KITS
from support.watching import DEADLINE_SECONDS, SETTLE_SECONDS, Bench

PAUSES_SECONDS: Final = (1.0, SETTLE_SECONDS - 1, 3 * SETTLE_SECONDS, 2 * DEADLINE_SECONDS)


def growing_in(bench: Bench, kit: str) -> Growing:
    return Growing.of(kit, bench.top, bench.folder / "instrument" / kit)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Growing]:
    """A plate of every format, all of whose files its index names."""
    aside = tmp_path_factory.mktemp("manifests")
    spec = replace(SPEC, companions=False)
    return {kit: Growing.of(kit, aside, aside / kit, spec) for kit in KITS}


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


@pytest.mark.parametrize("kit", KITS)
@given(course=st.data())
@examples(max_examples=3, deadline=None)
def test_no_course_of_events_publishes_a_plate_before_its_last_file(
    manifests: Mapping[str, Growing], kit: str, course: st.DataObject
) -> None:
    """Files come in any order and go again, with pauses of any length and restarts; in the end it is published once."""
    made = manifests[kit].made
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        growing = Growing(made, bench.top)
        coming = list(course.draw(st.permutations(sorted(made.files))))
        while coming:
            growing.write(coming.pop())
            if coming:
                coming += _gone(growing, course)
                _restarted(bench, course)
                bench.watch(course.draw(st.sampled_from(PAUSES_SECONDS)))
                assert bench.published == []
        bench.watch(2 * DEADLINE_SECONDS)
        (request,) = bench.broker.requests
        assert request.source.manifest.files == len(made.files)


def _gone(growing: Growing, course: st.DataObject) -> list[Path]:
    """Perhaps a file that was there and is deleted now, to come once more."""
    written = sorted(file for file in growing.made.files if growing.there(file).exists())
    gone = course.draw(st.lists(st.sampled_from(written), max_size=course.draw(st.sampled_from((0, 0, 0, 1)))))
    for file in gone:
        growing.there(file).unlink()
    return gone


def _restarted(bench: Bench, course: st.DataObject) -> None:
    if course.draw(st.integers(0, 9)) == 0:
        bench.restart()


@pytest.mark.parametrize("kit", KITS)
def test_a_file_that_appears_after_the_settle_time_publishes_nothing_again(bench: Bench, kit: str) -> None:
    """Given a plate that was published and a file that comes later, then it is one request, also after a restart."""
    growing = growing_in(bench, kit)
    for file in growing.made.files:
        growing.write(file)
    bench.watch(300)
    late = growing.there(max(growing.made.images.values()))
    late.with_name(f"later-{late.name}").write_bytes(late.read_bytes())
    bench.watch(2000)
    bench.restart()
    bench.watch(2000)
    assert len(bench.published) == 1
    assert bench.only.state is State.PUBLISHED


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
