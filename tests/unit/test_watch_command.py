"""omero-fleet watch as a command: settings, lock, what it prints, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from fleet_common import cli
from fleet_common.events import Event
from fleet_common.exits import Exit
from fleet_common.health import Health
from fleet_producer.commands import watch as command
from fleet_producer.watch.lock import Lock
from fleet_producer.watch.watcher import Watcher
from fleet_stack.plates import PlateSpec, make_plate
from support.waiting import until
from support.watching import FakeBroker

CONFIG = """
[broker]
user = "phenix1"

[producer]
spool = "{root}/spool"

[shares]
hcs = "{root}/hcs"

[watch]
poll_seconds = 0.01
busy_percent = 100

[[watch.folders]]
path = "{root}/hcs/phenix1"
settle_seconds = 0.02

[[watch.rules]]
user = "alice"
group = "screening"
target = "Screen:+name:All"
"""


class ConnectedBroker(FakeBroker):
    """A broker that a command starts and stops."""

    def start(self) -> None:
        """Connect."""

    def stop(self, deadline_seconds: float) -> None:
        """Disconnect."""
        assert deadline_seconds > 0

    def wait_connected(self, deadline_seconds: float) -> bool:
        """Whether there is a connection."""
        assert deadline_seconds > 0
        return self.connected


class Silent:
    """A follower that hears nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Detach."""

    def events(self, *, stop: Callable[[], bool], deadline_seconds: float) -> Iterator[Event]:
        """Nothing, until it is stopped."""
        assert deadline_seconds > 1e9
        until(stop, 60, "a stop")
        return iter(())


@dataclass
class Host:
    """A host with settings, and a broker that is a list."""

    root: Path
    broker: ConnectedBroker
    capsys: pytest.CaptureFixture[str]

    @property
    def state(self) -> Path:
        return self.root / "watch-spool"

    def run(self, *arguments: Any) -> tuple[int, str, str]:
        code = cli.run(["--config", str(self.root / "producer.toml"), "watch", *map(str, arguments)])
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Host:
    made = Host(tmp_path, ConnectedBroker(), capsys)
    (tmp_path / "producer.toml").write_text(CONFIG.format(root=tmp_path))
    make_plate(tmp_path / "hcs/phenix1", PlateSpec(name="P1", wells=1, fields=1, channels=1, size=8))
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD", "hunter2")
    monkeypatch.setattr(command, "Publisher", lambda _address, _names: made.broker)
    monkeypatch.setattr(command, "LiveFollower", lambda _address, _lanes, _names: Silent())
    return made


def test_once_publishes_what_is_complete_and_ends(host: Host) -> None:
    code, out, _ = host.run("--once")
    assert code == Exit.OK
    assert len(host.broker.messages) == 1
    assert out.startswith("published  hcs/phenix1/P1__")
    assert "files" in out


def test_a_program_is_told_everything(host: Host) -> None:
    _, out, _ = host.run("--once", "--json")
    (row,) = json.loads(out)["plates"]
    assert (row["state"], row["files"], row["of"]) == ("published", 4, 4)
    assert row["request_id"] == str(host.broker.requests[0].request_id)


def test_without_a_broker_it_is_kept_and_said(host: Host) -> None:
    host.broker.connected = False
    code, _, err = host.run("--once")
    assert code == Exit.OK
    assert "kept in the spool" in err
    assert len(list((host.root / "spool").glob("*.pending.json"))) == 1


def test_a_second_watch_is_a_usage_error(host: Host) -> None:
    with Lock(host.state):
        code, _, err = host.run("--once")
    assert code == Exit.USAGE
    assert "another omero-fleet watch" in err


def test_what_is_remembered_can_be_shown_meanwhile(host: Host) -> None:
    host.run("--once")
    with Lock(host.state):
        code, out, _ = host.run("--state")
    assert code == Exit.OK
    assert "published  hcs/phenix1/P1__" in out
    assert len(host.broker.messages) == 1


def test_folders_on_the_command_line_are_watched_instead(host: Host) -> None:
    make_plate(host.root / "hcs/other/deep", PlateSpec(name="P2", wells=1, fields=1, channels=1, size=8, seed=2))
    code, out, _ = host.run(host.root / "hcs/other", "--depth", "2", "--settle", "0.02s", "--once", "--json")
    assert code == Exit.OK
    assert [row["plate"].split("/")[1] for row in json.loads(out)["plates"]] == ["other"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--settle", "1h", "--once"], "for folders on the command line"),
        (["/nowhere", "--once"], "lies in no share"),
        (["--settle", "soon"], "no duration"),
    ],
)
def test_what_it_cannot_work_with_is_a_usage_error(host: Host, arguments: list[str], word: str) -> None:
    code, _, err = host.run(*arguments)
    assert code == Exit.USAGE
    assert word in err


def test_nothing_to_watch_is_a_usage_error(host: Host) -> None:
    config = host.root / "producer.toml"
    config.write_text(config.read_text().partition("[[watch.folders]]")[0])
    code, _, err = host.run("--once")
    assert code == Exit.USAGE
    assert "nothing to watch" in err


def test_a_broker_user_that_is_no_lane_needs_one(host: Host) -> None:
    """Heartbeats and requests could not be told otherwise."""
    config = host.root / "producer.toml"
    config.write_text(config.read_text().replace('"phenix1"', '"Phenix 1"', 1))
    code, _, err = host.run("--once")
    assert code == Exit.USAGE
    assert "producer.lane" in err


def test_a_state_that_cannot_be_kept_says_what_to_do(host: Host) -> None:
    host.state.mkdir()
    (host.state / "state.sqlite3").mkdir()
    code, _, err = host.run("--once")
    assert code == Exit.NOT_KEPT
    assert "watch.state" in err


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_it(host: Host, monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """Given a watch that runs for ever, when it gets a signal, then it ends as if nothing had been."""
    tick = Watcher.tick

    def tick_and_signal(watcher: Watcher) -> None:
        tick(watcher)
        if host.broker.messages:
            signal.raise_signal(getattr(signal, number))

    monkeypatch.setattr(Watcher, "tick", tick_and_signal)
    before = signal.getsignal(signal.SIGTERM)
    code, out, _ = host.run()
    assert code == Exit.OK
    assert out.startswith("published")
    assert signal.getsignal(signal.SIGTERM) is before


def test_health_is_served_while_it_runs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a port, then metrics, liveness and readiness are there, and gone afterwards."""
    seen: dict[str, str] = {}
    started: list[Any] = []

    def noted(*arguments: Any, **named: Any) -> Any:
        started.append(Health(*arguments, **named))
        return started[-1]

    def look(path: str) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{started[0].port}{path}") as answer:
            seen[path] = answer.read().decode()

    tick: Callable[[Watcher], None] = Watcher.tick

    def tick_and_look(watcher: Watcher) -> None:
        tick(watcher)
        for path in ("/metrics", "/healthz", "/readyz"):
            look(path)
        watcher.stop()

    monkeypatch.setattr(command, "Health", noted)
    monkeypatch.setattr(Watcher, "tick", tick_and_look)
    monkeypatch.setenv("OMERO_FLEET_METRICS__PORT", str(_free_port()))
    before = threading.active_count()
    assert host.run()[0] == Exit.OK
    assert 'omero_import_watch_plates{state="settling"} 1.0' in seen["/metrics"]
    assert '"watch": "ok"' in seen["/healthz"]
    assert '"folders": "ok"' in seen["/readyz"]
    assert threading.active_count() == before


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
