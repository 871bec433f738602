"""How a soak reads the event log: outcomes, redeliveries, and how long it took to recover."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from soak.telling import Span, Told, in_order, longest_recoveries, outcome, recovery_seconds, redeliveries, told


def story(*kinds: str) -> list[Told]:
    """What workers told, one event after the other."""
    return [Told(f"e{number}", "demo", "r1", kind, number, number) for number, kind in enumerate(kinds, start=1)]


def kind_of(events: list[Told]) -> str | None:
    """How it ended."""
    end = outcome(events)
    return None if end is None else end.kind


def test_an_event_is_read_from_its_json() -> None:
    event: dict[str, Any] = {
        "version": 1,
        "event_id": "e1",
        "kind": "retried",
        "request_id": "r1",
        "lane": "hcs",
        "at": "2026-11-25T01:17:32.500000Z",
        "attempt": 2,
        "seq": 99,
        "worker": "w1",
        "reason": "session-lost",
    }
    read = told(event)
    assert (read.key, read.kind, read.seq, read.attempt) == (("hcs", "r1"), "retried", 99, 2)
    assert read.at == 1795569452.5
    assert str(read) == "01:17:32 retried 2 w1 session-lost"


def test_an_event_of_a_producer_has_no_worker() -> None:
    event = {"event_id": "e1", "kind": "accepted", "request_id": "r1", "lane": "hcs", "at": "2026-11-25T01:17:32Z"}
    assert (told(event).seq, told(event).worker) == (0, "")


@pytest.mark.parametrize(
    ("kinds", "end"),
    [
        ((), None),
        (("accepted",), None),
        (("accepted", "started"), None),
        (("accepted", "started", "retried"), None),
        (("accepted", "started", "imported"), "imported"),
        (("accepted", "started", "dead"), "dead"),
        (("started", "dead", "replayed"), None),
        (("started", "dead", "started"), None),
        (("started", "dead", "started", "imported"), "imported"),
        (("started", "imported", "started"), "imported"),
        (("started", "imported", "started", "already-imported"), "imported"),
        (("started", "imported", "started", "dead"), "imported"),
        (("accepted", "cancelled"), "cancelled"),
    ],
)
def test_success_absorbs_and_otherwise_the_last_word_counts(kinds: tuple[str, ...], end: str | None) -> None:
    assert kind_of(story(*kinds)) == end


def test_the_order_of_arrival_does_not_matter() -> None:
    events = story("accepted", "started", "retried", "started", "dead")
    assert all(kind_of(list(order)) == "dead" for order in itertools.permutations(events))


def test_repetitions_and_progress_are_left_out() -> None:
    events = story("started", "progress", "imported")
    assert [event.kind for event in in_order(events * 2)] == ["started", "imported"]


@pytest.mark.parametrize(
    ("kinds", "count"),
    [
        (("accepted", "started", "imported"), 0),
        (("started", "retried", "started", "imported"), 0),
        (("started", "handed-back", "started", "imported"), 0),
        (("started", "started", "imported"), 1),
        (("started", "started", "started", "dead"), 2),
        (("started", "imported", "started", "already-imported"), 0),
    ],
)
def test_an_attempt_that_nobody_settled_was_delivered_again(kinds: tuple[str, ...], count: int) -> None:
    assert redeliveries(story(*kinds)) == count


def test_recovery_is_the_time_to_the_next_settled_request() -> None:
    spans = [Span(0, 5), Span(1, 17), Span(2, 12)]
    assert recovery_seconds(10, spans) == 2


def test_nothing_recovers_where_nothing_was_open() -> None:
    """A request that comes only later says nothing about the fault."""
    assert recovery_seconds(10, [Span(0, 5), Span(20, 25)]) is None


def test_the_longest_recovery_of_every_kind_is_told() -> None:
    spans = [Span(0, 14), Span(0, 40)]
    faults = [("worker killed", 10.0), ("worker killed", 15.0), ("Blitz killed", 13.0), ("memory alarm", 50.0)]
    assert longest_recoveries(faults, spans) == {"worker killed": 25.0, "Blitz killed": 1.0}
