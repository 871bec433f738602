"""What producers say of themselves: read strictly but for what is new, and passed over by readers of events."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from fleet_common.broker import BrokerAddress
from fleet_common.broker.eventlog import EventReader
from fleet_common.broker.subscription import Message
from fleet_common.errors import Permanent
from fleet_common.events import Kind, encode_event
from fleet_common.heartbeats import (
    MAX_HEARTBEAT_BYTES,
    Heartbeat,
    Settle,
    decode_heartbeat,
    encode_heartbeat,
    is_heartbeat,
)
from support.builders import NOW, an_event

BEAT = Heartbeat(
    lane="phenix1",
    host="acquisition-1",
    at=NOW,
    spool_requests=3,
    unconfirmed=1,
    oldest_unconfirmed_seconds=70.5,
    acquisitions={Settle.ACQUIRING: 2},
)


def test_a_heartbeat_comes_back_as_it_went() -> None:
    """Over the wire and back."""
    assert decode_heartbeat(encode_heartbeat(BEAT), "phenix1.heartbeat") == BEAT


def test_a_producer_cannot_speak_for_another_lane() -> None:
    """The broker has checked the key only."""
    with pytest.raises(Permanent, match=r"^a heartbeat of 'phenix1' under the key 'cv8000.heartbeat'"):
        decode_heartbeat(encode_heartbeat(BEAT), "cv8000.heartbeat")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"lane": "Phenix 1"},
        {"host": ""},
        {"spool_requests": -1},
        {"oldest_unconfirmed_seconds": float("nan")},
        {"acquisitions": {"resting": 1}},
        {"parked": -1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_no_heartbeat_is_refused(change: dict[str, Any]) -> None:
    body = json.dumps(json.loads(encode_heartbeat(BEAT)) | change).encode()
    with pytest.raises(Permanent, match="not a heartbeat"):
        decode_heartbeat(body, "phenix1.heartbeat")


def test_what_a_newer_producer_adds_is_passed_over() -> None:
    """And what an older one does not tell is 0: neither is taken for silent."""
    told = json.loads(encode_heartbeat(BEAT))
    assert decode_heartbeat(json.dumps(told | {"mood": "well"}).encode(), "phenix1.heartbeat") == BEAT
    older = {field: value for field, value in told.items() if field not in {"parked", "folders_away", "set_aside"}}
    assert decode_heartbeat(json.dumps(older).encode(), "phenix1.heartbeat") == BEAT


def test_a_heartbeat_that_is_too_large_is_refused() -> None:
    """It is cut, and then no JSON."""
    body = encode_heartbeat(BEAT)[:-1] + b" " * MAX_HEARTBEAT_BYTES + b"}"
    with pytest.raises(Permanent, match="not a heartbeat"):
        decode_heartbeat(body, "phenix1.heartbeat")


@pytest.mark.parametrize(("key", "is_one"), [("a.heartbeat", True), ("heartbeat", False), ("a.started", False)])
def test_a_heartbeat_is_known_by_its_key(key: str, is_one: bool) -> None:  # noqa: FBT001  a table
    """The lane comes first."""
    assert is_heartbeat(key) == is_one


def test_readers_of_events_pass_over_heartbeats_without_counting_them() -> None:
    """Given a log with a heartbeat between two events, then only the events are read, and nothing was skipped."""
    event = an_event(Kind.ACCEPTED)
    messages = [
        Message(encode_event(event), event.routing_key, 0, 0, None),
        Message(encode_heartbeat(BEAT), BEAT.routing_key, 1, 0, None),
        Message(encode_event(event), event.routing_key, 2, 0, None),
    ]
    reader = EventReader(BrokerAddress(host="localhost", user="u", password=cast("Any", "p")))
    assert (len(list(reader._events(iter(messages)))), reader.skipped) == (2, 0)
