"""Warms a new server up before the first case: its Java compiles for the first minutes, to the harm of who comes first.

Threading: one thread.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from fleet_bench.cases import many
from fleet_bench.model import Effort
from fleet_bench.stage import Stage
from fleet_bench.takingturns import Rounds, alternate


def warm_up(stage: Stage, effort: Effort) -> None:
    """Import the many files twice through both sides.

    Raises:
        StackError: The server or a side does not work.
    """
    comparison = replace(many.FOUR, plain=False)
    made = comparison.make(stage.share, effort)
    with contextlib.ExitStack() as running:
        alternate(comparison.sides(stage, running), Rounds(made, made, 1, 0.0), stage.tell)
