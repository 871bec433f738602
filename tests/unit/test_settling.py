"""What is read from a delivery's headers and properties before it is settled."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest

from fleet_common.broker import ATTEMPT, FIRST_SEEN, Delivery
from fleet_common.errors import Reason
from fleet_common.events import Kind, decode_event, encode_event, fold
from fleet_worker.settling import age_seconds, attempt_number, request_id_of, unreadable_event
from support.builders import NOW
from support.fakes import Journal, a_delivery

FLEET = ("worker", "operator")


def delivered(**changes: Any) -> Delivery:
    """A delivery with these properties."""
    return a_delivery(Journal(), b"", **changes)


@pytest.mark.parametrize(
    ("user", "headers", "expected"),
    [
        ("phenix1", {}, 1),
        ("worker", {}, 1),
        ("worker", {ATTEMPT: 0}, 1),
        ("worker", {ATTEMPT: 2}, 3),
        ("operator", {ATTEMPT: 2}, 3),
        ("phenix1", {ATTEMPT: 2}, 1),
        (None, {ATTEMPT: 2}, 1),
        ("worker", {ATTEMPT: -5}, 1),
        ("worker", {ATTEMPT: "2"}, 1),
        ("worker", {ATTEMPT: None}, 1),
    ],
)
def test_attempts_are_counted_by_the_fleet_only(user: str | None, headers: dict[str, Any], expected: int) -> None:
    """Whatever a producer writes into the header."""
    assert attempt_number(delivered(user_id=user, headers=headers), FLEET) == expected


SEEN = (NOW - timedelta(minutes=10)).isoformat()


@pytest.mark.parametrize(
    ("user", "seen", "expected"),
    [
        ("worker", SEEN, 600.0),
        ("operator", SEEN, 600.0),
        ("worker", SEEN.replace("+00:00", ""), 600.0),
        ("worker", (NOW - timedelta(minutes=10)).astimezone().isoformat(), 600.0),
        ("worker", (NOW + timedelta(minutes=10)).isoformat(), 0.0),
        ("phenix1", SEEN, 0.0),
        (None, SEEN, 0.0),
        ("worker", None, 0.0),
        ("worker", 17, 0.0),
        ("worker", "yesterday", 0.0),
    ],
)
def test_the_age_is_counted_since_the_fleet_saw_the_request(user: str | None, seen: object, expected: float) -> None:
    """A producer cannot make its request old or young."""
    headers = {} if seen is None else {FIRST_SEEN: seen}
    assert age_seconds(delivered(user_id=user, headers=headers), FLEET, NOW) == expected


@pytest.mark.parametrize(
    ("message_id", "expected"),
    [
        (None, None),
        ("", None),
        ("request 5", None),
        ("0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b", uuid.UUID("0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b")),
    ],
)
def test_the_id_beside_a_body_is_believed_if_it_is_one(message_id: str | None, expected: uuid.UUID | None) -> None:
    """Anything else is nobody's."""
    assert request_id_of(delivered(message_id=message_id)) == expected


def test_an_event_about_an_unreadable_body_is_a_whole_event() -> None:
    """It survives the wire, and says the lane of the queue."""
    number, now = uuid.uuid4(), datetime.fromisoformat("2026-01-31T10:00:00+00:00")
    make = unreadable_event(delivered(lane="cv8000"), number, "w1", now)
    event = make(Kind.DEAD, reason=Reason.INVALID_REQUEST, message="lane: Field required")
    assert decode_event(encode_event(event)) == event
    assert (event.request_id, event.lane, event.kind, event.worker, event.at) == (
        number,
        "cv8000",
        Kind.DEAD,
        "w1",
        now,
    )
    assert event.seq == int(now.timestamp() * 1000)


def test_of_two_events_about_one_unreadable_body_the_later_counts() -> None:
    """A body of a newer version is retried as attempt 1 each time, until it is dead."""
    number = uuid.uuid4()
    first = unreadable_event(delivered(), number, "w1", NOW)(Kind.RETRIED)
    second = unreadable_event(delivered(), number, "w2", NOW + timedelta(minutes=5))(Kind.RETRIED)
    assert fold([second, first]).worker == "w2"


def test_two_events_about_one_unreadable_body_are_two() -> None:
    """Readers tell them apart by their ids."""
    make = unreadable_event(delivered(), uuid.uuid4(), "w1", NOW)
    assert make(Kind.RETRIED).event_id != make(Kind.RETRIED).event_id
