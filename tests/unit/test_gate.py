"""The gate between OMERO's health and taking requests."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import structlog.testing

from fleet_common.errors import Reason, failure
from fleet_worker.gate import Gate
from support import waiting

DEADLINE_SECONDS = 10.0
FAR_AWAY_SECONDS = 3600.0
AWAY = failure(Reason.OMERO_UNAVAILABLE, "connection refused")


@dataclass
class Server:
    """Answers the gate's checks one by one, as a test hands the answers out."""

    answers: queue.SimpleQueue[Exception | None] = field(default_factory=queue.SimpleQueue)
    asked: queue.SimpleQueue[None] = field(default_factory=queue.SimpleQueue)

    def check(self) -> None:
        """Wait for the next answer, and give it."""
        self.asked.put(None)
        answer = self.answers.get(timeout=DEADLINE_SECONDS)
        if answer is not None:
            raise answer

    def answer(self, *answers: Exception | None) -> None:
        """Give these answers, and wait until the next question has come."""
        for one in answers:
            self.asked.get(timeout=DEADLINE_SECONDS)
            self.answers.put(one)


@dataclass
class Gated:
    """A gate, started, before its server."""

    server: Server
    gate: Gate


def _gate(check_seconds: float) -> Iterator[Gated]:
    server = Server()
    gate = Gate(server.check, check_seconds=check_seconds)
    gate.start()
    yield Gated(server, gate)
    # Whatever it still waits for.
    server.answers.put(None)
    gate.stop()
    assert not gate._thread.is_alive()


@pytest.fixture
def gated() -> Iterator[Gated]:
    """A gate that asks again at once."""
    yield from _gate(0.0)


@pytest.fixture
def slow() -> Iterator[Gated]:
    """A gate that asks again after an hour."""
    yield from _gate(FAR_AWAY_SECONDS)


def test_it_is_closed_until_the_first_check_passes(gated: Gated) -> None:
    """And says why."""
    assert gated.gate.problem == "not logged in yet"
    assert not gated.gate.wait_open(0)
    gated.server.answer(None)
    assert gated.gate.wait_open(DEADLINE_SECONDS)
    assert gated.gate.problem is None


def test_the_first_check_is_made_at_once(slow: Gated) -> None:
    """A worker is ready as soon as OMERO is."""
    slow.server.answer(None)
    assert slow.gate.wait_open(DEADLINE_SECONDS)


def test_it_asks_until_a_check_passes(gated: Gated) -> None:
    """An OMERO that is down at the start is waited for."""
    gated.server.answer(AWAY, AWAY)
    gated.server.asked.get(timeout=DEADLINE_SECONDS)
    assert gated.gate.problem == "omero-unavailable: connection refused"
    gated.server.answers.put(None)
    assert gated.gate.wait_open(DEADLINE_SECONDS)


def test_closing_lets_nobody_through_until_a_check_passes(gated: Gated) -> None:
    """Given an open gate, when an attempt finds the server away, then it is closed with that reason."""
    gated.server.answer(None)
    assert gated.gate.wait_open(DEADLINE_SECONDS)
    gated.gate.close(failure(Reason.SESSION_LOST, "the router closed the connection"))
    assert not gated.gate.wait_open(0)
    assert gated.gate.problem == "session-lost: the router closed the connection"
    gated.server.answer(None)
    assert gated.gate.wait_open(DEADLINE_SECONDS)


def test_a_closed_gate_waits_before_it_asks(slow: Gated) -> None:
    """Or a busy server would be declared well at once, and every request of a lane would fail in turn."""
    slow.server.answer(None)
    assert slow.gate.wait_open(DEADLINE_SECONDS)
    slow.gate.close(failure(Reason.OMERO_BUSY, "pool exhausted"))
    with pytest.raises(queue.Empty):
        slow.server.asked.get(timeout=0.05)
    assert slow.gate.problem == "omero-busy: pool exhausted"


def test_a_check_that_began_before_the_gate_was_closed_does_not_open_it(gated: Gated) -> None:
    """What an attempt has just seen is newer."""
    gated.server.asked.get(timeout=DEADLINE_SECONDS)
    gated.gate.close(failure(Reason.SESSION_LOST, "just now"))
    gated.server.answers.put(None)
    gated.server.asked.get(timeout=DEADLINE_SECONDS)
    assert gated.gate.problem == "session-lost: just now"


def test_a_defect_in_the_check_does_not_end_the_gate(gated: Gated) -> None:
    """Without its thread nothing would ever be taken again."""
    gated.server.answer(RuntimeError("surprise"))
    gated.server.asked.get(timeout=DEADLINE_SECONDS)
    assert gated.gate.problem == "internal-error: RuntimeError: surprise"
    gated.server.answers.put(None)
    assert gated.gate.wait_open(DEADLINE_SECONDS)


def test_the_same_problem_is_logged_once() -> None:
    """An outage of a night is one line, not one every 5 seconds."""
    server = Server()
    other = failure(Reason.OMERO_FULL, "no space")
    gate = Gate(server.check, check_seconds=0.0)
    with structlog.testing.capture_logs() as logs:
        gate.start()
        server.answer(AWAY, AWAY, AWAY, other, other, None)
        assert gate.wait_open(DEADLINE_SECONDS)
        gate.stop()
    assert [log.get("problem", log["event"]) for log in logs] == [
        "omero-unavailable: connection refused",
        "omero-full: no space",
        "OMERO is ready",
    ]


def test_a_problem_that_comes_back_is_logged_again() -> None:
    """The second outage is news, too."""
    server = Server()
    gate = Gate(server.check, check_seconds=0.0, watch_seconds=0.0)
    with structlog.testing.capture_logs() as logs:
        gate.start()
        server.answer(AWAY, None, AWAY, None)
        server.asked.get(timeout=DEADLINE_SECONDS)
        server.answers.put(None)
        gate.stop()
    assert [log["event"] for log in logs] == ["OMERO does not let us work", "OMERO is ready"] * 2


def test_an_open_gate_is_closed_by_a_check_that_fails() -> None:
    """A full disk is found before an attempt meets it."""
    server = Server()
    gate = Gate(server.check, check_seconds=0.0, watch_seconds=0.0)
    gate.start()
    server.answer(None, failure(Reason.OMERO_FULL, "no space"))
    server.asked.get(timeout=DEADLINE_SECONDS)
    assert gate.problem == "omero-full: no space"
    server.answers.put(None)
    assert gate.wait_open(DEADLINE_SECONDS)
    server.answers.put(None)
    gate.stop()


REFUSED = failure(Reason.OMERO_LOGIN_REFUSED, "wrong password")


def test_a_refused_login_is_not_tried_again_by_itself(gated: Gated) -> None:
    """Or the account would be locked by hundreds of tries an hour."""
    gated.server.answer(REFUSED)
    with pytest.raises(queue.Empty):
        gated.server.asked.get(timeout=0.2)
    assert gated.gate.broken
    assert gated.gate.problem == "omero-login-refused: wrong password"


def test_a_mended_cause_is_tried_once(gated: Gated) -> None:
    """An operator says so; one more refusal breaks it again."""
    gated.server.answer(REFUSED)
    waiting.until(lambda: gated.gate.broken or None, DEADLINE_SECONDS, "a broken gate", pause_seconds=0.01)
    gated.gate.mend()
    gated.server.answer(None)
    assert gated.gate.wait_open(DEADLINE_SECONDS)
    assert not gated.gate.broken


def test_a_new_password_mends_it() -> None:
    """Whoever writes the password file anew need not restart the worker."""
    server, mended = Server(), threading.Event()
    gate = Gate(server.check, mended=mended.is_set, check_seconds=0.0)
    gate.start()
    server.answer(REFUSED)
    with pytest.raises(queue.Empty):
        server.asked.get(timeout=0.1)
    mended.set()
    server.answer(None)
    assert gate.wait_open(DEADLINE_SECONDS)
    gate.stop()


def test_waiting_ends_at_its_deadline(slow: Gated) -> None:
    """The taker must go on ticking."""
    slow.server.answer(AWAY)
    assert not slow.gate.wait_open(0.01)


def test_a_closed_gate_can_be_stopped(slow: Gated) -> None:
    """While it waits an hour to ask again; the fixture sees that its thread ends."""
    slow.server.answer(AWAY)
    slow.gate.stop()
    assert slow.gate.problem is not None
