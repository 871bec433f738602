"""What a person has the fleet do at the end of a soak: say how everything is, and sweep without patience.

Threading: one thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from fleet_stack.console import StackError
from fleet_stack.fleet import Fleet
from soak.telling import Key

_SECONDS = 900.0

Swept = Mapping[str, int]
"""How much was found to remove, by what it was."""


def sweep(fleet: Fleet) -> Swept:
    """What ``omero-fleet doctor --sweep`` removed, young folders too: nobody imports any more.

    Raises:
        StackError: It failed.
    """
    words = ("doctor", "--sweep", "--older-than", "0s", "--json")
    found: Mapping[str, list[object]] = json.loads(_said(fleet, "worker", *words))["sweep"]
    return {name: len(pieces) for name, pieces in found.items()}


def statuses(fleet: Fleet) -> Mapping[Key, str]:
    """What ``omero-fleet status`` says of every request, by lane and request id.

    Raises:
        StackError: It failed.
    """
    rows = json.loads(_said(fleet, "operator", "status", "--json"))
    return {(row["lane"], row["request_id"]): str(row["state"]) for row in rows}


def _said(fleet: Fleet, account: str, *words: str) -> str:
    done = fleet.run(account, *words, timeout_seconds=_SECONDS)
    if done.returncode:
        said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise StackError(f"omero-fleet {' '.join(words)} ended with {done.returncode}: {said}")
    return done.stdout
