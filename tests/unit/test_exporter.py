"""The exporter's eyes and its life: what fails is left out and said, and nothing that fails ends it."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import pytest
from click.testing import CliRunner

from fleet_common.broker import BrokerRefused, BrokerUnavailable, Buried, DeadQueue, StreamReader
from fleet_common.broker.overview import Filling, Overview
from fleet_common.broker.subscription import Message
from fleet_common.cli import Context
from fleet_common.dead import DeadLetter, read_letter
from fleet_common.errors import Reason, UsageError, failure
from fleet_common.events import Event, Kind, encode_event
from fleet_common.heartbeats import Heartbeat, encode_heartbeat
from fleet_common.logwatch import NOT_READ, LogWatch
from fleet_common.messages import Priority, encode
from fleet_common.settings import BrokerSettings, ExporterSettings, MetricsSettings, OmeroSettings, Settings
from fleet_worker.commands.exporter import exporter
from fleet_worker.exporter import views
from fleet_worker.exporter.board import Board, Seen
from fleet_worker.exporter.brokereye import BrokerEye
from fleet_worker.exporter.deadeye import AGAIN_SECONDS, DeadEye, event_of
from fleet_worker.exporter.logeye import SHOW_SECONDS, LogEye
from fleet_worker.exporter.omeroeye import OmeroEye
from fleet_worker.exporter.poller import REFUSED_SECONDS, Poller
from fleet_worker.exporter.service import Exporter
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.serverfacts import ServerLimits
from support.builders import NOW, a_request, an_event
from support.waiting import until

DIED = NOW - timedelta(minutes=3)


# --- pollers ---


@dataclass
class Look:
    """Answers what it is told to, or fails."""

    answer: Seen | Exception = field(default_factory=lambda: views.of_overview(Overview(retries=1), ()))

    def __call__(self) -> Seen:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def board() -> Board:
    """On a clock that stands still."""
    return Board(lambda: 0.0, 60.0, {})


def test_what_was_seen_is_on_the_board(board: Board) -> None:
    """And the poller has no problem."""
    poller = Poller("rabbitmq", Look(), board, interval_seconds=15)
    assert poller.problem == "rabbitmq was not read yet"
    assert poller.round() == 15
    assert board.view().series["retries_waiting"] == {(): 1.0}
    assert poller.problem is None


@pytest.mark.parametrize(
    ("error", "problem", "pause_seconds"),
    [
        (BrokerUnavailable("away"), "broker-unavailable: away", 15),
        (failure(Reason.OMERO_UNAVAILABLE, "no answer"), "omero-unavailable: no answer", 15),
        (failure(Reason.OMERO_LOGIN_REFUSED, "wrong"), "omero-login-refused: wrong", REFUSED_SECONDS),
        (KeyError("x"), "internal-error: KeyError: 'x'", 15),
    ],
)
def test_a_source_that_cannot_be_read_is_left_out_and_says_why(
    board: Board, error: Exception, problem: str, pause_seconds: float
) -> None:
    """Given a source that was well, when it fails, then its old values go; a refused login is not tried again soon."""
    look = Look()
    poller = Poller("omero", look, board, interval_seconds=15)
    poller.round()
    look.answer = error
    assert poller.round() == pause_seconds
    assert board.view().series == {"source_up": {("omero",): 0.0}}
    assert poller.problem == problem
    look.answer = {}
    poller.round()
    assert poller.problem is None


def test_a_poller_goes_round_until_it_is_stopped(board: Board) -> None:
    """Given an interval that is short, then it looks again, and its thread ends when it is told."""
    looked = threading.Semaphore(0)

    def look() -> Seen:
        looked.release()
        return {}

    poller = Poller("rabbitmq", look, board, interval_seconds=0.001)
    assert poller.ended == "the thread that reads rabbitmq has ended"
    poller.start()
    assert looked.acquire(timeout=5)
    assert looked.acquire(timeout=5)
    assert poller.ended is None
    poller.stop()
    assert poller.ended is not None


# --- the broker ---


def test_the_lanes_are_those_of_the_settings_and_those_that_were_declared() -> None:
    """And only while the broker answers it is known how many dead letters there are."""
    answers: list[Overview | Exception] = [
        Overview(lanes={("new", Priority.BULK): Filling(1)}, dead=3),
        BrokerUnavailable("away"),
    ]

    def ask() -> Overview:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    eye = BrokerEye(ask, ("hcs",))
    assert (eye.lanes(), eye.dead()) == (("hcs",), None)
    assert eye.look()["queue_ready"]["new", "bulk"] == 1
    assert (eye.lanes(), eye.dead()) == (("hcs", "new"), 3)
    with pytest.raises(BrokerUnavailable):
        eye.look()
    assert eye.dead() is None


# --- OMERO ---


@dataclass
class FakeGateway:
    """Answers as a server does; or refuses the login."""

    refusal: Exception | None = None
    calls: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Log in."""
        self.calls.append("open")
        if self.refusal is not None:
            raise self.refusal

    def limits(self) -> ServerLimits:
        """Of a default server."""
        return ServerLimits(min_threads=5, background_threads=10)

    def read_only(self) -> tuple[str, ...]:
        """Its repository is."""
        return ("repository",)

    def free_bytes(self) -> int:
        """Some."""
        return 42

    def running_imports(self) -> int:
        """One."""
        return 1

    def open_sessions(self) -> int:
        """Three."""
        return 3


def test_omero_is_asked_after_the_login() -> None:
    """Everything that it says of itself is seen."""
    gateway = FakeGateway()
    seen = OmeroEye(cast("Gateway", gateway)).look()
    assert gateway.calls == ["open"]
    assert (seen["omero_free_bytes"], seen["omero_read_only"], seen["omero_open_sessions"]) == (
        {(): 42},
        {(): 1},
        {(): 3},
    )


def test_an_omero_that_refuses_the_account_is_a_problem_of_the_source(board: Board) -> None:
    """Nothing else is asked, and nothing is shown."""
    look = OmeroEye(cast("Gateway", FakeGateway(failure(Reason.OMERO_LOGIN_REFUSED, "wrong")))).look
    poller = Poller("omero", look, board, interval_seconds=15)
    poller.round()
    assert poller.problem == "omero-login-refused: wrong"
    assert board.view().series == {"source_up": {("omero",): 0.0}}


# --- dead letters ---


def by_broker(**changes: Any) -> Buried:
    """A letter that the broker made of the usual request, three minutes ago."""
    death = {"reason": "delivery_limit", "queue": "import.lane.phenix1.normal", "time": DIED, "count": 1}
    fields: dict[str, Any] = {
        "body": (body := encode(a_request())),
        "size_bytes": len(body),
        "digest": "ab" * 32,
        "headers": {"x-death": [death]},
        "user_id": "phenix1",
        "message_id": str(a_request().request_id),
        "routing_key": "phenix1.normal",
        "tag": 1,
    }
    return Buried(**(fields | changes))


def by_worker() -> Buried:
    """A letter that a worker buried."""
    return by_broker(user_id="worker", headers={"reason": "file-empty", "worker": "w1", "attempt": 2})


@dataclass
class Morgue:
    """A queue of dead letters, as the eye opens it."""

    letters: list[Buried] = field(default_factory=list)
    error: Exception | None = None
    opened: int = 0

    def __enter__(self) -> Self:
        self.opened += 1
        if self.error is not None:
            raise self.error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def read(self) -> Iterator[Buried]:
        """All of them."""
        return iter(self.letters)


@dataclass
class Eyes:
    """A dead eye on a morgue, and what it told."""

    morgue: Morgue = field(default_factory=Morgue)
    told: list[Event] = field(default_factory=list)
    seconds: float = 0.0
    count: int | None = None

    def __post_init__(self) -> None:
        self.eye = DeadEye(
            lambda: cast("DeadQueue", self.morgue),
            lambda: len(self.morgue.letters) if self.count is None else self.count,
            self.told.append,
            fleet_users=("worker", "operator"),
            clock=lambda: NOW,
            monotonic=lambda: self.seconds,
        )

    def reasons(self) -> dict[str, float]:
        """What is shown, without zeros."""
        return {labels[0]: count for labels, count in self.eye.look()["dead_letters"].items() if count}


def test_letters_are_counted_by_reason() -> None:
    """Those of workers and those of the broker."""
    assert Eyes(Morgue([by_worker(), by_worker(), by_broker()])).reasons() == {"file-empty": 2, "delivery-limit": 1}


def test_letters_are_looked_at_only_when_their_number_changed_or_after_a_while() -> None:
    """Every look is a delivery to the broker."""
    eyes = Eyes(Morgue([by_worker()]))
    eyes.reasons()
    eyes.reasons()
    assert eyes.morgue.opened == 1
    eyes.morgue.letters.append(by_worker())
    assert eyes.reasons() == {"file-empty": 2}
    assert eyes.morgue.opened == 2
    eyes.seconds = AGAIN_SECONDS + 1
    eyes.reasons()
    assert eyes.morgue.opened == 3


def test_letters_that_somebody_else_held_are_seen_at_the_next_look() -> None:
    """Given two letters of which one is in other hands, then the exporter looks again until it has both."""
    eyes = Eyes(Morgue([by_worker()]), count=2)
    assert eyes.reasons() == {"file-empty": 1}
    eyes.morgue.letters.append(by_worker())
    assert eyes.reasons() == {"file-empty": 2}
    eyes.reasons()
    assert eyes.morgue.opened == 2


def test_without_the_brokers_count_every_look_is_a_real_one() -> None:
    """Given a management API that is away, then the queue itself is asked."""
    eyes = Eyes(Morgue([by_worker()]))
    vars(eyes.eye)["_count"] = lambda: None
    assert [eyes.reasons(), eyes.reasons()] == [{"file-empty": 1}] * 2
    assert eyes.morgue.opened == 2


def test_who_may_not_read_them_counts_them_all_the_same() -> None:
    """Given the user monitor, then all are unknown, and nothing is told."""
    eyes = Eyes(Morgue([by_broker()], BrokerRefused("no", 403)))
    assert eyes.reasons() == {"unknown": 1}
    assert eyes.told == []


def test_any_other_refusal_is_a_problem() -> None:
    """A queue that is not there."""
    with pytest.raises(BrokerRefused):
        Eyes(Morgue([by_broker()], BrokerRefused("no queue", 404))).reasons()


def test_while_a_command_holds_them_the_last_look_is_shown() -> None:
    """Given a replay that takes its time, then the numbers of a moment ago stand; with none there is a problem."""
    eyes = Eyes(Morgue([by_worker()]))
    eyes.reasons()
    eyes.morgue.letters, eyes.morgue.error = [], failure(Reason.LOCK_HELD, "held")
    assert eyes.reasons() == {"file-empty": 1}
    with pytest.raises(Exception, match="held"):
        Eyes(Morgue([by_worker()], failure(Reason.LOCK_HELD, "held"))).reasons()


def test_a_letter_of_the_broker_gets_its_event_once() -> None:
    """Given a letter without an event, then the log is told that the request is dead, and not again."""
    eyes = Eyes(Morgue([by_broker(), by_worker()]))
    eyes.reasons()
    eyes.seconds = AGAIN_SECONDS + 1
    eyes.reasons()
    (event,) = eyes.told
    assert (event.kind, event.reason, event.lane, event.request_id) == (
        Kind.DEAD,
        Reason.DELIVERY_LIMIT,
        "phenix1",
        a_request().request_id,
    )
    assert event.seq == int((DIED.timestamp() + 1) * 1000)
    assert event.next_action is not None


def test_a_letter_that_was_replayed_and_died_again_is_told_again() -> None:
    """Its death is another one."""
    eyes = Eyes(Morgue([by_broker()]))
    eyes.reasons()
    again = {"reason": "delivery_limit", "queue": "import.lane.phenix1.normal", "time": NOW}
    eyes.morgue.letters = [by_broker(headers={"x-death": [again]}), by_worker()]
    eyes.reasons()
    assert len({event.event_id for event in eyes.told}) == 2


def letter(**changes: Any) -> DeadLetter:
    """The letter of the broker, read."""
    return read_letter(by_broker(**changes), ("worker",))


def test_a_restart_tells_the_same_event_again() -> None:
    """Readers know it by its id."""
    one, other = event_of(letter(), NOW), event_of(letter(), NOW + timedelta(hours=1))
    assert one is not None
    assert other is not None
    assert one.event_id == other.event_id


@pytest.mark.parametrize(
    "nothing",
    [
        replace(letter(), worker="w1"),
        replace(letter(), died_at=None),
        letter(body=b"junk", size_bytes=4, message_id="no id"),
    ],
    ids=["a worker's own", "nobody knows when", "nobody knows which request"],
)
def test_there_is_nothing_to_tell_of(nothing: DeadLetter) -> None:
    """The worker told, or there is no request to tell of."""
    assert event_of(nothing, NOW) is None


def test_a_death_of_this_very_second_is_not_in_the_future() -> None:
    """The broker tells whole seconds."""
    event = event_of(replace(letter(), died_at=NOW), NOW)
    assert event is not None
    assert event.at == NOW


def test_a_word_of_the_broker_that_is_no_reason_is_left_to_the_message() -> None:
    """Events hold the closed set only."""
    event = event_of(replace(letter(), reason="unroutable", message="no lane"), NOW)
    assert event is not None
    assert (event.reason, event.message) == (None, "no lane")


# --- the event log ---


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


# --- the process ---


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With servers that are not there."""
    password = tmp_path / "password"
    password.write_text("x\n")
    return Settings(
        broker=BrokerSettings(
            host="127.0.0.1", port=1, tls=False, user="exporter", password_file=password,
            management_url="http://127.0.0.1:1",
        ),
        omero=OmeroSettings(host="127.0.0.1", port=1, user="importer", password_file=password),
        metrics=MetricsSettings(port=0),
        exporter=ExporterSettings(interval_seconds=1),
    )  # fmt: skip


def test_an_exporter_without_servers_lives_is_not_ready_and_says_what_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given that nothing answers, then it serves that, is alive, and ends when it is told."""
    ports: list[int] = []
    monkeypatch.setattr(
        "fleet_worker.exporter.service._LOG",
        type("L", (), {"info": lambda *_, **about: ports.append(about.get("port", 0))})(),
    )
    stop = threading.Event()
    running = threading.Thread(target=Exporter(settings, omero=False).run, args=(stop,))
    running.start()
    try:
        until(lambda: bool(ports))
        assert fetch(ports[0], "/healthz")[0] == 200
        until(lambda: b'rabbitmq"} 0.0' in fetch(ports[0], "/metrics")[1])
        status, body = fetch(ports[0], "/readyz")
        assert status == 503
        assert json.loads(body)["checks"].keys() == {"event-log", "rabbitmq", "dead-letters"}
        assert b"omero_import_slots_configured" in fetch(ports[0], "/metrics")[1]
        assert b"omero_import_queue_ready" not in fetch(ports[0], "/metrics")[1]
    finally:
        stop.set()
        running.join(30)
    assert not running.is_alive()


def fetch(port: int, path: str) -> tuple[int, bytes]:
    """Ask the exporter."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_an_exporter_needs_the_management_api(settings: Settings) -> None:
    """Or it would show no queue, and nobody would know why."""
    broker = settings.broker.model_copy(update={"management_url": None})
    with pytest.raises(UsageError, match=r"set broker\.management_url"):
        Exporter(settings.model_copy(update={"broker": broker}), omero=False)


def test_an_exporter_without_a_port_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would show nothing."""
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
    done = CliRunner().invoke(exporter, [], obj=Context(None))
    assert isinstance(done.exception, UsageError)
    assert "set metrics.port" in str(done.exception)
