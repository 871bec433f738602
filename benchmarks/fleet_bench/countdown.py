"""Shares what is left of the time out among the cases that are left. Threading: one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fleet_bench.model import Case


@dataclass(frozen=True, slots=True)
class Countdown:
    """All cases in turn, each with the seconds that it may take.

    What one case leaves, those after it have; what it overdraws, they lack.

    Attributes:
        until: When all shall be done, by the clock.
        cases: In their order.
    """

    until: float
    cases: Sequence[Case]
    monotonic: Callable[[], float] = time.monotonic

    def __iter__(self) -> Iterator[tuple[Case, float]]:
        """Each case when it begins."""
        for number, case in enumerate(self.cases):
            left = max(0.0, self.until - self.monotonic())
            yield case, left * case.minutes / sum(one.minutes for one in self.cases[number:])
