"""omero-fleet status --verify: outcomes that the event log has lost come back from OMERO."""

from __future__ import annotations

import importlib.metadata
import json
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from fleet_common import cli
from fleet_common.broker import PublishRefused
from fleet_common.commands import status as command
from fleet_common.commands import verifying
from fleet_common.errors import Reason, failure
from fleet_common.events import Event, Kind, Result
from fleet_common.exits import Exit
from fleet_common.messages import Batch
from fleet_common.recall import Found, Holding
from support.builders import BATCH, REQUEST_ID, an_event

DEAD = uuid.UUID("7f8b1c60-1a57-4a3e-9d6a-0f6f0f4a9b12")
DONE = uuid.UUID("7f8b1c60-1a57-4a3e-9d6a-0f6f0f4a9b13")
UNKNOWN = uuid.UUID("aaaaaaaa-1a57-4a3e-9d6a-0f6f0f4a9b14")
INSTALLED = importlib.metadata.entry_points
RESULT = Result(fileset_id=7, plate_ids=(51,), files=1, bytes=5, images=2)
LOG = [
    an_event(Kind.STARTED, 1, 1, batch=BATCH, source="hcs/a.tif", worker="w1"),
    an_event(Kind.DEAD, 1, 1, request_id=DEAD, batch=BATCH, reason=Reason.FILE_EMPTY),
    an_event(Kind.IMPORTED, 1, 1, request_id=DONE, batch=BATCH, result=RESULT),
]


@dataclass
class Omero:
    """What OMERO holds by request, and which requests it was asked about."""

    holds: dict[uuid.UUID, tuple[Found, ...]] = field(default_factory=dict)
    batches: dict[str, Collection[uuid.UUID]] = field(default_factory=dict)
    fails: Mapping[uuid.UUID, Exception] = field(default_factory=dict)
    asked: list[uuid.UUID] = field(default_factory=list)
    closed: bool = False

    def find(self, request_id: uuid.UUID) -> Sequence[Found]:
        """All that there is."""
        self.asked.append(request_id)
        if request_id in self.fails:
            raise self.fails[request_id]
        return self.holds.get(request_id, ())

    def requests_of(self, batch: str) -> Collection[uuid.UUID]:
        """By name or id."""
        return self.batches.get(batch, ())

    @contextmanager
    def opened(self, settings: Any) -> Iterator[Omero]:
        """Log in with the settings' account."""
        assert settings.omero.user == "importer"
        yield self
        self.closed = True


@dataclass
class Broker:
    """The event log, and what is told to it."""

    log: list[Event]
    told: list[Event] = field(default_factory=list)
    refuses: Exception | None = None
    steps: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""

    def read_all(self) -> Iterator[Event]:
        """What was told until now, by whomever."""
        return iter([*self.log, *self.told])

    def start(self) -> None:
        """Connect."""
        self.steps.append("start")

    def stop(self, _deadline_seconds: float) -> None:
        """Close."""
        self.steps.append("stop")

    def publish_event(self, event: Event, *, required: bool) -> None:
        """Confirmed, or refused."""
        assert required
        if self.refuses:
            raise self.refuses
        self.told.append(event)


@dataclass
class EntryPoint:
    """An entry point of the group of verifiers; without an opener its package is missing."""

    opener: Callable[[Any], AbstractContextManager[Omero]] | None

    def load(self) -> Callable[[Any], AbstractContextManager[Omero]]:
        """What it names."""
        if self.opener is None:
            raise ModuleNotFoundError("No module named 'omero'", name="omero")
        return self.opener


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """An event log that lost the outcome of one request."""
    made = Broker(list(LOG))
    monkeypatch.setattr(command, "EventReader", lambda _address: made)
    monkeypatch.setattr(command, "pause_lines", lambda _broker: [])
    monkeypatch.setattr(verifying, "Publisher", lambda _address, _names: made)
    for name, value in {"BROKER__USER": "operator", "BROKER__PASSWORD": "x", "OMERO__USER": "importer"}.items():
        monkeypatch.setenv(f"OMERO_FLEET_{name}", value)
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
    return made


@pytest.fixture
def omero(monkeypatch: pytest.MonkeyPatch) -> Omero:
    """An OMERO that holds the lost request."""
    made = Omero({REQUEST_ID: (found(),)})
    offer(monkeypatch, EntryPoint(made.opened))
    return made


def offer(monkeypatch: pytest.MonkeyPatch, *entries: Any) -> None:
    """What is installed for looking into OMERO."""

    def entry_points(group: str) -> Any:
        return entries if group == "omero_fleet.verifiers" else INSTALLED(group=group)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def found(**changes: Any) -> Found:
    """A verified fileset of the lost request."""
    fields: dict[str, Any] = {
        "fileset_id": 7,
        "owner": "alice",
        "group": "screening",
        "holding": Holding.VERIFIED,
        "lane": "phenix1",
        "batch": BATCH,
        "source": "hcs/a.tif",
        "result": RESULT,
    }
    return Found(**(fields | changes))


@dataclass
class Fleet:
    """Runs the command line."""

    capsys: pytest.CaptureFixture[str]
    err: str = ""

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit code and standard output of status --verify."""
        code = cli.run(["status", "--verify", *arguments])
        captured = self.capsys.readouterr()
        self.err = captured.err
        return code, captured.out

    def states(self, *arguments: str) -> dict[str, str]:
        """The states that it prints."""
        code, out = self("--json", *arguments)
        assert code == Exit.OK, self.err
        return {row["request_id"]: row["state"] for row in json.loads(out)}


@pytest.fixture
def fleet(capsys: pytest.CaptureFixture[str]) -> Fleet:
    """The command line."""
    return Fleet(capsys)


def test_a_lost_outcome_comes_back(broker: Broker, omero: Omero, fleet: Fleet) -> None:
    """It is told once: the next call finds it in the log and asks OMERO about the dead one only."""
    expected = {str(REQUEST_ID): "already-imported", str(DEAD): "dead", str(DONE): "imported"}
    assert fleet.states() == expected
    assert f"{REQUEST_ID}  Fileset:7 of alice in screening is imported and verified: told the event log" in fleet.err
    assert f"{DEAD}  not in OMERO" in fleet.err
    assert [(event.kind, event.result) for event in broker.told] == [(Kind.ALREADY_IMPORTED, RESULT)]
    assert omero.closed
    assert fleet.states() == expected
    assert len(broker.told) == 1
    assert omero.asked == [REQUEST_ID, DEAD, DEAD]
    assert broker.steps == ["start", "stop"]


def test_people_see_the_corrected_status(broker: Broker, omero: Omero, fleet: Fleet) -> None:
    """On standard output, as ever; what was found stands on standard error."""
    code, out = fleet(str(REQUEST_ID)[:8])
    assert code == Exit.OK
    assert f"{REQUEST_ID}  already-imported  lane phenix1" in out
    assert "Fileset:7 Plate:51" in out
    assert "1 requests: 1 already-imported" in out
    assert broker.told
    assert omero.asked == [REQUEST_ID]


def test_without_the_option_nobody_asks_omero(broker: Broker, omero: Omero, capsys: pytest.CaptureFixture[str]) -> None:
    """Most who look have no account there."""
    assert cli.run(["status"]) == Exit.OK
    assert "1 started" in capsys.readouterr().out
    assert omero.asked == broker.told == []


def test_a_request_that_only_omero_knows_is_rebuilt(broker: Broker, omero: Omero, fleet: Fleet) -> None:
    """By its whole id; a beginning could be anybody's."""
    omero.holds[UNKNOWN] = (found(source="hcs/c.tif"),)
    assert fleet.states(str(UNKNOWN)) == {str(UNKNOWN): "already-imported"}
    assert broker.told[0].source == "hcs/c.tif"
    broker.told.clear()
    assert fleet(str(UNKNOWN)[:8])[0] == Exit.NOT_FOUND


def test_what_neither_knows_is_not_found(broker: Broker, omero: Omero, fleet: Fleet) -> None:
    """And says so."""
    omero.holds.clear()
    code, out = fleet(str(UNKNOWN))
    assert (code, out) == (Exit.NOT_FOUND, "no requests\n")
    assert fleet.err == f"{UNKNOWN}  not in OMERO\n"
    assert not broker.told


def test_a_batch_is_rebuilt_with_requests_that_the_log_forgot(broker: Broker, omero: Omero, fleet: Fleet) -> None:
    """Whole batches are older than the log sometimes."""
    old = Batch(id=uuid.UUID(int=5), name="last year")
    omero.holds[UNKNOWN] = (found(batch=old),)
    omero.batches = {"last year": (UNKNOWN, DONE)}
    assert fleet.states("--batch", "last year") == {str(UNKNOWN): "already-imported"}
    assert broker.told[0].batch == old
    assert omero.asked == [UNKNOWN]


def test_other_lanes_are_left_alone(broker: Broker, omero: Omero, fleet: Fleet) -> None:
    """Given a lane, then a fileset of another one is no outcome of it."""
    omero.holds[UNKNOWN] = (found(lane="cv8000"),)
    assert fleet(str(UNKNOWN), "--lane", "phenix1")[0] == Exit.NOT_FOUND
    assert not broker.told
    assert fleet.states(str(UNKNOWN), "--lane", "cv8000") == {str(UNKNOWN): "already-imported"}


def test_one_request_that_omero_refuses_does_not_hide_the_others(broker: Broker, omero: Omero, fleet: Fleet) -> None:
    """Its owner may have left the group."""
    omero.fails = {DEAD: failure(Reason.OWNER_NOT_IN_GROUP, "alice is not in screening")}
    assert fleet.states()[str(REQUEST_ID)] == "already-imported"
    assert f"{DEAD}  OMERO does not say: alice is not in screening" in fleet.err
    assert len(broker.told) == 1


def test_an_omero_that_is_away_tells_nothing(broker: Broker, omero: Omero, fleet: Fleet) -> None:
    """The same exit code as for a broker that is away."""
    omero.fails = {DEAD: failure(Reason.OMERO_UNAVAILABLE, "no answer from omero.example.org")}
    assert fleet()[0] == Exit.UNREACHABLE
    assert "no answer from omero.example.org" in fleet.err
    assert not broker.told


def test_an_account_that_may_not_tell_outcomes_hears_so(broker: Broker, omero: Omero, fleet: Fleet) -> None:
    """A producer's, for example."""
    broker.refuses = PublishRefused("the message was refused", 403)
    assert fleet()[0] == Exit.USAGE
    assert "told with the broker account of an operator" in fleet.err
    assert broker.steps == ["start", "stop"]
    assert omero.closed


def test_a_host_without_omero_py_says_what_to_install(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, fleet: Fleet
) -> None:
    """Status without the option works there."""
    offer(monkeypatch, EntryPoint(None))
    assert fleet()[0] == Exit.USAGE
    assert "--verify needs the package omero: pip install 'omero-import-fleet[worker]'" in fleet.err
    offer(monkeypatch)
    assert fleet()[0] == Exit.USAGE
    assert "install the worker" in fleet.err
    assert not broker.told
