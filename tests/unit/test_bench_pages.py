"""Results as lines, tables and the page of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_bench import pages, report, tables
from fleet_bench.model import Bench, Figure, Floor, Pair, Result, Run, Spread, Target

RUN = Run(whole_seconds=2.0, upload_seconds=1.0)
COMPARED = Result(
    case="many-4x4",
    title="many small files",
    figures=(
        Figure(name="whole", unit="ratio", value=Spread.of([0.5, 0.55, 0.7]), target=Target(limit=0.6)),
        Figure(name="upload", unit="ratio", value=Spread.of([0.8]), target=Target(limit=0.5)),
        Figure(name="whole by floor", unit="ratio", value=Spread.of([1.2]), target=Target(limit=1.1)),
        Figure(name="fleet: whole", unit="s", value=Spread.of([2.0])),
        Figure(name="importer: whole", unit="s", value=Spread.of([3.0])),
        Figure(name="importer: login", unit="s", value=Spread.of([1.25])),
    ),
    pairs=(Pair(fleet=RUN, importer=RUN),),
    floors=(Floor(name="server's own time", seconds=Spread.of([1.5]), of="whole", fraction=0.75),),
    notes=("cut",),
    seconds=90,
)
AROUND = Result(
    case="spool",
    title="spool to confirm",
    figures=(
        Figure(name="rate", unit="requests/s", value=Spread.of([1234.0]), target=Target(limit=1000, at_most=False)),
    ),
    seconds=30,
)
BENCH = Bench(machine={"cores": "2", "system": "Linux", "python": "3.11"}, results=(COMPARED, AROUND))


def test_every_ratio_has_a_line_that_says_whether_it_is_good_enough() -> None:
    lines = list(report.lines(COMPARED))
    assert lines[0] == "ratio many-4x4 whole 0.55 (0.5-0.7, n=3), wanted <= 0.6: reached"
    assert lines[1] == "ratio many-4x4 upload 0.8 (0.8-0.8, n=1), wanted <= 0.5: MISSED"
    assert "figure many-4x4 importer: login 1.25 (1.25-1.25, n=1) s" in lines
    assert "floor many-4x4 server's own time: 1.5 (1.5-1.5, n=1) s, 0.75 of the fleet's whole" in lines
    assert lines[-1] == "note many-4x4 cut"


def test_a_result_takes_the_place_of_an_earlier_one_of_its_case(tmp_path: Path) -> None:
    file = tmp_path / "build" / "bench.json"
    for result in (COMPARED, AROUND, COMPARED.model_copy(update={"notes": ("again",)})):
        report.write(result, file, BENCH.machine)
    kept = Bench.model_validate_json(file.read_text(encoding="utf-8"))
    assert [(one.case, one.notes) for one in kept.results] == [("spool", ()), ("many-4x4", ("again",))]


def test_a_ratio_stands_beside_its_target_and_a_missed_one_says_so() -> None:
    row = next(line for line in tables.page(BENCH).splitlines() if line.startswith("| `many-4x4`: "))
    assert "| 0.55 (0.50-0.70) | <= 0.6 | 0.80 | <= 0.5 (missed) | 2.00 s |" in row


def test_what_compares_nothing_has_a_table_of_its_own() -> None:
    page = tables.page(BENCH)
    assert "| `spool`: spool to confirm | rate | 1,234 requests/s | >= 1000 |" in page
    assert page.index("### The floor") < page.index("### The fleet around it")


def test_a_floor_stands_beside_what_is_wanted_of_the_fleet() -> None:
    """As a fraction of the importer's time, as the target is: above it, nothing could reach the target."""
    row = "| `many-4x4` | server's own time | 1.50 s | whole | 0.75 | 0.50 | <= 0.6 |"
    assert row in tables.page(BENCH)


def test_what_is_wanted_beside_the_floor_is_shown_beside_it() -> None:
    assert "| `many-4x4` | whole by floor | 1.20 | <= 1.1 (missed) |" in tables.page(BENCH)


def test_the_page_says_how_long_all_of_it_took() -> None:
    assert "`make bench` in 2 minutes on 2 cores" in tables.page(BENCH)


def test_a_table_without_rows_is_left_out() -> None:
    page = tables.page(Bench(machine=BENCH.machine, results=(AROUND,)))
    assert "### The floor" not in page
    assert "plain TCP" not in page


def test_only_what_is_between_the_marks_is_written_anew() -> None:
    text = f"before\n{pages.BEGIN}old\n{pages.END}after\n"
    once = pages.filled(text, BENCH, [Path("docs/performance-ratios.svg")])
    assert once.startswith(f"before\n{pages.BEGIN}")
    assert once.endswith(f"{pages.END}after\n")
    assert "old" not in once
    assert "![performance-ratios](performance-ratios.svg)" in once
    assert pages.filled(once, BENCH, [Path("docs/performance-ratios.svg")]) == once


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        pages.filled("text", BENCH, [])
