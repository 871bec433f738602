"""When a lease is lost: pure arithmetic on a clock that the test turns."""

from __future__ import annotations

import pytest

from fleet_common.broker.leases import Lease, Patience


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


def lease(clock: Clock, patience: Patience | None = None, released: list[Lease] | None = None) -> Lease:
    """A lease that was just taken."""

    def release(one: Lease, _deadline_seconds: float) -> None:
        if released is not None:
            released.append(one)

    made = Lease("import.lock.x", patience or Patience(), release, clock)
    made.channel = object()
    return made


def test_eight_seconds_without_an_answer_are_too_many(clock: Clock) -> None:
    """The broker gives the lock away after about 25 s, so there is time to stop."""
    held = lease(clock)
    clock.now += 8.0
    assert not held.lost
    clock.now += 0.1
    assert held.lost


def test_every_answer_is_eight_more_seconds(clock: Clock) -> None:
    """Counted from the question: an answer proves nothing about the time after it was asked for."""
    held = lease(clock)
    asked_at = clock.now + 5
    clock.now += 7
    held.prove(asked_at)
    clock.now = asked_at + 8
    assert not held.lost
    clock.now += 0.1
    assert held.lost


def test_an_answer_that_comes_too_late_changes_nothing(clock: Clock) -> None:
    """A frozen process that thaws finds old answers waiting: the lease was lost all the same."""
    held = lease(clock)
    clock.now += 60
    held.prove(clock.now)
    assert held.lost


def test_an_older_answer_takes_nothing_back(clock: Clock) -> None:
    """Answers may be noted in any order."""
    held = lease(clock)
    clock.now += 5
    held.prove(clock.now)
    held.prove(clock.now - 4)
    clock.now += 7
    assert not held.lost


def test_a_slot_is_hoped_for_longer_while_there_is_no_connection(clock: Clock) -> None:
    """Nobody can take it while the broker is down, and the import in OMERO goes on."""
    held = lease(clock, Patience(silence_seconds=8, outage_seconds=60))
    held.channel = None
    clock.now += 60
    assert not held.lost
    held.channel = object()
    assert held.lost


def test_what_was_lost_stays_lost(clock: Clock) -> None:
    """Somebody else may hold it."""
    held = lease(clock)
    held.lose()
    held.prove(clock.now)
    assert held.lost


def test_a_lease_is_released_at_the_end_of_its_block(clock: Clock) -> None:
    """Also when the block fails."""
    released: list[Lease] = []
    held = lease(clock, released=released)
    with pytest.raises(ZeroDivisionError), held:
        raise ZeroDivisionError
    assert released == [held]
