"""What the event log tells, folded by the soak's own rules. Pure.

Kept apart from the fleet's own fold on purpose: the fleet does not vouch for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

SUCCEEDED: Final = frozenset({"imported", "already-imported"})
ENDED: Final = SUCCEEDED | {"dead", "cancelled", "withdrawn", "dropped"}
_SETTLING: Final = ENDED | {"retried", "handed-back"}

Key = tuple[str, str]
"""Lane and request id."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event.

    Attributes:
        at: Seconds since 1970, by the teller's clock.
        seq: Orders what workers tell; 0 from producers.
    """

    event_id: str
    lane: str
    request_id: str
    kind: str
    at: float
    seq: int
    attempt: int = 0
    worker: str = ""
    reason: str = ""
    message: str = ""

    @property
    def key(self) -> Key:
        """Whose it is."""
        return self.lane, self.request_id

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.at, UTC)
        words = (f"{when:%H:%M:%S}", self.kind, str(self.attempt), self.worker, self.reason, self.message[:300])
        return " ".join(filter(None, words))


def told(event: Mapping[str, Any]) -> Told:
    """An event from its JSON."""
    return Told(
        event_id=event["event_id"],
        lane=event["lane"],
        request_id=event["request_id"],
        kind=event["kind"],
        at=datetime.fromisoformat(event["at"]).timestamp(),
        seq=event.get("seq", 0),
        attempt=event.get("attempt", 0),
        worker=event.get("worker", ""),
        reason=event.get("reason", ""),
        message=event.get("message", ""),
    )


def in_order(events: Iterable[Told]) -> list[Told]:
    """What workers told, without progress and repetitions, in order."""
    unique = {event.event_id: event for event in events if event.kind != "progress"}
    return sorted(unique.values(), key=lambda event: (event.seq, event.at))


def outcome(events: Iterable[Told]) -> Told | None:
    """How a request ended: the first success, else the last word if it is an end; None while it is open."""
    ordered = in_order(events)
    success = next((event for event in ordered if event.kind in SUCCEEDED), None)
    if success is not None:
        return success
    return ordered[-1] if ordered and ordered[-1].kind in ENDED else None


def redeliveries(events: Iterable[Told]) -> int:
    """How often an attempt began although nobody had settled the one before it."""
    count, open_attempt = 0, False
    for event in in_order(events):
        if event.kind == "started":
            count += open_attempt
            open_attempt = True
        elif event.kind in _SETTLING:
            open_attempt = False
    return count


@dataclass(frozen=True, slots=True)
class Span:
    """When a request was open: from its acceptance to its outcome, in seconds since 1970."""

    accepted_at: float
    ended_at: float


def recovery_seconds(ended_at: float, spans: Sequence[Span]) -> float | None:
    """How long after the end of a fault the next request was settled.

    None where no request was open at that time, so that nothing could be settled.
    """
    if not any(span.accepted_at <= ended_at < span.ended_at for span in spans):
        return None
    later = [span.ended_at for span in spans if span.ended_at >= ended_at]
    return min(later) - ended_at


def longest_recoveries(faults: Iterable[tuple[str, float]], spans: Sequence[Span]) -> dict[str, float]:
    """The longest recovery in seconds by kind of fault.

    Args:
        faults: Kind and end of every fault.
        spans: Of every request that has an outcome.
    """
    longest: dict[str, float] = {}
    for kind, ended_at in faults:
        seconds = recovery_seconds(ended_at, spans)
        if seconds is not None:
            longest[kind] = max(longest.get(kind, 0.0), round(seconds, 1))
    return longest
