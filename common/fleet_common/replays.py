"""What an operator does with dead letters, as data: the copy to publish, and the events that tell of it.

Pure functions, no threads; the ``dead`` commands publish and acknowledge. A replay without changes publishes the body
byte for byte. One with changes goes through the model of the request, so that nothing is published that a producer
could not have submitted.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import pydantic

from fleet_common.broker import ATTEMPT, SUBMITTED_BY, Names, Outgoing
from fleet_common.dead import DeadLetter, Held
from fleet_common.errors import RequestError, UsageError
from fleet_common.events import Event, Kind, next_seq
from fleet_common.messages import ImportRequest, encode, explain

REPLAYED_BY: Final = "replayed-by"
CHANGEABLE: Final = ("owner.user", "owner.group", "target", "priority", "lane")


@dataclass(frozen=True, slots=True)
class Change:
    """One field of a request that an operator changed."""

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        """For people, and for the audit."""
        return f"{self.field} from {self.before!r} to {self.after!r}"


@dataclass(frozen=True, slots=True)
class Replay:
    """One dead request that is to be put back.

    Attributes:
        held: Its letters.
        key: ``<lane>.<class>`` to publish with.
        body: What to publish.
        changes: What was changed.
    """

    held: Held
    key: str
    body: bytes
    changes: tuple[Change, ...] = ()

    @property
    def lane(self) -> str:
        """The lane that it goes to."""
        return self.key.rpartition(".")[0]


def parse_changes(texts: Sequence[str]) -> Mapping[str, str]:
    """What ``--set FIELD=VALUE`` asks for.

    Raises:
        UsageError: A field that cannot be changed, or is named twice, or has no value.
    """
    wanted: dict[str, str] = {}
    for text in texts:
        field, _, value = text.partition("=")
        if field not in CHANGEABLE or not value:
            raise UsageError(f"--set wants FIELD=VALUE, not {text!r}; FIELD is one of {', '.join(CHANGEABLE)}")
        if field in wanted:
            raise UsageError(f"--set {field} is given twice")
        wanted[field] = value
    return wanted


def plan(held: Held, wanted: Mapping[str, str]) -> Replay:
    """How to put a dead request back.

    Without changes it goes where it came from, even if it cannot be read here: a newer worker may know it.

    The request id stays whatever is changed, though a new submission for the new owner would get another one: under
    this id its producer and the event log know the request, and finding an earlier attempt's fileset depends on it.

    Raises:
        UsageError: What is asked for cannot be done with this request; the text says why.
    """
    letter = held.letter
    if not letter.is_whole:
        raise UsageError(f"{letter.name}: its {letter.size_bytes:,} bytes are no request, and would only die again")
    if not wanted:
        return Replay(held, letter.origin_key, letter.body)
    if letter.request is None:
        raise UsageError(
            f"{letter.name}: its body cannot be read, so nothing of it can be changed; replay without --set"
        )
    changed, changes = _changed(letter.request, wanted)
    key = _key(letter.origin_key, wanted)
    return Replay(held, key, _encoded(letter, changed) if changes else letter.body, changes)


def _changed(request: ImportRequest, wanted: Mapping[str, str]) -> tuple[ImportRequest, tuple[Change, ...]]:
    values = request.model_dump(mode="json")
    changes = []
    for field, after in wanted.items():
        *path, last = field.split(".")
        place: dict[str, Any] = values[path[0]] if path else values
        if place[last] != after:
            changes.append(Change(field, place[last], after))
        place[last] = after
    try:
        return ImportRequest.model_validate_json(json.dumps(values)), tuple(changes)
    except pydantic.ValidationError as error:
        raise UsageError(f"{request.request_id}: {explain(error)}") from error


def _encoded(letter: DeadLetter, request: ImportRequest) -> bytes:
    try:
        return encode(request)
    except RequestError as error:
        raise UsageError(f"{letter.name}: {error}") from error


def _key(origin_key: str, wanted: Mapping[str, str]) -> str:
    lane, _, priority = origin_key.rpartition(".")
    return f"{wanted.get('lane', lane)}.{wanted.get('priority', priority)}"


def copy_of(replay: Replay, names: Names, who: str) -> Outgoing:
    """The message that puts a request back, at attempt 0, in the name of who submitted it.

    Args:
        replay: What to put back.
        names: Of the exchange.
        who: The person, for those who look into the queue.
    """
    letter = replay.held.letter
    headers: dict[str, Any] = {ATTEMPT: 0, REPLAYED_BY: who}
    if letter.submitted_by:
        headers[SUBMITTED_BY] = letter.submitted_by
    # Without the time at which it was seen first: a request that was too new for all workers would be too old at once.
    return Outgoing(names.requests, replay.key, replay.body, headers, letter.message_id)


def replay_events(replay: Replay, who: str, now: datetime) -> tuple[Event, ...]:
    """What to tell of a replay; nothing of a letter without an id, of which nothing was ever told.

    A request that goes to another lane has ended in its own: those who follow it there may not see the other one.
    """
    letter = replay.held.letter
    what = "; ".join(map(str, replay.changes)) or "nothing changed"
    told = f"{who} put it back: {what}; it was dead of {letter.reason}"
    if replay.lane == letter.lane:
        return _told(Kind.REPLAYED, letter, letter.lane, told, now)
    moved = f"{who} moved it to lane {replay.lane}: {what}; it was dead of {letter.reason}"
    return (
        *_told(Kind.DROPPED, letter, letter.lane, moved, now),
        *_told(Kind.REPLAYED, letter, replay.lane, told, now),
    )


def drop_events(letter: DeadLetter, who: str, now: datetime) -> tuple[Event, ...]:
    """What to tell of a letter that is removed for ever; nothing of one without an id."""
    return _told(Kind.DROPPED, letter, letter.lane, f"{who} dropped it; it was dead of {letter.reason}", now)


def _told(kind: Kind, letter: DeadLetter, lane: str, message: str, now: datetime) -> tuple[Event, ...]:
    if letter.request_id is None:
        return ()
    try:
        event = Event(
            event_id=uuid.uuid4(),
            kind=kind,
            request_id=letter.request_id,
            lane=lane,
            at=now,
            seq=next_seq(_seq_of_death(letter), now),
            batch=letter.batch,
            source=letter.source,
            message=message,
        )
    except pydantic.ValidationError:
        # A routing key that is no lane's name, published by hand: no status is kept of such a lane.
        return ()
    return (event,)


def _seq_of_death(letter: DeadLetter) -> int:
    """At least the number of the event that told of the death, of which the letter knows the second only.

    Without it an operator whose clock is behind would replay a request that counts as dead until it is taken.
    """
    return int((letter.died_at + timedelta(seconds=1)).timestamp() * 1000) if letter.died_at else 0
