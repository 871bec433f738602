"""Stand-ins for both ends of the broker, and a way to run the producer's commands against them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from fleet_common import cli
from fleet_common.broker import BrokerAddress, Names, Outgoing
from fleet_common.errors import Reason
from fleet_common.events import Event, Kind, Result
from fleet_common.messages import ImportRequest, decode
from fleet_producer import sending
from support.builders import NOW
from support.confirming import Confirming

Tell = Callable[[ImportRequest], list[Event]]


def event(request: ImportRequest, kind: Kind, **facts: Any) -> Event:
    """An event that a worker tells."""
    return Event(
        event_id=uuid.uuid4(),
        kind=kind,
        request_id=request.request_id,
        lane=request.lane,
        at=NOW,
        attempt=1,
        seq=1,
        **facts,
    )


def imported(request: ImportRequest) -> list[Event]:
    """It went well."""
    result = Result(fileset_id=7, plate_ids=(51,), files=1, bytes=5, images=1)
    return [event(request, Kind.STARTED), event(request, Kind.IMPORTED, result=result)]


def dead(request: ImportRequest) -> list[Event]:
    """It did not."""
    return [event(request, Kind.DEAD, reason=Reason.UNKNOWN_FORMAT, message="no reader", next_action="Convert it.")]


def silence(_request: ImportRequest) -> list[Event]:
    """Nobody took it yet."""
    return []


@dataclass
class Broker:
    """Both ends of the broker, and the journal of what was done with them."""

    steps: list[str] = field(default_factory=list)
    addresses: list[BrokerAddress] = field(default_factory=list)
    lanes: list[list[str]] = field(default_factory=list)
    messages: list[Outgoing] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    fails: dict[int, Exception] = field(default_factory=dict)
    refuses: dict[str, Exception] = field(default_factory=dict)
    at_publish: Callable[[], None] = lambda: None
    attach_seconds: list[float] = field(default_factory=list)
    attach_fails: Exception | None = None
    gaps: int = 0
    tell: Tell = silence

    @property
    def requests(self) -> list[ImportRequest]:
        """What was published."""
        return [decode(message.body) for message in self.messages]


class FakePublisher(Confirming):
    """Confirms, or fails at the message that the test names."""

    names = Names()

    def __init__(self, broker: Broker, address: BrokerAddress) -> None:
        self._broker = broker
        broker.addresses.append(address)

    def start(self) -> None:
        """Connect."""
        self._broker.steps.append("publisher started")

    def stop(self, deadline_seconds: float) -> None:
        """Disconnect."""
        assert deadline_seconds > 0
        self._broker.steps.append("publisher stopped")

    def publish(self, message: Outgoing, *, deadline_seconds: float) -> None:
        """Publish with confirm."""
        assert deadline_seconds > 0
        self._broker.at_publish()
        number = len(self._broker.messages)
        if message.routing_key in self._broker.refuses:
            raise self._broker.refuses[message.routing_key]
        if number in self._broker.fails:
            raise self._broker.fails[number]
        self._broker.steps.append("published")
        self._broker.messages.append(message)

    def publish_event(self, told: Event, *, required: bool, deadline_seconds: float) -> None:
        """Tell."""
        assert required
        assert deadline_seconds < 60
        self._broker.events.append(told)

    def ring(self) -> None:
        """Wake idle workers."""
        self._broker.steps.append("rang")


class FakeFollower:
    """Tells what the test says about each request that was published."""

    def __init__(self, broker: Broker, lanes: Sequence[str], attach_seconds: float) -> None:
        self._broker = broker
        broker.lanes.append(list(lanes))
        broker.attach_seconds.append(attach_seconds)

    def __enter__(self) -> Self:
        if self._broker.attach_fails is not None:
            raise self._broker.attach_fails
        self._broker.steps.append("follower attached")
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.steps.append("follower detached")

    @property
    def gaps(self) -> int:
        """How often the connection was lost."""
        return self._broker.gaps

    def events(self, *, stop: Callable[[], bool], deadline_seconds: float) -> Iterator[Event]:
        """Until the deadline, or until it is told to stop."""
        assert deadline_seconds > 0
        for request in self._broker.requests:
            yield from self._broker.tell(request)
            assert not stop()


@dataclass
class Call:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The requests of the JSON output."""
        rows = json.loads(self.out)["requests"]
        assert isinstance(rows, list)
        return rows


@dataclass
class Submitting:
    """Runs the command on files of one share."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def file(self, name: str, content: bytes = b"cells") -> str:
        """Write a file on the share."""
        (self.root / name).write_bytes(content)
        return str(self.root / name)

    def __call__(self, *arguments: str, target: str = "Dataset:+name:D") -> Call:
        """Run it with the usual owner, target and share."""
        usual = ["--share", f"hcs={self.root}", "--target", target, "--user", "alice", "--group", "screening"]
        return self.bare("submit", *arguments, *usual)

    def bare(self, *arguments: str) -> Call:
        """Run it with these arguments alone."""
        code = cli.run(list(arguments))
        captured = self.capsys.readouterr()
        return Call(code, captured.out, captured.err)


def with_broker(monkeypatch: pytest.MonkeyPatch, spool: Path) -> Broker:
    """Put a stand-in for the broker in place, with an account for it in the environment, and a spool."""
    made = Broker()
    monkeypatch.setattr(sending, "Publisher", lambda address: FakePublisher(made, address))
    monkeypatch.setattr(
        sending, "LiveFollower", lambda _, lanes, attach_seconds: FakeFollower(made, lanes, attach_seconds)
    )
    monkeypatch.setenv("OMERO_FLEET_BROKER__USER", "phenix1")
    monkeypatch.setenv("OMERO_FLEET_BROKER__PASSWORD", "hunter2")
    monkeypatch.setenv("OMERO_FLEET_PRODUCER__SPOOL", str(spool))
    monkeypatch.delenv("OMERO_FLEET_CONFIG", raising=False)
    return made
