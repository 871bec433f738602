"""Makes dead letters for tests, as a worker or the broker buries them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from fleet_common.broker import Buried
from fleet_common.dead import DeadLetter, Held, read_letter
from fleet_common.messages import encode
from support.builders import NOW, REQUEST_ID, a_request

FLEET: Final = ("worker", "operator")
BODY: Final = encode(a_request())
WHY: Final[dict[str, Any]] = {
    "attempt": 3,
    "reason": "file-empty",
    "error-class": "Permanent",
    "message": "cell.tif is empty",
    "worker": "worker-1",
    "log-tail": "ERROR x",
    "died-at": "2026-01-31T09:00:00+00:00",
    "origin-key": "phenix1.bulk",
    "first-seen": "2026-01-30T10:00:00+00:00",
    "submitted-by": "phenix1",
}


def a_buried(body: bytes = BODY, **changes: Any) -> Buried:
    """A message as a worker buries it, with some parts changed."""
    made = Buried(body, len(body), hashlib.sha256(body).hexdigest(), WHY, "worker", str(REQUEST_ID), "phenix1.bulk", 1)
    return replace(made, **changes)


def a_letter(**headers: Any) -> DeadLetter:
    """A letter of a worker with some headers changed."""
    return read_letter(a_buried(headers=WHY | headers), FLEET)


def death(reason: str, queue: str = "import.lane.phenix1.bulk", **more: Any) -> dict[str, Any]:
    """The broker's own headers."""
    return {"x-death": [{"reason": reason, "queue": queue, "time": NOW, "count": 1} | more]}


def held(body: bytes = BODY, headers: Mapping[str, object] | None = None) -> Held:
    """A dead request, as a worker buried it, with some headers changed."""
    return Held(read_letter(a_buried(body, headers=WHY | dict(headers or {})), FLEET), (1,))
