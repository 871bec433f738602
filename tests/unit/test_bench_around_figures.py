"""What the benchmarks around an import make of samples and of workers' logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleet_bench.around import CASES, doorbell, scaling, slotsbusy, workerlog
from fleet_bench.around.doorbell import Ring
from fleet_bench.around.figures import figure, quantile, quantile_figure
from fleet_bench.around.scaling import Load
from fleet_bench.around.workerlog import CALLED, FIRST_BYTES, GIVEN_BACK, TAKEN, Line
from fleet_bench.model import Result, Target
from fleet_stack.console import StackError


def medians(result: Result) -> dict[str, float]:
    """The figures by name."""
    return {one.name: round(one.value.median, 3) for one in result.figures}


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) == 7
    assert all(name.startswith("around-") for name in names)


class TestQuantiles:
    """Of samples, however few."""

    @pytest.mark.parametrize(("share", "expected"), [(0.01, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)])
    def test_that_share_of_the_samples_is_not_above_it(self, share: float, expected: float) -> None:
        assert quantile([float(value) for value in range(100, 0, -1)], share) == expected

    def test_one_sample_is_every_quantile(self) -> None:
        assert {quantile([3.0], share) for share in (0.01, 0.5, 1.0)} == {3.0}

    def test_a_figure_is_judged_by_its_quantile(self) -> None:
        told = quantile_figure("p99", "ms", [1.0, 2.0, 600.0], 0.99, Target(limit=500))
        assert not told.reached
        assert (told.value.low, told.value.high, told.value.count) == (1.0, 600.0, 3)
        assert figure("median", "ms", [1.0, 2.0, 600.0], Target(limit=500)).reached


class TestWorkerLog:
    """Lines of JSON among others."""

    def test_lines_of_several_workers_come_in_the_order_of_their_times(self, tmp_path: Path) -> None:
        logs = [tmp_path / "one.log", tmp_path / "two.log"]
        logs[0].write_text(f"{log_line(12, TAKEN, kind='import')}\nnot structured\n")
        logs[1].write_text(f"{log_line(11, CALLED, request='r1')}\n")
        at = workerlog.parse(log_line(11, CALLED)).at
        assert workerlog.read(logs) == [Line(at, CALLED, request="r1"), Line(at + 1, TAKEN, kind="import")]

    def test_lines_about_one_request_can_be_chosen(self, tmp_path: Path) -> None:
        log = tmp_path / "one.log"
        log.write_text(f"{log_line(11, CALLED, request='r1')}\n{log_line(12, CALLED, request='r2')}\n")
        assert [line.request for line in workerlog.read([log], about="r2")] == ["r2"]

    def test_fractions_of_a_second_count(self) -> None:
        first, second = (workerlog.parse(log_line(second, CALLED)) for second in (1, 1.25))
        assert second.at - first.at == pytest.approx(0.25)


def log_line(second: float, event: str, **more: Any) -> str:
    """As a worker writes it."""
    return json.dumps({"event": event, "timestamp": f"2026-01-31T10:00:{second:09.6f}Z", "level": "debug"} | more)


class TestDoorbell:
    """From the submit to what the log says."""

    def test_each_request_counts_from_its_own_submit(self) -> None:
        rings = [Ring("a", 100.0), Ring("b", 200.0)]
        lines = [
            Line(100.1, CALLED, "a"),
            Line(100.2, FIRST_BYTES, "a"),
            Line(200.3, CALLED, "b"),
            Line(200.9, FIRST_BYTES, "b"),
        ]
        assert medians(doorbell.result(rings, lines)) == {
            "importFileset, median": 100.0,
            "importFileset, p99": 300.0,
            "first bytes, median": 200.0,
            "first bytes, p99": 900.0,
        }

    def test_a_second_try_does_not_count(self) -> None:
        lines = [Line(1.0, CALLED, "a"), Line(2.0, CALLED, "a"), Line(3.0, FIRST_BYTES, "a")]
        assert doorbell.first_times(lines) == {CALLED: {"a": 1.0}, FIRST_BYTES: {"a": 3.0}}


def slots(*steps: tuple[float, str]) -> list[Line]:
    """Import slots that are taken and given back."""
    return [Line(at, text, kind="import") for at, text in steps]


class TestSlotsBusy:
    """Slot-seconds while requests wait."""

    def test_what_is_free_while_requests_wait_is_missing(self) -> None:
        """Given two slots, when one is free for two of ten seconds, then 90 % of the slot-seconds were taken."""
        lines = [*slots((0, TAKEN), (1, TAKEN), (5, GIVEN_BACK), (6, TAKEN), (10, GIVEN_BACK)), Line(11, CALLED)]
        busy = slotsbusy.busy_of(lines, 2)
        assert busy.share == pytest.approx(0.9)
        assert busy.all_share == pytest.approx(0.8)
        assert busy.seconds == 10.0

    def test_before_all_are_taken_and_after_the_last_request_nothing_counts(self) -> None:
        lines = [*slots((0, TAKEN), (50, TAKEN)), Line(60, CALLED), *slots((61, GIVEN_BACK), (99, GIVEN_BACK))]
        assert slotsbusy.busy_of(lines, 2).share == 1.0

    def test_slots_of_other_kinds_do_not_count(self) -> None:
        lines = [*slots((0, TAKEN)), Line(1, TAKEN, kind="create"), Line(2, GIVEN_BACK, kind="create"), Line(4, CALLED)]
        assert slotsbusy.busy_of(lines, 1).share == 1.0

    @pytest.mark.parametrize("lines", [[], slots((0, TAKEN)), [Line(5, CALLED), *slots((6, TAKEN), (7, TAKEN))]])
    def test_slots_that_were_never_all_taken_are_no_measurement(self, lines: list[Line]) -> None:
        with pytest.raises(StackError, match="2 import slots were never taken at once"):
            slotsbusy.busy_of(lines, 2)

    def test_each_kind_of_file_has_its_own_figure(self) -> None:
        """In percent, and both are held to the same."""
        made = slotsbusy.result({"dots": slotsbusy.Busy(0.6, 0.1, 20.0), "stacks": slotsbusy.Busy(0.97, 0.9, 30.0)})
        shares = [one for one in made.figures if one.target]
        assert [(one.name, one.value.median, one.reached) for one in shares] == [
            ("slot-seconds taken, dots", 60.0, False),
            ("slot-seconds taken, stacks", 97.0, True),
        ]


class TestScaling:
    """Rates, and another client."""

    def test_a_rate_is_from_the_first_registration_to_the_end_of_the_last_import(self) -> None:
        lines = [Line(10, CALLED), Line(11, CALLED), *slots((12, GIVEN_BACK), (14, GIVEN_BACK))]
        assert scaling.rate_of(lines, 2) == 0.5

    def test_a_lost_import_is_no_measurement(self) -> None:
        with pytest.raises(StackError, match="1 imports of 2"):
            scaling.rate_of([Line(10, CALLED), *slots((12, GIVEN_BACK))], 2)

    def test_the_worst_load_is_compared_with_the_idle_server(self) -> None:
        idle = Load(0, 0.0, (0.1,) * 20, (0.3,))
        loads = [Load(1, 2.0, (0.2,) * 20, (0.4,)), Load(8, 1.8, (0.5,) * 20, (6.0,))]
        told = medians(scaling.result(idle, loads))
        assert told["rate of the most workers by the best"] == 0.9
        assert told["another client's p95, worst by idle"] == 5.0
        assert told["the slowest login"] == 6.0
        assert told["its call beside 8, p95"] == 500.0
