"""A comparison for CI: two minutes, and an end with 1 where the fleet is slower than the importer.

Neighbours: `comparison` measures. Threading: one thread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fleet_bench.cases import many
from fleet_bench.model import Case, Effort, Figure, Result, Target
from fleet_bench.stage import Stage

_BUDGET_SECONDS: Final = 45.0
_AS_FAST: Final = Target(limit=1.0)


def _measure(stage: Stage, effort: Effort) -> Result:
    """A case with a wide margin, so that a busy machine does not decide it."""
    result = replace(many.FOUR, plain=False, floor=False, budget_seconds=_BUDGET_SECONDS).measure(stage, effort)
    return result.model_copy(update={"case": CASE.name, "figures": tuple(map(_judged, result.figures))})


def _judged(figure: Figure) -> Figure:
    """To be as fast in the whole is all that is wanted of so short a measurement."""
    return figure.model_copy(update={"target": _AS_FAST if figure.name == "whole" else None})


CASE: Final = Case("smoke", f"{many.WHAT}, 4 uploads, 4 filesets", _measure)
