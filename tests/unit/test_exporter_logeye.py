"""What the exporter sees in the event log, and how that is followed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, cast

import pytest

from fleet_common.broker import BrokerUnavailable, StreamReader
from fleet_common.broker.subscription import Message
from fleet_common.events import Kind, encode_event
from fleet_common.heartbeats import Heartbeat, encode_heartbeat
from fleet_common.logwatch import NOT_READ, LogWatch
from fleet_worker.exporter.board import Board
from fleet_worker.exporter.logeye import SHOW_SECONDS, LogEye
from support.builders import NOW, an_event
from support.waiting import until

DIED = NOW - timedelta(minutes=3)


@dataclass
class Log:
    """A log eye on a clock that a test moves."""

    seconds: float = 0.0
    problem: str | None = None

    def __post_init__(self) -> None:
        self.board = Board(lambda: self.seconds, 60.0, {})
        self.eye = LogEye(
            self.board,
            lambda: ("phenix1",),
            lambda: self.problem,
            clock=lambda: NOW + timedelta(seconds=self.seconds),
            monotonic=lambda: self.seconds,
        )

    def hear(self, body: bytes, key: str, *, live: bool = True) -> None:
        """One message."""
        self.eye.hear(Message(body, key, 1, 0, None), live)

    def shown(self, name: str, *labels: str) -> float | None:
        """A value after a while."""
        self.seconds += SHOW_SECONDS + 1
        self.eye.tick()
        return self.board.view().series.get(name, {}).get(labels)


def test_a_request_that_waits_grows_older_while_nothing_happens() -> None:
    """Given an accepted request, when time goes on, then its age does, too."""
    log = Log()
    log.hear(encode_event(an_event(Kind.ACCEPTED)), "phenix1.accepted")
    assert log.shown("oldest_waiting_seconds", "phenix1") == 6
    assert log.shown("oldest_waiting_seconds", "phenix1") == 12


def test_a_heartbeat_is_of_now_whatever_the_hosts_clock_says() -> None:
    """Given a host whose clock is a day off, then its last word was a moment ago."""
    log = Log()
    beat = Heartbeat(lane="phenix1", host="a", at=NOW - timedelta(days=1), spool_requests=4)
    log.hear(encode_heartbeat(beat), beat.routing_key)
    assert log.shown("producer_last_heartbeat_timestamp_seconds", "phenix1") == NOW.timestamp()
    assert log.shown("producer_spool_requests", "phenix1") == 4


SILENT_SINCE: Final = NOW - timedelta(hours=3)


def beat_by(clock: datetime) -> Heartbeat:
    """A heartbeat of a host whose clock says so."""
    return Heartbeat(lane="phenix1", host="a", at=clock)


def by_worker(at: datetime) -> bytes:
    """An event of a worker."""
    return encode_event(an_event(Kind.STARTED, seq=int(at.timestamp() * 1000), at=at))


@pytest.mark.parametrize(
    "clock",
    [
        pytest.param(SILENT_SINCE, id="whose clock is right"),
        pytest.param(SILENT_SINCE - timedelta(days=1), id="whose clock is a day slow"),
        pytest.param(SILENT_SINCE + timedelta(days=1), id="whose clock is a day fast"),
    ],
)
def test_a_producer_that_died_before_the_exporter_started_is_as_silent_as_it_is(clock: datetime) -> None:
    """Given its last heartbeat in the log, between two events of workers, then that is when it was heard of last."""
    log = Log()
    log.hear(by_worker(SILENT_SINCE), "phenix1.started", live=False)
    beat = beat_by(clock)
    log.hear(encode_heartbeat(beat), beat.routing_key, live=False)
    log.hear(by_worker(SILENT_SINCE), "phenix1.started", live=False)
    log.hear(by_worker(NOW), "phenix1.started", live=False)
    assert log.shown("producer_last_heartbeat_timestamp_seconds", "phenix1") == SILENT_SINCE.timestamp()


def test_a_producer_that_lives_is_not_silent_for_what_it_told_before() -> None:
    """Given old heartbeats of a slow clock, when one comes while we listen, then that one counts."""
    log = Log()
    beat = beat_by(SILENT_SINCE)
    log.hear(encode_heartbeat(beat), beat.routing_key, live=False)
    log.hear(encode_heartbeat(beat), beat.routing_key)
    assert log.shown("producer_last_heartbeat_timestamp_seconds", "phenix1") == NOW.timestamp()


def test_what_is_neither_event_nor_heartbeat_is_counted() -> None:
    """Forged keys, broken bodies."""
    log = Log()
    log.hear(b"junk", "phenix1.accepted")
    log.hear(b"junk", "phenix1.heartbeat")
    log.hear(encode_event(an_event(Kind.ACCEPTED)), "phenix1.imported")
    assert log.shown("event_log_skipped") == 3
    assert log.shown("open_requests", "phenix1", "waiting") == 0


def test_nothing_is_shown_before_the_log_was_read_to_its_end() -> None:
    """Half a log says that old requests are open."""
    log = Log(problem=NOT_READ)
    log.hear(encode_event(an_event(Kind.ACCEPTED)), "phenix1.accepted", live=False)
    assert log.shown("open_requests", "phenix1", "waiting") is None
    log.problem = None
    assert log.shown("open_requests", "phenix1", "waiting") == 1
    log.problem = "no connection"
    assert log.shown("open_requests", "phenix1", "waiting") is None


@dataclass
class FakeReader:
    """A stream with some messages; then it is quiet until it is stopped."""

    messages: list[Message]
    fails: list[Exception] = field(default_factory=list)
    started_at: list[Any] = field(default_factory=list)
    link: Any = field(default_factory=type("Link", (), {"connected": True}))

    def start(self) -> None:
        """Connect, or not."""
        if self.fails:
            raise self.fails.pop(0)

    def stop(self) -> None:
        """Nothing to close."""

    def end(self) -> int:
        """The second message was the last when the reading began."""
        return 1

    def follow_messages(self, start: Any, *, stop: Any) -> Iterator[Message]:
        """All from the start on, then ticks."""
        self.started_at.append(start)
        yield from (one for one in self.messages if start == "first" or (one.offset or 0) >= start)
        while not stop():
            threading.Event().wait(0.001)


def a_log(*offsets: int) -> list[Message]:
    """Messages at these places."""
    return [Message(b"", "phenix1.accepted", offset, 0, None) for offset in offsets]


def watching(reader: FakeReader, heard: list[tuple[int | None, bool]], **more: Any) -> LogWatch:
    """A watch that notes what it heard."""
    return LogWatch(
        lambda: cast("StreamReader", reader),
        "first",
        more.pop("handle", lambda message, live: heard.append((message.offset, live))),
        tick=lambda: None,
        again_seconds=0.001,
        **more,
    )


def test_what_was_there_is_of_the_past_and_what_comes_is_live() -> None:
    """Given a log whose end is 1, then 0 and 1 are history and 2 is told while we listen."""
    heard: list[tuple[int | None, bool]] = []
    watch = watching(FakeReader(a_log(0, 1, 2)), heard)
    assert watch.problem == NOT_READ
    watch.start()
    until(lambda: len(heard) == 3)
    watch.stop()
    assert heard == [(0, False), (1, False), (2, True)]
    assert watch.problem is None
    assert watch.stuck is None


def test_a_broker_that_is_away_is_tried_again() -> None:
    """Given two failures, then the log is read all the same."""
    heard: list[tuple[int | None, bool]] = []
    watch = watching(FakeReader(a_log(0), [BrokerUnavailable("away"), BrokerUnavailable("away")]), heard)
    watch.start()
    until(lambda: len(heard) == 1)
    watch.stop()


def test_a_message_whose_handling_failed_is_read_again() -> None:
    """Given a defect at offset 1, when the reading begins anew, then it begins there, and nothing comes twice."""
    heard: list[int | None] = []

    def handle(message: Message, _live: bool) -> None:  # noqa: FBT001  the signature of a handler
        heard.append(message.offset)
        if heard.count(1) == 1:
            heard.append(None)
            raise KeyError

    reader = FakeReader(a_log(0, 1, 2))
    watch = watching(reader, [], handle=handle)
    watch.start()
    until(lambda: 2 in heard)
    watch.stop()
    assert heard == [0, 1, None, 1, 2]
    assert reader.started_at == ["first", 1]


def test_a_log_that_is_quiet_is_read_to_its_end() -> None:
    """Given a start behind the last message, then silence says that nothing more comes."""
    now = iter(float(second) for second in range(10_000_000))
    watch = watching(FakeReader([]), [], clock=lambda: next(now))
    watch.start()
    until(lambda: watch.problem is None)
    watch.stop()


def test_a_thread_that_hangs_is_told_apart_from_a_broker_that_is_away() -> None:
    """Liveness asks for the thread only."""
    now = [0.0]
    watch = watching(FakeReader([]), [], clock=lambda: now[0])
    now[0] = 61.0
    assert watch.stuck == "the event log was not looked at for 61 s"
