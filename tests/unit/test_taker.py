"""Taking: as much as there is room for, nothing while something is in the way, and suspects by themselves."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from fleet_common.broker import ALONE, Delivery
from fleet_worker import taker as taker_module
from fleet_worker.crashes import Course, Judgement
from fleet_worker.taker import SERIAL_SECONDS, TICK_LIMIT_SECONDS, Taker
from support.fakes import Journal, a_delivery

DEADLINE_SECONDS = 10.0
QUICK_SECONDS = 0.05


@dataclass
class Lanes:
    """Deliveries that a test puts there."""

    waiting: queue.SimpleQueue[Delivery] = field(default_factory=queue.SimpleQueue)
    woken: threading.Event = field(default_factory=threading.Event)

    def take(self, deadline_seconds: float) -> Delivery | None:
        """The next one."""
        try:
            return self.waiting.get(timeout=min(deadline_seconds, QUICK_SECONDS))
        except queue.Empty:
            return None

    def wake(self) -> None:
        """The worker stops."""
        self.woken.set()


@dataclass
class Shop:
    """A taker, what it handed out, and when each may be finished."""

    lanes: Lanes = field(default_factory=Lanes)
    handed: queue.SimpleQueue[tuple[str, Judgement]] = field(default_factory=queue.SimpleQueue)
    finish: dict[str, threading.Event] = field(default_factory=dict)
    ready: threading.Event = field(default_factory=threading.Event)
    now: float = 1000.0
    taker: Taker = field(init=False)

    def put(self, name: str, **changes: Any) -> None:
        """A request in the lane."""
        self.finish[name] = threading.Event()
        self.lanes.waiting.put(a_delivery(Journal(), name.encode(), **changes))

    def handle(self, delivery: Delivery, judgement: Judgement) -> None:
        """In work until the test says so; what is not run is settled at once."""
        name = delivery.body.decode()
        self.handed.put((name, judgement))
        if judgement.course in {Course.RUN, Course.RUN_ALONE}:
            assert self.finish[name].wait(DEADLINE_SECONDS)

    def next(self) -> tuple[str, Course]:
        """What is handed out next."""
        name, judgement = self.handed.get(timeout=DEADLINE_SECONDS)
        return name, judgement.course

    def nothing_more(self) -> bool:
        """Whether nothing is handed out for a while: several rounds of the taker."""
        try:
            self.handed.get(timeout=5 * QUICK_SECONDS)
        except queue.Empty:
            return True
        return False


@contextmanager
def open_shop(places: int, *, ready: bool = True) -> Iterator[Shop]:
    """A taker with room for so many."""
    shop = Shop()
    if ready:
        shop.ready.set()
    shop.taker = Taker(
        shop.lanes,
        shop.handle,
        lambda _: shop.ready.wait(QUICK_SECONDS),
        places=places,
        fleet_users=("worker",),
        monotonic=lambda: shop.now,
    )
    shop.taker.start()
    try:
        yield shop
    finally:
        for event in shop.finish.values():
            event.set()
        shop.taker.stop()
        shop.taker.close()
        assert not shop.taker._thread.is_alive()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of the taker that a test can wait for."""
    monkeypatch.setattr(taker_module, "TAKE_SECONDS", QUICK_SECONDS)


def suspect(name: str, shop: Shop, deaths: int = 0, deliveries: int = 0) -> None:
    """Put a request there that the fleet suspects."""
    shop.put(name, user_id="worker", headers={ALONE: deaths}, deliveries=deliveries, redelivered=deliveries > 0)


def test_as_many_are_in_work_as_there_is_room_for() -> None:
    """Given room for two, when there are three, then the third waits in its lane until one is done."""
    with open_shop(2) as shop:
        for name in "abc":
            shop.put(name)
        assert [shop.next(), shop.next()] == [("a", Course.RUN), ("b", Course.RUN)]
        assert shop.nothing_more()
        shop.finish["b"].set()
        assert shop.next() == ("c", Course.RUN)


def test_nothing_is_taken_while_something_is_in_the_way() -> None:
    """OMERO away, orders not read yet: the queue is not burnt."""
    with open_shop(2, ready=False) as shop:
        shop.put("a")
        assert shop.nothing_more()
        assert not shop.lanes.waiting.empty()
        shop.ready.set()
        assert shop.next() == ("a", Course.RUN)


def test_after_the_stop_nothing_is_taken_and_what_is_in_work_goes_on() -> None:
    """And a running take is woken."""
    with open_shop(2) as shop:
        shop.put("a")
        assert shop.next() == ("a", Course.RUN)
        shop.taker.stop()
        assert shop.lanes.woken.is_set()
        shop.put("b")
        assert shop.nothing_more()
        assert not shop.taker.wait_done(0)
        shop.finish["a"].set()
        assert shop.taker.wait_done(DEADLINE_SECONDS)


def test_it_knows_how_many_requests_are_in_work() -> None:
    """Given two in work, when one is done, then one is left; looking for more counts for nothing."""
    with open_shop(3) as shop:
        for name in "ab":
            shop.put(name)
        assert {shop.next()[0], shop.next()[0]} == {"a", "b"}
        shop.taker.stop()
        assert shop.taker.in_work == 2
        for event in shop.finish.values():
            event.set()
        assert shop.taker.wait_done(DEADLINE_SECONDS)
        assert shop.taker.in_work == 0


def test_a_suspect_has_the_worker_for_itself() -> None:
    """Given an idle worker, then nothing else is taken until the suspect is done."""
    with open_shop(2) as shop:
        suspect("poison", shop)
        shop.put("a")
        assert shop.next() == ("poison", Course.RUN_ALONE)
        assert shop.nothing_more()
        shop.finish["poison"].set()
        assert shop.next() == ("a", Course.RUN)


def test_a_busy_worker_puts_a_suspect_off_and_makes_room_for_it() -> None:
    """Given one in work, then the suspect waits, and so does everything else until that one is done."""
    with open_shop(3) as shop:
        shop.put("a")
        assert shop.next() == ("a", Course.RUN)
        suspect("poison", shop, deaths=1)
        assert shop.next() == ("poison", Course.LATER)
        shop.put("b")
        assert shop.nothing_more()
        shop.finish["a"].set()
        assert shop.next() == ("b", Course.RUN)
        suspect("poison", shop, deaths=1)
        assert shop.nothing_more()
        shop.finish["b"].set()
        assert shop.next() == ("poison", Course.RUN_ALONE)


def test_a_worker_makes_room_for_a_while_only() -> None:
    """The suspect may be another worker's by then."""
    with open_shop(2) as shop:
        shop.put("a")
        assert shop.next() == ("a", Course.RUN)
        suspect("poison", shop)
        assert shop.next() == ("poison", Course.LATER)
        shop.now += SERIAL_SECONDS + 1
        shop.put("b")
        assert shop.next() == ("b", Course.RUN)


def test_a_request_that_came_back_three_times_is_marked() -> None:
    """By its broker's count."""
    with open_shop(1) as shop:
        shop.put("a", deliveries=3, redelivered=True)
        assert shop.next() == ("a", Course.SET_ASIDE)


def test_after_its_own_reconnect_a_worker_suspects_nobody() -> None:
    """What was held came back; a minute later counts hold again."""
    with open_shop(2) as shop:
        shop.taker.reconnected()
        shop.put("a", deliveries=3, redelivered=True)
        assert shop.next() == ("a", Course.RUN)
        shop.now += 61
        shop.put("b", deliveries=3, redelivered=True)
        assert shop.next() == ("b", Course.SET_ASIDE)


def test_a_strangers_count_is_not_believed() -> None:
    """A producer cannot have its request tried alone, nor buried as a crash loop."""
    with open_shop(1) as shop:
        shop.put("a", headers={ALONE: 99})
        assert shop.next() == ("a", Course.RUN)


def test_it_says_when_it_hangs() -> None:
    """For the liveness probe; a worker that is full does not hang."""
    with open_shop(1) as shop:
        shop.put("a")
        shop.next()
        assert shop.taker.problem is None
    shop = Shop()
    shop.taker = Taker(shop.lanes, shop.handle, lambda _: True, places=1, fleet_users=(), monotonic=lambda: shop.now)
    shop.now += TICK_LIMIT_SECONDS + 1
    assert shop.taker.problem == "nothing was taken or looked for during 61 s"
