"""Four filesets of 101 small files each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fleet_bench import material
from fleet_bench.comparison import Comparison
from fleet_bench.material import Fileset
from fleet_bench.model import Case, Effort

_QUICK_FILES: Final = 10
WHAT: Final = "4 filesets, 404 files of 8 kB"


def make(share: Path, effort: Effort) -> Sequence[Fileset]:
    """The files."""
    return material.many(share, _QUICK_FILES) if effort.quick else material.many(share)


ONE: Final = Comparison("many-1x1", f"{WHAT}, one upload, one fileset at a time", make, "Screen", 1, 1)
FOUR: Final = Comparison("many-4x4", f"{WHAT}, 4 uploads, 4 filesets", make, "Screen", 4, 4, plain=True)
CASES: Final = tuple(Case(one.name, one.title, one.measure, minutes=5) for one in (ONE, FOUR))
