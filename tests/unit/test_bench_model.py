"""Figures, targets and results of the benchmark: what counts as reached, and that they survive JSON."""

from __future__ import annotations

import pytest

from fleet_bench.model import Bench, Curve, Figure, Floor, Pair, Result, Run, Spread, Target


def test_a_spread_tells_the_median_and_both_ends() -> None:
    spread = Spread.of([3.0, 1.0, 2.0])
    assert (spread.median, spread.low, spread.high, spread.count) == (2.0, 1.0, 3.0, 3)
    assert str(spread) == "2 (1-3, n=3)"


@pytest.mark.parametrize(("value", "reached"), [(0.5, True), (0.6, True), (0.61, False)])
def test_a_target_may_be_met_exactly(*, value: float, reached: bool) -> None:
    assert Target(limit=0.6).reached_by(value) is reached


def test_a_target_may_ask_for_at_least() -> None:
    target = Target(limit=0.8, at_most=False)
    assert target.reached_by(0.9)
    assert not target.reached_by(0.7)
    assert str(target) == ">= 0.8"


def test_the_median_decides_about_a_figure_and_not_its_spread() -> None:
    values = Spread.of([0.4, 0.5, 2.0])
    assert Figure(name="whole", unit="ratio", value=values, target=Target(limit=0.5)).reached
    assert not Figure(name="whole", unit="ratio", value=values, target=Target(limit=0.4)).reached
    assert Figure(name="whole", unit="ratio", value=values).reached


def test_results_come_back_from_json_as_they_were() -> None:
    run = Run(whole_seconds=1.5, upload_seconds=0.5, files=3, parts={"login": 0.1})
    result = Result(
        case="many",
        title="many files",
        figures=(Figure(name="whole", unit="ratio", value=Spread.of([0.5]), target=Target(limit=0.6)),),
        pairs=(Pair(fleet=run, importer=run),),
        floors=(Floor(name="raw", seconds=Spread.of([1.0]), of="upload", fraction=0.5),),
        curves=(Curve(name="fleet", x="uploads", y="s", points=((1, 2.0), (2, 1.0))),),
        notes=("cut",),
    )
    bench = Bench(machine={"cores": "2"}, results=(result,))
    assert Bench.model_validate_json(bench.model_dump_json()) == bench
