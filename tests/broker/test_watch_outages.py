"""``omero-fleet watch`` as a real process on a real broker that is away, comes back, and does not answer.

Whatever happens, each image is in the lane under one request id, and the spool knows that. Between watch and broker
stands a proxy.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from fleet_common.messages import decode
from fleet_producer.spool import Spool
from support.proxy import Proxy
from support.rabbit import NAMES, Rabbit
from support.waiting import until

SECONDS: Final = 60.0
SETTINGS: Final = """
[broker]
host = "127.0.0.1"
port = {port}
tls = false
vhost = "{vhost}"
user = "demo"
password_file = "{password}"
[producer]
spool = "{root}/spool"
[shares]
hcs = "{root}/hcs"
[watch]
poll_seconds = 0.1
slowest_seconds = 0.5
busy_percent = 100
[[watch.folders]]
path = "{root}/hcs/phenix1"
settle_seconds = 0.5
plates = false
files = ["*.img"]
[[watch.rules]]
user = "alice"
group = "screening"
target = "Dataset:+name:All"
"""


@dataclass(frozen=True, slots=True)
class Host:
    """An acquisition host with a watched folder, and its way to the broker."""

    rabbit: Rabbit
    proxy: Proxy
    root: Path

    def write(self, *names: str) -> None:
        """Have an instrument write images."""
        for name in names:
            (self.root / "hcs/phenix1" / name).write_bytes(f"cells of {name}".encode())

    def watch(self) -> subprocess.Popen[bytes]:
        """Start the watch."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OMERO_FLEET_")}
        with (self.root / "watch.log").open("ab") as log:
            command = [sys.executable, "-m", "fleet_common.cli", "--config", str(self.root / "watch.toml"), "watch"]
            return subprocess.Popen(command, stdout=log, stderr=log, env=clean)

    def wait_for(self, state: str, count: int) -> None:
        """Wait until so many requests are in the spool in this state."""
        until(lambda: self.states().count(state) == count, SECONDS, f"{count} {state}")

    def states(self) -> list[str]:
        """Of all that is in the spool."""
        return [str(slip.state) for slip in Spool(self.root / "spool", 1_000_000).slips()]

    def lane(self) -> list[str]:
        """The request ids in the lane; they stay there no longer."""
        source, found = self.rabbit.source("demo"), []
        while (delivery := source.take(1.0)) is not None:
            found.append(str(decode(delivery.body).request_id))
            assert delivery.ack()
        return found


@pytest.fixture
def host(rabbit: Rabbit, tmp_path: Path) -> Iterator[Host]:
    """A host on which nothing was published yet."""
    broker = rabbit.description
    (tmp_path / "hcs/phenix1").mkdir(parents=True)
    with Proxy(broker.amqp_port) as proxy:
        settings = SETTINGS.format(
            root=tmp_path, port=proxy.port, vhost=broker.vhost, password=broker.users["demo"].absolute()
        )
        (tmp_path / "watch.toml").write_text(settings)
        yield Host(rabbit, proxy, tmp_path)
        print((tmp_path / "watch.log").read_text()[-3000:])  # noqa: T201  pytest shows it beside a failure


def end(watching: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> int:
    """Stop a watch; its exit code."""
    watching.send_signal(how)
    try:
        return watching.wait(SECONDS)
    finally:
        watching.kill()
        watching.wait(SECONDS)


def test_a_broker_that_is_away_for_the_whole_run_costs_nothing(host: Host) -> None:
    """Given no broker from start to end, when it is back for the next run, then each image is published once."""
    host.proxy.refuse()
    host.write("a.img", "b.img", "c.img")
    first = host.watch()
    host.wait_for("pending", 3)
    assert end(first) == 0
    assert host.lane() == []

    host.proxy.refuse(refuse=False)
    host.write("d.img")
    second = host.watch()
    host.wait_for("sent", 4)
    assert end(second) == 0
    got = host.lane()
    assert len(got) == len(set(got)) == 4


def test_a_broker_that_comes_back_gets_what_was_kept_meanwhile(host: Host) -> None:
    """Given a watch that had no broker since it started, when there is one, then it needs no restart."""
    host.proxy.refuse()
    host.write("a.img", "b.img")
    watching = host.watch()
    host.wait_for("pending", 2)
    host.proxy.refuse(refuse=False)
    host.wait_for("sent", 2)
    assert end(watching) == 0
    got = host.lane()
    assert len(got) == len(set(got)) == 2


def test_a_kill_before_the_confirm_publishes_under_the_same_id(host: Host) -> None:
    """Given a message that the broker has, when the watch is killed before the confirm, then the next one sends it."""
    host.proxy.hold_answers_to(NAMES.requests.encode())
    host.write("a.img")
    killed = host.watch()
    assert host.proxy.heard.wait(SECONDS)
    assert end(killed, signal.SIGKILL) == -signal.SIGKILL
    assert host.states() == ["pending"]

    host.proxy.release()
    again = host.watch()
    host.wait_for("sent", 1)
    assert end(again) == 0
    got = host.lane()
    assert (1 <= len(got) <= 2, len(set(got))) == (True, 1)
