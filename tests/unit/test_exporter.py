"""The exporter's eyes and its life: what fails is left out and said, and nothing that fails ends it."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from fleet_common.broker import BrokerUnavailable
from fleet_common.broker.overview import Filling, Overview
from fleet_common.cli import Context
from fleet_common.errors import Reason, UsageError, failure
from fleet_common.messages import Priority
from fleet_common.settings import BrokerSettings, ExporterSettings, MetricsSettings, OmeroSettings, Settings
from fleet_worker.commands.exporter import exporter
from fleet_worker.exporter import views
from fleet_worker.exporter.board import Board, Seen
from fleet_worker.exporter.brokereye import BrokerEye
from fleet_worker.exporter.omeroeye import OmeroEye
from fleet_worker.exporter.poller import REFUSED_SECONDS, Poller
from fleet_worker.exporter.service import Exporter
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.serverfacts import ServerLimits
from support.builders import NOW
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
