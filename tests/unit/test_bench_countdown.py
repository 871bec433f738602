"""The time of the benchmark is shared out among its cases."""

from __future__ import annotations

import pytest

from fleet_bench.countdown import Countdown
from fleet_bench.model import Case, Effort, Result
from fleet_bench.stage import Stage


def nothing(_stage: Stage, _effort: Effort) -> Result:
    """Measure nothing."""
    return Result(case="", title="", figures=())


CASES = [Case(f"of {minutes}", "", nothing, minutes) for minutes in (1, 3, 2)]


@pytest.mark.parametrize(
    ("took", "shares"),
    [
        ([10, 30, 20], [10, 30, 20]),
        ([0, 0, 0], [10, 36, 60]),
        ([30, 30, 0], [10, 18, 0]),
        ([90, 5, 5], [10, 0, 0]),
    ],
    ids=["as planned", "fast", "the first overdraws", "no time is left"],
)
def test_what_a_case_leaves_or_overdraws_is_shared_among_those_after_it(took: list[int], shares: list[int]) -> None:
    now = [0.0]
    seen = []
    for (case, seconds), spent in zip(Countdown(60.0, CASES, monotonic=lambda: now[0]), took, strict=True):
        seen.append((case.name, seconds))
        now[0] += spent
    assert seen == [("of 1", shares[0]), ("of 3", shares[1]), ("of 2", shares[2])]


def test_without_a_limit_every_case_may_take_as_long_as_it_likes() -> None:
    assert [seconds for _, seconds in Countdown(float("inf"), CASES)] == [float("inf")] * 3
