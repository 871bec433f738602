"""One plate of 1,920 images of 100 kB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fleet_bench import material
from fleet_bench.comparison import Comparison
from fleet_bench.material import Fileset
from fleet_bench.model import Case, Effort, Figure, Result, Spread, Target
from fleet_bench.stage import Stage

_QUICK_WELLS: Final = 4
_SLACK: Final = 1.10
"""The whole may take as long as calls and server's time together, and a tenth."""


def make(share: Path, effort: Effort) -> Sequence[Fileset]:
    """The files."""
    return material.plate(share, _QUICK_WELLS) if effort.quick else material.plate(share)


PLATE: Final = Comparison(
    "plate",
    "a Harmony plate of 96 wells x 4 fields x 5 channels, 1,920 files of 100 kB, 8 uploads",
    make,
    "Screen",
    uploads=8,
    filesets=1,
    budget_seconds=240,
)


def _measure(stage: Stage, effort: Effort) -> Result:
    result = PLATE.measure(stage, effort)
    bound = next(floor for floor in result.floors if floor.name == "calls and server's time")
    wholes = [pair.fleet.whole_seconds / bound.seconds.median for pair in result.pairs]
    whole = Figure(name="whole by floor", unit="ratio", value=Spread.of(wholes), target=Target(limit=_SLACK))
    return result.model_copy(update={"figures": (whole, *result.figures)})


CASES: Final = (Case(PLATE.name, PLATE.title, _measure, minutes=13),)
