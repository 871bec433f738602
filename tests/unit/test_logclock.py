"""When an event was told, whatever the clock of the host that told it says."""

from __future__ import annotations

from datetime import timedelta

from fleet_common.events import Event, Kind
from fleet_common.logclock import LogClock
from support.builders import NOW, an_event

START = NOW.timestamp()


def by_producer(hours: float) -> Event:
    """Of a host whose clock is so far from ours."""
    return an_event(Kind.ACCEPTED, at=NOW + timedelta(hours=hours))


def by_worker(seconds: float) -> Event:
    """Of a worker, so many seconds ago."""
    return an_event(Kind.STARTED, seq=int((START - seconds) * 1000))


def test_a_worker_is_believed() -> None:
    """Workers' clocks are synchronised."""
    assert LogClock().seconds(by_worker(60), NOW, live=False) == START - 60


def test_a_host_whose_clock_is_slow_is_not_older_than_what_came_before_it() -> None:
    """Given a worker's word of a minute ago, when a host then says it is yesterday, then it was a minute ago."""
    clock = LogClock()
    clock.seconds(by_worker(60), NOW, live=False)
    assert clock.seconds(by_producer(-24), NOW, live=False) == START - 60


def test_a_host_whose_clock_is_fast_is_never_in_the_future_and_moves_nobody_else() -> None:
    """Given a host three hours ahead, then its event is of now at most, and the next worker's is what it says."""
    clock = LogClock()
    assert clock.seconds(by_producer(3), NOW, live=False) == START
    assert clock.seconds(by_worker(60), NOW, live=False) == START - 60


def test_what_is_told_while_we_listen_is_of_now() -> None:
    """Whoever tells it."""
    clock = LogClock()
    assert clock.seconds(by_producer(-24), NOW, live=True) == START
    assert clock.seconds(by_worker(5), NOW, live=True) == START


def test_time_never_goes_back_between_workers() -> None:
    """The log is in order; one whose clock lags by a second does not change that."""
    clock = LogClock()
    clock.seconds(by_worker(10), NOW, live=False)
    assert clock.seconds(by_worker(11), NOW, live=False) == START - 10
