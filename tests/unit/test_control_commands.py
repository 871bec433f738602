"""omero-fleet cancel, pause and resume: what is ordered, what is told, and how it ends."""

from __future__ import annotations

import getpass
import json
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from fleet_common import cli
from fleet_common.broker import BrokerFailure, BrokerUnavailable, PublishRefused, PublishTimeout, PublishUnroutable
from fleet_common.commands import control as command
from fleet_common.control import Order, Verb
from fleet_common.errors import Reason
from fleet_common.events import FINAL, SUCCEEDED, Event, Kind, Phase, Progress, fold
from fleet_common.exits import Exit
from fleet_common.messages import Batch
from support.builders import BATCH, REQUEST_ID, an_event

OTHER = uuid.UUID("7f8b1c60-1a57-4a3e-9d6a-0f6f0f4a9b12")
THIRD = uuid.UUID("7f8b2222-1a57-4a3e-9d6a-0f6f0f4a9b13")
UNHEARD = uuid.UUID("aaaaaaaa-1a57-4a3e-9d6a-0f6f0f4a9b14")
AGAIN = Batch(id=uuid.UUID("3c9e2d6a-5b1f-4c8e-9a7d-1f2e3d4c5b6a"), name=BATCH.name)
FAR_AHEAD = 10**14
AT_WORK = {Kind.STARTED, Kind.PROGRESS}
WAITING = {Kind.ACCEPTED, Kind.RETRIED, Kind.HANDED_BACK, Kind.REPLAYED}


@dataclass
class Broker:
    """The event log, and a publisher's view of the broker.

    Attributes:
        events: What is told by the time of the first look.
        meanwhile: What workers tell between the first look and the order.
        live: What is told while the command waits.
        fails: What becomes of everything that is published.
        log: What was published, orders and events, in order.
    """

    events: list[Event] = field(default_factory=list)
    meanwhile: list[Event] = field(default_factory=list)
    live: list[Event] = field(default_factory=list)
    fails: BrokerFailure | None = None
    log: list[Order | Event] = field(default_factory=list)
    next_offset: int | None = None
    waited: list[float] = field(default_factory=list)
    running: int = 0

    # as an EventReader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""

    def read_all(self, start: int | str = "first") -> Iterator[Event]:
        """From a place to the end."""
        told = [*self.events, *self.meanwhile] if self.orders else self.events
        for number, event in enumerate(told, start=1):
            if start == "first" or number > int(start):
                self.next_offset = number
                yield event

    def follow(self, start: int | str, *, stop: Callable[[], bool], deadline_seconds: float) -> Iterator[Event]:
        """What is appended, until the time is up."""
        assert start == ("first" if self.next_offset is None else self.next_offset)
        self.waited.append(deadline_seconds)
        for event in self.live:
            if stop():
                return
            yield event

    # as a Publisher

    def start(self) -> None:
        """Connect."""
        self.running += 1

    def stop(self, _deadline_seconds: float) -> None:
        """Disconnect."""
        self.running -= 1

    def publish_event(self, event: Event, *, required: bool) -> None:
        """Tell."""
        assert required
        self._publish(event)

    def _publish(self, one: Order | Event) -> None:
        if self.fails is not None:
            raise self.fails
        self.log.append(one)

    # what a test asks

    @property
    def orders(self) -> list[Order]:
        """All orders."""
        return [one for one in self.log if isinstance(one, Order)]

    @property
    def told(self) -> list[Event]:
        """All events."""
        return [one for one in self.log if isinstance(one, Event)]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """A broker, and an operator's account for it."""
    made = Broker()
    monkeypatch.setattr(command, "EventReader", lambda *_: made)
    monkeypatch.setattr(command, "Publisher", lambda *_: made)
    monkeypatch.setattr(command, "publish_order", lambda publisher, order: publisher._publish(order))
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    monkeypatch.setattr(socket, "gethostname", lambda: "desk")
    monkeypatch.setenv("OMERO_FLEET_BROKER__USER", "operator")
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD", "hunter2")
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
    yield made
    assert made.running == 0, "the publisher was not stopped"


@dataclass
class Commands:
    """Runs the command line."""

    capsys: pytest.CaptureFixture[str]
    err: str = ""

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit code and standard output."""
        code = cli.run(list(arguments))
        captured = self.capsys.readouterr()
        self.err = captured.err
        return code, captured.out

    def effects(self, *arguments: str) -> tuple[int, dict[str, str]]:
        """Exit code, and what comes of each request, by the beginning of its id."""
        code, out = self("cancel", "--json", *arguments)
        return code, {row["id"][:8]: row["effect"] for row in json.loads(out)["requests"]}


@pytest.fixture
def fleet(capsys: pytest.CaptureFixture[str]) -> Commands:
    """The command line."""
    return Commands(capsys)


def about(order: Order) -> tuple[Verb, uuid.UUID | None, uuid.UUID | None]:
    """What an order is about."""
    return order.verb, order.request_id, order.batch_id


# --- cancel: what becomes of each request --------------------------------------------------------------------------

EFFECTS = [
    *((kind, "cancelled", Exit.OK) for kind in sorted(WAITING | {Kind.CANCELLED})),
    *((kind, "cancelling", Exit.OK) for kind in sorted(AT_WORK)),
    *((kind, "too-late", Exit.TOO_LATE) for kind in sorted(SUCCEEDED)),
    (Kind.INCOMPLETE, "unpublished", Exit.OK),
    *((kind, "ended", Exit.OK) for kind in sorted(FINAL - SUCCEEDED - {Kind.CANCELLED})),
]


def test_every_state_has_its_effect() -> None:
    """None is forgotten."""
    assert sorted(row[0] for row in EFFECTS) == sorted(Kind)


@pytest.mark.parametrize(("kind", "effect", "code"), EFFECTS)
def test_what_a_cancel_means_depends_on_where_the_request_is(
    broker: Broker, fleet: Commands, kind: Kind, effect: str, code: Exit
) -> None:
    """The order is given in any case; only of what waits the end is told at once, for no worker will soon."""
    broker.events = [an_event(Kind.ACCEPTED, batch=BATCH, source="hcs/a.tif"), an_event(kind, 1, 7)]
    assert fleet.effects(str(REQUEST_ID)[:8]) == (code, {"0d2f4c31": effect})
    assert about(broker.orders[0]) == (Verb.CANCEL, REQUEST_ID, None)
    assert len(broker.orders) == 1
    assert [event.kind for event in broker.told] == ([Kind.CANCELLED] if kind in WAITING else [])


@pytest.mark.parametrize("number", [0, 7, FAR_AHEAD])
def test_the_status_of_what_waits_is_right_at_once(broker: Broker, fleet: Commands, number: int) -> None:
    """Given a request in a tier of 8 h, and a worker's clock far ahead, its status says cancelled, by whom, why."""
    waits = an_event(Kind.RETRIED, 3, number, worker="w1", reason=Reason.SHARE_UNAVAILABLE, delay_seconds=28800.0)
    broker.events = [an_event(Kind.ACCEPTED, batch=BATCH, source="hcs/a.tif"), waits]
    code, out = fleet("cancel", "0d2f4c31", "--why", "wrong plate")
    assert code == Exit.OK
    assert out.splitlines() == [f"{REQUEST_ID}  cancelled  lane phenix1", "1 cancelled"]
    assert broker.log[0] is broker.orders[0], "the order comes first: whoever takes it now must know"
    status = fold([*broker.events, *broker.told])
    assert (status.state, status.attempt, status.batch, status.source) == (Kind.CANCELLED, 3, BATCH, "hcs/a.tif")
    assert (status.reason, status.worker) == (Reason.CANCELLED, None)
    assert status.message == "cancelled by alice@desk: wrong plate"
    assert status.next_action is not None
    assert "--again" in status.next_action


def test_who_ordered_what_and_why_is_in_the_order(broker: Broker, fleet: Commands) -> None:
    """For workers, logs and whoever wonders."""
    broker.events = [an_event(Kind.ACCEPTED)]
    code, out = fleet("cancel", "0d2f4c31", "--why", "wrong plate", "--json")
    (order,) = broker.orders
    assert (code, order.by, order.why, order.version) == (Exit.OK, "alice@desk", "wrong plate", 1)
    assert json.loads(out)["orders"] == [order.model_dump(mode="json", exclude_none=True)]


def test_what_a_worker_took_meanwhile_is_left_to_it(broker: Broker, fleet: Commands) -> None:
    """Given a request that was taken between the look and the order, then its worker tells the end."""
    broker.events = [an_event(Kind.ACCEPTED)]
    broker.meanwhile = [an_event(Kind.PROGRESS, 1, 5, worker="w1", progress=Progress(phase=Phase.UPLOAD))]
    code, out = fleet("cancel", "0d2f4c31")
    assert code == Exit.OK
    assert out.splitlines() == [
        f"{REQUEST_ID}  a worker is at it (upload) and stops at its next check  lane phenix1",
        "1 cancelling",
    ]
    assert broker.told == []


def test_what_was_imported_meanwhile_is_too_late(broker: Broker, fleet: Commands) -> None:
    """And says so."""
    broker.events, broker.meanwhile = [an_event(Kind.STARTED, 1, 1)], [an_event(Kind.IMPORTED, 1, 2)]
    code, out = fleet("cancel", "0d2f4c31")
    assert code == Exit.TOO_LATE
    assert "too late: imported" in out


# --- cancel: which ones --------------------------------------------------------------------------------------------

LOG = [
    an_event(Kind.ACCEPTED, batch=BATCH),
    an_event(Kind.ACCEPTED, request_id=OTHER, batch=AGAIN),
    an_event(Kind.ACCEPTED, request_id=THIRD),
]


def test_requests_are_named_by_id_or_unique_beginning(broker: Broker, fleet: Commands) -> None:
    """One order each, however often one is named."""
    broker.events = list(LOG)
    code, effects = fleet.effects(str(REQUEST_ID), "7F8B1", "0d2f")
    assert (code, effects) == (Exit.OK, {"0d2f4c31": "cancelled", "7f8b1c60": "cancelled"})
    assert [order.request_id for order in broker.orders] == [REQUEST_ID, OTHER]
    assert {event.request_id for event in broker.told} == {REQUEST_ID, OTHER}


@pytest.mark.parametrize("named", [BATCH.name, str(BATCH.id)])
def test_a_batch_is_named_by_name_or_id(broker: Broker, fleet: Commands, named: str) -> None:
    """A name may stand for several calls of submit: one order for each."""
    broker.events = list(LOG)
    batches = [BATCH, AGAIN] if named == BATCH.name else [BATCH]
    code, effects = fleet.effects("--batch", named)
    assert (code, len(effects)) == (Exit.OK, len(batches))
    assert [about(order) for order in broker.orders] == [(Verb.CANCEL, None, batch.id) for batch in batches]


def test_a_whole_id_that_the_log_does_not_know_is_ordered_all_the_same(broker: Broker, fleet: Commands) -> None:
    """The log is bounded by age, a queue is not."""
    code, out = fleet("cancel", str(UNHEARD))
    assert code == Exit.OK
    assert f"{UNHEARD}  not in the event log; the order holds for it all the same" in out
    assert [order.request_id for order in broker.orders] == [UNHEARD]
    assert fleet.effects("--batch", str(UNHEARD)) == (Exit.OK, {"aaaaaaaa": "unknown"})
    assert broker.told == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ffff"], Exit.NOT_FOUND, "knows no request that begins with ffff; nothing was done"),
        (["0d2f", "ffff"], Exit.NOT_FOUND, "knows no request that begins with ffff; nothing was done"),
        (["0d2f", "--lane", "cv8000"], Exit.NOT_FOUND, "knows no request that begins with 0d2f"),
        (["--batch", "monday"], Exit.NOT_FOUND, "knows no batch 'monday'; nothing was done"),
        (["7f8b"], Exit.USAGE, f"2 requests begin with 7f8b: {OTHER}, {THIRD}"),
        (["0d2"], Exit.USAGE, "'0d2' is too short: give at least 4 characters"),
        ([""], Exit.USAGE, "'' is too short"),
        ([], Exit.USAGE, "name requests, or a batch with --batch"),
        (["0d2f", "--batch", "tuesday"], Exit.USAGE, "name requests, or a batch with --batch"),
        (["0d2f", "--undo", "--wait"], Exit.USAGE, "--undo has nothing to wait for"),
        (["0d2f", "--why", "x" * 256], Exit.USAGE, "why: "),
        (["0d2f", "--why", "\x1b[2J"], Exit.USAGE, "why: "),
    ],
    ids=str,
)
def test_what_is_not_clear_is_refused_and_nothing_is_ordered(
    broker: Broker, fleet: Commands, arguments: list[str], code: Exit, said: str
) -> None:
    """Neither for the names that were right."""
    broker.events = list(LOG)
    assert fleet("cancel", *arguments) == (code, "")
    assert said in fleet.err
    assert broker.log == []


def test_a_foreign_batch_of_the_same_name_does_not_go_with_it(broker: Broker, fleet: Commands) -> None:
    """Given a batch of that name in another lane, then somebody must choose."""
    broker.events = [LOG[0], an_event(Kind.ACCEPTED, request_id=OTHER, lane="cv8000", batch=AGAIN)]
    assert fleet("cancel", "--batch", "tuesday") == (Exit.USAGE, "")
    assert "the lanes cv8000, phenix1 have a batch 'tuesday': name one with --lane" in fleet.err
    assert fleet.effects("--batch", "tuesday", "--lane", "cv8000") == (Exit.OK, {"7f8b1c60": "cancelled"})
    assert [order.batch_id for order in broker.orders] == [AGAIN.id]


# --- cancel --undo -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "effect", "told"),
    [
        ({"kind": Kind.CANCELLED}, "waiting", [Kind.REPLAYED]),
        ({"kind": Kind.CANCELLED, "worker": "w1"}, "gone", []),
        ({"kind": Kind.RETRIED, "worker": "w1"}, "not-cancelled", []),
        ({"kind": Kind.IMPORTED, "worker": "w1"}, "not-cancelled", []),
    ],
    ids=["still in its queue", "settled by a worker", "waiting", "imported"],
)
def test_a_cancel_is_taken_back(
    broker: Broker, fleet: Commands, last: dict[str, Any], effect: str, told: list[Kind]
) -> None:
    """What no worker has met goes on, and its status says so; what a worker settled must be submitted again."""
    broker.events = [an_event(Kind.ACCEPTED), an_event(attempt=2, seq=FAR_AHEAD, **last)]
    assert fleet.effects("--undo", "0d2f4c31") == (Exit.OK, {"0d2f4c31": effect})
    assert [about(order) for order in broker.orders] == [(Verb.UNCANCEL, REQUEST_ID, None)]
    assert [event.kind for event in broker.told] == told
    status = fold([*broker.events, *broker.told])
    assert status.state is (Kind.REPLAYED if told else last["kind"])
    assert status.attempt == 2


# --- cancel --wait -------------------------------------------------------------------------------------------------

ENDS = [
    ("cancelled", [Kind.PROGRESS, Kind.CANCELLED], Exit.OK, "cancelled", False),
    ("imported after all", [Kind.PROGRESS, Kind.IMPORTED], Exit.TOO_LATE, "too-late", False),
    ("dead", [Kind.DEAD], Exit.OK, "ended", False),
    ("its worker gave it back", [Kind.HANDED_BACK], Exit.OK, "cancelled", True),
    ("time is up", [Kind.PROGRESS], Exit.STILL_WAITING, "cancelling", False),
]


@pytest.mark.parametrize(("kinds", "code", "effect", "tells"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_waiting_ends_when_no_worker_is_at_it(
    broker: Broker, fleet: Commands, kinds: list[Kind], code: Exit, effect: str, *, tells: bool
) -> None:
    """And the exit code says how."""
    broker.events = [an_event(Kind.STARTED, 1, 1, worker="w1")]
    broker.live = [an_event(kind, 1, seq, worker="w1") for seq, kind in enumerate(kinds, start=2)]
    assert fleet.effects("0d2f4c31", "--wait", "--timeout", "5") == (code, {"0d2f4c31": effect})
    assert broker.waited == [5.0]
    assert [event.kind for event in broker.told] == ([Kind.CANCELLED] if tells else [])


def test_waiting_for_a_batch_ends_with_its_last_request(broker: Broker, fleet: Commands) -> None:
    """What others do meanwhile changes nothing, and nothing is read after the last."""
    broker.events = [
        an_event(Kind.STARTED, 1, 1, batch=BATCH),
        an_event(Kind.STARTED, 1, 1, batch=BATCH, request_id=OTHER),
    ]
    broker.live = [
        an_event(Kind.CANCELLED, 1, 2, worker="w1"),
        an_event(Kind.STARTED, 1, 2, request_id=THIRD),
        an_event(Kind.CANCELLED, 1, 3, worker="w2", request_id=OTHER),
        an_event(Kind.STARTED, 1, 9, worker="w2", request_id=OTHER),
    ]
    code, effects = fleet.effects("--batch", "tuesday", "--wait")
    assert (code, effects) == (Exit.OK, {"0d2f4c31": "cancelled", "7f8b1c60": "cancelled"})


def test_without_wait_nothing_is_waited_for(broker: Broker, fleet: Commands) -> None:
    """The order is enough."""
    broker.events, broker.live = [an_event(Kind.STARTED, 1, 1)], [an_event(Kind.CANCELLED, 1, 2)]
    assert fleet.effects("0d2f4c31") == (Exit.OK, {"0d2f4c31": "cancelling"})
    assert broker.waited == []


# --- pause and resume ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME])
@pytest.mark.parametrize(
    ("arguments", "lanes", "named"),
    [
        (["phenix1"], ("phenix1",), "lane phenix1"),
        (["phenix1", "cv8000"], ("phenix1", "cv8000"), "lanes phenix1, cv8000"),
        (["phenix1", "phenix1"], ("phenix1",), "lane phenix1"),
        (["--all"], (), "all lanes"),
    ],
    ids=str,
)
def test_lanes_are_paused_and_resumed(
    broker: Broker, fleet: Commands, verb: Verb, arguments: list[str], lanes: tuple[str, ...], *, named: str
) -> None:
    """By name, or all; said with who and why."""
    code, out = fleet(verb, *arguments, "--why", "it moves")
    (order,) = broker.orders
    assert (order.verb, order.lanes, order.everything, order.by) == (verb, lanes, not lanes, "alice@desk")
    assert (code, out) == (Exit.OK, f"{named}: {verb.rstrip('e')}ed by alice@desk: it moves\n")
    assert json.loads(fleet(verb, *arguments, "--json")[1])["verb"] == verb


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.RESUME])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name lanes, or all of them with --all"),
        (["phenix1", "--all"], "name lanes, or all of them with --all"),
        (["Phenix 1"], "lanes.0: "),
        (["import.lane.phenix1.bulk"], "lanes.0: "),
        ([f"lane{number}" for number in range(101)], "lanes: "),
    ],
    ids=["none", "both", "a title", "a queue", "too many"],
)
def test_lanes_that_cannot_be_meant_are_refused(
    broker: Broker, fleet: Commands, verb: Verb, arguments: list[str], said: str
) -> None:
    """And nothing is ordered."""
    assert fleet(verb, *arguments) == (Exit.USAGE, "")
    assert said in fleet.err
    assert broker.log == []


# --- a broker that does not take it --------------------------------------------------------------------------------

FAILURES: list[tuple[BrokerFailure, Exit, str]] = [
    (PublishRefused("ACCESS_REFUSED", 403), Exit.NOT_PUBLISHED, "the broker account of an operator"),
    (PublishUnroutable("found no queue"), Exit.NOT_PUBLISHED, "found no queue"),
    (PublishTimeout("confirm timed out"), Exit.NOT_CONFIRMED, "confirm timed out"),
    (BrokerUnavailable("no connection to amqps://operator:hunter2@rabbit"), Exit.UNREACHABLE, "amqps://***@rabbit"),
]


@pytest.mark.parametrize(("failure", "code", "said"), FAILURES, ids=[type(row[0]).__name__ for row in FAILURES])
@pytest.mark.parametrize("arguments", [("pause", "phenix1"), ("resume", "--all"), ("cancel", "0d2f4c31")], ids=str)
def test_an_order_that_was_not_taken_is_an_error(
    broker: Broker, fleet: Commands, arguments: tuple[str, ...], failure: BrokerFailure, code: Exit, *, said: str
) -> None:
    """With a code of its own, and without a word of success."""
    broker.events, broker.fails = [an_event(Kind.ACCEPTED)], failure
    assert fleet(*arguments) == (code, "")
    assert said in fleet.err
    assert broker.log == []


def test_an_event_that_was_not_confirmed_is_an_error_after_the_order(
    broker: Broker, fleet: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a broker that falls silent after the order, then the command may be repeated, and completes it."""
    broker.events = [an_event(Kind.ACCEPTED)]
    publish = broker.publish_event

    def silent(_event: Event, *, required: bool) -> None:
        raise PublishTimeout(f"confirm timed out, required {required}")

    monkeypatch.setattr(broker, "publish_event", silent)
    assert fleet("cancel", "0d2f4c31") == (Exit.NOT_CONFIRMED, "")
    assert len(broker.orders) == 1
    monkeypatch.setattr(broker, "publish_event", publish)
    assert fleet.effects("0d2f4c31") == (Exit.OK, {"0d2f4c31": "cancelled"})
    assert [event.kind for event in broker.told] == [Kind.CANCELLED]


def test_a_person_without_a_name_may_order(broker: Broker, fleet: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container runs under a number; a host name of strange letters is cut to what an order may hold."""

    def nobody() -> str:
        raise KeyError("uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr(socket, "gethostname", lambda: "\x1b" + "x" * 300)
    assert fleet("pause", "--all")[0] == Exit.OK
    assert broker.orders[0].by == "somebody@" + "x" * 120
