"""A watch on a share in a temporary folder, with time that only passes when it waits, and a broker that is a list."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from fleet_common.broker import BrokerUnavailable, Names, Outgoing, Publisher
from fleet_common.events import Event
from fleet_common.heartbeats import KIND, Heartbeat, decode_heartbeat
from fleet_common.messages import ImportRequest, decode
from fleet_common.settings import BrokerSettings, ProducerSettings, Settings
from fleet_common.watching import PlateRule, WatchedFolder, WatchSettings
from fleet_producer.spool import Spool
from fleet_producer.watch.assembling import World, assemble
from fleet_producer.watch.records import Record
from fleet_producer.watch.store import Store
from fleet_producer.watch.watcher import Watcher
from fleet_stack.plates import MadePlate, PlateSpec, make_plate
from support.confirming import Confirming

SETTLE_SECONDS: Final = 60.0
DEADLINE_SECONDS: Final = 1200.0
RULE: Final = PlateRule(user="alice", group="screening", target="Screen:+name:All")
IMAGES: Final = PlateRule(folder=r".*\.(tif|img)", user="alice", group="screening", target="Dataset:+name:All")
SMALL: Final = PlateSpec(name="P1", wells=2, fields=1, channels=2, size=8)


class Time(threading.Event):
    """The clock of a test: it stands still but while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0
        self.wall = datetime(2026, 1, 31, 10, 0, tzinfo=UTC)
        self.waits = 0
        self.at_wait: Callable[[], None] = lambda: None

    def wait(self, timeout: float | None = None) -> bool:
        """Let so much time pass."""
        assert timeout is not None
        assert timeout >= 0
        self.waits += 1
        self.pass_by(timeout)
        self.at_wait()
        return self.is_set()

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)

    def monotonic(self) -> float:
        """Nobody can set it; each look at it takes a millisecond."""
        self.seconds += 0.001
        return self.seconds

    def clock(self) -> datetime:
        """The present time of the host."""
        return self.wall


@dataclass
class FakeBroker(Confirming):
    """Confirms everything, or is away."""

    connected: bool = True
    names: Names = field(default_factory=Names)
    messages: list[Outgoing] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    fails: Exception | None = None
    rings: int = 0
    at_heartbeat: Callable[[], None] = lambda: None

    def publish(self, message: Outgoing, *, deadline_seconds: float) -> None:
        """Take a request or a heartbeat."""
        assert deadline_seconds > 0
        if not self.connected:
            raise BrokerUnavailable("away")
        if message.routing_key.endswith(KIND):
            self.heartbeats.append(decode_heartbeat(message.body, message.routing_key))
            self.at_heartbeat()
            return
        if self.fails is not None:
            raise self.fails
        self.messages.append(message)

    def publish_event(self, told: Event, *, required: bool, deadline_seconds: float) -> None:
        """Take an event."""
        assert required
        assert deadline_seconds > 0
        if not self.connected:
            raise BrokerUnavailable("away")
        self.events.append(told)

    def ring(self) -> None:
        """Ring."""
        self.rings += 1

    @property
    def requests(self) -> list[ImportRequest]:
        """What was published."""
        return [decode(message.body) for message in self.messages]


@dataclass
class Bench:
    """A host with a share, a spool and a state, on which watches can be started and killed."""

    folder: Path
    time: Time = field(default_factory=Time)
    broker: FakeBroker = field(default_factory=FakeBroker)
    rules: tuple[PlateRule, ...] = (IMAGES, RULE)
    watched: dict[str, Any] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)
    host: str = "acquisition-1"
    folders: tuple[str, ...] = ("phenix1",)
    _watcher: Watcher | None = None
    _store: Store | None = None

    def __post_init__(self) -> None:
        for name in self.folders:
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @property
    def root(self) -> Path:
        """Where the share is mounted."""
        return self.folder / "hcs"

    @property
    def top(self) -> Path:
        """The first watched folder."""
        return self.root / self.folders[0]

    @property
    def spool(self) -> Spool:
        """The spool of this host."""
        return Spool(self.folder / self.host / "spool", 10_000_000, self.time.clock)

    @property
    def state(self) -> Path:
        """The folder of the state."""
        return self.folder / self.host / "watch"

    def settings(self) -> Settings:
        """The settings of this host."""
        watched = {"settle_seconds": SETTLE_SECONDS, "deadline_seconds": DEADLINE_SECONDS} | self.watched
        return Settings(
            broker=BrokerSettings(user="phenix1"),
            producer=ProducerSettings(host=self.host, instrument="Phenix 1"),
            shares={"hcs": self.root},
            watch=WatchSettings(
                folders=tuple(WatchedFolder(path=self.root / name, **watched) for name in self.folders),
                rules=self.rules,
                **({"busy_percent": 100} | self.how),
            ),
        )

    @property
    def watcher(self) -> Watcher:
        """The watch that runs; started when it is first asked for."""
        if self._watcher is None:
            self._store = Store(self.state)
            self._watcher = self.assemble(self._store)
        return self._watcher

    def assemble(self, store: Store) -> Watcher:
        """A watch with another state."""
        world = World(self.time.clock, self.time.monotonic, self.time)
        return assemble(self.settings(), self.spool, store, cast("Publisher", self.broker), world)

    def restart(self) -> None:
        """The host was off for a while."""
        if self._store is not None:
            self._store.__exit__()
        self._watcher = self._store = None

    def plate(self, spec: PlateSpec = SMALL, folder: str = "phenix1") -> MadePlate:
        """Have an instrument write a plate at once."""
        return make_plate(self.root / folder, spec)

    def watch(self, seconds: float) -> None:
        """Let so much time pass, with rounds whenever they are due."""
        end = self.time.seconds + seconds
        while self.time.seconds < end:
            self.watcher.tick()
            self.time.wait(min(max(self.watcher._pause_seconds(), 0.1), max(end - self.time.seconds, 0.001)))
        self.watcher.tick()

    def settle(self) -> None:
        """Long enough for everything that is complete to be published."""
        self.watch(2 * SETTLE_SECONDS + 20)

    def kept(self) -> list[Record]:
        """What is in the state."""
        assert self._store is not None
        return list(self._store.records())

    @property
    def records(self) -> dict[str, Record]:
        """What the watch knows, by plate."""
        return {record.key: record for record in self.watcher.records}

    @property
    def only(self) -> Record:
        """What it knows of the one plate."""
        (record,) = self.watcher.records
        return record

    @property
    def published(self) -> list[str]:
        """The request ids that were published, in order."""
        return [str(request.request_id) for request in self.broker.requests]

    @property
    def sources(self) -> list[str]:
        """The entry files that were published, sorted."""
        return sorted(request.source.path for request in self.broker.requests)


class Instrument:
    """Writes a plate file by file: made aside at first, then moved in one after the other."""

    def __init__(self, bench: Bench, made: MadePlate, aside: Path) -> None:
        self._aside, self._made = aside, made
        self.folder = bench.top / made.folder.name
        self.files = [file.relative_to(made.folder) for file in made.files]
        self.index = made.entry.relative_to(made.folder)

    @classmethod
    def of(cls, bench: Bench, spec: PlateSpec = SMALL) -> Instrument:
        """An instrument with a plate in it."""
        aside = bench.folder / "instrument" / spec.name
        return cls(bench, make_plate(aside, spec), aside)

    @property
    def images(self) -> list[Path]:
        """All files but the index."""
        return [file for file in self.files if file != self.index]

    def write(self, files: Iterable[Path], part: float = 1.0) -> None:
        """Write files, or only the beginning of each."""
        for file in files:
            target = self.folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            content = (self._made.folder / file).read_bytes()
            target.write_bytes(content[: int(len(content) * part)])

    def finish(self) -> None:
        """Write everything."""
        shutil.copytree(self._made.folder, self.folder, dirs_exist_ok=True)
