"""Where all requests are, event by event: counts that stay right, and memory that stays bounded."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.events import Event, Kind, Phase, Progress, Result, fold_all
from fleet_common.ledger import (
    CANCELLED,
    DEAD,
    IMPORTED,
    IN_WORK,
    INCOMPLETE,
    STATES,
    WAITING,
    WITHDRAWN,
    Ledger,
    Tally,
    state_of,
)
from fleet_common.messages import Batch
from support.builders import BATCH, an_event

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def told(kind: Kind, seq: int = 0, request: uuid.UUID = ONE, **facts: Any) -> Event:
    """An event of a request in the usual batch."""
    return an_event(kind, seq=seq, request_id=request, batch=BATCH, **facts)


def a_ledger(*events: Event, **bounds: int) -> Ledger:
    """A ledger that was told these, one a second."""
    ledger = Ledger(**bounds)
    for second, event in enumerate(events):
        ledger.add(event, float(second), offset=second)
    return ledger


def only(ledger: Ledger) -> Tally:
    """The one batch."""
    (tally,) = ledger.batches()
    return tally


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (Kind.ACCEPTED, WAITING),
        (Kind.RETRIED, WAITING),
        (Kind.HANDED_BACK, WAITING),
        (Kind.REPLAYED, WAITING),
        (Kind.STARTED, IN_WORK),
        (Kind.PROGRESS, IN_WORK),
        (Kind.IMPORTED, IMPORTED),
        (Kind.ALREADY_IMPORTED, IMPORTED),
        (Kind.DEAD, DEAD),
        (Kind.CANCELLED, CANCELLED),
        (Kind.WITHDRAWN, WITHDRAWN),
        (Kind.DROPPED, WITHDRAWN),
        (Kind.INCOMPLETE, INCOMPLETE),
    ],
)
def test_every_kind_of_event_is_one_state(kind: Kind, state: str) -> None:
    """For people there are seven."""
    assert state_of(kind) == state


def test_an_incomplete_plate_waits_for_a_person_not_for_the_fleet() -> None:
    """Given a plate that was incomplete, when it is published after all, then it is young."""
    ledger = a_ledger(told(Kind.INCOMPLETE))
    assert (list(ledger.open_requests()), only(ledger).counts[INCOMPLETE]) == ([], 1)
    ledger.add(told(Kind.STARTED, 1), 50.0)
    ((_, tracked),) = ledger.open_requests()
    assert tracked.since_seconds == 50


def test_a_request_is_open_from_its_first_event_to_its_outcome() -> None:
    """Given a request that is taken, when it is imported, then nothing is open and its batch is done."""
    ledger = a_ledger(told(Kind.ACCEPTED), told(Kind.STARTED, 1))
    assert [(lane, one.state, one.since_seconds) for lane, one in ledger.open_requests()] == [("phenix1", IN_WORK, 0)]
    ledger.add(told(Kind.IMPORTED, 2), 9.0)
    assert list(ledger.open_requests()) == []
    assert (only(ledger).open, only(ledger).counts[IMPORTED], only(ledger).changed_seconds) == (0, 1, 9)


def test_an_event_that_comes_late_changes_nothing() -> None:
    """Given an import whose accepted event was slow, then it is imported all the same."""
    ledger = a_ledger(told(Kind.IMPORTED, 5), told(Kind.ACCEPTED), told(Kind.PROGRESS, 3))
    assert only(ledger).counts == {**dict.fromkeys(STATES, 0), IMPORTED: 1}


def test_a_replayed_request_is_young_again() -> None:
    """Its age counts from the replay, not from its first try."""
    ledger = a_ledger(told(Kind.ACCEPTED), told(Kind.DEAD, 1), told(Kind.REPLAYED, 2))
    ((_, tracked),) = ledger.open_requests()
    assert tracked.since_seconds == 2
    assert (only(ledger).counts[DEAD], only(ledger).counts[WAITING]) == (0, 1)


def test_a_retry_keeps_the_age_of_the_request() -> None:
    """Or the oldest one would look young for ever."""
    ledger = a_ledger(told(Kind.ACCEPTED), told(Kind.STARTED, 1), told(Kind.RETRIED, 2))
    ((_, tracked),) = ledger.open_requests()
    assert tracked.since_seconds == 0


def test_a_batch_adds_up_what_its_requests_have_and_what_was_sent() -> None:
    """Given one request in the middle and one at its end, then files and bytes are the sums of both."""
    middle = Progress(phase=Phase.UPLOAD, files_done=2, files=5, bytes_done=20, bytes=50)
    result = Result(fileset_id=1, files=3, bytes=30, images=1)
    ledger = a_ledger(
        told(Kind.STARTED, 1), told(Kind.PROGRESS, 2, progress=middle), told(Kind.IMPORTED, 3, OTHER, result=result)
    )
    assert only(ledger).size == [8, 80, 5, 50]
    assert (only(ledger).requests, only(ledger).open, only(ledger).name, only(ledger).offset) == (2, 1, "tuesday", 0)


def test_files_that_are_sent_again_never_make_more_than_all() -> None:
    """A damaged file is counted twice by the worker."""
    twice = Progress(phase=Phase.UPLOAD, files_done=7, files=5, bytes_done=70, bytes=50)
    assert only(a_ledger(told(Kind.PROGRESS, 2, progress=twice))).size == [5, 50, 5, 50]


def test_two_lanes_cannot_disturb_each_other() -> None:
    """A producer may tell anything, but only of its own lane."""
    ledger = a_ledger(told(Kind.ACCEPTED), told(Kind.WITHDRAWN, request=ONE, lane="forger"))
    assert [tally.counts[WAITING] for tally in ledger.batches()] == [1, 0]


def test_a_request_without_a_batch_is_in_none() -> None:
    """Events of dead letters whose body cannot be read."""
    ledger = a_ledger(an_event(Kind.DEAD, seq=1))
    assert list(ledger.batches()) == []


def test_what_ended_is_forgotten_first_and_its_batch_keeps_the_count() -> None:
    """Given room for two, when a third comes, then the one that ended goes, and the batch still has all three."""
    third = uuid.UUID(int=3)
    ledger = a_ledger(
        told(Kind.IMPORTED, 1), told(Kind.ACCEPTED, 0, OTHER), told(Kind.ACCEPTED, 0, third), most_requests=2
    )
    assert (ledger.forgotten, only(ledger).requests, only(ledger).counts[IMPORTED]) == (0, 3, 1)


def test_open_requests_that_are_forgotten_are_counted() -> None:
    """It is said that the numbers are too small."""
    ledger = a_ledger(*[told(Kind.ACCEPTED, 0, uuid.UUID(int=number)) for number in range(5)], most_requests=3)
    assert (len(list(ledger.open_requests())), ledger.forgotten) == (3, 2)


def test_a_batch_that_is_done_is_forgotten_before_one_that_is_open() -> None:
    """Given room for two batches, then an old open one outlives a new one that is done."""
    batches = [Batch(id=uuid.UUID(int=number), name=f"b{number}") for number in range(3)]
    kinds = (Kind.ACCEPTED, Kind.IMPORTED, Kind.ACCEPTED)
    events = [
        an_event(kind, seq=1, request_id=uuid.UUID(int=number), batch=batch)
        for number, (kind, batch) in enumerate(zip(kinds, batches, strict=True))
    ]
    assert [tally.name for tally in a_ledger(*events, most_batches=2).batches()] == ["b0", "b2"]


@given(
    st.lists(
        st.builds(
            told,
            st.sampled_from(Kind),
            st.integers(0, 20),
            st.sampled_from([ONE, OTHER, uuid.UUID(int=3)]),
        ),
        max_size=30,
    )
)
def test_the_ledger_says_what_the_fold_of_all_events_says(events: list[Event]) -> None:
    """In any order, with any repetition: the counts of a batch are those of the statuses."""
    ledger = a_ledger(*events, *events)
    expected = dict.fromkeys(STATES, 0)
    for status in fold_all(events).values():
        expected[state_of(status.state)] += 1
    assert [tally.counts for tally in ledger.batches()] == ([expected] if events else [])
    assert len(list(ledger.open_requests())) == expected[WAITING] + expected[IN_WORK]
