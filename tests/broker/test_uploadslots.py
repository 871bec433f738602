"""Upload slots over a real broker: never more files in flight than slots, and every worker gets its turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from fleet_common.broker import Locks, Timing
from fleet_common.errors import Reason, RequestError
from fleet_common.metrics import Metrics
from fleet_worker.uploadslots import UploadSlots
from fleet_worker.uploadturns import Turns
from support.proxy import Proxy
from support.rabbit import NAMES, Rabbit
from support.waiting import seconds_until, until

NAMES_OF_SLOTS = NAMES.slots("omero", "upload", 5)
BRISK = Turns(idle_seconds=0.1, turn_seconds=0.3, stand_back_seconds=0.4, retry_seconds=0.1)
PATIENT = Turns(idle_seconds=60.0, turn_seconds=60.0, retry_seconds=0.1)
TIMING = Timing(ask_every_seconds=0.1, silence_seconds=2.0, slot_outage_seconds=20.0, new_slot_grace_seconds=3.0)
DEADLINE_SECONDS = 20.0


def never() -> None:
    """A check that lets everything go on."""


@dataclass
class Workers:
    """Makes workers' slots over links of their own."""

    rabbit: Rabbit
    made: list[UploadSlots] = field(default_factory=list)

    def __call__(
        self, locks: Locks | None = None, turns: Turns = PATIENT, names: tuple[str, ...] = NAMES_OF_SLOTS
    ) -> UploadSlots:
        """One more worker."""
        self.made.append(UploadSlots(locks or self.rabbit.locks(timing=TIMING), names, Metrics(), turns=turns))
        return self.made[-1]


@pytest.fixture
def worker(rabbit: Rabbit) -> Iterator[Workers]:
    """Makes workers."""
    workers = Workers(rabbit)
    yield workers
    for slots in workers.made:
        slots.close()


@dataclass
class Sending:
    """Counts files in flight over all workers."""

    in_flight: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    pause: threading.Event = field(default_factory=threading.Event)

    def files(self, slots: UploadSlots, count: int) -> int:
        """Send some small files, one after the other."""
        for _ in range(count):
            with slots.one(never):
                with self.lock:
                    self.in_flight += 1
                    self.most = max(self.most, self.in_flight)
                self.pause.wait(0.01)
                with self.lock:
                    self.in_flight -= 1
        return count


def send_one(slots: UploadSlots) -> None:
    """Send one file."""
    with slots.one(never):
        pass


def test_over_all_workers_there_are_never_more_files_in_flight_than_slots(worker: Workers) -> None:
    """Given four workers of four threads and five slots, then all slots are used, no sixth, and everybody finishes."""
    sending = Sending()
    workers = [worker(turns=BRISK) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        ends = [pool.submit(sending.files, slots, 40) for slots in workers for _ in range(4)]
        assert [end.result(120) for end in ends] == [40] * 16
    assert sending.most == len(NAMES_OF_SLOTS)


def test_a_worker_without_a_slot_gets_its_turn_while_others_go_on(worker: Workers) -> None:
    """Given workers that keep every slot busy for ever, when another worker comes, then it waits a turn or two."""
    stop = threading.Event()

    def for_ever(slots: UploadSlots) -> None:
        while not stop.is_set():
            send_one(slots)

    with ThreadPoolExecutor(9) as pool:
        busy = [worker(turns=BRISK) for _ in range(2)]
        ends = [pool.submit(for_ever, slots) for slots in busy for _ in range(4)]
        until(lambda: sum(len(slots._held) for slots in busy) == len(NAMES_OF_SLOTS))
        late = worker(turns=BRISK)
        try:
            pool.submit(send_one, late).result(DEADLINE_SECONDS)
        finally:
            stop.set()
        for end in ends:
            end.result(DEADLINE_SECONDS)


def test_the_slots_of_a_worker_that_was_killed_are_free_at_once(rabbit: Rabbit, worker: Workers) -> None:
    """The broker frees them with its connection."""
    name = NAMES_OF_SLOTS[:1]
    with Proxy(rabbit.description.amqp_port) as proxy:
        killed = worker(rabbit.locks(rabbit.plain("worker", proxy.port), TIMING), names=name)
        send_one(killed)
        heir = worker(names=name)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(send_one, heir)
            until(lambda: heir._queue)
            proxy.refuse()
            proxy.cut()
            assert seconds_until(waiting.done, 5) < 3
            waiting.result()


def test_a_file_in_flight_keeps_its_slot_over_a_lost_connection(rabbit: Rabbit, worker: Workers) -> None:
    """Given a cut, then the holder takes its slot again at once, sends the next file with it, and takes no new one."""
    names = NAMES_OF_SLOTS[:2]
    with Proxy(rabbit.description.amqp_port) as proxy:
        locks = rabbit.locks(rabbit.plain("worker", proxy.port), TIMING)
        slots, other = worker(locks, names=names), worker(names=names[:1])
        with slots.one(never):
            (held,) = locks.held()
            proxy.cut()
            until(lambda: locks._link.connected and locks._link.generation == 2)
        with slots.one(never), ThreadPoolExecutor(1) as pool:
            assert locks.held() == (held,)
            second = pool.submit(send_one, slots)
            assert seconds_until(second.done) > TIMING.new_slot_grace_seconds - 1
            second.result()
        slots.close()
        send_one(other)


def test_closing_does_not_wait_for_a_silent_broker(rabbit: Rabbit, worker: Workers) -> None:
    """Given a half-open connection and a file that waits, then the drain ends its wait at once."""
    names = NAMES_OF_SLOTS[:1]
    holder = worker(names=names)
    send_one(holder)
    with Proxy(rabbit.description.amqp_port) as proxy:
        slots = worker(rabbit.locks(rabbit.plain("worker", proxy.port), TIMING), names=names)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(send_one, slots)
            until(lambda: slots._queue)
            proxy.hold()
            slots.stop_waiting()
            assert seconds_until(waiting.done, 5) < 1
            with pytest.raises(RequestError) as caught:
                waiting.result()
            assert caught.value.reason is Reason.DRAINING
        proxy.release()


def test_slots_that_are_not_used_go_back_to_the_broker(rabbit: Rabbit, worker: Workers) -> None:
    """After a moment without a file everybody else may have them."""
    slots = worker(turns=BRISK)
    send_one(slots)
    others = rabbit.locks()
    until(lambda: not slots._held)
    assert all(others.try_take(name) is not None for name in NAMES_OF_SLOTS)


def test_one_round_says_whether_a_slot_is_free_or_nothing_is_known(rabbit: Rabbit) -> None:
    """It takes one that is free, and tells taken slots from a broker that is away."""
    mine, theirs = rabbit.locks(), rabbit.locks()
    names = NAMES_OF_SLOTS[:2]
    assert {lease.name for lease in (mine.try_one_of(names), theirs.try_one_of(names)) if lease} == set(names)
    assert mine.try_one_of(names) is None
    mine._link.stop(5)
    with pytest.raises(RequestError) as caught:
        mine.try_one_of(NAMES_OF_SLOTS)
    assert caught.value.reason is Reason.BROKER_UNAVAILABLE
