"""Orders of operators on a real broker: who may give them, what survives, and what a worker's watch knows."""

from __future__ import annotations

import json
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import structlog

from fleet_common import cli
from fleet_common.broker import OrderReader, Outgoing, Publisher, PublishRefused, publish_order
from fleet_common.control import Order, Orders, Verb
from fleet_common.events import Event, Kind
from fleet_common.exits import Exit
from fleet_common.messages import Batch
from fleet_worker.control import ControlWatch
from support.proxy import Proxy
from support.rabbit import LANES, NAMES, QUICK, Rabbit
from support.waiting import seconds_until, until

WATCH_SECONDS = 30.0


def order(verb: Verb, *lanes: str, **about: Any) -> Order:
    """Some order."""
    facts: dict[str, Any] = {"order_id": uuid.uuid4(), "verb": verb, "lanes": lanes, "by": "alice@desk"} | about
    return Order(at=datetime.now(UTC), **facts)


def give(publisher: Publisher, verb: Verb, *lanes: str, **about: Any) -> Order:
    """An order that was confirmed."""
    given = order(verb, *lanes, **about)
    publish_order(publisher, given)
    return given


def read(rabbit: Rabbit, user: str = "operator") -> list[Order]:
    """Every order in the log."""
    with OrderReader(rabbit.plain(user), backoff=QUICK) as reader:
        return list(reader.read_all())


Watching = Callable[..., ControlWatch]
Fleet = Callable[..., tuple[int, str, str]]


@pytest.fixture
def watching(rabbit: Rabbit) -> Iterator[Watching]:
    """Starts watches of workers, which are stopped at the end."""
    watches: list[ControlWatch] = []

    def start(port: int | None = None, **more: Any) -> ControlWatch:
        address = rabbit.plain("worker", port)
        watches.append(ControlWatch(lambda: OrderReader(address, backoff=QUICK), again_seconds=0.2, **more))
        watches[-1].start()
        return watches[-1]

    yield start
    for watch in watches:
        watch.stop()
        assert not watch._thread.is_alive()


@pytest.fixture
def operator(rabbit: Rabbit) -> Iterator[Publisher]:
    """An operator's publisher; what it has ordered about lanes is taken back, for the log outlives the test."""
    yield rabbit.publisher("operator")
    give(rabbit.publisher("operator"), Verb.RESUME, everything=True)


def test_what_is_ordered_is_read_in_order(rabbit: Rabbit, operator: Publisher) -> None:
    """By operators and workers, and the end of the log is the end of what was confirmed."""
    before = len(read(rabbit))
    given = [give(operator, Verb.PAUSE, "demo"), give(operator, Verb.CANCEL, request_id=uuid.uuid4(), why="wrong")]
    assert read(rabbit)[before:] == read(rabbit, "worker")[before:] == given


@pytest.mark.parametrize("user", ["worker", "demo", "monitor"])
def test_who_is_no_operator_cannot_order(rabbit: Rabbit, user: str) -> None:
    """Neither a worker, nor a producer, nor a dashboard; the broker says so, and nothing is in the log."""
    before = read(rabbit)
    with pytest.raises(PublishRefused) as refused:
        publish_order(rabbit.publisher(user), order(Verb.PAUSE, everything=True))
    assert refused.value.code == 403
    assert read(rabbit) == before


def test_what_is_no_order_is_skipped_and_the_rest_counts(
    rabbit: Rabbit, operator: Publisher, watching: Watching
) -> None:
    """Given nonsense before, between and after orders, then nobody stumbles."""
    for body in (b"nonsense", b"", b"\xff" * 100_000):
        operator.publish(Outgoing(NAMES.control, "", body))
        give(operator, Verb.PAUSE, "hcs")
        operator.publish(Outgoing(NAMES.control, "any.key", body))
    with OrderReader(rabbit.plain("worker"), backoff=QUICK) as reader:
        orders = list(reader.read_all())
        assert reader.skipped >= 6
    assert [one.verb for one in orders[-3:]] == [Verb.PAUSE] * 3
    watch = watching()
    assert watch.wait_known(WATCH_SECONDS)
    assert watch.is_paused("hcs")
    operator.publish(Outgoing(NAMES.control, "", b"nonsense"))
    give(operator, Verb.RESUME, "hcs")
    until(lambda: not watch.is_paused("hcs"))


def test_a_watch_that_starts_later_knows_what_holds(operator: Publisher, watching: Watching) -> None:
    """A pause survives the restart of every worker; nothing is known, and that is a problem, before it was read."""
    request_id, batch_id = uuid.uuid4(), uuid.uuid4()
    give(operator, Verb.PAUSE, everything=True)
    give(operator, Verb.RESUME, "hcs")
    give(operator, Verb.CANCEL, request_id=request_id, why="wrong plate")
    give(operator, Verb.CANCEL, batch_id=batch_id)
    watch = watching()
    assert watch.wait_known(WATCH_SECONDS)
    assert watch.problem is None
    assert [watch.is_paused(lane) for lane in LANES] == [lane != "hcs" for lane in LANES]
    assert watch.cancelled(request_id) == "cancelled by alice@desk: wrong plate"
    assert watch.cancelled(uuid.uuid4(), batch_id) == "cancelled by alice@desk"
    assert watch.cancelled(uuid.uuid4()) is None


def test_a_watch_hears_of_orders_within_a_second(operator: Publisher, watching: Watching) -> None:
    """And wakes whoever waits for work."""
    changes: queue.SimpleQueue[None] = queue.SimpleQueue()
    watch = watching(on_change=lambda: changes.put(None))
    changes.get(timeout=WATCH_SECONDS)
    request_id = uuid.uuid4()
    for verb, cancelled in ((Verb.CANCEL, True), (Verb.UNCANCEL, False), (Verb.CANCEL, True)):
        give(operator, verb, request_id=request_id)
        changes.get(timeout=1.0)
        assert (watch.cancelled(request_id) is not None) is cancelled


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_orders_survive_a_restart_of_the_broker(
    rabbit: Rabbit, operator: Publisher, watching: Watching, *, kill: bool
) -> None:
    """Given a pause and a cancel, when the broker restarts, then old and new watches know both, and hear the next."""
    request_id = uuid.uuid4()
    give(operator, Verb.PAUSE, "demo")
    give(operator, Verb.CANCEL, request_id=request_id)
    old = watching()
    assert old.wait_known(WATCH_SECONDS)
    rabbit.restart(kill=kill)
    assert old.problem is None
    new = watching()
    assert new.wait_known(60)
    for watch in (old, new):
        assert watch.is_paused("demo")
        assert watch.cancelled(request_id) is not None
    publish_order(operator, order(Verb.RESUME, "demo"), deadline_seconds=60)
    for watch in (old, new):
        until(lambda watch=watch: not watch.is_paused("demo"), 60)  # type: ignore[misc]  # bound, not closed over


def test_a_watch_outlives_a_broker_that_is_away(rabbit: Rabbit, operator: Publisher, watching: Watching) -> None:
    """Given no broker at the start, then that is a problem until it is there; later, what was known holds."""
    with Proxy(rabbit.description.amqp_port) as proxy:
        proxy.refuse()
        watch = watching(proxy.port)
        give(operator, Verb.PAUSE, "demo")
        assert not watch.wait_known(1.0)
        assert watch.problem is not None
        proxy.refuse(refuse=False)
        assert watch.wait_known(WATCH_SECONDS)
        assert watch.is_paused("demo")
        proxy.refuse()
        proxy.cut()
        give(operator, Verb.RESUME, "demo")
        assert watch.problem is None
        assert watch.is_paused("demo"), "an outage changes nothing"
        proxy.refuse(refuse=False)
        until(lambda: not watch.is_paused("demo"), WATCH_SECONDS)


def test_a_watch_that_waits_for_the_broker_stops_at_once(rabbit: Rabbit, watching: Watching) -> None:
    """A worker that is told to stop does not wait for a broker that may never come."""
    with Proxy(rabbit.description.amqp_port) as proxy:
        proxy.refuse()
        watch = watching(proxy.port)
        until(lambda: watch._reader is not None)
        stopping = threading.Thread(target=watch.stop)
        stopping.start()
        assert seconds_until(lambda: not watch._thread.is_alive()) < 4.0
        stopping.join()


def test_a_log_that_was_deleted_and_declared_again_is_read_again(
    rabbit: Rabbit, operator: Publisher, watching: Watching
) -> None:
    """Given somebody who deletes the log, then from the next round on the new one counts."""
    give(operator, Verb.PAUSE, "demo")
    watch = watching(round_seconds=1.0)
    assert watch.wait_known(WATCH_SECONDS)
    rabbit.renew(NAMES.control_log)
    given = give(operator, Verb.PAUSE, "hcs")
    until(lambda: watch.is_paused("hcs"), WATCH_SECONDS)
    assert not watch.is_paused("demo")
    assert read(rabbit) == [given]


def test_two_operators_and_many_watches_agree(rabbit: Rabbit, operator: Publisher, watching: Watching) -> None:
    """Given orders from two sides at once, then everybody comes to the same, which is that of the log."""
    other = rabbit.publisher("operator")
    watches = [watching(round_seconds=1.0), watching()]
    give_some = partial(_give_some, rounds=10)
    threads = [
        threading.Thread(target=give_some, args=(operator, (Verb.PAUSE, Verb.RESUME))),
        threading.Thread(target=give_some, args=(other, (Verb.RESUME, Verb.PAUSE))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WATCH_SECONDS)
    last = give(operator, Verb.CANCEL, request_id=uuid.uuid4())
    orders = Orders()
    for one in read(rabbit):
        orders.add(one)
    for watch in watches:
        until(lambda watch=watch: watch.cancelled(last.request_id), WATCH_SECONDS)  # type: ignore[misc]  # bound
        assert watch.is_paused("demo") == orders.is_paused("demo")


@pytest.fixture
def fleet(rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Fleet]:
    """The command line, with an account of this broker; a command sets up logging, which is as before at the end."""
    before = structlog.get_config()

    def run(user: str, *arguments: str) -> tuple[int, str, str]:
        account = rabbit.plain(user)
        settings = {"HOST": account.host, "PORT": str(account.port), "VHOST": account.vhost, "USER": user}
        settings |= {"TLS": "false", "PASSWORD": account.password.get_secret_value()}
        for name, value in settings.items():
            monkeypatch.setenv(f"OMERO_FLEET_BROKER__{name}", value)
        code = cli.run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield run
    structlog.configure(**before)


def test_status_says_which_lanes_are_paused_to_whom_may_know(operator: Publisher, fleet: Fleet) -> None:
    """An operator sees who paused them, and why; a dashboard sees the requests all the same."""
    assert operator.connected
    code, out, _ = fleet("operator", "pause", "demo", "hcs", "--why", "the server moves")
    assert (code, out.startswith("lanes demo, hcs: paused by ")) == (Exit.OK, True)
    code, out, _ = fleet("operator", "status", "--lane", "nothing-yet")
    assert code == Exit.OK
    assert [line.partition(":")[0] for line in out.splitlines()] == ["no requests", "lane demo", "lane hcs"]
    assert out.count("the server moves") == 2
    assert fleet("monitor", "status", "--lane", "nothing-yet")[:2] == (Exit.OK, "no requests\n")
    code, out, err = fleet("demo", "resume", "--all")
    assert (code, out) == (Exit.NOT_PUBLISHED, "")
    assert "Orders need the broker account of an operator" in err
    assert fleet("operator", "resume", "demo", "hcs")[0] == Exit.OK
    assert fleet("operator", "status", "--lane", "nothing-yet")[1] == "no requests\n"


def test_a_request_that_waits_for_hours_is_cancelled_at_once(
    rabbit: Rabbit, operator: Publisher, fleet: Fleet, watching: Watching
) -> None:
    """And taken back, and cancelled with its batch; every worker knows."""
    assert operator.connected
    batch = Batch(id=uuid.uuid4(), name=f"batch-{uuid.uuid4()}")
    facts: dict[str, Any] = {"request_id": uuid.uuid4(), "lane": "demo", "at": datetime.now(UTC)}
    waits = Event(event_id=uuid.uuid4(), kind=Kind.RETRIED, attempt=2, seq=1, batch=batch, worker="w1", **facts)
    rabbit.publisher("worker").publish_event(waits, required=True)
    request_id, watch = str(waits.request_id), watching()

    def state() -> tuple[str, bool]:
        rows = json.loads(fleet("operator", "status", "--json", request_id)[1])
        return rows[0]["state"], watch.cancelled(waits.request_id, batch.id) is not None

    assert watch.wait_known(WATCH_SECONDS)
    assert fleet("operator", "cancel", request_id[:13], "--wait")[0] == Exit.OK
    until(lambda: state() == ("cancelled", True))
    assert fleet("operator", "cancel", request_id, "--undo")[0] == Exit.OK
    until(lambda: state() == ("replayed", False))
    assert fleet("operator", "cancel", "--batch", batch.name)[0] == Exit.OK
    until(lambda: state() == ("cancelled", True))
    assert fleet("operator", "cancel", "--batch", f"no-{batch.name}")[0] == Exit.NOT_FOUND


def _give_some(publisher: Publisher, verbs: tuple[Verb, ...], *, rounds: int) -> None:
    for _ in range(rounds):
        for verb in verbs:
            give(publisher, verb, "demo")
