"""Sides of a comparison take turns; ratios are made round by round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from fleet_bench.material import Fileset
from fleet_bench.model import Pair, Run, Target
from fleet_bench.takingturns import Import, Rounds, alternate, figures
from fleet_bench.targets import WANTED, Wanted

WARM = [Fileset((Path("warm.tif"),))]
MADE = [Fileset((Path("made.tif"),))]


def rounds(count: int, budget_seconds: float) -> Rounds:
    """So many rounds in this time."""
    return Rounds(WARM, MADE, count, budget_seconds)


def run(whole: float, upload: float = 0.0, **parts: float) -> Run:
    """A run that took so long."""
    return Run(whole_seconds=whole, upload_seconds=upload, parts=parts)


@pytest.fixture
def called() -> list[str]:
    """Which sides were called, in order."""
    return []


@pytest.fixture
def sides(called: list[str]) -> dict[str, Import]:
    """Two sides that note their calls."""

    def side(name: str) -> Import:
        def one(filesets: Sequence[Fileset]) -> Run:
            called.append(f"{name} {filesets[0].entry.stem}")
            return run(len(called))

        return one

    return {"fleet": side("fleet"), "importer": side("importer")}


def test_both_warm_up_and_the_order_changes_from_round_to_round(sides: dict[str, Import], called: list[str]) -> None:
    pairs = alternate(sides, rounds(2, 1000.0))
    assert called == [
        *("fleet warm", "importer warm"),
        *("fleet made", "importer made"),
        *("importer made", "fleet made"),
    ]
    assert [(pair.fleet.whole_seconds, pair.importer.whole_seconds) for pair in pairs] == [(3, 4), (6, 5)]


def test_no_round_is_begun_when_the_time_is_up_but_three_are_measured(sides: dict[str, Import]) -> None:
    clock: Iterator[int] = count(step=100)
    assert len(alternate(sides, rounds(9, 50.0), monotonic=lambda: next(clock))) == 3


def test_fewer_than_three_rounds_are_measured_where_fewer_are_wanted(sides: dict[str, Import]) -> None:
    assert len(alternate(sides, rounds(1, 0.0))) == 1


@pytest.mark.parametrize(("seconds", "measured"), [(0, 1), (59, 1), (60, 2), (99, 3), (100, 4), (1000, 9)], ids=str)
def test_no_round_is_begun_that_would_not_fit_but_one_is_measured(
    sides: dict[str, Import], called: list[str], seconds: int, measured: int
) -> None:
    """Each run takes ten seconds: the warm-up twenty, and every round as much."""
    wanted = replace(rounds(9, 1000.0), seconds=seconds)
    assert len(alternate(sides, wanted, monotonic=lambda: 10.0 * len(called))) == measured


def test_ratios_are_made_pair_by_pair() -> None:
    """Of medians the ratio would be 1; pair by pair the fleet took half as long, but for one pair."""
    pairs = [
        Pair(fleet=run(1, 1), importer=run(2, 4)),
        Pair(fleet=run(2, 1), importer=run(4, 4)),
        Pair(fleet=run(9, 1), importer=run(1, 4)),
    ]
    whole, upload, *_ = figures(pairs, Wanted(Target(limit=0.6), Target(limit=0.5)))
    assert (whole.value.median, whole.value.high, whole.reached) == (0.5, 9.0, True)
    assert (upload.value.median, upload.reached) == (0.25, True)


def test_an_upload_phase_that_is_not_known_makes_no_ratio() -> None:
    names = [one.name for one in figures([Pair(fleet=run(1), importer=run(2, 1))], Wanted())]
    assert "upload" not in names


def test_the_fleet_over_plain_tcp_is_told_beside_it() -> None:
    pairs = [Pair(fleet=run(2, 2), importer=run(4, 4), plain=run(1, 1))]
    named = {one.name: one for one in figures(pairs, Wanted(Target(limit=0.4)))}
    assert named["whole"].value.median == 0.5
    assert named["whole, plain TCP"].value.median == 0.25
    assert named["fleet, plain TCP: whole"].value.median == 1


def test_the_start_of_the_importer_has_rows_of_its_own() -> None:
    pairs = [Pair(fleet=run(1), importer=run(5, login=1.0)), Pair(fleet=run(1), importer=run(5, login=2.0))]
    named = {one.name: one for one in figures(pairs, Wanted())}
    assert named["importer: login"].value.median == 1.5


def test_no_target_asks_for_less_than_to_be_as_fast() -> None:
    limits = [one.limit for wanted in WANTED.values() for one in (wanted.whole, wanted.upload) if one]
    assert limits
    assert max(limits) < 1
