"""The upload slots of a worker: kept between files, given back in time, never more than there are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import pytest

from fleet_common.broker import BrokerUnavailable, Lease, Locks
from fleet_common.errors import LeaseLost, NeedsOperator, Reason, RequestError
from fleet_common.metrics import Metrics
from fleet_worker.uploadslots import UploadSlots
from fleet_worker.uploadturns import Turns
from support.waiting import until

SHORT = Turns(idle_seconds=0.1, turn_seconds=60.0, stand_back_seconds=0.2, retry_seconds=0.02)
FOR_EVER = Turns(idle_seconds=60.0, turn_seconds=60.0, retry_seconds=0.02)
AT_ONCE = Turns(idle_seconds=60.0, turn_seconds=0.0, stand_back_seconds=0.2, retry_seconds=0.02)
DEADLINE_SECONDS = 10.0


@dataclass
class Held:
    """A lease; lost when the test says so."""

    name: str
    server: Server
    lost: bool = False

    def release(self, _deadline_seconds: float = 10.0) -> None:
        """Give it back."""
        with self.server.lock:
            self.server.taken.pop(self.name, None)
            self.server.log.append(f"release {self.name}")


@dataclass
class Server:
    """So many slots for all workers, each asked for as over the broker; counts who holds how many."""

    count: int
    taken: dict[str, Held] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    most: int = 0
    fails: RequestError | None = None
    answers: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.answers.set()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all slots."""
        return tuple(f"slot{number}" for number in range(self.count))

    def try_one_of(self, names: Sequence[str]) -> Held | None:
        """Any that is free."""
        self.asked.set()
        assert self.answers.wait(DEADLINE_SECONDS)
        with self.lock:
            if self.fails is not None:
                raise self.fails
            name = next((name for name in names if name not in self.taken), None)
            if name is None:
                return None
            self.log.append(f"take {name}")
            self.taken[name] = Held(name, self)
            self.most = max(self.most, len(self.taken))
            return self.taken[name]


def never() -> None:
    """A check that lets everything go on."""


@dataclass
class Workers:
    """Makes the slots of workers, and closes them."""

    made: list[UploadSlots] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    def __call__(self, server: Server, turns: Turns = FOR_EVER) -> UploadSlots:
        """One more worker."""
        self.made.append(UploadSlots(cast("Locks", server), server.names, self.metrics, turns=turns))
        return self.made[-1]

    def metric(self, name: str) -> float:
        """The value of a metric for uploads."""
        value = self.metrics.registry.get_sample_value(f"omero_import_{name}", {"kind": "upload"})
        assert value is not None
        return value


@pytest.fixture
def worker() -> Iterator[Workers]:
    """Makes workers."""
    workers = Workers()
    yield workers
    for slots in workers.made:
        slots.close()


def hold(slots: UploadSlots, check: Callable[[], None] = never) -> tuple[threading.Thread, threading.Event]:
    """Send a file in a thread until the event is set; returns when it has its slot."""
    holds, end = threading.Event(), threading.Event()

    def send() -> None:
        with slots.one(check):
            holds.set()
            assert end.wait(DEADLINE_SECONDS)

    thread = threading.Thread(target=send)
    thread.start()
    assert holds.wait(DEADLINE_SECONDS)
    return thread, end


def test_a_slot_is_kept_from_one_file_to_the_next(worker: Workers) -> None:
    """Given small files one after the other, then the broker is asked once for all of them."""
    server = Server(4)
    slots = worker(server)
    for _ in range(200):
        with slots.one(never):
            assert len(server.taken) == 1
    assert len(server.log) == 1
    assert (worker.metric("slots_held"), worker.metric("slot_wait_seconds_count")) == (1, 1)


def test_a_slot_is_given_back_when_nothing_is_sent(worker: Workers) -> None:
    """And taken again for the next file."""
    server = Server(1)
    slots = worker(server, SHORT)
    for times in (1, 2):
        with slots.one(never):
            pass
        until(lambda: not server.taken)
        assert server.log == ["take slot0", "release slot0"] * times
    until(lambda: worker.metric("slots_held") == 0)


def test_a_slot_in_use_is_not_given_back(worker: Workers) -> None:
    """However long one file takes: more than the idle time and more than a turn."""
    server = Server(1)
    slots = worker(server, Turns(idle_seconds=0.05, turn_seconds=0.05, stand_back_seconds=0.0, retry_seconds=0.01))
    with slots.one(never):
        with pytest.raises(AssertionError):
            until(lambda: not server.taken, 0.4)
        assert server.log == ["take slot0"]


def test_there_are_never_more_files_in_flight_than_slots(worker: Workers) -> None:
    """Given three workers of four threads and five slots, then all five are used and no sixth, and nobody starves."""
    server = Server(5)
    counted, most, lock = [0], [0], threading.Lock()
    turns = Turns(idle_seconds=0.02, turn_seconds=0.02, stand_back_seconds=0.02, retry_seconds=0.005)
    full = threading.Event()

    def send_files(slots: UploadSlots) -> int:
        for _ in range(40):
            with slots.one(never):
                with lock:
                    counted[0] += 1
                    most[0] = max(most[0], counted[0])
                    if counted[0] == 5:
                        full.set()
                assert full.wait(DEADLINE_SECONDS)
                with lock:
                    counted[0] -= 1
        return 40

    with ThreadPoolExecutor(12) as pool:
        ends = [pool.submit(send_files, slots) for slots in [worker(server, turns) for _ in range(3)] for _ in range(4)]
        assert sum(end.result(30) for end in ends) == 480
    assert most == [5]
    assert server.most == 5


def test_after_its_turn_a_worker_lets_others_have_the_slot(worker: Workers) -> None:
    """Given one slot and a worker that sends without a pause, when another one comes, then it gets its turn."""
    server = Server(1)
    turns = Turns(idle_seconds=60.0, turn_seconds=0.1, stand_back_seconds=0.2, retry_seconds=0.02)
    busy, late = worker(server, turns), worker(server, turns)
    stop = threading.Event()

    def send_without_pause() -> None:
        while not stop.is_set():
            with busy.one(never):
                pass

    thread = threading.Thread(target=send_without_pause)
    thread.start()
    until(lambda: server.taken)
    for _ in range(3):
        with late.one(never):
            pass
    stop.set()
    late.close()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
    assert server.most == 1


def test_where_a_slot_is_free_a_turn_that_is_over_costs_nothing(worker: Workers) -> None:
    """Nobody waits then: the slot is changed for the free one, without standing back."""
    server = Server(3)
    slots = worker(server, Turns(idle_seconds=60.0, turn_seconds=0.0, stand_back_seconds=60.0, retry_seconds=0.01))
    for _ in range(20):
        hold_once(slots)
    until(lambda: len(server.taken) == 1)
    assert server.most == 2
    assert server.log.count("release slot0") + server.log.count("release slot1") + server.log.count("release slot2") > 9


def test_one_who_gave_his_slot_back_stands_back(worker: Workers) -> None:
    """Given the only slot and a turn that is over, then the next file waits longer than others pause."""
    server = Server(1)
    slots = worker(server, AT_ONCE)
    with slots.one(never):
        pass
    until(lambda: not server.taken)
    began = time.monotonic()
    with slots.one(never):
        assert time.monotonic() - began > AT_ONCE.stand_back_seconds / 2


def test_a_slot_whose_turn_is_over_is_kept_while_nothing_is_known_of_the_others(worker: Workers) -> None:
    """Given a broker that restarts: what is given back now comes back only after everybody else has theirs."""
    server = Server(2)
    slots = worker(server, AT_ONCE)
    thread, end = hold(slots)
    server.fails = BrokerUnavailable("gone")
    server.asked.clear()
    end.set()
    thread.join(DEADLINE_SECONDS)
    assert server.asked.wait(DEADLINE_SECONDS)
    with pytest.raises(AssertionError):
        until(lambda: len(server.log) > 1, 0.3)
    server.fails = None
    with slots.one(never):
        assert len(server.taken) >= 1


def test_a_lost_lease_is_not_used_for_the_next_file(worker: Workers) -> None:
    """The file that is in flight is finished; the next one takes another slot, and the lost one is let go."""
    server = Server(2)
    slots = worker(server)
    with slots.one(never):
        (first,) = server.taken.values()
        first.lost = True
    with slots.one(never):
        assert any(not held.lost for held in server.taken.values())
    until(lambda: f"release {first.name}" in server.log)


def test_a_lease_that_is_lost_while_it_is_kept_is_not_used(worker: Workers) -> None:
    """Somebody else may have it by now."""
    server = Server(1)
    slots = worker(server)
    with slots.one(never):
        pass
    server.taken["slot0"].lost = True
    with slots.one(never):
        assert not server.taken["slot0"].lost
    assert server.log == ["take slot0", "release slot0", "take slot0"]


def test_files_get_slots_in_the_order_in_which_they_came(worker: Workers) -> None:
    """A single image is not overtaken by the next files of a plate."""
    server = Server(1)
    slots = worker(server)
    thread, end = hold(slots)
    got: list[int] = []

    def send(number: int) -> None:
        with slots.one(never):
            got.append(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for number, one in enumerate(threads, start=1):
        one.start()
        until(partial(wait_in_line, slots, number))
    end.set()
    for one in [thread, *threads]:
        one.join(DEADLINE_SECONDS)
    assert got == list(range(6))


def wait_in_line(slots: UploadSlots, files: int) -> bool:
    """Whether so many files wait."""
    return len(slots._queue) == files


def test_waiting_ends_when_the_attempt_must_stop(worker: Workers) -> None:
    """Its lock is lost, or it is cancelled: the error is what the check raised, and nobody waits in its place."""
    server = Server(1)
    slots = worker(server)
    thread, end = hold(slots)
    lost = threading.Event()

    def check() -> None:
        if lost.is_set():
            raise LeaseLost("the lock is lost")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(hold_once, slots, check)
        until(lambda: slots._queue)
        lost.set()
        with pytest.raises(LeaseLost):
            waiting.result(DEADLINE_SECONDS)
    assert not slots._queue
    end.set()
    thread.join(DEADLINE_SECONDS)
    hold_once(slots)


def hold_once(slots: UploadSlots, check: Callable[[], None] = never) -> None:
    """Send one file."""
    with slots.one(check):
        pass


def test_closing_ends_every_wait_at_once_even_where_the_broker_is_silent(worker: Workers) -> None:
    """Given a broker that never answers, then files that wait hear of the drain, and so do those that come later."""
    server = Server(1)
    server.answers.clear()
    slots = worker(server)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(hold_once, slots) for _ in range(3)]
        assert server.asked.wait(DEADLINE_SECONDS)
        until(lambda: len(slots._queue) == 3)
        slots.stop_waiting()
        for one in waiting:
            with pytest.raises(RequestError) as caught:
                one.result(DEADLINE_SECONDS)
            assert caught.value.reason is Reason.DRAINING
    with pytest.raises(RequestError) as caught:
        hold_once(slots)
    assert caught.value.reason is Reason.DRAINING
    slots.close(0.1)
    server.answers.set()
    # What it was given too late is given back all the same.
    until(lambda: server.log == ["take slot0", "release slot0"])


def test_closing_gives_everything_back(worker: Workers) -> None:
    """Idle slots at once, those in use when their file is done."""
    server = Server(2)
    slots = worker(server)
    thread, end = hold(slots)
    hold_once(slots)
    slots.stop_waiting()
    until(lambda: len(server.taken) == 1)
    end.set()
    thread.join(DEADLINE_SECONDS)
    slots.close()
    assert not server.taken
    assert worker.metric("slots_held") == 0
    slots.close()


def test_a_queue_that_is_no_slot_is_told_to_whoever_waits(worker: Workers) -> None:
    """Somebody must delete it; until then no file is sent, and the attempt ends with that."""
    server = Server(1, fails=NeedsOperator(Reason.LOCK_BLOCKED, "the queue slot0 exists, but is no lock"))
    slots = worker(server)
    with pytest.raises(NeedsOperator, match="slot0"):
        hold_once(slots)
    server.fails = None
    hold_once(slots)


def test_an_outage_of_the_broker_is_waited_for(worker: Workers) -> None:
    """It costs time, no attempt."""
    server = Server(1, fails=BrokerUnavailable("gone"))
    slots = worker(server)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(hold_once, slots)
        assert server.asked.wait(DEADLINE_SECONDS)
        server.fails = None
        waiting.result(DEADLINE_SECONDS)


def test_the_keeper_survives_what_nobody_foresaw(worker: Workers) -> None:
    """Every upload of the worker depends on it."""
    server = Server(1)
    slots = worker(server)
    server.fails = cast("RequestError", ZeroDivisionError("a defect"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(hold_once, slots)
        assert server.asked.wait(DEADLINE_SECONDS)
        server.fails = None
        waiting.result(DEADLINE_SECONDS)


def test_no_file_waits_for_ever(worker: Workers) -> None:
    """The error says that OMERO is busy, which costs no attempt."""
    server = Server(1)
    server.taken["slot0"] = Held("slot0", server)
    slots = worker(server, Turns(wait_seconds=0.1, retry_seconds=0.02))
    with pytest.raises(RequestError, match=r"no upload slot was free for 0\.1 s") as caught:
        hold_once(slots)
    assert caught.value.reason is Reason.OMERO_BUSY
    assert not slots._queue


def test_a_lease_fits_what_is_kept() -> None:
    """The stand-in of these tests has what the keeper uses of a lease."""
    assert all(hasattr(Lease, name) for name in ("lost", "release"))
    assert hasattr(Locks, "try_one_of")
