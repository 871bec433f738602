"""Makes valid requests, events and filesets for tests; each takes what the test is about and fills in the rest."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Final

from fleet_common.events import Event, Kind
from fleet_common.messages import Batch, ImportRequest, Manifest, Options, Owner, Priority, Source, SubmittedBy
from fleet_worker.omero.facts import OwnerIds
from fleet_worker.omero.state import FilesetState, State

NOW: Final = datetime(2026, 1, 31, 10, 0, tzinfo=UTC)
REQUEST_ID: Final = uuid.UUID("0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b")
BATCH: Final = Batch(id=uuid.UUID("7f8b1c60-1a57-4a3e-9d6a-0f6f0f4a9b11"), name="tuesday")
DIGEST: Final = "ab" * 32
ALICE: Final = OwnerIds("alice", 52, "screening", 53)


def a_request(**changes: Any) -> ImportRequest:
    """A request for one TIFF of alice's, with some fields changed."""
    fields: dict[str, Any] = {
        "request_id": REQUEST_ID,
        "batch": BATCH,
        "lane": "phenix1",
        "priority": Priority.NORMAL,
        "submitted_at": NOW,
        "submitted_by": SubmittedBy(host="acquisition-1"),
        "source": a_source(),
        "owner": Owner(user="alice", group="screening"),
        "target": "Dataset:+name:Tuesday",
        "options": Options(),
    }
    return ImportRequest(**(fields | changes))


def a_source(**changes: Any) -> Source:
    """Where the files of a request are, with some fields changed."""
    fields: dict[str, Any] = {
        "share": "hcs",
        "path": "phenix1/cell.tif",
        "format": "file",
        "manifest": Manifest(files=1, bytes=5, digest=DIGEST),
    }
    return Source(**(fields | changes))


def an_event(kind: Kind, attempt: int = 0, seq: int = 0, **facts: Any) -> Event:
    """An event of the usual request, with an id of its own."""
    fields: dict[str, Any] = {
        "event_id": uuid.uuid4(),
        "kind": kind,
        "request_id": REQUEST_ID,
        "lane": "phenix1",
        "at": NOW,
        "attempt": attempt,
        "seq": seq,
    }
    return Event(**(fields | facts))


_FACTS: Final[dict[tuple[State, bool], dict[str, Any]]] = {
    (State.UPLOAD_UNFINISHED, True): {},
    (State.UPLOAD_UNFINISHED, False): {"session_closed": False},
    (State.QUEUED_OR_RUNNING, False): {"job_status": "Finished", "session_closed": False},
    (State.BROKEN, True): {"job_status": "Finished"},
    (State.COMPLETE, True): {"job_status": "Finished", "images": 1, "distinct_series": 1},
}
POSSIBLE_STATES: Final = tuple(_FACTS)
"""Every state that a fileset can be in, with whether the session that made it is closed."""


def a_fileset(number: int, state: State, *, session_closed: bool = True, **changes: Any) -> FilesetState:
    """A fileset of alice's in a state, carrying the usual request's digest."""
    fields: dict[str, Any] = {
        "id": number,
        "owner_id": ALICE.user_id,
        "owner": ALICE.user,
        "group_id": ALICE.group_id,
        "group": ALICE.group,
        "annotation": {"digest": DIGEST},
    }
    return FilesetState(**(fields | _FACTS[state, session_closed] | changes))
