"""The dead letters on a real broker: looked at without loss, put back, dropped, and never lost by a crash."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleet_common import cli
from fleet_common.broker import (
    FIRST_SEEN,
    BrokerRefused,
    BrokerUnavailable,
    Buried,
    DeadQueue,
    Delivery,
    Outgoing,
    Publisher,
    attempt_of,
    publish_dead,
    queue_depth,
    submitted_by,
)
from fleet_common.commands import dead as commands
from fleet_common.errors import Reason, Transient
from fleet_common.events import Event, Kind, fold, next_seq
from fleet_common.exits import Exit
from fleet_common.messages import MAX_BODY_BYTES, ImportRequest, Owner, Priority, decode, encode
from support.builders import a_request
from support.fakes import Journal, a_delivery
from support.rabbit import NAMES, Rabbit
from support.waiting import until

FLEET = ("worker", "operator")


class Operator:
    """Runs ``omero-fleet dead`` as the operator of the broker under test."""

    def __init__(
        self, rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], user: str
    ) -> None:
        there = rabbit.description
        values = {
            "HOST": there.host,
            "PORT": str(there.amqp_port),
            "TLS": "false",
            "VHOST": there.vhost,
            "USER": user,
            "PASSWORD_FILE": str(there.users[user]),
        }
        for name, value in values.items():
            monkeypatch.setenv(f"OMERO_FLEET_BROKER__{name}", value)
        monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit code and standard output."""
        self._capsys.readouterr()
        code = cli.run(["dead", *arguments])
        captured = self._capsys.readouterr()
        self.err = captured.err
        return code, captured.out

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command prints with --json."""
        code, out = self(*arguments, "--json")
        assert code == Exit.OK, self.err
        rows = json.loads(out)
        assert isinstance(rows, list)
        return rows


@pytest.fixture
def operator(
    rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Operator]:
    """The command line of a broker user."""
    return lambda user="operator": Operator(rabbit, monkeypatch, capsys, user)


def a_dead(lane: str = "demo", **changes: Any) -> ImportRequest:
    """A request with an id of its own, of this lane."""
    return a_request(**({"request_id": uuid.uuid4(), "lane": lane} | changes))


def bury(publisher: Publisher, body: bytes, *, lane: str = "demo", message_id: str | None = None, **why: Any) -> None:
    """Put a request to the dead letters, as a worker does."""
    delivery = a_delivery(
        Journal(),
        body,
        lane=lane,
        user_id=lane,
        routing_key=f"{lane}.normal",
        message_id=message_id or str(uuid.uuid4()),
    )
    facts: dict[str, Any] = {"reason": "target-not-found", "error_class": "Permanent", "message": "no such screen"}
    facts |= {"worker": "worker-1", "attempt": 3, "log_tail": "ERROR x"}
    publish_dead(publisher, delivery, fleet_users=FLEET, **(facts | why))


def bodies(rabbit: Rabbit) -> list[bytes]:
    """What the queue holds, in its order."""
    return [one.body for one in look(rabbit)]


def look(rabbit: Rabbit) -> list[Buried]:
    """Everything in the queue, which goes back."""
    with DeadQueue(rabbit.link(rabbit.plain("operator")), NAMES) as queue:
        return list(queue.read())


def settled_at(rabbit: Rabbit, count: int) -> None:
    """Wait until so many letters are ready: what a channel held comes back a moment after its end."""
    link = rabbit.link(rabbit.plain("admin"))
    until(lambda: (depth := queue_depth(link, NAMES.dead)) is not None and depth.ready == count)


def taken(rabbit: Rabbit, lane: str = "demo") -> Delivery:
    """The next request of a lane."""
    delivery = rabbit.source(lane).take(10)
    assert delivery is not None
    return delivery


def told(rabbit: Rabbit, request_id: uuid.UUID) -> list[Event]:
    """All events of a request."""
    return [event for event in rabbit.reader().read_all() if event.request_id == request_id]


# --- looking -------------------------------------------------------------------------------------------------------


def test_looking_takes_nothing_out_and_keeps_the_order(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    """Given 60 letters, listed more often than RabbitMQ's own limit of 20, then all are there in order."""
    worker, command = rabbit.publisher("worker"), operator()
    requests = [a_dead() for _ in range(60)]
    for request in requests:
        bury(worker, encode(request))
    expected = [str(request.request_id) for request in requests]
    for _ in range(25):
        settled_at(rabbit, 60)
        assert [row["request_id"] for row in command.rows("list")] == expected
    settled_at(rabbit, 60)
    assert bodies(rabbit) == [encode(request) for request in requests]


def test_a_letter_of_a_worker_is_shown_with_everything(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    request = a_dead()
    bury(rabbit.publisher("worker"), encode(request))
    (row,) = operator().rows("show", str(request.request_id)[:8])
    assert row["died_at"]
    assert row["first_seen"]
    expected = {
        "request_id": str(request.request_id),
        "lane": "demo",
        "origin_key": "demo.normal",
        "source": "hcs/phenix1/cell.tif",
        "reason": "target-not-found",
        "error_class": "Permanent",
        "message": "no such screen",
        "next_action": "Submit with a target that exists in the owner's group.",
        "attempt": 3,
        "worker": "worker-1",
        "submitted_by": "demo",
        "letters": 1,
        "log_tail": "ERROR x",
        "body": encode(request).decode(),
    }
    assert {name: row[name] for name in expected} == expected
    code, out = operator()("show", str(request.request_id))
    assert code == Exit.OK
    assert "what to do" in out


def test_a_letter_of_the_delivery_limit_says_so(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    """Given a request that RabbitMQ gave up, and headers that its producer forged, then the broker's word counts."""
    request = a_dead()
    forged = {"reason": "file-empty", "origin-key": "hcs.urgent", "submitted-by": "hcs", "attempt": 9}
    message = Outgoing(NAMES.requests, "demo.urgent", encode(request), forged, str(request.request_id))
    rabbit.publisher("demo").publish(message)
    give_up(rabbit, NAMES.lane_queue("demo", "urgent"))
    (row,) = operator().rows("list")
    assert row["died_at"]
    expected = {
        "request_id": str(request.request_id),
        "origin_key": "demo.urgent",
        "reason": "delivery-limit",
        "attempt": 0,
        "worker": None,
        "submitted_by": "demo",
        "first_seen": None,
    }
    assert {name: row[name] for name in expected} == expected
    assert "import.lane.demo.urgent" in row["message"]

    # And it is put back under the class that it came through, in the name of who submitted it.
    assert operator()("replay", "--reason", "delivery-limit")[0] == Exit.OK
    again = taken(rabbit)
    assert (again.priority, again.body, again.redelivered) == (Priority.URGENT, encode(request), False)
    assert (submitted_by(again, FLEET), attempt_of(again, FLEET)) == ("demo", 0)
    assert not any(name.startswith("x-death") for name in again.headers)


def give_up(rabbit: Rabbit, queue: str) -> None:
    """Take and give back the only request of a queue until RabbitMQ has had enough."""
    import pika  # noqa: PLC0415  only for the name of an AMQP method

    link = rabbit.link(rabbit.plain("admin"))

    def crash(connection: Any, promise: Any) -> None:
        def opened(channel: Any) -> None:
            channel.add_on_close_callback(lambda *_: promise.done() or promise.set_result(None))
            channel.add_callback(lambda _: channel.close(), [pika.spec.Basic.GetEmpty], one_shot=True)
            channel.basic_get(queue, lambda *_: channel.close())

        connection.channel(on_open_callback=opened)

    def ready(name: str) -> int:
        depth = queue_depth(link, name)
        return depth.ready if depth else 0

    while not ready(NAMES.dead):
        until(lambda: ready(queue) or ready(NAMES.dead))
        link.call(crash, 5)


def test_a_retry_without_a_lane_says_so(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    """Given a retry whose lane is gone when its time has come, then the letter says that, and --set lane helps."""
    request = a_dead("gone")
    headers = {"attempt": 2, "submitted-by": "demo", FIRST_SEEN: "2026-01-31T10:00:00+00:00"}
    message = Outgoing(
        NAMES.retry(10), "gone.normal", encode(request), headers, str(request.request_id), expiration_milliseconds=50
    )
    rabbit.publisher("worker").publish(message)
    settled_at(rabbit, 1)
    command = operator()
    (row,) = command.rows("list")
    assert (row["reason"], row["lane"], row["attempt"], row["submitted_by"]) == ("unroutable", "gone", 2, "demo")
    assert "import.retry.10" in row["message"]
    assert "--set lane=NAME" in row["next_action"]

    code, out = command("replay", row["request_id"])
    assert code == Exit.NOT_PUBLISHED
    assert "found no queue" in out
    settled_at(rabbit, 1)
    assert [event.kind for event in told(rabbit, request.request_id)] == []

    assert command("replay", row["request_id"], "--set", "lane=demo")[0] == Exit.OK
    again = taken(rabbit)
    assert decode(again.body) == request.model_copy(update={"lane": "demo"})
    assert FIRST_SEEN not in again.headers
    events = told(rabbit, request.request_id)
    assert [(event.lane, event.kind) for event in events] == [("gone", Kind.DROPPED), ("demo", Kind.REPLAYED)]


def test_several_letters_of_one_request_are_one(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    """Given a worker that died between confirm and ack, then one replay takes out both, and publishes once."""
    worker, command, request = rabbit.publisher("worker"), operator(), a_dead()
    bury(worker, encode(request))
    bury(worker, encode(a_dead()))
    bury(worker, encode(request), reason="internal-error")
    first, _ = command.rows("list")
    assert (first["request_id"], first["letters"], first["reason"]) == (str(request.request_id), 2, "internal-error")
    settled_at(rabbit, 3)
    assert command("replay", str(request.request_id))[0] == Exit.OK
    settled_at(rabbit, 1)
    source = rabbit.source("demo")
    assert source.take(10) is not None
    assert source.take(0.3) is None


def test_a_huge_body_takes_no_more_memory_than_a_request(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    """It can only die again, so it is not put back; shown and dropped it can be."""
    command = operator()
    bury(rabbit.publisher("worker"), b"x" * (MAX_BODY_BYTES + 5), reason=str(Reason.REQUEST_TOO_LARGE))
    (buried,) = look(rabbit)
    assert (len(buried.body), buried.size_bytes) == (MAX_BODY_BYTES, MAX_BODY_BYTES + 5)
    assert "1,048,581 bytes in all" in command("show", buried.message_id or "")[1]
    assert command("replay", "--all")[0] == Exit.USAGE
    assert "its 1,048,581 bytes are no request" in command.err
    settled_at(rabbit, 1)
    assert command("drop", "--all", "--yes")[0] == Exit.OK
    settled_at(rabbit, 0)


def test_somebody_without_permission_is_told(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    bury(rabbit.publisher("worker"), encode(a_dead()))
    command = operator("hcs")
    assert command("list")[0] == Exit.UNREACHABLE
    assert "ACCESS_REFUSED" in command.err
    with pytest.raises(BrokerRefused), DeadQueue(rabbit.link(rabbit.plain("hcs")), NAMES):
        pass


def test_while_one_operator_holds_them_nobody_else_does(rabbit: Rabbit) -> None:
    """And what is buried meanwhile stays, whatever is removed."""
    worker, late = rabbit.publisher("worker"), a_dead()
    bury(worker, encode(a_dead()))
    with DeadQueue(rabbit.link(rabbit.plain("operator")), NAMES) as queue:
        (held,) = queue.read()
        other = DeadQueue(rabbit.link(rabbit.plain("operator")), NAMES, free_seconds=0.3)
        with pytest.raises(Transient, match=r"another command holds the dead letters of import\.dead"), other:
            pass
        bury(worker, encode(late))
        queue.remove([held.tag])
    settled_at(rabbit, 1)
    assert bodies(rabbit) == [encode(late)]


# --- putting back --------------------------------------------------------------------------------------------------


def test_a_replay_is_the_same_request_at_attempt_0(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    """Byte for byte, even what no version can read, in its class and in the name of who submitted it."""
    request_id = uuid.uuid4()
    bury(
        rabbit.publisher("worker"), b'{"version": 2,  "new": \xff}', message_id=str(request_id), reason="newer-version"
    )
    before = look(rabbit)[0]
    settled_at(rabbit, 1)
    (row,) = operator().rows("replay", str(request_id))
    assert (row["state"], row["key"], row["changes"]) == ("replayed", "demo.normal", [])
    again = taken(rabbit)
    assert (again.body, again.message_id, again.routing_key) == (before.body, str(request_id), "demo.normal")
    assert (again.user_id, submitted_by(again, FLEET), attempt_of(again, FLEET)) == ("operator", "demo", 0)
    assert FIRST_SEEN not in again.headers
    assert "@" in again.headers["replayed-by"]
    assert "reason" not in again.headers
    settled_at(rabbit, 0)
    (event,) = told(rabbit, request_id)
    assert (event.kind, event.lane) == (Kind.REPLAYED, "demo")
    assert event.message is not None
    assert event.message.endswith("put it back: nothing changed; it was dead of newer-version")


def test_a_replay_with_changes_is_checked_and_audited(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    """Given a value that no request may have, nothing is lost; given a good one, the log says what changed."""
    request, command = a_dead(), operator()
    bury(rabbit.publisher("worker"), encode(request))
    assert command("replay", "--all", "--set", "target=Nowhere:5")[0] == Exit.USAGE
    assert "is no target" in command.err
    settled_at(rabbit, 1)
    changes = ["--set", "target=Screen:id:5", "--set", "owner.group=hcs", "--set", "priority=urgent"]
    assert command("replay", "--all", *changes)[0] == Exit.OK
    again = taken(rabbit)
    expected = {"target": "Screen:id:5", "owner": Owner(user="alice", group="hcs"), "priority": Priority.URGENT}
    assert decode(again.body) == request.model_copy(update=expected)
    assert again.priority == Priority.URGENT
    (event,) = told(rabbit, request.request_id)
    assert "target from 'Dataset:+name:Tuesday' to 'Screen:id:5'" in (event.message or "")
    assert "owner.group from 'screening' to 'hcs'" in (event.message or "")


def test_a_replay_comes_after_the_death(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    """Given a death that was told by a clock that is ahead, then the replay comes after it all the same."""
    ahead = datetime.now(UTC) + timedelta(hours=1)
    request, worker = a_dead(), rabbit.publisher("worker")
    died_at = ahead.isoformat(timespec="seconds")
    headers = {"reason": "file-empty", "died-at": died_at}
    worker.publish(Outgoing(NAMES.dead, "demo.normal", encode(request), headers, str(request.request_id)))
    assert operator()("replay", str(request.request_id))[0] == Exit.OK
    (event,) = told(rabbit, request.request_id)
    changes = {"kind": Kind.DEAD, "seq": next_seq(0, ahead), "event_id": uuid.uuid4()}
    assert fold([event, event.model_copy(update=changes)]).state is Kind.REPLAYED


def test_one_lane_that_is_gone_does_not_stop_the_others(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    worker, command = rabbit.publisher("worker"), operator()
    gone, also_gone, good = a_dead("gone"), a_dead("gone"), a_dead()
    for request in (gone, also_gone, good):
        bury(worker, encode(request), lane=request.lane)
    code, out = command("replay", "--all", "--json")
    assert code == Exit.NOT_PUBLISHED
    assert [row["state"] for row in json.loads(out)] == ["dead", "dead", "replayed"]
    assert taken(rabbit).body == encode(good)
    settled_at(rabbit, 2)
    assert bodies(rabbit) == [encode(gone), encode(also_gone)]


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_a_dry_run_does_nothing(rabbit: Rabbit, operator: Callable[..., Operator], command: str) -> None:
    request = a_dead()
    bury(rabbit.publisher("worker"), encode(request))
    (row,) = operator().rows(command, "--all", "--dry-run")
    assert row["state"].startswith("would be ")
    settled_at(rabbit, 1)
    assert told(rabbit, request.request_id) == []
    assert rabbit.source("demo").take(0.2) is None


@pytest.mark.parametrize("lost", ["the channel", "the connection"])
def test_a_crash_between_confirm_and_ack_leaves_a_duplicate(
    rabbit: Rabbit, operator: Callable[..., Operator], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Given a replay that dies after its confirms, then the letter is there again, and so is the request."""
    request, command, remove = a_dead(), operator(), DeadQueue.remove
    bury(rabbit.publisher("worker"), encode(request))

    def die(queue: DeadQueue, tags: Any) -> None:
        if lost == "the channel":
            queue._link.post(lambda _: queue._channel.close())
        else:
            queue._link.stop(5)
        remove(queue, tags)

    monkeypatch.setattr(DeadQueue, "remove", die)
    code, out = command("replay", "--all")
    assert (code, out) == (Exit.NOT_PUBLISHED, "nothing replayed\n")
    assert "The others stay dead; the same command may safely be repeated." in command.err
    monkeypatch.setattr(DeadQueue, "remove", remove)
    settled_at(rabbit, 1)

    assert command("replay", "--all")[0] == Exit.OK
    settled_at(rabbit, 0)
    source = rabbit.source("demo")
    copies = [source.take(5), source.take(5)]
    assert [one.body for one in copies if one] == [encode(request)] * 2
    assert source.take(0.2) is None
    assert fold(told(rabbit, request.request_id)).state is Kind.REPLAYED


def test_a_channel_that_the_broker_closes_takes_nothing_out(rabbit: Rabbit) -> None:
    """Given a channel that is gone, then removing says so instead of believing it."""
    bury(rabbit.publisher("worker"), encode(a_dead()))
    link = rabbit.link(rabbit.plain("operator"))
    with DeadQueue(link, NAMES) as queue:
        (held,) = queue.read()
        with pytest.raises(BrokerRefused, match="PRECONDITION_FAILED"):
            queue.remove([held.tag + 7])
        with pytest.raises(BrokerUnavailable, match=r"the channel that held import\.dead is closed"):
            queue.remove([held.tag])
    assert link.connected
    settled_at(rabbit, 1)


# --- dropping ------------------------------------------------------------------------------------------------------


def test_what_is_dropped_is_gone_and_told(rabbit: Rabbit, operator: Callable[..., Operator]) -> None:
    """And nothing else is."""
    worker, command = rabbit.publisher("worker"), operator()
    kept, dropped = a_dead(), a_dead()
    bury(worker, encode(kept))
    bury(worker, encode(dropped), reason="file-empty")
    bury(worker, b"no request", message_id="no id", reason="file-empty")
    code, out = command("drop", "--reason", "file-empty", "--yes")
    assert (code, out.splitlines()[-1]) == (Exit.OK, "2 dead requests dropped")
    settled_at(rabbit, 1)
    assert bodies(rabbit) == [encode(kept)]
    assert told(rabbit, kept.request_id) == []
    (event,) = told(rabbit, dropped.request_id)
    assert (event.kind, event.lane, event.source) == (Kind.DROPPED, "demo", "hcs/phenix1/cell.tif")


@pytest.mark.parametrize(
    ("answer", "expected", "left"),
    [("y\n", Exit.OK, 0), ("n\n", Exit.OK, 1), ("\n", Exit.OK, 1), ("", Exit.INTERRUPTED, 1)],
    ids=["yes", "no", "return", "nobody there"],
)
def test_a_drop_asks_first(  # noqa: PLR0917  fixtures and parameters
    rabbit: Rabbit,
    operator: Callable[..., Operator],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    expected: Exit,
    left: int,
) -> None:
    bury(rabbit.publisher("worker"), encode(a_dead()))
    command = operator()
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert command("drop", "--all")[0] == expected
    assert "Remove them for ever?" in command.err
    settled_at(rabbit, left)


def test_many_are_read_and_settled(
    rabbit: Rabbit, operator: Callable[..., Operator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With progress on standard error."""
    monkeypatch.setattr(commands, "_PROGRESS_EVERY", 100)
    worker, command = rabbit.publisher("worker"), operator()
    for _ in range(120):
        bury(worker, encode(a_dead()))
    code, out = command("drop", "--all", "--yes")
    assert (code, out.splitlines()[-1]) == (Exit.OK, "120 dead requests dropped")
    assert "100 dead letters read" in command.err
    assert "100 settled" in command.err
    settled_at(rabbit, 0)


def test_what_was_removed_is_gone_however_soon_the_channel_ends(rabbit: Rabbit) -> None:
    """And what was not is there in its old order."""
    worker = rabbit.publisher("worker")
    for number in range(400):
        worker.publish(Outgoing(NAMES.dead, "demo.normal", str(number).encode()))
    link = rabbit.link(rabbit.plain("operator"))
    with DeadQueue(link, NAMES) as queue:
        read = list(queue.read())
        queue.remove([one.tag for one in read[:380]])
    settled_at(rabbit, 20)
    assert bodies(rabbit) == [str(number).encode() for number in range(380, 400)]
