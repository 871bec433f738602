"""The benchmark's command: what it does with a case that is too slow, and with one that cannot be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from fleet_bench import smoke
from fleet_bench.__main__ import main, measured
from fleet_bench.comparison import Comparison
from fleet_bench.model import Bench, Case, Effort, Figure, Result, Spread, Target
from fleet_bench.stage import Stage

STAGE = cast("Stage", None)
SLOW = Figure(name="whole", unit="ratio", value=Spread.of([1.1]), target=Target(limit=1.0))
UPLOAD = Figure(name="upload", unit="ratio", value=Spread.of([1.5]), target=Target(limit=0.5))
EFFORT = Effort(runs=1)


def case_with(*figures: Figure) -> Case:
    """A case that was measured as if by magic."""
    return Case("slow", "a slow case", lambda _stage, _effort: Result(case="slow", title="a", figures=figures))


def test_a_result_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    assert measured(STAGE, case_with(SLOW), EFFORT, out)
    assert "ratio slow whole 1.1" in capsys.readouterr().out
    assert [one.case for one in Bench.model_validate_json(out.read_text(encoding="utf-8")).results] == ["slow"]


def test_a_missed_target_fails_only_where_that_is_asked_for(tmp_path: Path) -> None:
    assert measured(STAGE, case_with(SLOW), EFFORT, tmp_path / "bench.json")
    assert not measured(STAGE, case_with(SLOW), EFFORT, tmp_path / "bench.json", strict=True)


def test_a_case_that_cannot_be_measured_is_told_and_leaves_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_stage: Stage, _effort: Effort) -> Result:
        raise RuntimeError("no server")

    assert not measured(STAGE, Case("broken", "a broken case", broken), EFFORT, tmp_path / "bench.json")
    assert "failed broken" in capsys.readouterr().err
    assert not (tmp_path / "bench.json").exists()


@pytest.mark.parametrize(("ratio", "good"), [(0.99, True), (1.01, False)])
def test_the_smoke_wants_the_fleet_to_be_as_fast_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, ratio: float, good: bool
) -> None:
    """A missed target of the upload phase says nothing in two minutes on a busy machine."""

    def stand_in(comparison: Comparison, *_: Any) -> Result:
        whole = SLOW.model_copy(update={"value": Spread.of([ratio]), "target": Target(limit=0.5)})
        return Result(case=comparison.name, title="", figures=(whole, UPLOAD))

    monkeypatch.setattr(Comparison, "measure", stand_in)
    assert measured(STAGE, smoke.CASE, EFFORT, tmp_path / "bench.json", strict=True) is good


def test_an_unknown_case_ends_with_2_before_any_server_starts() -> None:
    done = CliRunner().invoke(main, ["--cases", "nothing"])
    assert done.exit_code == 2
    assert "no case begins with nothing" in done.output
