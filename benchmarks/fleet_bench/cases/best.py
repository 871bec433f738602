"""Many small files, each side at the settings that are best for it: found by a sweep, then measured in turn."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from fleet_bench.cases import many
from fleet_bench.comparison import Comparison
from fleet_bench.material import Fileset
from fleet_bench.model import Case, Curve, Effort, Result
from fleet_bench.stage import Stage
from fleet_bench.takingturns import alternate, figures
from fleet_bench.targets import WANTED

SETTINGS: Final = (2, 4, 8, 16)
"""Files in flight, and as many filesets at once."""
BEST: Final = Comparison("many-best", f"{many.WHAT}, each side at its own best setting", many.make, "Screen", 4, 4)
_FLEET: Final = "fleet"
_IMPORTER: Final = "importer"


def _measure(stage: Stage, effort: Effort) -> Result:
    began = time.monotonic()
    made = BEST.make(stage.share, effort)
    swept = {side: {setting: _once(stage, made, side, setting) for setting in SETTINGS} for side in (_FLEET, _IMPORTER)}
    best = {side: min(seconds, key=lambda setting: seconds[setting]) for side, seconds in swept.items()}
    with contextlib.ExitStack() as running:
        sides = {
            _FLEET: BEST.at(best[_FLEET]).fleet(stage, running),
            _IMPORTER: BEST.at(best[_IMPORTER]).importer(stage),
        }
        left = replace(effort, seconds=effort.seconds - (time.monotonic() - began))
        pairs = alternate(sides, BEST.rounds(stage, left), stage.tell)
    return Result(
        case=BEST.name,
        title=BEST.title,
        figures=figures(pairs, WANTED[BEST.name]),
        pairs=pairs,
        floors=BEST.at(best[_FLEET]).floors(stage, made, pairs),
        curves=tuple(_curve(side, seconds) for side, seconds in swept.items()),
        notes=tuple(f"sweep of the {side}: {_told(seconds, best[side])}" for side, seconds in swept.items()),
    )


def _once(stage: Stage, made: Sequence[Fileset], side: str, setting: int) -> float:
    """Seconds of one run at a setting; a worker that was just started warms up first."""
    comparison = BEST.at(setting)
    if side == _IMPORTER:
        return comparison.importer(stage)(made).whole_seconds
    with contextlib.ExitStack() as running:
        run = comparison.fleet(stage, running)
        run(made)
        return run(made).whole_seconds


def _curve(side: str, seconds: Mapping[int, float]) -> Curve:
    return Curve(name=side, x="files in flight, filesets at once", y="seconds", points=tuple(seconds.items()))


def _told(seconds: Mapping[int, float], best: int) -> str:
    told = ", ".join(f"{setting}x{setting} {took:.1f} s" for setting, took in seconds.items())
    return f"{told}; best {best}x{best}"


CASES: Final = (Case(BEST.name, BEST.title, _measure, minutes=6),)
