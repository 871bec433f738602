"""What is told to people: a few sentences that say what happened, where the data are, and what to do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fleet_common.deadview import visible
from fleet_common.events import Event, Kind
from fleet_common.ledger import CANCELLED, DEAD, IMPORTED, INCOMPLETE, WITHDRAWN, Tally
from fleet_common.logs import redact

TOLD: Final = (Kind.DEAD, Kind.INCOMPLETE, Kind.CANCELLED)
"""What happens to a request, and is told at once."""
FINISHED: Final = "finished"
"""What happens to a batch."""
_HEADLINES: Final = {
    Kind.DEAD: "is dead: nothing more happens by itself",
    Kind.INCOMPLETE: "is incomplete, and is not imported before somebody decides",
    Kind.CANCELLED: "was cancelled",
}
_MOST_CHARACTERS: Final = 1000
_MOST_IN_FULL: Final = 50
"""Notes of one message that are written out; of the others it says how many there are."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that people should know.

    Attributes:
        kind: ``dead``, ``incomplete``, ``cancelled`` or ``finished``.
        offset: Where in the event log it was learnt.
        at: When it happened, as told.
        lane: Of the request or batch.
        batch: Name of the batch; empty where nobody told.
        request_id: Of the request; empty for a batch.
        source: ``share/path`` of its entry file; empty for a batch.
        reason: A word of ``docs/reference/reasons.md``; empty without one.
        message: What happened.
        next_action: What to do.
    """

    kind: str
    offset: int
    at: datetime
    lane: str
    batch: str
    request_id: str = ""
    source: str = ""
    reason: str = ""
    message: str = ""
    next_action: str = ""

    @property
    def text(self) -> str:
        """The note as people read it."""
        return "\n".join(_batch_lines(self) if self.kind == FINISHED else _request_lines(self))

    def as_json(self) -> dict[str, Any]:
        """The note as programs read it."""
        return {
            "kind": self.kind,
            "at": self.at.isoformat(),
            "lane": self.lane,
            "batch": self.batch,
            "request_id": self.request_id,
            "source": self.source,
            "reason": self.reason,
            "message": self.message,
            "next_action": self.next_action,
        }


def of_event(event: Event, offset: int) -> Note | None:
    """What an event has to say to people; None for most of them."""
    if event.kind not in TOLD:
        return None
    return Note(
        kind=str(event.kind),
        offset=offset,
        at=event.at,
        lane=event.lane,
        batch=_clean(event.batch.name) if event.batch else "",
        request_id=str(event.request_id),
        source=_clean(event.source or ""),
        reason=str(event.reason or ""),
        message=_clean(event.message or ""),
        next_action=_clean(event.next_action or ""),
    )


def of_batch(tally: Tally, offset: int, now: datetime) -> Note:
    """That all requests of a batch have an outcome."""
    counts = {state: count for state, count in tally.counts.items() if count}
    trouble = sum(tally.counts[state] for state in (DEAD, CANCELLED, INCOMPLETE))
    return Note(
        kind=FINISHED,
        offset=offset,
        at=now,
        lane=tally.lane,
        batch=_clean(tally.name),
        message=_sentence(counts, tally.requests),
        next_action="Look at what was not imported." if trouble else "Nothing: everything is in OMERO.",
    )


def _sentence(counts: dict[str, int], requests: int) -> str:
    order = (IMPORTED, DEAD, CANCELLED, INCOMPLETE, WITHDRAWN)
    parts = [f"{counts[state]} {state}" for state in order if state in counts]
    return f"of {requests} request{'s' if requests != 1 else ''} {', '.join(parts)}"


def headline(notes: Sequence[Note]) -> str:
    """What a message is about, in one line."""
    if len(notes) == 1:
        note = notes[0]
        what = f"batch {note.batch}" if note.kind == FINISHED else note.source or note.request_id
        return f"{note.kind}: {what} ({note.lane})"[:200]
    counts = Counter(note.kind for note in notes)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def body(notes: Sequence[Note], *, dropped: int = 0) -> str:
    """A whole message.

    Args:
        notes: At least one.
        dropped: How many more there were, of which nothing is known any more.
    """
    parts = [note.text for note in notes[:_MOST_IN_FULL]]
    more = len(notes) - len(parts) + dropped
    if more:
        parts.append(f"And {more} more: see omero-fleet status and omero-fleet dead list.")
    return "\n\n".join(parts) + "\n"


def _request_lines(note: Note) -> list[str]:
    lines = [f"{note.source or note.request_id} {_HEADLINES[Kind(note.kind)]}."]
    lines.append(f"Lane {note.lane}{f', batch {note.batch}' if note.batch else ''}, request {note.request_id}.")
    if note.reason or note.message:
        lines.append(f"Why: {': '.join(filter(None, (note.reason, note.message)))}")
    if note.next_action:
        lines.append(f"What to do: {note.next_action}")
    command = "dead show" if note.kind == Kind.DEAD else "follow"
    lines.append(f"More: omero-fleet {command} {note.request_id}")
    return lines


def _batch_lines(note: Note) -> list[str]:
    return [
        f"The batch {note.batch} is finished: {note.message}.",
        f"Lane {note.lane}.",
        f"What to do: {note.next_action}",
        f"More: omero-fleet status --lane {note.lane} --batch '{note.batch}'",
    ]


def _clean(text: str) -> str:
    """One line without secrets and control characters; what a producer wrote may be anything."""
    return " ".join(visible(redact(text)).split())[:_MOST_CHARACTERS]
