"""Waiting for the outcomes of what was just published."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from fleet_common.errors import Reason
from fleet_common.events import Event, Kind, Phase, Progress
from fleet_common.exits import Exit
from fleet_common.messages import Manifest
from fleet_producer.waiting import QUIET_SECONDS, Attention, Display, Outcomes, collect, in_vain
from support.builders import REQUEST_ID, a_request, a_source, an_event

OTHER = uuid.UUID("7f8b1c60-1a57-4a3e-9d6a-0f6f0f4a9b12")
STRANGER = uuid.uuid4()


def outcomes(*wanted: uuid.UUID) -> Outcomes:
    """Wait for these, or for the usual one."""
    return Outcomes(frozenset(wanted or {REQUEST_ID}))


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], Exit.STILL_WAITING),
        ([Kind.ACCEPTED], Exit.STILL_WAITING),
        ([Kind.STARTED], Exit.STILL_WAITING),
        ([Kind.PROGRESS], Exit.STILL_WAITING),
        ([Kind.RETRIED], Exit.STILL_WAITING),
        ([Kind.HANDED_BACK], Exit.STILL_WAITING),
        ([Kind.IMPORTED], Exit.OK),
        ([Kind.ALREADY_IMPORTED], Exit.OK),
        ([Kind.DEAD], Exit.DEAD),
        ([Kind.CANCELLED], Exit.DEAD),
        ([Kind.WITHDRAWN], Exit.DEAD),
        ([Kind.STARTED, Kind.RETRIED, Kind.IMPORTED], Exit.OK),
        ([Kind.IMPORTED, Kind.PROGRESS], Exit.OK),
    ],
)
def test_a_command_that_waited_ends_by_the_outcome(kinds: list[Kind], expected: Exit) -> None:
    """Of one request."""
    known = outcomes()
    for seq, kind in enumerate(kinds):
        known.add(an_event(kind, 1, seq))
    assert known.exit_code() is expected
    assert known.complete == (expected is not Exit.STILL_WAITING)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Kind.IMPORTED, Kind.ALREADY_IMPORTED, Exit.OK),
        (Kind.IMPORTED, Kind.DEAD, Exit.DEAD),
        (Kind.IMPORTED, None, Exit.STILL_WAITING),
        (Kind.IMPORTED, Kind.PROGRESS, Exit.STILL_WAITING),
        (Kind.DEAD, None, Exit.DEAD),
    ],
)
def test_of_several_requests_the_worst_counts(one: Kind, other: Kind | None, expected: Exit) -> None:
    """One dead is dead, whatever the rest is at."""
    known = outcomes(REQUEST_ID, OTHER)
    known.add(an_event(one, 1))
    if other is not None:
        known.add(an_event(other, 1, request_id=OTHER))
    assert known.exit_code() is expected


def test_events_of_strangers_are_not_heard() -> None:
    """A lane has many requests."""
    known = outcomes()
    assert known.add(an_event(Kind.DEAD, 1, request_id=STRANGER)) is None
    assert known.statuses == {}


def test_a_death_that_follows_a_long_retry_of_the_same_number_is_heard() -> None:
    """Given a first try that told 50 events and cost no attempt, when the second is dead, then the wait is over."""
    known = outcomes()
    known.add(an_event(Kind.RETRIED, 1, 51, reason=Reason.SESSION_LOST))
    status = known.add(an_event(Kind.DEAD, 1, 60, reason=Reason.VERIFICATION_FAILED))
    assert status is not None
    assert (status.state, known.complete) == (Kind.DEAD, True)


def test_a_late_progress_event_replaces_no_newer_one() -> None:
    """Whatever the order in which they come."""
    known = outcomes()
    for seq in (2, 9, 5):
        known.add(an_event(Kind.PROGRESS, 1, seq, progress=Progress(phase=Phase.UPLOAD, files_done=seq)))
    progress = known.statuses[REQUEST_ID].progress
    assert progress is not None
    assert progress.files_done == 9


def endless(*events: Event) -> Iterator[Event]:
    """These events, and an error for whoever asks for more."""
    yield from events
    raise AssertionError("asked for one event too many")


def test_collecting_ends_with_the_last_outcome_and_asks_for_nothing_more() -> None:
    """A follower would wait for the next event for ever."""
    known = outcomes(REQUEST_ID, OTHER)
    events = endless(
        an_event(Kind.STARTED, 1, 1),
        an_event(Kind.IMPORTED, 1, 2, request_id=OTHER),
        an_event(Kind.DEAD, 1, 1, request_id=STRANGER),
        an_event(Kind.IMPORTED, 1, 2),
    )
    assert [status.state for status in collect(events, known)] == [Kind.STARTED, Kind.IMPORTED, Kind.IMPORTED]
    assert known.exit_code() is Exit.OK


def test_collecting_ends_when_the_time_is_up() -> None:
    """The events end."""
    known = outcomes()
    assert len(list(collect(iter([an_event(Kind.STARTED, 1)]), known))) == 1
    assert known.exit_code() is Exit.STILL_WAITING


# --- gaps -----------------------------------------------------------------------------------------------------------

GAP = 1000.0
OVER = GAP + QUIET_SECONDS


@pytest.mark.parametrize(
    ("heard_at", "now_seconds", "expected"),
    [
        ({}, GAP, False),
        ({}, OVER - 1, False),
        ({}, OVER, True),
        ({REQUEST_ID: GAP - 1, OTHER: GAP - 500}, OVER, True),
        ({REQUEST_ID: GAP, OTHER: GAP}, OVER, True),
        ({REQUEST_ID: GAP + 1}, OVER, False),
        ({REQUEST_ID: GAP + 1}, OVER + 80_000, False),
        ({REQUEST_ID: GAP - 1, OTHER: GAP + 1}, OVER, False),
        ({STRANGER: GAP + 1}, OVER, True),
    ],
)
def test_waiting_is_in_vain_when_no_request_was_heard_of_since_the_gap(
    heard_at: dict[uuid.UUID, float], now_seconds: float, *, expected: bool
) -> None:
    """Ten minutes after it; one that was heard of since goes on, however long its import takes."""
    assert in_vain({REQUEST_ID, OTHER}, heard_at, GAP, now_seconds) is expected


@dataclass
class Waiting:
    """Two requests that are waited for, on a clock and with gaps that a test makes."""

    now_seconds: float = 0.0
    gaps: int = 0
    warnings: int = 0
    known: Outcomes = field(default_factory=lambda: outcomes(REQUEST_ID, OTHER))

    def __post_init__(self) -> None:
        self.attention = Attention(self.known, lambda: self.gaps, self._warn, lambda: self.now_seconds)

    def _warn(self) -> None:
        self.warnings += 1

    def hears(self, kind: Kind, request_id: uuid.UUID) -> None:
        """An event comes."""
        self.known.add(an_event(kind, 1, int(self.now_seconds), request_id=request_id))
        self.attention.heard(request_id)

    def stops_after(self, seconds: float) -> bool:
        """Whether it has stopped so much later."""
        self.now_seconds += seconds
        return self.attention.stop()


def test_without_a_gap_a_wait_never_stops_by_itself() -> None:
    """A request may stay in its queue for days."""
    waiting = Waiting()
    assert not any(waiting.stops_after(seconds) for seconds in (0, 1, 86400, 86400))
    assert waiting.warnings == 0


def test_a_gap_is_told_once_and_ends_a_silent_wait_ten_minutes_after_the_last() -> None:
    """Given two gaps, then silence, then the wait is over; the exit code says that the requests go on."""
    waiting = Waiting(gaps=1)
    assert not waiting.stops_after(0)
    assert not waiting.stops_after(QUIET_SECONDS - 1)
    waiting.gaps = 2
    assert not waiting.stops_after(1)
    assert not waiting.stops_after(QUIET_SECONDS - 1)
    assert waiting.stops_after(1)
    assert waiting.warnings == 1
    assert waiting.known.exit_code() is Exit.STILL_WAITING


def test_a_request_that_is_heard_of_after_the_gap_is_waited_for_to_its_end() -> None:
    """Given one that goes on and one that is silent, when the first has ended, then nothing is left to wait for."""
    waiting = Waiting(gaps=1)
    waiting.stops_after(0)
    waiting.now_seconds = 5
    waiting.hears(Kind.PROGRESS, OTHER)
    assert not waiting.stops_after(50_000)
    waiting.hears(Kind.IMPORTED, OTHER)
    assert waiting.stops_after(1)
    assert waiting.known.remaining == {REQUEST_ID}


def test_what_was_heard_before_the_gap_proves_nothing() -> None:
    """The outcome may have been told in it."""
    waiting = Waiting()
    waiting.hears(Kind.PROGRESS, REQUEST_ID)
    waiting.hears(Kind.IMPORTED, OTHER)
    waiting.gaps = 1
    assert not waiting.stops_after(7)
    assert waiting.stops_after(QUIET_SECONDS)


# --- the display ---------------------------------------------------------------------------------------------------


def shown(*events: Event, terminal: bool = True) -> str:
    """What the display writes."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)
    request = a_request(source=a_source(manifest=Manifest(files=2, bytes=2_000_000, digest="ab" * 32)))
    known = outcomes()
    with Display([request], console) as display:
        for event in events:
            status = known.add(event)
            assert status is not None
            display.show(status)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


HALF = an_event(Kind.PROGRESS, 1, 2, progress=Progress(phase=Phase.UPLOAD, bytes_done=1_000_000, bytes=2_000_000))


def test_a_person_sees_file_phase_and_bytes() -> None:
    """While it goes on."""
    text = shown(HALF)
    assert "phenix1/cell.tif upload" in text
    assert "1.0/2.0 MB" in text


def test_an_imported_request_is_full_and_a_dead_one_stays_where_it_was() -> None:
    """Whatever progress was told last."""
    assert "2.0/2.0 MB" in shown(HALF, an_event(Kind.IMPORTED, 1, 3))
    assert "2.0/2.0 MB" not in shown(HALF, an_event(Kind.DEAD, 1, 3))


def test_a_pipe_sees_nothing() -> None:
    """Standard error of a cron job stays empty."""
    assert shown(HALF, terminal=False).strip() == ""
