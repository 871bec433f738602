"""A comparison for CI: two minutes, and an end with 1 where the fleet is slower than the importer.

Neighbours: `comparison` measures. Threading: one thread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fleet_bench.cases import singles
from fleet_bench.model import Case, Effort, Result, Target
from fleet_bench.stage import Stage

_IMAGES: Final = 20
_BUDGET_SECONDS: Final = 60.0
_AS_FAST: Final = Target(limit=1.0)


def _measure(stage: Stage, effort: Effort) -> Result:
    """The case with the widest margin, so that a busy machine does not decide it; the target is to be as fast."""
    make = lambda share, _: singles.make(share, effort, count=_IMAGES)  # noqa: E731  one expression
    comparison = replace(singles.TOGETHER, make=make, floor=False, budget_seconds=_BUDGET_SECONDS)
    result = comparison.measure(stage, effort)
    judged = tuple(
        figure.model_copy(update={"target": _AS_FAST if figure.name == "whole" else None}) for figure in result.figures
    )
    return result.model_copy(update={"figures": judged})


CASE: Final = Case("smoke", f"{_IMAGES} TIFFs of 0.5 MB, one request each, at 4x4", _measure)
