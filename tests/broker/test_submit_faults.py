"""``omero-fleet submit`` and ``omero-fleet spool`` as real commands on a real broker that loses, refuses and forgets.

After each fault every request is in its lane, perhaps twice with the same id, which workers bear, or in the spool as
pending, and the exit code says so; ``spool resend`` brings the rest in. Between command and broker stands a proxy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet_common.broker import apply
from fleet_common.events import Event, Kind
from fleet_common.exits import Exit
from fleet_common.messages import decode
from fleet_producer.spool import Spool, now_utc
from support.proxy import Proxy
from support.rabbit import LANES, NAMES, Rabbit
from support.waiting import until

SECONDS = 90.0
SHORT_SECONDS = "4"
"""A deadline that passes: long enough to connect on a busy machine."""
LANE = NAMES.lane_queue("demo", "normal")
PUBLISH = NAMES.requests.encode()
POLICY = "test-small-lane"


@dataclass(frozen=True, slots=True)
class Host:
    """An acquisition host: its files, its spool, and its way to the broker."""

    rabbit: Rabbit
    proxy: Proxy
    folder: Path

    def start(self, *words: str, account: str = "demo") -> subprocess.Popen[str]:
        """Begin ``omero-fleet``."""
        return subprocess.Popen(
            [sys.executable, "-m", "fleet_common.cli", *words],
            env=self._environment(account),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, account: str = "demo") -> tuple[int, dict[str, Any], str]:
        """Exit code, JSON and standard error of ``omero-fleet``."""
        return finish(self.start(*words, "--json", account=account))

    def submit_words(self, *names: str) -> list[str]:
        """A command that submits new files."""
        for name in names:
            # Of this test alone: the event log knows the requests of the others.
            (self.folder / name).write_bytes(f"cells of {self.folder.name} {name}".encode())
        files = [str(self.folder / name) for name in names]
        options = f"--share hcs={self.folder} --target Dataset:+name:D --user alice --group screening"
        return ["submit", *files, *options.split()]

    def submit(self, *names: str, deadline_seconds: str = "60") -> tuple[int, dict[str, Any], str]:
        """Submit new files."""
        return self.run(*self.submit_words(*names), "--deadline", deadline_seconds)

    @property
    def spool(self) -> Spool:
        """What the host keeps."""
        return Spool(self.folder / "spool", 1_000_000)

    def kept(self) -> dict[str, str]:
        """State by file name of all that is in the spool."""
        return {entry.request.source.path: str(entry.slip.state) for entry in self.spool.entries()}

    def lane(self) -> list[str]:
        """The file names of all requests in the lane, in order; they stay there no longer."""
        source, found = self.rabbit.source("demo"), []
        while (delivery := source.take(1.0)) is not None:
            request = decode(delivery.body)
            assert delivery.message_id == str(request.request_id)
            found.append(request.source.path)
            assert delivery.ack()
        return found

    def _environment(self, account: str) -> dict[str, str]:
        broker = self.rabbit.description
        settings = {
            "BROKER__HOST": "127.0.0.1",
            "BROKER__PORT": str(self.proxy.port),
            "BROKER__TLS": "false",
            "BROKER__VHOST": broker.vhost,
            "BROKER__USER": account,
            "BROKER__PASSWORD_FILE": str(broker.users[account]),
            "PRODUCER__SPOOL": str(self.folder / "spool"),
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OMERO_FLEET_")}
        return clean | {f"OMERO_FLEET_{name}": value for name, value in settings.items()}


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Wait for the end of a command; exit code, JSON and standard error."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return process.returncode, json.loads(out) if out else {}, err


@pytest.fixture
def host(rabbit: Rabbit, tmp_path: Path) -> Iterator[Host]:
    """A host with an empty spool; the broker's lanes are empty, too."""
    with Proxy(rabbit.description.amqp_port) as proxy:
        yield Host(rabbit, proxy, tmp_path)


@pytest.fixture
def forgetful(host: Host) -> Iterator[Host]:
    """The same, on a broker whose lane may be deleted; it is made again at the end."""
    yield host
    make_lanes(host)


def delete_lane(host: Host) -> None:
    """Somebody deletes the queue, with all that is in it."""
    host.rabbit.admin(lambda channel, then: channel.queue_delete(LANE, callback=then))


def make_lanes(host: Host) -> None:
    """The operator runs ``topology apply``."""
    apply(host.rabbit.plain("topology"), LANES)


# --- the confirm is lost -------------------------------------------------------------------------------------------


def test_a_confirm_lost_with_its_connection_costs_nothing(host: Host) -> None:
    """Given a message that the broker has, when the connection breaks before its confirm, then it is sent again."""
    host.proxy.hold_answers_to(PUBLISH)
    process = host.start(*host.submit_words("a.tif"), "--json")
    assert host.proxy.heard.wait(SECONDS)
    host.proxy.cut()
    host.proxy.release()
    code, out, err = finish(process)
    assert (code, [row["state"] for row in out["requests"]]) == (Exit.OK, ["accepted"]), err
    assert host.kept() == {"a.tif": "sent"}
    assert set(host.lane()) == {"a.tif"}


def test_a_confirm_that_never_comes_leaves_it_pending_and_in_the_lane(host: Host) -> None:
    """Given silence after the message, when the deadline is over, then 4; a resend brings the same id once more."""
    host.proxy.hold_answers_to(PUBLISH)
    code, out, err = host.submit("a.tif", "b.tif", deadline_seconds=SHORT_SECONDS)
    assert (code, out) == (Exit.NOT_CONFIRMED, {})
    assert "omero-fleet spool resend publishes them" in err
    assert host.kept() == {"a.tif": "pending", "b.tif": "pending"}

    host.proxy.release()
    assert host.run("spool", "resend")[0] == Exit.OK
    assert host.kept() == {"a.tif": "sent", "b.tif": "sent"}
    assert sorted(host.lane()) == ["a.tif", "a.tif", "b.tif"]


def test_a_command_killed_before_the_confirm_leaves_it_pending(host: Host) -> None:
    """Given a message on its way, when the command is killed with -9, then a resend brings in what was kept."""
    host.proxy.hold_answers_to(PUBLISH)
    process = host.start(*host.submit_words("a.tif", "b.tif"))
    assert host.proxy.heard.wait(SECONDS)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    host.proxy.release()

    assert host.kept() == {"a.tif": "pending", "b.tif": "pending"}
    assert host.run("spool", "resend")[0] == Exit.OK
    assert set(host.lane()) == {"a.tif", "b.tif"}


def test_a_broker_that_is_away_costs_nothing(host: Host) -> None:
    """Given no broker for the whole command, when it is back, then a resend brings in all, in order."""
    host.proxy.refuse()
    code, _, err = host.submit("a.tif", "b.tif", "c.tif", deadline_seconds="2")
    assert (code, host.lane()) == (Exit.NOT_PUBLISHED, []), err

    host.proxy.refuse(refuse=False)
    assert host.run("spool", "resend")[0] == Exit.OK
    assert host.lane() == ["a.tif", "b.tif", "c.tif"]


# --- the broker refuses --------------------------------------------------------------------------------------------


def test_a_full_lane_keeps_the_rest_here(host: Host) -> None:
    """Given a lane that takes a few, when more come, then they are refused, kept, and sent when there is room."""
    part, vhost = host.rabbit.part, host.rabbit.description.vhost
    names = [f"{number}.tif" for number in range(8)]
    part.ctl("set_policy", "-p", vhost, POLICY, f"^{LANE}$", '{"max-length": 2}', "--apply-to", "queues")
    try:
        until(lambda: host.rabbit.part.ctl("list_queues", "-p", vhost, "-q", "name", "policy").count(POLICY) == 1)
        code, out, err = host.submit(*names)
        taken = [row["source"].removeprefix("hcs/") for row in out["requests"]]
        assert code == Exit.NOT_PUBLISHED
        assert "refused with a negative confirm: the queue is full" in err
        assert 2 <= len(taken) < len(names)
        assert host.kept() == {name: "sent" if name in taken else "pending" for name in names}
        assert host.lane() == taken
    finally:
        part.ctl("clear_policy", "-p", vhost, POLICY)
    code, out, _ = host.run("spool", "resend")
    assert (code, out["left"]) == (Exit.OK, 0)
    assert host.lane() == [name for name in names if name not in taken]


def test_a_lane_that_does_not_exist_keeps_it_here(forgetful: Host) -> None:
    """Given no queue for the lane, then 5 and what to do; made, a resend brings it in."""
    delete_lane(forgetful)
    code, out, err = forgetful.submit("a.tif", deadline_seconds=SHORT_SECONDS)
    assert (code, out) == (Exit.NOT_PUBLISHED, {})
    assert "found no queue" in err
    assert "topology apply" in err
    assert forgetful.kept() == {"a.tif": "pending"}

    make_lanes(forgetful)
    assert forgetful.run("spool", "resend")[0] == Exit.OK
    assert forgetful.lane() == ["a.tif"]


# --- the broker forgets --------------------------------------------------------------------------------------------


def test_a_stale_resend_brings_back_what_a_deleted_lane_held(forgetful: Host) -> None:
    """Given a lane deleted with its requests and made again, when stale ones are sent again, then all are back."""
    names = ["a.tif", "b.tif", "c.tif"]
    assert forgetful.submit(*names)[0] == Exit.OK
    before = {entry.request_id: entry.body for entry in forgetful.spool.entries()}
    delete_lane(forgetful)
    make_lanes(forgetful)

    assert forgetful.run("spool", "resend", "--stale", "--older-than", "1h")[1]["requests"] == []
    assert forgetful.lane() == []
    code, out, _ = forgetful.run("spool", "resend", "--stale", "--older-than", "0s")
    assert (code, len(out["requests"])) == (Exit.OK, len(names))
    assert forgetful.lane() == names
    assert {entry.request_id: entry.body for entry in forgetful.spool.entries()} == before


# --- the outcome ---------------------------------------------------------------------------------------------------


def imported(request_id: uuid.UUID) -> Event:
    """What a worker tells."""
    return Event(
        event_id=uuid.uuid4(), kind=Kind.IMPORTED, request_id=request_id, lane="demo", at=now_utc(), attempt=1, seq=1
    )


def test_a_resend_that_waits_forgets_what_was_imported(host: Host) -> None:
    """Given two requests sent again, when a worker tells the outcome of one, then that one alone is forgotten."""
    assert host.submit("a.tif", "b.tif")[0] == Exit.OK
    before = {entry.slip.name for entry in host.spool.entries()}
    first, second = (entry.request_id for entry in host.spool.entries())
    process = host.start("spool", "resend", "--stale", "--older-than", "0s", "--wait", "--json")
    until(lambda: not before & {slip.name for slip in host.spool.slips()}, SECONDS)

    worker = host.rabbit.publisher("worker")
    worker.publish_event(imported(first), required=True)
    until(lambda: host.kept() == {"b.tif": "sent"}, SECONDS)
    worker.publish_event(imported(second), required=True)
    code, out, err = finish(process)
    assert (code, [row["state"] for row in out["requests"]]) == (Exit.OK, ["imported", "imported"]), err
    assert host.kept() == {}


def test_an_operator_settles_by_the_event_log(host: Host) -> None:
    """Given an outcome that nobody waited for, when an operator settles the spool, then it is forgotten."""
    assert host.submit("a.tif", "b.tif")[0] == Exit.OK
    first, _ = host.spool.entries()
    host.rabbit.publisher("worker").publish_event(imported(first.request_id), required=True)
    code, out, err = host.run("spool", "settle", account="operator")
    assert code == Exit.OK, err
    assert out == {
        "settled": [{"request_id": str(first.request_id), "source": "hcs/a.tif", "state": "imported"}],
        "left": 1,
    }
    assert host.kept() == {"b.tif": "sent"}


def test_a_producer_may_not_settle(host: Host) -> None:
    """It may not read the log; the command says so, and forgets nothing."""
    assert host.submit("a.tif")[0] == Exit.OK
    code, _, err = host.run("spool", "settle")
    assert code == Exit.UNREACHABLE
    assert "ACCESS_REFUSED" in err
    assert host.kept() == {"a.tif": "sent"}
