"""Small stand-ins for OMERO and the broker, and one journal in which all of them write what happened, in order."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, cast

from fleet_common.broker import Delivery, Names, Outgoing
from fleet_common.broker.deliveries import Handle
from fleet_common.events import Event, Phase
from fleet_common.messages import Priority
from fleet_common.targets import Kind, Target
from fleet_worker.omero.facts import (
    ChecksumsDiffer,
    FileFacts,
    ImageFacts,
    ImportedFacts,
    ImportOutcome,
    ImportSpec,
    OwnerIds,
    Plane,
    ResolvedTarget,
    ServerStep,
    UploadedFile,
)
from fleet_worker.omero.state import FilesetState, State
from support.builders import ALICE, REQUEST_ID, a_fileset

OWN_FILESET: Final = 19
DATASET: Final = ResolvedTarget(Kind.DATASET, 5, "Tuesday")


@dataclass
class Journal:
    """What happened, in order, and what is to happen at a step: something to do, or an error to raise."""

    steps: list[str] = field(default_factory=list)
    does: dict[str, Callable[[], None]] = field(default_factory=dict)
    fails: dict[str, Exception] = field(default_factory=dict)

    def write(self, step: str) -> None:
        """Note a step, then do and raise what was prepared for it."""
        self.steps.append(step)
        self.does.get(step, lambda: None)()
        if step in self.fails:
            raise self.fails[step]


@dataclass
class FakeOmero:
    """The gateway and every session that it opens; holds filesets and gives out number 19.

    Attributes:
        filesets: What the server holds for any request id.
        facts: What is read back of any fileset.
        differing: What successive starts of the import find different; then they succeed.
        missing_target: Whether the target must be made.
        answered: Whether the server had answered when the wait ended.
        running: What successive counts of running imports find; then there is none.
        newest_reader: The Bio-Formats that the newest fileset tells of; empty for none.
        own_reader: The one that the own fileset tells of.
        pixels: Of every plane of 8 x 6 pixels.
    """

    journal: Journal
    filesets: list[FilesetState] = field(default_factory=list)
    facts: ImportedFacts = field(default_factory=lambda: facts_of("cell.tif", 5))
    differing: list[tuple[int, ...]] = field(default_factory=list)
    missing_target: Exception | None = None
    answered: bool = True
    running: list[int] = field(default_factory=list)
    not_counted: list[int] = field(default_factory=list)
    newest_reader: tuple[int, ...] = ()
    own_reader: tuple[int, ...] = ()
    pixels: bytes = bytes(range(48))
    specs: list[ImportSpec] = field(default_factory=list)
    targets: list[tuple[Target, bool]] = field(default_factory=list)
    started_with: list[tuple[str, ...]] = field(default_factory=list)
    annotations: list[tuple[int, Mapping[str, str], Mapping[Phase, float]]] = field(default_factory=list)

    def check_owner(self, user: str, group: str) -> OwnerIds:
        """Everybody exists and has alice's ids."""
        self.journal.write("check owner")
        return OwnerIds(user, ALICE.user_id, group, ALICE.group_id)

    def find_filesets(self, request_id: str, *, besides: int = 0) -> tuple[FilesetState, ...]:
        """All that there are, but for one."""
        assert len(request_id) == 36
        self.journal.write("find")
        return tuple(state for state in self.filesets if state.id != besides)

    def running_imports(self, *, besides: int = 0) -> int:
        """How many the server is at."""
        self.journal.write("count")
        self.not_counted.append(besides)
        return self.running.pop(0) if self.running else 0

    def bioformats_version(self, fileset_id: int = 0) -> tuple[int, ...]:
        """As told by the newest fileset, or by one."""
        self.journal.write(f"reader of {fileset_id}" if fileset_id else "reader")
        return self.own_reader if fileset_id else self.newest_reader

    def sudo(self, user: str, group: str) -> Self:
        """The session is this object."""
        self.journal.write(f"sudo {user} {group}")
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def alive(self) -> bool:
        """Nobody ends it."""
        return True

    def settle(self) -> bool:
        """Nothing is left in it."""
        return True

    def close(self) -> None:
        """The end of the session."""
        self.journal.write("session closed")

    def resolve_target(self, target: Target, *, creates: bool, made_for: str) -> ResolvedTarget:
        """Dataset 5, unless it is missing and may not be made."""
        assert made_for == str(REQUEST_ID)
        self.journal.write("make target" if creates else "find target")
        self.targets.append((target, creates))
        if self.missing_target is not None and not creates:
            raise self.missing_target
        return DATASET

    def prepare(self) -> None:
        """Nothing is needed."""

    def announce(self, fileset_id: int) -> None:
        """It counts from now on."""
        self.journal.write(f"announce {fileset_id}")

    def register(self, spec: ImportSpec) -> FakeRegistered:
        """Fileset 19, which the server holds from now on."""
        self.journal.write("register")
        self.specs.append(spec)
        self.filesets.append(a_fileset(OWN_FILESET, State.UPLOAD_UNFINISHED, session_closed=False))
        return FakeRegistered(self)

    def delete_fileset(self, fileset_id: int) -> None:
        """It is gone."""
        self.journal.write(f"delete {fileset_id}")
        self.filesets = [one for one in self.filesets if one.id != fileset_id]

    def verify(self, fileset_id: int) -> ImportedFacts:
        """What is held for it."""
        self.journal.write(f"read back {fileset_id}")
        return self.facts

    def read_planes(self, image: ImageFacts, places: Sequence[tuple[int, int, int]]) -> tuple[Plane, ...]:
        """All planes are alike."""
        self.journal.write(f"read planes of {image.id}")
        return tuple(Plane(self.pixels, "uint8", 8, 6) for _ in places)

    def annotate(self, fileset_id: int, provenance: Mapping[str, str], phases: Mapping[Phase, float]) -> None:
        """Keep it for the test."""
        self.journal.write(f"annotate {fileset_id}")
        self.annotations.append((fileset_id, provenance, phases))


@dataclass
class FakeRegistered:
    """The registered import of fileset 19."""

    omero: FakeOmero
    fileset_id: int = OWN_FILESET

    def upload(
        self, index: int, stream: io.FileIO, *, on_bytes: Callable[[int], None], stop: Callable[[], None], **_: int
    ) -> UploadedFile:
        """Read the file; its hash is its content."""
        stop()
        self.omero.journal.write(f"upload {index}")
        content = stream.readall()
        on_bytes(len(content))
        return UploadedFile(index, content.hex(), len(content))

    def differing(self, _hashes: Sequence[str]) -> tuple[int, ...]:
        """None."""
        return ()

    def start(self, hashes: Sequence[str]) -> FakeRunning:
        """The server compares the hashes."""
        self.omero.journal.write("start")
        self.omero.started_with.append(tuple(hashes))
        if self.omero.differing:
            raise ChecksumsDiffer(self.omero.differing.pop(0), "files are not what was sent")
        return FakeRunning(self.omero)


@dataclass
class FakeRunning:
    """An import in the server."""

    omero: FakeOmero

    @property
    def finished(self) -> bool:
        """Whether the server has answered."""
        return self.omero.answered

    def wait(
        self, *, deadline_seconds: float, on_step: Callable[[ServerStep], None], stop: Callable[[], None]
    ) -> ImportOutcome:
        """Two steps, then the outcome."""
        assert deadline_seconds > 0
        self.omero.journal.write("wait")
        stop()
        on_step(ServerStep(1, Phase.PIXELDATA, 0.5))
        on_step(ServerStep(2, Phase.THUMBNAILS, 0.9))
        return ImportOutcome(OWN_FILESET, 1, (), (101,), {Phase.METADATA: 0.5, Phase.PIXELDATA: 0.4})

    def cancel(self) -> bool:
        """The server has heard of it."""
        self.omero.journal.write("cancel")
        return True

    def close(self) -> None:
        """Nobody listens any more."""
        self.omero.journal.write("running closed")


def facts_of(path: str, size_bytes: int, content: bytes = b"cells") -> ImportedFacts:
    """What is read back of a single image."""
    image = ImageFacts(101, path, 0, 201, "uint8", 8, 6, 1, 1, 1)
    return ImportedFacts(OWN_FILESET, (FileFacts(1, path, size_bytes, content.hex()),), (), (image,), {5: 1})


@dataclass
class FakeLease:
    """A lock or slot; lost when a test says so."""

    name: str
    journal: Journal
    lost: bool = False

    def release(self) -> None:
        """Let go."""
        self.journal.write(f"release {self.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@dataclass
class FakeLocks:
    """Gives every lock and slot, but for those that somebody else holds."""

    journal: Journal
    held_by_others: set[str] = field(default_factory=set)
    leases: list[FakeLease] = field(default_factory=list)
    asked: list[tuple[tuple[str, ...], float]] = field(default_factory=list)

    def try_take(self, name: str) -> FakeLease | None:
        """A lock, or None."""
        return None if name in self.held_by_others else self._lease(name)

    def take_one_of(self, names: Sequence[str], deadline_seconds: float, *, stop: Callable[[], bool]) -> FakeLease:
        """The first that is free; asks once whether to stop."""
        self.asked.append((tuple(names), deadline_seconds))
        assert not stop()
        return self._lease(next(name for name in names if name not in self.held_by_others))

    def _lease(self, name: str) -> FakeLease:
        self.journal.write(f"take {name}")
        self.leases.append(FakeLease(name, self.journal))
        return self.leases[-1]


@dataclass
class FakeLink:
    """The publisher's connection: stopped when the worker is at its end."""

    stopped: bool = False


@dataclass
class FakePublisher:
    """Confirms everything; a required event and a message are steps of the journal, other events are only kept."""

    journal: Journal
    names: Names = field(default_factory=Names)
    link: FakeLink = field(default_factory=FakeLink)
    messages: list[Outgoing] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    freed: list[str] = field(default_factory=list)

    def publish(self, message: Outgoing, *, deadline_seconds: float = 30.0) -> None:
        """A copy of a request."""
        assert deadline_seconds > 0
        self.journal.write(f"publish to {message.exchange}")
        self.messages.append(message)

    def publish_event(self, event: Event, *, required: bool, deadline_seconds: float = 30.0) -> None:
        """An event."""
        assert deadline_seconds > 0
        if required:
            self.journal.write(f"confirmed {event.kind}")
        self.events.append(event)

    def ring(self, freed: str) -> None:
        """Wake who waits for a slot."""
        self.freed.append(freed)


@dataclass
class FakeHandle:
    """The broker's side of a delivery."""

    journal: Journal
    lost: bool = False

    def ack(self, deadline_seconds: float) -> bool:
        """Settled."""
        assert deadline_seconds > 0
        self.journal.write("ack")
        return True


def a_delivery(journal: Journal, body: bytes, **changes: Any) -> Delivery:
    """A first delivery of a request that the producer of its lane published."""
    fields: dict[str, Any] = {
        "body": body,
        "headers": {},
        "user_id": "phenix1",
        "message_id": None,
        "timestamp": None,
        "redelivered": False,
        "deliveries": 0,
        "lane": "phenix1",
        "priority": Priority.NORMAL,
        "routing_key": "phenix1.normal",
        "handle": cast("Handle", FakeHandle(journal)),
    }
    return Delivery(**(fields | changes))
