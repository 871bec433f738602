"""The fleet around an import: how soon it begins, what it keeps busy, and what it takes at rest and at its largest."""

from __future__ import annotations

from typing import Final

from fleet_bench.around import depth, doorbell, hugeplate, resting, scaling, slotsbusy, spooling
from fleet_bench.model import Case

CASES: Final[tuple[Case, ...]] = (
    resting.CASE,
    doorbell.CASE,
    slotsbusy.CASE,
    scaling.CASE,
    spooling.CASE,
    depth.CASE,
    hugeplate.CASE,
)
