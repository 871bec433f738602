"""One delivery from decoding to ack: what is settled how, and that the worker lives on whatever happens."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from structlog.typing import EventDict

from fleet_common.broker import (
    ALONE,
    ATTEMPT,
    FIRST_SEEN,
    LOG_TAIL,
    MESSAGE,
    REASON,
    RETRY_REASON,
    SUBMITTED_BY,
    WORKER,
    BrokerUnavailable,
    Delivery,
)
from fleet_common.errors import RULES, Reason, RequestError, failure
from fleet_common.events import Event, Kind
from fleet_common.messages import encode
from fleet_worker.crashes import Course, Judgement
from fleet_worker.handling import Handler
from fleet_worker.omero.state import State
from support.builders import NOW, REQUEST_ID, a_fileset
from support.fakes import a_delivery
from support.workers import LATER, FakeWorker, a_real_request, a_worker

LOCK = f"import.lock.{REQUEST_ID}"
UNSUSPECTED = Judgement(Course.RUN)


@dataclass
class Handled:
    """A worker with a handler, and what was said of OMERO."""

    worker: FakeWorker
    pauses: list[RequestError] = field(default_factory=list)
    logs: list[EventDict] = field(default_factory=list)
    hurry: threading.Event = field(default_factory=threading.Event)

    def handle(self, body: bytes | None = None, *, judgement: Judgement = UNSUSPECTED, **changes: Any) -> None:
        """Hand it one delivery; by default of the usual request, which nobody suspects."""
        body = encode(a_real_request()) if body is None else body
        self.handle_delivery(a_delivery(self.worker.journal, body, **changes), judgement)

    def handle_delivery(self, delivery: Delivery, judgement: Judgement = UNSUSPECTED) -> None:
        """Hand it this one, and keep what is logged."""
        with structlog.testing.capture_logs() as logs:
            Handler(self.worker.parts, self.pauses.append, self.hurry).handle(delivery, judgement)
        self.logs += logs

    @property
    def steps(self) -> list[str]:
        """What happened."""
        return self.worker.journal.steps

    @property
    def last(self) -> Event:
        """The last event."""
        return self.worker.publisher.events[-1]

    @property
    def headers(self) -> dict[str, Any]:
        """Of the one copy that was published."""
        (message,) = self.worker.publisher.messages
        return dict(message.headers)

    @property
    def settled(self) -> list[str]:
        """The steps by which the delivery was settled, and the release of its lock."""
        return [step for step in self.steps if step.startswith(("publish", "confirmed", "ack")) or LOCK in step]


@pytest.fixture
def handled(tmp_path: Path) -> Iterator[Handled]:
    """A handler on stand-ins."""
    with a_worker(tmp_path) as worker:
        yield Handled(worker)


def test_an_imported_request_is_told_before_it_is_acked(handled: Handled) -> None:
    """Given a request, when it is imported, then the event is confirmed, then the ack is sent, then the lock goes."""
    handled.handle()
    assert handled.settled == [f"take {LOCK}", "confirmed imported", "ack", f"release {LOCK}"]
    assert handled.last.kind is Kind.IMPORTED
    assert handled.last.result is not None
    assert (handled.last.attempt, handled.last.worker, handled.last.source) == (1, "w1", "hcs/phenix1/cell.tif")


def test_the_events_of_an_attempt_are_numbered_from_started_to_imported(handled: Handled) -> None:
    """Readers order them by these numbers."""
    handled.handle()
    events = handled.worker.publisher.events
    start = int(LATER.timestamp() * 1000)
    assert [event.seq for event in events] == list(range(start, start + len(events)))
    assert (events[0].kind, events[-1].kind) == (Kind.STARTED, Kind.IMPORTED)


def test_success_is_counted_once(handled: Handled) -> None:
    """Requests, images, planes, waits, attempts."""
    handled.handle()
    metric = handled.worker.metric
    assert metric("requests_total", outcome="imported", reason="") == 1
    assert (metric("images_total"), metric("planes_total"), metric("plates_total")) == (1, 1, 0)
    assert (metric("files_total"), metric("bytes_total")) == (1, 5)
    assert metric("queue_wait_seconds_sum") == (LATER - NOW).total_seconds()
    assert metric("end_to_end_seconds_sum") == (LATER - NOW).total_seconds()
    assert metric("attempts_sum") == 1
    assert metric("last_success_timestamp_seconds") == LATER.timestamp()
    assert metric("requests_in_progress") == 0


def test_an_acquisition_host_with_a_clock_in_the_future_makes_no_negative_wait(handled: Handled) -> None:
    """Their clocks are hours off."""
    handled.handle(encode(a_real_request(submitted_at=LATER + timedelta(hours=3))))
    assert handled.worker.metric("queue_wait_seconds_sum") == 0
    assert handled.worker.metric("queue_wait_seconds_count") == 1


def test_a_request_that_was_imported_before_counts_no_images_again(handled: Handled) -> None:
    """Given a complete import whose ack was lost, when the request comes again, then it is adopted and acked."""
    request = a_real_request()
    digest = request.source.manifest.digest
    handled.worker.omero.filesets = [a_fileset(7, State.COMPLETE, annotation={"digest": digest})]
    handled.handle(encode(request), redelivered=True, deliveries=1)
    assert handled.settled == [f"take {LOCK}", "confirmed already-imported", "ack", f"release {LOCK}"]
    assert handled.worker.metric("requests_total", outcome="already-imported", reason="") == 1
    assert handled.worker.metric("images_total") == 0


@pytest.mark.parametrize(
    ("reason", "copy_to", "attempts"),
    [
        (Reason.IMPORT_FAILED, "import.retry.60", 1),
        (Reason.IMPORT_INTERRUPTED, "import.retry.10", 1),
        (Reason.OMERO_UNAVAILABLE, "import.retry.10", 0),
        (Reason.SHARE_UNAVAILABLE, "import.retry.60", 0),
    ],
)
def test_what_may_succeed_later_goes_into_a_retry_tier_and_is_acked(
    handled: Handled, reason: Reason, copy_to: str, attempts: int
) -> None:
    """The copy is confirmed before the ack; the event is told, not waited for."""
    handled.worker.journal.fails["wait"] = failure(reason, "not now")
    handled.handle()
    assert handled.settled == [f"take {LOCK}", f"publish to {copy_to}", "ack", f"release {LOCK}"]
    assert (handled.headers[ATTEMPT], handled.headers[RETRY_REASON]) == (attempts, reason)
    assert handled.headers[SUBMITTED_BY] == "phenix1"
    assert (handled.last.kind, handled.last.reason) == (Kind.RETRIED, reason)
    assert handled.last.delay_seconds == float(copy_to.rsplit(".", 1)[1])
    assert handled.worker.metric("requests_total", outcome="retried", reason=reason) == 1


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_FORMAT, Reason.READER_FAILED, Reason.OMERO_REFUSED])
def test_what_can_never_succeed_is_buried_told_and_acked(handled: Handled, reason: Reason) -> None:
    """Dead letter, event, ack: each confirmed before the next."""
    handled.worker.journal.fails["wait"] = failure(reason, "no reader", log_tail="Caused by: x")
    handled.handle()
    assert handled.settled == [f"take {LOCK}", "publish to import.dead", "confirmed dead", "ack", f"release {LOCK}"]
    headers = handled.headers
    assert (headers[REASON], headers[MESSAGE], headers[LOG_TAIL], headers[WORKER]) == (
        reason,
        "no reader",
        "Caused by: x",
        "w1",
    )
    assert (handled.last.kind, handled.last.reason, handled.last.message) == (Kind.DEAD, reason, "no reader")
    assert handled.last.next_action == RULES[reason].next_action
    assert handled.worker.metric("requests_total", outcome="dead", reason=reason) == 1


def test_the_body_of_a_dead_letter_is_untouched(handled: Handled) -> None:
    """A replay must give the same request."""
    body = json.dumps(json.loads(encode(a_real_request())), indent=3).encode()
    handled.worker.journal.fails["wait"] = failure(Reason.UNKNOWN_FORMAT, "no")
    handled.handle(body, message_id="the-id")
    (message,) = handled.worker.publisher.messages
    assert (message.body, message.message_id, message.routing_key) == (body, "the-id", "phenix1.normal")


def test_the_last_attempt_is_dead_with_its_last_error(handled: Handled) -> None:
    """Given two attempts that failed, when the third fails, then it is dead as used up, and why is told."""
    handled.worker.journal.fails["wait"] = failure(Reason.IMPORT_FAILED, "disk full")
    handled.handle(user_id="worker", headers={ATTEMPT: 2, SUBMITTED_BY: "phenix1"})
    assert (handled.last.kind, handled.last.reason) == (Kind.DEAD, Reason.ATTEMPTS_USED_UP)
    assert handled.last.attempt == 3
    assert handled.last.message == "import-failed: disk full"
    assert handled.last.next_action == RULES[Reason.IMPORT_FAILED].next_action


def test_a_producer_cannot_count_the_attempts_of_its_own_request(handled: Handled) -> None:
    """The header is believed only in copies of the fleet."""
    handled.worker.journal.fails["wait"] = failure(Reason.IMPORT_FAILED, "x")
    handled.handle(headers={ATTEMPT: 99})
    assert (handled.last.kind, handled.last.attempt) == (Kind.RETRIED, 1)


# --- who asks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "properties",
    [{"user_id": None}, {"user_id": "worker"}, {"user_id": "worker", "headers": {SUBMITTED_BY: ""}}],
    ids=["no user id", "a copy that does not say whose", "a copy of nobody's"],
)
def test_a_request_of_nobody_is_dead(handled: Handled, properties: dict[str, Any]) -> None:
    """Nobody could be held to it; nothing is imported."""
    handled.handle(message_id=str(REQUEST_ID), **properties)
    assert handled.steps == ["publish to import.dead", "confirmed dead", "ack"]
    assert (handled.last.request_id, handled.last.reason) == (REQUEST_ID, Reason.NO_USER_ID)


def test_a_request_in_another_lanes_name_tells_nothing_in_that_lane(handled: Handled) -> None:
    """Given a producer of phenix1 that says lane cv8000, then it is dead, and only its own lane hears of it."""
    handled.handle(encode(a_real_request(lane="cv8000")), message_id=str(REQUEST_ID))
    assert handled.steps == ["publish to import.dead", "confirmed dead", "ack"]
    assert [(event.lane, event.reason) for event in handled.worker.publisher.events] == [
        ("phenix1", Reason.NOT_ALLOWED)
    ]


# --- bodies that cannot be read ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"no json", Reason.INVALID_REQUEST),
        (b"{}", Reason.INVALID_REQUEST),
        (b'{"version": 0}', Reason.UNKNOWN_VERSION),
        (b" " * 2 * 1024 * 1024, Reason.REQUEST_TOO_LARGE),
        (
            encode(a_real_request()).replace(b"2026-01-31T10:00:00Z", b"0001-01-01T00:00:00+14:00"),
            Reason.INVALID_REQUEST,
        ),
    ],
    ids=["no JSON", "no fields", "version 0", "2 MiB", "a date before year 1"],
)
def test_a_body_that_is_no_request_is_dead_under_the_id_beside_it(
    handled: Handled, body: bytes, reason: Reason
) -> None:
    """Whoever waits for that id hears of it."""
    handled.handle(body, message_id=str(REQUEST_ID))
    assert handled.steps == ["publish to import.dead", "confirmed dead", "ack"]
    assert (handled.last.request_id, handled.last.lane, handled.last.reason) == (REQUEST_ID, "phenix1", reason)
    assert handled.worker.publisher.messages[0].body == body


@pytest.mark.parametrize("message_id", [None, "", "not-an-id"])
def test_a_body_that_belongs_to_no_known_request_is_dead_without_an_event(
    handled: Handled, message_id: str | None
) -> None:
    """An event needs an id."""
    handled.handle(b"no json", message_id=message_id)
    assert handled.steps == ["publish to import.dead", "ack"]
    assert handled.worker.publisher.events == []


def test_a_newer_version_waits_for_a_newer_worker(handled: Handled) -> None:
    """It goes into a retry tier, without counting an attempt."""
    handled.handle(b'{"version": 2}', message_id=str(uuid.uuid4()))
    assert handled.steps == ["publish to import.retry.300", "ack"]
    assert (handled.headers[ATTEMPT], handled.last.kind) == (0, Kind.RETRIED)


@pytest.mark.parametrize(("age", "kind"), [(timedelta(hours=23), Kind.RETRIED), (timedelta(hours=25), Kind.DEAD)])
def test_a_newer_version_is_dead_after_a_day(handled: Handled, age: timedelta, kind: Kind) -> None:
    """Since the fleet saw it first, by the fleet's own clock."""
    headers = {FIRST_SEEN: (LATER - age).isoformat(), SUBMITTED_BY: "phenix1"}
    handled.handle(b'{"version": 2}', message_id=str(REQUEST_ID), user_id="worker", headers=headers)
    assert handled.last.kind is kind


# --- locks ---------------------------------------------------------------------------------------------------------


def test_a_request_that_another_worker_has_is_handed_back_in_silence(handled: Handled) -> None:
    """OMERO is not called, no attempt is counted, and no event contradicts the worker that is at it."""
    handled.worker.locks.held_by_others.add(LOCK)
    handled.handle()
    assert handled.steps == ["publish to import.retry.60", "ack"]
    assert handled.headers[ATTEMPT] == 0
    assert handled.worker.publisher.events == []
    assert handled.worker.metric("requests_total", outcome="handed-back", reason="lock-held") == 1


def test_what_the_server_is_still_at_is_handed_back(handled: Handled) -> None:
    """A second import of the request that runs yet: nothing is deleted, and no attempt is counted."""
    rival = a_fileset(30, State.QUEUED_OR_RUNNING, session_closed=False)
    handled.worker.journal.does["annotate 19"] = lambda: handled.worker.omero.filesets.append(rival)
    handled.handle()
    assert (handled.last.kind, handled.last.reason) == (Kind.HANDED_BACK, Reason.STILL_RUNNING)
    assert handled.headers[ATTEMPT] == 0


def test_when_the_grace_time_is_over_a_request_is_handed_back(handled: Handled) -> None:
    """Given a worker in a hurry, when the attempt makes its next check, then it deletes its fileset and hands back."""
    handled.worker.journal.does["register"] = handled.hurry.set
    handled.handle()
    assert (handled.last.kind, handled.last.reason) == (Kind.HANDED_BACK, Reason.DRAINING)
    assert handled.headers[ATTEMPT] == 0
    assert "delete 19" in handled.steps
    assert handled.settled[-3:] == ["publish to import.requests", "ack", f"release {LOCK}"]
    assert handled.last.delay_seconds == 0


def test_a_cancelled_request_ends_as_cancelled(handled: Handled) -> None:
    """Told for certain before it is acked; there is no copy anywhere."""
    handled.worker.parts = replace(handled.worker.parts, cancelled=lambda _: "cancelled by dave@desk: wrong plate")
    handled.handle()
    assert (handled.last.kind, handled.last.reason) == (Kind.CANCELLED, Reason.CANCELLED)
    assert handled.last.message == "cancelled by dave@desk: wrong plate"
    assert handled.settled == [f"take {LOCK}", "confirmed cancelled", "ack", f"release {LOCK}"]
    assert handled.worker.publisher.messages == []
    assert handled.worker.metric("requests_total", outcome="cancelled", reason="") == 1


# --- requests that workers die of -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("course", "exchange", "delay_seconds"),
    [(Course.SET_ASIDE, "import.requests", 0), (Course.LATER, "import.retry.10", 10)],
)
def test_a_suspect_is_set_aside_with_its_count(
    handled: Handled, course: Course, exchange: str, delay_seconds: float
) -> None:
    """Without an attempt, and without its lock; the copy comes back at once or later."""
    handled.handle(judgement=Judgement(course, 2))
    assert handled.steps == [f"publish to {exchange}", "ack"]
    assert (handled.headers[ALONE], handled.headers[ATTEMPT]) == (2, 0)
    assert (handled.last.kind, handled.last.reason) == (Kind.HANDED_BACK, Reason.CRASH_SUSPECT)
    assert handled.last.delay_seconds == delay_seconds


def test_a_request_that_killed_its_workers_is_buried_as_a_crash_loop(handled: Handled) -> None:
    """With how many; nobody tries it again."""
    handled.handle(judgement=Judgement(Course.BURY, 3))
    assert handled.steps == ["publish to import.dead", "confirmed dead", "ack"]
    assert (handled.headers[REASON], handled.last.reason) == ("crash-loop", Reason.CRASH_LOOP)
    assert "3 workers died" in (handled.last.message or "")


def test_a_suspect_alone_is_tried_as_any_other(handled: Handled) -> None:
    """And forgets the suspicion when it is tried again for another reason."""
    handled.worker.journal.fails["wait"] = failure(Reason.IMPORT_FAILED, "x")
    headers = {ALONE: 2, SUBMITTED_BY: "phenix1", ATTEMPT: 0}
    handled.handle(judgement=Judgement(Course.RUN_ALONE, 2), user_id="worker", headers=headers)
    assert handled.last.kind is Kind.RETRIED
    assert ALONE not in handled.headers


def test_a_suspect_that_nobody_can_read_is_buried_as_unreadable(handled: Handled) -> None:
    """Its text says more than its count."""
    handled.handle(b"{", judgement=Judgement(Course.SET_ASIDE))
    assert handled.headers[REASON] == "invalid-request"


@pytest.mark.parametrize(
    ("ends", "step"),
    [
        (None, "confirmed imported"),
        (Reason.IMPORT_FAILED, "publish to import.retry.60"),
        (Reason.UNKNOWN_FORMAT, "publish to import.dead"),
        (Reason.UNKNOWN_FORMAT, "confirmed dead"),
    ],
)
def test_a_broker_that_takes_nothing_for_a_while_loses_nothing(
    handled: Handled, ends: Reason | None, step: str
) -> None:
    """Given a memory alarm, when it ends, then the outcome is told once and the delivery acked once."""
    journal = handled.worker.journal
    if ends is not None:
        journal.fails["wait"] = failure(ends, "x")
    journal.fails[step] = BrokerUnavailable("memory alarm")
    journal.does["pause 5"] = journal.fails.clear
    handled.handle()
    assert [one for one in handled.steps if one in {step, "pause 5", "ack"}] == [step, "pause 5", step, "ack"]


def test_a_request_whose_lock_was_lost_is_left_alone(handled: Handled) -> None:
    """Given a lost lock, when the attempt notices, then it settles nothing: neither copy, nor event, nor ack."""

    def lose() -> None:
        handled.worker.locks.leases[0].lost = True

    handled.worker.journal.does["upload 0"] = lose
    handled.handle()
    assert handled.settled == [f"take {LOCK}", f"release {LOCK}"]
    assert handled.last.kind is not Kind.DEAD
    assert handled.worker.metric("leases_lost_total") == 1


def test_a_lock_that_cannot_be_asked_for_leaves_the_delivery(handled: Handled) -> None:
    """The broker is away: it will deliver again."""
    handled.worker.journal.fails[f"take {LOCK}"] = BrokerUnavailable("no connection")
    handled.handle()
    assert handled.settled == [f"take {LOCK}"]
    assert [log["event"] for log in handled.logs] == ["request not settled"]


# --- the broker goes away while settling -----------------------------------------------------------------------------


def test_without_a_confirmed_event_an_imported_request_is_not_acked(handled: Handled) -> None:
    """Of a worker at its end: it comes again, and is found to be imported; the lock is released."""
    handled.worker.journal.fails["confirmed imported"] = BrokerUnavailable("no connection")
    handled.worker.publisher.link.stopped = True
    handled.handle()
    assert "ack" not in handled.steps
    assert handled.steps[-1] == f"release {LOCK}"
    assert handled.worker.metric("requests_total", outcome="imported", reason="") == 0


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        (Reason.IMPORT_FAILED, "publish to import.retry.60"),
        (Reason.UNKNOWN_FORMAT, "publish to import.dead"),
        (Reason.UNKNOWN_FORMAT, "confirmed dead"),
    ],
)
def test_without_a_confirmed_copy_a_failed_request_is_not_acked(handled: Handled, reason: Reason, step: str) -> None:
    """A duplicate at worst, never a loss."""
    handled.worker.journal.fails["wait"] = failure(reason, "x")
    handled.worker.journal.fails[step] = BrokerUnavailable("no connection")
    handled.worker.publisher.link.stopped = True
    handled.handle()
    assert "ack" not in handled.steps
    assert handled.worker.metric("requests_in_progress") == 0


def test_a_request_that_was_lost_while_it_was_settled_is_not_acked(handled: Handled) -> None:
    """Given a broker that gave the delivery to somebody else, then nobody insists: a duplicate, never a loss."""
    step = "confirmed imported"
    delivery = a_delivery(handled.worker.journal, encode(a_real_request()))
    handled.worker.journal.fails[step] = BrokerUnavailable("no connection")
    handled.worker.journal.does[step] = lambda: setattr(delivery.handle, "lost", True)
    handled.handle_delivery(delivery)
    assert [one for one in handled.steps if one in {step, "pause 5", "ack"}] == [step]
    assert handled.steps[-1] == f"release {LOCK}"


# --- defects -------------------------------------------------------------------------------------------------------


def test_a_defect_in_an_attempt_is_tried_again_and_counted(handled: Handled) -> None:
    """With the name of what went wrong; nothing is lost."""
    handled.worker.journal.fails["wait"] = KeyError("surprise")
    handled.handle()
    assert handled.settled[1:3] == ["publish to import.retry.60", "ack"]
    assert (handled.last.reason, handled.last.message) == (Reason.INTERNAL_ERROR, "KeyError: 'surprise'")
    assert handled.worker.metric("internal_errors_total") == 1


def test_a_defect_while_settling_leaves_the_delivery_and_the_worker_alive(handled: Handled) -> None:
    """Nothing is acked, and the next delivery is handled."""
    handled.worker.journal.fails["confirmed imported"] = ZeroDivisionError()
    handled.handle()
    assert "ack" not in handled.steps
    assert handled.worker.metric("internal_errors_total") == 1
    assert handled.worker.metric("requests_in_progress") == 0
    handled.worker.journal.fails.clear()
    handled.worker.omero.filesets.clear()
    handled.handle()
    assert "ack" in handled.steps


# --- pausing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", sorted(Reason))
def test_taking_pauses_when_omero_does_not_let_us_work(handled: Handled, reason: Reason) -> None:
    """And only then: a broken plate stops nobody else."""
    handled.worker.journal.fails["check owner"] = failure(reason, "why")
    handled.handle()
    paused = {
        Reason.OMERO_UNAVAILABLE,
        Reason.OMERO_BUSY,
        Reason.OMERO_FULL,
        Reason.OMERO_READ_ONLY,
        Reason.OMERO_LOGIN_REFUSED,
        Reason.SESSION_LOST,
    }
    assert [error.reason for error in handled.pauses] == ([reason] if reason in paused else [])


# --- secrets -------------------------------------------------------------------------------------------------------


def test_no_secret_leaves_through_an_error(handled: Handled) -> None:
    """Neither in events, nor in dead letters, nor in their log tail."""
    text = "login to https://root:hunter2@omero failed, password=hunter2"
    handled.worker.journal.fails["wait"] = failure(Reason.READER_FAILED, text, log_tail=text)
    handled.handle()
    told = f"{handled.last.message} {handled.headers}"
    assert "hunter2" not in told
    assert "login to https://***@omero failed" in told


def test_a_long_error_is_cut_off_in_the_event(handled: Handled) -> None:
    """An event must fit, the dead letter has more."""
    handled.worker.journal.fails["wait"] = failure(Reason.READER_FAILED, "x" * 100_000)
    handled.handle()
    assert len(handled.last.message or "") == 2000
    assert len(handled.headers[MESSAGE]) == 4000


def test_what_is_logged_names_the_request(handled: Handled) -> None:
    """One line a failure, with the words of events and metrics."""
    handled.worker.journal.fails["wait"] = failure(Reason.UNKNOWN_FORMAT, "no reader")
    handled.handle()
    (line,) = [log for log in handled.logs if log["event"] == "not imported"]
    assert (line["action"], line["reason"], line["error"], line["attempt"]) == (
        "bury",
        "unknown-format",
        "no reader",
        1,
    )
