"""One thread pings all sessions: failures are counted, silence is told from refusal, and nothing ends the pinging."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass, field

import Ice
import pytest
import structlog.testing

from fleet_common.errors import Reason, failure
from fleet_worker.omero.keepalive import SILENT_PINGS, KeepAlive

DEADLINE_SECONDS = 10.0


def no_answer() -> None:
    """A call over a connection that is half open."""
    raise failure(Reason.OMERO_UNAVAILABLE, "no answer") from Ice.InvocationTimeoutException()


def refused() -> None:
    """A server that answers, but not as wanted."""
    raise failure(Reason.SESSION_LOST, "no such session")


def fine() -> None:
    """An answer."""


@dataclass
class Watched:
    """A keeper, and what it said."""

    failures: list[None] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    keeper: KeepAlive = field(init=False)

    def __post_init__(self) -> None:
        self.keeper = KeepAlive(on_failure=lambda: self.failures.append(None))

    def add(self, name: str, *pings: Callable[[], None]) -> None:
        """A session whose pings end like this, one after the other."""
        answers = iter(pings)

        def ping() -> None:
            answer = next(answers)
            answer()

        self.keeper.add(name, ping, on_silence=lambda: self.cut.append(name))

    def rounds(self, count: int) -> list[int]:
        """How many pings failed in each of several rounds."""
        with structlog.testing.capture_logs():
            return [self.keeper.ping_all() for _ in range(count)]


def test_a_ping_that_failed_is_sent_again_and_counted() -> None:
    """One failure ends nothing."""
    watched = Watched()
    watched.add("alice-1", refused, fine, refused)
    assert watched.rounds(3) == [1, 0, 1]
    assert len(watched.failures) == 2


def test_two_pings_in_a_row_without_an_answer_give_the_connection_up() -> None:
    """Calls over it would wait for hours; the count begins anew for the next connection."""
    watched = Watched()
    watched.add("alice-1", *[no_answer] * (2 * SILENT_PINGS + 1))
    watched.rounds(SILENT_PINGS - 1)
    assert watched.cut == []
    watched.rounds(1)
    assert watched.cut == ["alice-1"]
    watched.rounds(SILENT_PINGS)
    assert watched.cut == ["alice-1"] * 2


@pytest.mark.parametrize("between", [fine, refused])
def test_any_answer_in_between_shows_that_the_connection_lives(between: Callable[[], None]) -> None:
    """A busy server is slow now and then."""
    watched = Watched()
    watched.add("alice-1", no_answer, between, no_answer)
    watched.rounds(3)
    assert watched.cut == []


def test_one_session_does_not_answer_for_another() -> None:
    """Each has a connection of its own."""
    watched = Watched()
    watched.add("alice-1", no_answer, no_answer)
    watched.add("bob-2", fine, fine)
    assert watched.rounds(2) == [1, 1]
    assert watched.cut == ["alice-1"]


def test_a_defect_in_one_session_lets_the_others_live() -> None:
    """It is logged and counted as a failure."""
    watched = Watched()

    def broken() -> None:
        raise RuntimeError("surprise")

    watched.add("alice-1", broken, broken, broken)
    watched.add("bob-2", fine, fine, fine)
    assert watched.rounds(3) == [1, 1, 1]
    assert watched.cut == []


def test_a_session_that_was_left_is_pinged_no_more() -> None:
    """Or every attempt would leave a failure behind."""
    watched = Watched()
    watched.add("alice-1", refused)
    watched.keeper.remove("alice-1")
    assert watched.rounds(2) == [0, 0]


def test_the_thread_pings_until_it_is_closed() -> None:
    """And goes on after a failure."""
    pinged: queue.SimpleQueue[None] = queue.SimpleQueue()
    keeper = KeepAlive(0.01)

    def ping() -> None:
        pinged.put(None)
        refused()

    keeper.add("alice-1", ping)
    with structlog.testing.capture_logs():
        keeper.start()
        keeper.start()
        for _ in range(3):
            pinged.get(timeout=DEADLINE_SECONDS)
        keeper.close()
    assert keeper._thread is not None
    assert not keeper._thread.is_alive()
