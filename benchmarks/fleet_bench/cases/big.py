"""One file of 2 GB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fleet_bench import material
from fleet_bench.comparison import Comparison
from fleet_bench.material import Fileset
from fleet_bench.model import Case, Effort, Figure, Result, Spread, Target
from fleet_bench.stage import Stage

_QUICK_PLANES: Final = 12
_LEAST: Final = Target(limit=0.80, at_most=False)


def make(share: Path, effort: Effort) -> Sequence[Fileset]:
    """The file."""
    return material.big(share, _QUICK_PLANES) if effort.quick else material.big(share)


BIG: Final = Comparison(
    "big",
    "one TIFF of 2.1 GB",
    make,
    "Dataset",
    uploads=4,
    filesets=1,
    plain=True,
    raw=True,
    # 20 copies of 2 GB would fill the disk, and their writing would slow down later runs.
    forgets=True,
    budget_seconds=300,
)


def _measure(stage: Stage, effort: Effort) -> Result:
    result = BIG.measure(stage, effort)
    raw = next(floor for floor in result.floors if floor.name == "raw write, TLS")
    shares = [raw.seconds.median / pair.fleet.upload_seconds for pair in result.pairs]
    share = Figure(name="share of raw write", unit="ratio", value=Spread.of(shares), target=_LEAST)
    return result.model_copy(update={"figures": (share, *result.figures)})


CASES: Final = (Case(BIG.name, BIG.title, _measure, minutes=5),)
