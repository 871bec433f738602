"""TIFFs of 0.5 MB, one request each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from fleet_bench import material
from fleet_bench.comparison import Comparison
from fleet_bench.material import Fileset
from fleet_bench.model import Case, Effort

_ALL: Final = 200
_SOME: Final = 20
_QUICK: Final = 4


def make(share: Path, effort: Effort, *, count: int) -> Sequence[Fileset]:
    """The files."""
    return material.singles(share, _QUICK if effort.quick else count)


TOGETHER: Final = Comparison(
    "singles",
    "200 TIFFs of 0.5 MB, one request each in four slots, against one importer over all at 4x4",
    partial(make, count=_ALL),
    "Dataset",
    uploads=4,
    filesets=4,
    budget_seconds=300,
)
ONE_BY_ONE: Final = Comparison(
    "singles-one-by-one",
    "20 TIFFs of 0.5 MB, one request each, against an importer for each file",
    partial(make, count=_SOME),
    "Dataset",
    uploads=4,
    filesets=4,
    one_by_one=True,
    budget_seconds=200,
)
CASES: Final = tuple(Case(one.name, one.title, one.measure, minutes=7.5) for one in (TOGETHER, ONE_BY_ONE))
