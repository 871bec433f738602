"""Locks and slots: one holder at a time, who knows early when he is none any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fleet_common.broker import Lease, Locks, Timing
from fleet_common.errors import NeedsOperator, Reason, Transient
from support.proxy import Proxy
from support.rabbit import NAMES, Rabbit
from support.waiting import seconds_until, until

QUICK = Timing(
    ask_every_seconds=0.1,
    silence_seconds=1.0,
    slot_outage_seconds=3.0,
    new_slot_grace_seconds=2.0,
    retry_seconds=0.1,
)
LOCK = NAMES.lock("0d2f4c31-8f0e-5b3a-9a52-6a7c5f1d2e3b")
SLOTS = NAMES.slots("omero", "import", 2)


def never() -> bool:
    """A stop that never stops."""
    return False


def taken(lease: Lease | None) -> Lease:
    """A lease that must have been taken."""
    assert lease is not None
    return lease


def test_a_lock_has_one_holder(rabbit: Rabbit) -> None:
    mine, theirs = rabbit.locks(), rabbit.locks()
    lease = taken(mine.try_take(LOCK))
    assert theirs.try_take(LOCK) is None
    assert not lease.lost
    lease.release()
    other = theirs.try_take(LOCK)
    assert other is not None
    assert mine.try_take(LOCK) is None


def test_a_lock_is_not_taken_twice_by_one_process(rabbit: Rabbit) -> None:
    """RabbitMQ lets the same connection declare its exclusive queue again; the fleet does not."""
    locks = rabbit.locks()
    lease = taken(locks.try_take(LOCK))
    assert locks.try_take(LOCK) is None
    assert locks.held() == (LOCK,)
    lease.release()
    assert locks.held() == ()
    assert locks.try_take(LOCK) is not None


def test_a_lock_that_was_refused_is_looked_at_before_a_neighbour_may_take_it(
    rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a lock that becomes free right after the refusal, then no thread of this process has it meanwhile.

    It would look like a queue that is no lock: its own connection may look at an exclusive queue.
    """
    mine, theirs = rabbit.locks(), rabbit.locks()
    lease = taken(theirs.try_take(LOCK))
    look, neighbours = Locks._check_that_it_is_a_lock, list[Lease | None]()

    def look_late(locks: Locks, name: str) -> None:
        lease.release()
        neighbours.append(mine.try_take(name))
        look(locks, name)

    monkeypatch.setattr(Locks, "_check_that_it_is_a_lock", look_late)
    assert mine.try_take(LOCK) is None
    assert neighbours == [None]
    assert mine.try_take(LOCK) is not None


def test_a_name_is_free_for_a_neighbour_only_when_its_queue_is_gone(
    rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue that a thread of this process made meanwhile would be deleted with the old one."""
    locks = rabbit.locks()
    delete, held = Locks._delete, list[tuple[str, ...]]()

    def delete_and_note(of: Locks, lease: Lease, promise: Any) -> None:
        held.append(of.held())
        delete(of, lease, promise)

    monkeypatch.setattr(Locks, "_delete", delete_and_note)
    taken(locks.try_take(LOCK)).release()
    assert held == [(LOCK,)]
    assert locks.held() == ()
    assert locks.try_take(LOCK) is not None


def test_a_lease_is_released_by_its_context(rabbit: Rabbit) -> None:
    mine, theirs = rabbit.locks(), rabbit.locks()
    lease = taken(mine.try_take(LOCK))
    with lease:
        assert theirs.try_take(LOCK) is None
    assert theirs.try_take(LOCK) is not None


def test_of_six_who_race_for_a_lock_exactly_one_wins(rabbit: Rabbit) -> None:
    racers = [rabbit.locks() for _ in range(6)]
    for _ in range(10):
        start = threading.Barrier(len(racers))
        won: list[Lease] = []
        threads = [threading.Thread(target=_race, args=(locks, start, won)) for locks in racers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(won) == 1
        won[0].release()


def _race(locks: Locks, start: threading.Barrier, won: list[Lease]) -> None:
    start.wait(5)
    lease = locks.try_take(LOCK)
    if lease is not None:
        won.append(lease)


@pytest.mark.parametrize("durable", [True, False])
def test_a_queue_that_blocks_a_lock_needs_an_operator(rabbit: Rabbit, durable: bool) -> None:  # noqa: FBT001  a parameter
    rabbit.admin(lambda channel, then: channel.queue_declare(LOCK, durable=durable, callback=then))
    try:
        with pytest.raises(NeedsOperator, match=LOCK) as caught:
            rabbit.locks().try_take(LOCK)
        assert caught.value.reason is Reason.LOCK_BLOCKED
    finally:
        rabbit.admin(lambda channel, then: channel.queue_delete(LOCK, callback=then))


def test_a_lock_whose_holder_is_cut_off_goes_to_the_next(rabbit: Rabbit) -> None:
    """Given a holder whose connection is cut for good, then he knows by his patience, and somebody else may take."""
    with Proxy(rabbit.description.amqp_port) as proxy:
        lease = taken(rabbit.locks(rabbit.plain("worker", proxy.port), QUICK).try_take(LOCK))
        proxy.refuse()
        proxy.cut()
        other = taken(until(lambda: rabbit.locks().try_take(LOCK), 5))
        assert seconds_until(lambda: lease.lost) < 3
        assert not other.lost


def test_a_lock_whose_holder_hears_nothing_is_lost_before_the_broker_gives_it_away(rabbit: Rabbit) -> None:
    """Given packets that do not arrive any more, then the holder knows after his patience, and the broker not yet."""
    with Proxy(rabbit.description.amqp_port) as proxy:
        lease = taken(rabbit.locks(rabbit.plain("worker", proxy.port), QUICK).try_take(LOCK))
        proxy.hold()
        assert 0.5 < seconds_until(lambda: lease.lost, 5) < 3
        assert rabbit.locks().try_take(LOCK) is None
        proxy.release()
        assert lease.lost  # for good, whatever comes now


@pytest.mark.timeout(60)
def test_the_default_patience_is_eight_seconds(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        lease = taken(rabbit.locks(rabbit.plain("worker", proxy.port)).try_take(LOCK))
        proxy.hold()
        assert 6.5 < seconds_until(lambda: lease.lost, 20) < 12


def test_a_lease_survives_a_short_cut_because_it_is_taken_again_at_once(rabbit: Rabbit) -> None:
    with Proxy(rabbit.description.amqp_port) as proxy:
        locks = rabbit.locks(rabbit.plain("worker", proxy.port), QUICK)
        lease = taken(locks.try_take(LOCK))
        proxy.cut()
        until(lambda: locks._link.connected and locks._link.generation == 2)
        until(lambda: lease.channel is not None)
        assert not lease.lost
        assert rabbit.locks().try_take(LOCK) is None
        lease.release()
        assert rabbit.locks().try_take(LOCK) is not None


def test_a_lease_that_somebody_took_meanwhile_is_lost_when_the_holder_comes_back(rabbit: Rabbit) -> None:
    patient = Timing(ask_every_seconds=0.1, silence_seconds=20.0)
    with Proxy(rabbit.description.amqp_port) as proxy:
        locks = rabbit.locks(rabbit.plain("worker", proxy.port), patient)
        lease = taken(locks.try_take(LOCK))
        proxy.refuse()
        proxy.cut()
        other = taken(until(lambda: rabbit.locks().try_take(LOCK), 5))
        assert not lease.lost
        proxy.refuse(refuse=False)
        assert seconds_until(lambda: lease.lost, 10) < 5
        assert not other.lost
        assert locks.try_take(LOCK) is None  # not released yet
        lease.release()
        assert not other.lost


def test_a_lease_whose_queue_was_deleted_is_lost(rabbit: Rabbit) -> None:
    """Given a lock queue that is gone at the broker, then the next question finds out."""
    locks = rabbit.locks(timing=QUICK)
    lease = taken(locks.try_take(LOCK))

    def delete(_connection: Any, promise: Any) -> None:
        lease.channel.queue_delete(LOCK, callback=promise.set_result)

    locks._link.call(delete, 5)
    assert seconds_until(lambda: lease.lost) < 3


def test_slots_are_given_to_as_many_as_there_are(rabbit: Rabbit) -> None:
    workers = [rabbit.locks(timing=QUICK) for _ in range(3)]
    first = workers[0].take_one_of(SLOTS, 5, stop=never)
    second = workers[1].take_one_of(SLOTS, 5, stop=never)
    assert {first.name, second.name} == set(SLOTS)
    with pytest.raises(Transient, match=r"none of 2 slots like import\.slot\.omero\.import\.0 was free") as caught:
        workers[2].take_one_of(SLOTS, 0.5, stop=never)
    assert caught.value.reason is Reason.OMERO_BUSY
    first.release()
    assert workers[2].take_one_of(SLOTS, 5, stop=never).name == first.name


def test_a_worker_that_stops_waits_for_no_slot(rabbit: Rabbit) -> None:
    mine, theirs = rabbit.locks(), rabbit.locks()
    mine.take_one_of(SLOTS[:1], 5, stop=never)
    with pytest.raises(Transient, match="stopped waiting") as caught:
        theirs.take_one_of(SLOTS[:1], 60, stop=lambda: True)
    assert caught.value.reason is Reason.DRAINING


def test_nobody_takes_a_new_slot_right_after_his_own_reconnect(rabbit: Rabbit) -> None:
    """Given a worker that was cut off, then a lock is his at once, a slot only after the grace."""
    with Proxy(rabbit.description.amqp_port) as proxy:
        locks = rabbit.locks(rabbit.plain("worker", proxy.port), QUICK)
        assert seconds_until(lambda: locks.take_one_of(SLOTS, 5, stop=never)) < 2  # the first connection has no grace
        cut_at = time.monotonic()
        proxy.cut()
        until(lambda: locks._link.connected and locks._link.generation == 2)
        assert seconds_until(lambda: locks.try_take(LOCK)) < 2
        assert seconds_until(lambda: locks.take_one_of([LOCK + "x"], 5, stop=never)) < 2
        locks.take_one_of(SLOTS, 20, stop=never)
        assert time.monotonic() - cut_at >= QUICK.new_slot_grace_seconds


def _after_restart(rabbit: Rabbit, make: Callable[[Locks], Lease | None]) -> tuple[Lease, Locks]:
    locks = rabbit.locks(timing=Timing(silence_seconds=60.0, new_slot_grace_seconds=2.0, retry_seconds=0.1))
    lease = make(locks)
    assert lease is not None
    rabbit.restart()
    until(lambda: locks._link.connected and locks._link.generation == 2, 30)
    return lease, locks


@pytest.mark.timeout(120)
def test_after_a_restart_of_the_broker_holders_keep_their_slots(rabbit: Rabbit) -> None:
    """Given a held slot, when the broker restarts, then its holder has it again before any other worker may."""
    other = rabbit.locks(timing=Timing(new_slot_grace_seconds=2.0, retry_seconds=0.1))
    lease, locks = _after_restart(rabbit, lambda locks: locks.take_one_of(SLOTS[:1], 5, stop=never))
    until(lambda: lease.channel is not None)
    with pytest.raises(Transient, match="none of 1 slots"):
        other.take_one_of(SLOTS[:1], 4, stop=never)
    assert not lease.lost
    assert locks.held() == (SLOTS[0],)
