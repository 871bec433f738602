"""The table and the file that a soak ends with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from soak.facts import Sent
from soak.options import Options
from soak.report import Report, count_kinds, count_requests, machine, repeated, rows, table, write
from soak.wishes import Sort, Wish

REPORT = Report(
    good=True,
    command="make soak SOAK_MINUTES=20 SOAK_SEED=7 BROKER=4.0",
    seed=7,
    rabbitmq="4.0.5",
    omero="5.6.3",
    started_at="2026-11-25 01:17 UTC",
    minutes=20.0,
    drain_seconds=61.0,
    requests={"image": 200, "plate": 100},
    duplicated=30,
    faults={"worker killed": 35, "memory alarm": 2},
    redeliveries=12,
    duplicates=0,
    lost=0,
    wrong=0,
    debris=0,
    swept={"filesets": 1, "folders": 2},
    repeated_dead_letters=1,
    mishaps=0,
    recovery_seconds={"worker killed": 12.5},
    cores=2,
    memory_gigabytes=23.4,
)


def test_the_table_says_everything_once() -> None:
    assert dict(rows(REPORT)) == {
        "command": "make soak SOAK_MINUTES=20 SOAK_SEED=7 BROKER=4.0",
        "date": "2026-11-25 01:17 UTC",
        "servers": "RabbitMQ 4.0.5, OMERO.server 5.6.3",
        "machine": "2 cores, 23 GB",
        "time": "20 min with faults, drained 61 s after the last",
        "requests": "300, 30 of them repeated: 200 image, 100 plate",
        "faults": "37",
        "  worker killed": "35, longest recovery 12.5 s",
        "  memory alarm": "2, nothing was open",
        "redeliveries": "12",
        "duplicates": "0",
        "lost": "0",
        "wrong": "0",
        "debris": "0",
        "swept at the end": "1 filesets, 2 folders",
        "dead letters twice": "1",
        "workers that ended unasked": "0",
        "verdict": "exactly once",
    }


def test_a_bad_soak_says_so() -> None:
    assert dict(rows(replace(REPORT, good=False)))["verdict"].startswith("NOT RIGHT")


def test_the_table_is_markdown_with_a_line_per_row() -> None:
    lines = table(REPORT).splitlines()
    assert len(lines) == len(rows(REPORT)) + 2
    assert all(line.startswith("|") and line.endswith("|") and line.count("|") == 3 for line in lines)
    assert "seed 7" in lines[0]


def test_the_file_holds_the_whole_report_for_programs(tmp_path: Path) -> None:
    files = tmp_path / "build" / "soak.json", tmp_path / "soak.json"
    write(REPORT, *files)
    first, second = (json.loads(file.read_text()) for file in files)
    assert first == second
    assert first["faults"] == {"worker killed": 35, "memory alarm": 2}
    assert Report(**first) == REPORT


def test_counts_come_most_first() -> None:
    assert list(count_kinds(["a", "b", "b"]).items()) == [("b", 2), ("a", 1)]


def test_requests_are_counted_by_what_they_are_about() -> None:
    wishes = [Wish(0, 0.0, sort, 0, "demo", "a", "b", "t", "normal") for sort in (Sort.IMAGE, Sort.PLATE, Sort.IMAGE)]
    assert count_requests(Sent(wish, "r", 0.0) for wish in wishes) == {"image": 2, "plate": 1}


@pytest.mark.parametrize(("ids", "count"), [([], 0), (["a"], 0), (["a", "b", "a", "a"], 2)])
def test_repetitions_are_counted_beyond_the_first(ids: list[str], count: int) -> None:
    assert repeated(ids) == count


def test_this_machine_has_a_size() -> None:
    cores, gigabytes = machine()
    assert cores >= 1
    assert gigabytes > 0.1


def test_the_command_repeats_the_soak() -> None:
    """The usual number of requests is left out."""
    usual = Options(minutes=20, seed=7, broker="4.0", requests=300, drain_minutes=20)
    assert usual.command == "make soak SOAK_MINUTES=20 SOAK_SEED=7 BROKER=4.0"
    assert replace(usual, requests=12).command.endswith(" SOAK_REQUESTS=12")


def test_a_soak_in_peace_has_no_faults() -> None:
    peace = Options(minutes=2, seed=7, broker="4.0", requests=12, drain_minutes=20, with_faults=False)
    assert peace.schedule() == ()
    assert replace(peace, with_faults=True).schedule() != ()
    assert len(peace.wishes()) == 12
