"""The worker's watch over the control log: nothing before the first fold, everything known kept, whatever fails."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import structlog.testing

from fleet_common.broker import BrokerRefused, BrokerUnavailable
from fleet_common.control import Order, Verb
from fleet_worker.control import NOT_READ, ControlWatch
from support.builders import BATCH, NOW, REQUEST_ID
from support.waiting import until

DEADLINE_SECONDS = 10.0
LOOK_SECONDS = 0.02
AWAY = BrokerUnavailable("cannot read import.control-log: no route")
SHUT = BrokerRefused("ACCESS_REFUSED", 403)


def an_order(verb: Verb, **about: object) -> Order:
    """An order of alice's."""
    fields = {"order_id": uuid.uuid4(), "verb": verb, "at": NOW, "by": "alice@desk"} | about
    return Order.model_validate(fields)


PAUSE = an_order(Verb.PAUSE, lanes=("phenix1",))
RESUME = an_order(Verb.RESUME, everything=True)
CANCEL = an_order(Verb.CANCEL, request_id=REQUEST_ID, why="wrong plate")
CANCEL_BATCH = an_order(Verb.CANCEL, batch_id=BATCH.id)


@dataclass
class Round:
    """What one reader meets: where it fails, what is in the log, and what is appended.

    Attributes:
        live: Orders as they are given; an error breaks the reader, None ends its round.
    """

    told: list[Order] = field(default_factory=list)
    fails: Exception | None = None
    fails_reading: Exception | None = None
    live: queue.SimpleQueue[Order | Exception | None] = field(default_factory=queue.SimpleQueue)
    started: int = 0
    stopped: int = 0

    def start(self, _deadline_seconds: float) -> None:
        """Connect."""
        if self.fails is not None:
            raise self.fails
        self.started += 1

    def stop(self) -> None:
        """Disconnect."""
        self.stopped += 1

    def read_all(self) -> Iterator[Order]:
        """What is there."""
        yield from self.told
        if self.fails_reading is not None:
            raise self.fails_reading

    def follow(self, *, stop: Callable[[], bool], deadline_seconds: float) -> Iterator[Order]:
        """What is appended."""
        assert deadline_seconds > 0
        while not stop():
            try:
                one = self.live.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if one is None:
                return
            if isinstance(one, Exception):
                raise one
            yield one


@dataclass
class Watched:
    """A watch over rounds that a test hands out one by one."""

    rounds: queue.SimpleQueue[Round] = field(default_factory=queue.SimpleQueue)
    opened: list[Round] = field(default_factory=list)
    changes: queue.SimpleQueue[None] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        """Make the watch; the test starts it."""
        self.watch = ControlWatch(
            self._open,  # type: ignore[arg-type]  # a round is all that the watch uses of a reader
            on_change=lambda: self.changes.put(None),
            again_seconds=0.001,
        )

    def _open(self) -> Round:
        # What failed last fails until the test says what comes next.
        last = self.opened[-1] if self.opened else Round(fails=AWAY)
        one = self.rounds.get() if not self.rounds.empty() else Round(fails=last.fails or AWAY)
        self.opened.append(one)
        return one

    def meets(self, *rounds: Round) -> None:
        """The watch will meet these, in this order."""
        for one in rounds:
            self.rounds.put(one)

    def changed(self) -> None:
        """Wait until the watch has said that something changed."""
        self.changes.get(timeout=DEADLINE_SECONDS)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A watch, stopped at the end."""
    made = Watched()
    yield made
    made.watch.stop()
    assert not made.watch._thread.is_alive()


def test_nothing_is_known_before_the_log_was_read(watched: Watched) -> None:
    """A watch that was not started is a problem, and so is one that cannot read."""
    watch = watched.watch
    assert watch.problem == NOT_READ
    assert not watch.wait_known(0)
    watched.meets(Round(fails=SHUT))
    watch.start()
    until(lambda: watch.problem != NOT_READ)
    assert watch.problem is not None
    assert watch.problem.startswith("the control log cannot be read: ")
    assert not watch.wait_known(0)
    assert watched.changes.empty()


def test_half_a_fold_is_none(watched: Watched) -> None:
    """Given a log that breaks off after a pause, and before its end, then there is a problem until all is read."""
    watched.meets(Round([PAUSE], fails_reading=AWAY), Round([PAUSE, RESUME]))
    watched.watch.start()
    watched.changed()
    assert watched.watch.problem is None
    assert not watched.watch.is_paused("phenix1")
    assert [one.stopped for one in watched.opened] == [1, 0]


def test_what_was_ordered_before_the_start_holds(watched: Watched) -> None:
    """A pause survives the restart of everything; a cancel says who and why."""
    watched.meets(Round([PAUSE, CANCEL]))
    watched.watch.start()
    assert watched.watch.wait_known(DEADLINE_SECONDS)
    assert watched.watch.problem is None
    assert watched.watch.is_paused("phenix1")
    assert not watched.watch.is_paused("cv8000")
    assert watched.watch.cancelled(REQUEST_ID, BATCH.id) == "cancelled by alice@desk: wrong plate"
    assert watched.watch.cancelled(BATCH.id) is None


def test_what_is_ordered_later_is_told_at_once(watched: Watched) -> None:
    """One change for the fold, and one for every new order: the same order twice wakes nobody."""
    first = Round()
    watched.meets(first)
    watched.watch.start()
    watched.changed()
    for order in (PAUSE, PAUSE, CANCEL_BATCH):
        first.live.put(order)
    watched.changed()
    watched.changed()
    assert watched.watch.is_paused("phenix1")
    assert watched.watch.cancelled(REQUEST_ID, BATCH.id) == "cancelled by alice@desk"
    assert watched.watch.cancelled(REQUEST_ID) is None
    assert watched.changes.empty()


@pytest.mark.parametrize("failure", [AWAY, SHUT, ZeroDivisionError("a defect")], ids=["away", "shut", "defect"])
def test_what_is_known_holds_while_the_log_cannot_be_read(watched: Watched, failure: Exception) -> None:
    """Given a broker that is away after the first fold, then work goes on, and a pause stays a pause."""
    first, second = Round([PAUSE]), Round([PAUSE, CANCEL])
    watched.meets(first, Round(fails=failure), Round(fails_reading=failure), second)
    with structlog.testing.capture_logs() as logs:
        watched.watch.start()
        watched.changed()
        first.live.put(failure)
        until(lambda: len(watched.opened) > 1)
        assert watched.watch.problem is None
        assert watched.watch.is_paused("phenix1")
        watched.changed()
    assert watched.watch.cancelled(REQUEST_ID) is not None
    assert [one.stopped for one in watched.opened[:3]] == [1, 0, 1]
    warnings = [one for one in logs if one["log_level"] == "warning"]
    assert len(warnings) == 1, "the same problem is said once"


def test_a_defect_before_the_first_fold_is_a_problem_that_heals(watched: Watched) -> None:
    """It is named, and the watch tries again."""
    watched.meets(Round(fails=ZeroDivisionError("a defect")))
    watched.watch.start()
    until(lambda: "internal-error: ZeroDivisionError: a defect" in (watched.watch.problem or ""))
    watched.meets(Round())
    watched.changed()
    assert watched.watch.problem is None


def test_every_round_folds_the_log_anew(watched: Watched) -> None:
    """Given a log that was deleted and declared again, then after a round what it held holds no longer."""
    first, second = Round([PAUSE, CANCEL]), Round([])
    watched.meets(first, second)
    watched.watch.start()
    watched.changed()
    first.live.put(None)
    watched.changed()
    assert not watched.watch.is_paused("phenix1")
    assert watched.watch.cancelled(REQUEST_ID) is None
    assert (first.stopped, second.stopped) == (1, 0)


def test_it_stops_while_it_follows_and_keeps_what_it_knows() -> None:
    """Whatever still asks gets an answer."""
    watched = Watched()
    only = Round([PAUSE])
    watched.meets(only)
    watched.watch.start()
    watched.changed()
    watched.watch.stop(DEADLINE_SECONDS)
    assert not watched.watch._thread.is_alive()
    assert only.stopped == 1
    assert watched.watch.is_paused("phenix1")


def test_a_watch_that_never_started_can_be_stopped() -> None:
    """A worker may fail before."""
    watched = Watched()
    watched.watch.stop()
    assert watched.opened == []
