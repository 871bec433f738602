"""What OMERO holds for a request, and what follows for its status: pure data and one decision.

The event log can lose its last events with a broker node, because a stream confirms before its disk does; OMERO keeps
the outcome beside each fileset. Neighbours: whoever looks into OMERO makes :class:`Found`, the command ``status`` tells
the event log what :func:`judge` decides. Threading: plain data.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fleet_common.errors import RULES, Reason
from fleet_common.events import SUCCEEDED, Event, Kind, Result, Status, next_seq
from fleet_common.messages import Batch

_TOLD_BY: Final = "found in OMERO by status --verify"


class Holding(enum.StrEnum):
    """What a fileset is."""

    IN_WORK = "still in work"
    UNFINISHED = "not finished: its attempt has ended half way"
    UNVERIFIED = "complete, but no attempt has verified it yet"
    VERIFIED = "imported and verified"
    FAILED = "imported, but its verification failed"


_COMPLETE: Final = frozenset({Holding.UNVERIFIED, Holding.VERIFIED, Holding.FAILED})


@dataclass(frozen=True, slots=True)
class Found:
    """One fileset that carries a request's id, by an annotation of its own owner.

    Attributes:
        fileset_id: Of the fileset.
        owner: Login name of the owner.
        group: Name of the group.
        holding: What it is.
        attempt: Of the attempt that made or verified it; 0 where it does not say.
        lane: The request's lane; None where it does not say, as before the verification.
        batch: The request's batch; as ``lane``.
        source: ``share/path`` of the entry file.
        result: What OMERO holds; only where it is verified.
        difference: Why the verification failed.
    """

    fileset_id: int
    owner: str
    group: str
    holding: Holding
    attempt: int = 0
    lane: str | None = None
    batch: Batch | None = None
    source: str | None = None
    result: Result | None = None
    difference: str = ""

    def __str__(self) -> str:
        """For people."""
        return f"Fileset:{self.fileset_id} of {self.owner} in {self.group}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What OMERO says of a request.

    Attributes:
        request_id: Of the request.
        text: For people, one sentence.
        event: What the event log must be told; None where there is nothing to tell.
    """

    request_id: uuid.UUID
    text: str
    event: Event | None = None


def judge(
    request_id: uuid.UUID, told: Sequence[Status], found: Sequence[Found], *, lane: str | None, now: datetime
) -> Finding:
    """Decide what the event log must be told of a request.

    Args:
        request_id: Of the request.
        told: What the event log says of it, one status for each lane that tells of it.
        found: All filesets that carry its id.
        lane: What the operator says is its lane; for filesets that do not say it.
        now: The operator's clock.
    """
    complete = [one for one in found if one.holding in _COMPLETE]
    if len(complete) == 1:
        return _settled(request_id, told, complete[0], lane, now)
    if complete:
        names = ", ".join(map(str, complete))
        return Finding(request_id, f"several filesets are complete: {names}; decide which one to keep")
    if not found:
        return Finding(request_id, "not in OMERO")
    return Finding(request_id, "; ".join(f"{one} is {one.holding}" for one in found))


def _settled(request_id: uuid.UUID, told: Sequence[Status], found: Found, lane: str | None, now: datetime) -> Finding:
    known = _status_of(told, found.lane or lane)
    lane = found.lane or lane or (known.lane if known else None)
    if found.holding is Holding.UNVERIFIED:
        return Finding(request_id, f"{found} is {found.holding}: that comes when a worker takes the request again")
    if known and known.source and found.source and known.source != found.source:
        return Finding(
            request_id, f"{found} carries this id, but was made of {found.source}, not of {known.source}: nothing told"
        )
    if lane is None:
        return Finding(request_id, f"{found} is {found.holding}, but does not say its lane: name it with --lane")
    if known and _says_so(known, found):
        return Finding(request_id, f"{found} is {found.holding}, as the event log says")
    event = _event(request_id, known, found, lane, now)
    return Finding(request_id, f"{found} is {found.holding}: told the event log {event.kind}", event)


def _status_of(told: Sequence[Status], lane: str | None) -> Status | None:
    """What is told in the lane; where nobody knows the lane, the only one that tells of the request."""
    if lane is None and len(told) == 1:
        return told[0]
    return next((status for status in told if status.lane == lane), None)


def _says_so(known: Status, found: Found) -> bool:
    if found.holding is Holding.VERIFIED:
        return known.state in SUCCEEDED
    return known.state in SUCCEEDED or known.reason is Reason.VERIFICATION_FAILED


def _event(request_id: uuid.UUID, known: Status | None, found: Found, lane: str, now: datetime) -> Event:
    return Event(
        event_id=uuid.uuid4(),
        request_id=request_id,
        lane=lane,
        at=now,
        attempt=max(found.attempt, known.attempt if known else 0),
        seq=next_seq(0, now),
        batch=found.batch or (known.batch if known else None),
        source=found.source or (known.source if known else None),
        **_outcome(found),
    )


def _outcome(found: Found) -> dict[str, Any]:
    if found.holding is Holding.VERIFIED:
        return {"kind": Kind.ALREADY_IMPORTED, "result": found.result, "message": _TOLD_BY}
    reason = Reason.VERIFICATION_FAILED
    return {
        "kind": Kind.DEAD,
        "reason": reason,
        "message": f"Fileset:{found.fileset_id}: {found.difference or 'its verification failed'} ({_TOLD_BY})",
        "next_action": RULES[reason].next_action,
    }
