"""Has the fleet sweep by hand at the end of a soak, without the patience that a running fleet needs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fleet_stack.console import StackError
from fleet_stack.fleet import Fleet

Swept = Mapping[str, int] | None
"""How much of what was removed; None where there is no such command."""


def sweep(fleet: Fleet) -> Swept:
    """What ``omero-fleet doctor --sweep`` removed; None where there is no such command.

    Raises:
        StackError: It failed.
    """
    if "--sweep" not in fleet.run("worker", "doctor", "--help").stdout:
        return None
    done = fleet.run("worker", "doctor", "--sweep", "--json", timeout_seconds=900)
    if done.returncode:
        raise StackError(f"doctor --sweep ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return {name: len(value) if isinstance(value, list) else int(value) for name, value in _found(done.stdout).items()}


def _found(text: str) -> Mapping[str, list[object] | int]:
    answer: Mapping[str, list[object] | int] = json.loads(text)
    return answer
