"""What is told about requests, and the fold that makes a status of it.

Events are facts: they are appended to the event log and never changed. A status is a pure function of the events of a
request, in any order of arrival, with duplicates, and without ``accepted`` (the log is bounded by age).

Order comes from ``seq``, the clock of the worker that tells: workers' clocks must be synchronised (NTP, to well under
the 10 s of the shortest retry), for several workers may tell of one request one after the other. Acquisition hosts'
clocks may be hours off: what producers tell has ``seq`` 0, and their times are informative.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

import pydantic
from pydantic import Field

from fleet_common.errors import Permanent, Reason
from fleet_common.messages import Batch, Model, Moment, Name, explain

MAX_EVENT_BYTES: Final = 64 * 1024
_MAX_IDS: Final = 1000


class Kind(enum.StrEnum):
    """What happened; also the last part of the event's routing key ``<lane>.<kind>``."""

    INCOMPLETE = "incomplete"
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"
    STARTED = "started"
    PROGRESS = "progress"
    RETRIED = "retried"
    HANDED_BACK = "handed-back"
    IMPORTED = "imported"
    ALREADY_IMPORTED = "already-imported"
    EXPANDED = "expanded"
    DEAD = "dead"
    CANCELLED = "cancelled"
    REPLAYED = "replayed"
    DROPPED = "dropped"


FINAL: Final = frozenset(
    {
        Kind.IMPORTED,
        Kind.ALREADY_IMPORTED,
        Kind.EXPANDED,
        Kind.DEAD,
        Kind.CANCELLED,
        Kind.WITHDRAWN,
        Kind.DROPPED,
    }
)
"""Kinds after which nothing more happens by itself."""

SUCCEEDED: Final = frozenset({Kind.IMPORTED, Kind.ALREADY_IMPORTED, Kind.EXPANDED})
"""Kinds that nothing can undo. What was expanded is done: its images and plates are requests of their own."""


class Phase(enum.StrEnum):
    """Where an attempt is, with OMERO's own names for the server's part (``omero fs importtime``)."""

    CHECK = "check"
    TARGET = "target"
    REGISTER = "register"
    UPLOAD = "upload"
    QUEUED = "queued"
    SET_ID = "setId"
    METADATA = "metadata"
    PIXELDATA = "pixeldata"
    OVERLAYS = "overlays"
    RDEFS = "rdefs"
    THUMBNAILS = "thumbnails"
    VERIFY = "verify"
    ANNOTATE = "annotate"


class Progress(Model):
    """How far an attempt is."""

    phase: Phase
    files_done: Annotated[int, Field(ge=0)] = 0
    files: Annotated[int, Field(ge=0)] = 0
    bytes_done: Annotated[int, Field(ge=0)] = 0
    bytes: Annotated[int, Field(ge=0)] = 0


class Transfer(enum.StrEnum):
    """How files got into OMERO, in the words of ``omero import --transfer``."""

    UPLOAD = "upload"
    LN_S = "ln_s"


class Result(Model):
    """What OMERO holds for the request; ids are cut off after 1,000."""

    fileset_id: int
    plate_ids: Annotated[tuple[int, ...], Field(max_length=_MAX_IDS)] = ()
    image_ids: Annotated[tuple[int, ...], Field(max_length=_MAX_IDS)] = ()
    target: str | None = None
    files: int
    bytes: int
    images: int
    wells: int = 0
    planes: int = 0
    seconds: dict[str, float] = Field(default_factory=dict)
    """Seconds by phase, as far as this attempt measured them."""
    warnings: tuple[str, ...] = ()
    transfer: Transfer | None = None
    """``ln_s`` where OMERO holds links to the files; None where it holds the files, or nobody remembers."""


class Event(Model):
    """One fact about one request."""

    version: Literal[1] = 1
    event_id: uuid.UUID
    kind: Kind
    request_id: uuid.UUID
    lane: Name
    at: Moment
    attempt: Annotated[int, Field(ge=0)] = 0
    """0 before a worker took it; counted by the fleet from 1."""
    seq: Annotated[int, Field(ge=0)] = 0
    """Milliseconds since 1970 on the worker's clock, at the least: see :func:`next_seq`. 0 in what producers tell."""
    batch: Batch | None = None
    source: str | None = None
    """``share/path`` of the entry file."""
    worker: str | None = None
    progress: Progress | None = None
    result: Result | None = None
    reason: Reason | None = None
    message: str | None = None
    next_action: str | None = None
    delay_seconds: float | None = None

    @property
    def routing_key(self) -> str:
        """``<lane>.<kind>``: topic permissions keep a producer to kinds of its own lane."""
        return f"{self.lane}.{self.kind}"


class Status(Model):
    """Where a request is: a fold over its events."""

    request_id: uuid.UUID
    lane: str
    state: Kind
    attempt: int = 0
    batch: Batch | None = None
    source: str | None = None
    worker: str | None = None
    progress: Progress | None = None
    result: Result | None = None
    reason: Reason | None = None
    message: str | None = None
    next_action: str | None = None
    updated_at: Moment

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in FINAL


def encode_event(event: Event) -> bytes:
    """The event as it goes over the wire."""
    return event.model_dump_json(exclude_none=True).encode()


def decode_event(body: bytes) -> Event:
    """Read an event.

    Raises:
        Permanent: The body is no event of a known version; readers of the log count and skip it.
    """
    try:
        return Event.model_validate_json(body[: MAX_EVENT_BYTES + 1])
    except pydantic.ValidationError as error:
        raise Permanent(Reason.INVALID_REQUEST, f"not an event: {explain(error)}") from error


def next_seq(previous: int, now: datetime) -> int:
    """The number of a worker's next event: its clock, in milliseconds since 1970, but always above the last number.

    It orders events across attempts too, where their numbers do not: an attempt that was nobody's fault counts as none,
    and a request that is submitted or replayed again begins with attempt 1.

    Args:
        previous: The number of the last event of the same teller; 0 for none.
        now: The worker's clock.
    """
    return max(previous + 1, int(now.timestamp() * 1000))


def rank(event: Event) -> tuple[bool, int, int, int, Moment, str]:
    """Later facts about a request rank higher: success absorbs all, then the sequence; the rest only breaks ties."""
    end = 2 if event.kind in FINAL else 0 if event.kind in {Kind.STARTED, Kind.PROGRESS} else 1
    return (event.kind in SUCCEEDED, event.seq, event.attempt, end, event.at, str(event.event_id))


class Fold:
    """The status of one request of one lane so far; takes events one by one and keeps none but those that matter.

    A log of millions of progress events therefore needs memory for its requests only.
    """

    def __init__(self, first: Event) -> None:
        self._latest = first
        self._batch = first if first.batch else None
        self._source = first if first.source else None

    def add(self, event: Event) -> None:
        """Take in one more event of the same request; a repeated one changes nothing."""
        self._latest = max(self._latest, event, key=rank)
        if event.batch:
            self._batch = event if self._batch is None else max(self._batch, event, key=rank)
        if event.source:
            self._source = event if self._source is None else max(self._source, event, key=rank)

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens by itself, as far as the events tell."""
        return self._latest.kind in FINAL

    @property
    def status(self) -> Status:
        """Where the request is, as far as the events tell."""
        latest = self._latest
        return Status(
            request_id=latest.request_id,
            lane=latest.lane,
            state=latest.kind,
            attempt=latest.attempt,
            batch=self._batch.batch if self._batch else None,
            source=self._source.source if self._source else None,
            worker=latest.worker,
            progress=latest.progress,
            result=latest.result,
            reason=latest.reason,
            message=latest.message,
            next_action=latest.next_action,
            updated_at=latest.at,
        )


def fold(events: Iterable[Event]) -> Status:
    """The status of one request.

    Args:
        events: At least one event, all of the same request, in any order, duplicates allowed.

    Raises:
        ValueError: There is no event.
    """
    first, *others = events
    folded = Fold(first)
    for event in others:
        folded.add(event)
    return folded.status


def fold_all(events: Iterable[Event]) -> Mapping[tuple[str, uuid.UUID], Status]:
    """The status of every request that the events speak of, by lane and request id, in order of first appearance.

    By lane too, because the broker keeps a producer to its own lane, but not to its own request ids: it may say that
    anybody's request was accepted or withdrawn, and have a worker refuse a request with anybody's id.
    """
    folds: dict[tuple[str, uuid.UUID], Fold] = {}
    for event in events:
        key = (event.lane, event.request_id)
        if key in folds:
            folds[key].add(event)
        else:
            folds[key] = Fold(event)
    return {key: folded.status for key, folded in folds.items()}


def roll_up(statuses: Iterable[Status]) -> Mapping[Kind, int]:
    """How many requests are in which state; every state is there, also with 0."""
    counts = dict.fromkeys(Kind, 0)
    for status in statuses:
        counts[status.state] += 1
    return counts
