"""One row of the table of faults: a lane of its own, a plate of its own, and workers that things happen to.

Rows run side by side, each in a thread of its own; nothing that one does to its workers, files or connections touches
another row. Neighbours: ``trapped_worker`` is what things happen to, ``proof`` looks at OMERO afterwards.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from fleet_common.messages import ImportRequest, encode
from fleet_stack.fleet import Fleet, WorkerProcess, clean_environment
from fleet_stack.parts import part
from fleet_stack.plates import MadePlate, PlateSpec, make_plate
from fleet_stack.rabbitmq.part import RabbitPart
from support import waiting
from support.facility import Facility
from support.handmade import plate_request
from support.proof import Held, Proof
from support.proxy import Proxy
from support.stories import OUTCOMES, Story, ended, stories

TIERS_SECONDS: Final = (1, 2, 4)
"""Of the retry queues in all rows."""
HALF: Final = 4
"""Of the seven files of a plate: an upload that is half done."""
SLOW_PLATE: Final[Mapping[str, Any]] = MappingProxyType({"wells": 4, "fields": 2, "size": 1024})
"""The server is at it for seconds, so that others meet it at work."""
TRAPPED: Final = Path(__file__).with_name("trapped_worker.py")
SLOWLY: Final = ("--parallel-upload", "1", "--parallel-filesets", "1")
"""One file after the other, so that the fourth file is the fourth."""


@dataclass(frozen=True)
class Ending:
    """What became of one request of a row, and what must be true of it then.

    Attributes:
        request_id: Of the request.
        story: Everything that was told of it.
        plate: What it is made of.
        state: ``imported``, ``dead`` or ``cancelled``.
        reason: Of a death.
        attempts: The attempts that may have told its outcome.
        debris: Whether something unfinished may be left for the sweep, because nobody came after the last who died.
        lost_folder: Whether a folder that no fileset names may be left for the sweep.
    """

    request_id: str
    story: Story
    plate: MadePlate
    state: str = "imported"
    reason: str = ""
    attempts: frozenset[int] = frozenset({1})
    debris: bool = False
    lost_folder: bool = False


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: A word for lanes, folders and test ids.
        play: Does it, and returns what became of its requests; runs in a thread of its own.
        seconds: About how long; long ones begin first.
        lanes: Of this row alone, unless they are given.
        alone: Whether it breaks what other rows stand on.
    """

    name: str
    play: Callable[[Scene], list[Ending]] = field(compare=False)
    seconds: int = 15
    lanes: tuple[str, ...] = ()
    alone: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "lanes", self.lanes or (f"row-{self.name}",))


Played = Callable[[Row], list[Ending]]
"""Waits until a row was played, and says what became of its requests."""


@dataclass(frozen=True)
class Ground:
    """What all rows stand on.

    Attributes:
        facility: Servers and shares.
        proof: Root's view of OMERO.
        ports: Those that no worker has at the moment.
        run: A word of this run: what was imported by an earlier one is not imported again.
    """

    facility: Facility
    proof: Proof
    ports: queue.SimpleQueue[int]
    run: str


@dataclass
class Scene:
    """Where one row is played; everything that it started ends with it."""

    ground: Ground
    name: str
    stack: ExitStack
    fleet: Fleet
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _workers: list[WorkerProcess] = field(default_factory=list)
    _marks: Path = field(init=False)

    def __post_init__(self) -> None:
        self._marks = self.fleet.folder / "marks"
        self._marks.mkdir(parents=True, exist_ok=True)

    @property
    def lane(self) -> str:
        """The row's own, or the first of them."""
        return self.fleet.lanes[0]

    @property
    def facility(self) -> Facility:
        """With this row's fleet, for commands."""
        return replace(self.ground.facility, fleet=self.fleet)

    @property
    def share(self) -> Path:
        """Where plates are."""
        return self.fleet.shares["hcs"]

    @property
    def broker(self) -> RabbitPart:
        """The broker under test."""
        return cast("RabbitPart", part(self.ground.facility.layout, "rabbitmq"))

    def of_lane(self, lane: str) -> Fleet:
        """The fleet of workers that serve one of the row's lanes only."""
        return replace(self.fleet, folder=self.fleet.folder / lane, lanes=(lane,))

    # --- requests ---

    def plate(self, name: str = "", **spec: Any) -> MadePlate:
        """A plate of two wells with two fields each, unless told otherwise: seven files, four images."""
        called = f"{self.ground.run}-{self.name}{name and '-'}{name}"
        wanted: dict[str, Any] = {"wells": 2, "fields": 2, "channels": 1, "size": 64}
        return make_plate(self.share, PlateSpec(name=called, **(wanted | spec)))

    def request(self, plate: MadePlate, **changes: Any) -> ImportRequest:
        """A request for it, through this row's lane."""
        target = f"Screen:+name:{self.ground.run} {self.name}"
        return plate_request(self.facility, plate, **({"target": target, "lane": self.lane} | changes))

    def publish(self, request: ImportRequest) -> str:
        """Publish it, as a producer with a program of its own might; its id is returned."""
        import pika  # noqa: PLC0415  the tests' own client

        properties = pika.BasicProperties(delivery_mode=2, message_id=str(request.request_id), user_id="admin")
        with self.facility.channel("admin") as channel:
            channel.basic_publish(
                "import.requests", f"{request.lane}.{request.priority}", encode(request), properties, mandatory=True
            )
            channel.basic_publish("import.wake", "", b"")
        return str(request.request_id)

    def send(self, plate: MadePlate, **changes: Any) -> str:
        """Publish a request for a plate."""
        return self.publish(self.request(plate, **changes))

    def submit(self, plate: MadePlate) -> str:
        """Have ``omero-fleet submit`` publish it, so that the event log knows of it at once."""
        fleet = self.with_settings("producer", lane=self.lane)
        target = f"Screen:+name:{self.ground.run} {self.name}"
        done = replace(self.facility, fleet=fleet).submit(plate.folder, target=target, account="admin", wait=False)
        assert done.exit_code == 0, done.errors
        (request,) = done.requests
        return str(request["request_id"])

    def story(self, request_id: str, until: Callable[[Story], bool] = ended, deadline_seconds: float = 150.0) -> Story:
        """Wait until this holds for what is told of a request.

        Raises:
            AssertionError: It does not by the deadline; with the end of every worker's log.
        """
        with self._with_logs():
            return stories(self.facility, [request_id], until, deadline_seconds)[request_id]

    def started_by(self, request_id: str, worker: WorkerProcess) -> None:
        """Wait until a worker has said that it is at a request."""

        def told(story: Story) -> bool:
            return any(one["kind"] == "started" and one["worker"] == worker.name for one in story.events)

        self.story(request_id, told)

    def ending(
        self, request_id: str, plate: MadePlate, outcomes: int = 1, deadline_seconds: float = 150.0, **expected: Any
    ) -> Ending:
        """Wait until the outcome of a request is told so many times: once for each of its deliveries."""

        def told(story: Story) -> bool:
            return sum(kind in OUTCOMES for kind in story.kinds) >= outcomes

        return Ending(request_id, self.story(request_id, told, deadline_seconds), plate, **expected)

    def waiting(self, priority: str = "normal") -> int:
        """How many requests wait in the row's lane."""
        with self.facility.channel("admin") as channel:
            name = f"import.lane.{self.lane}.{priority}"
            return int(channel.queue_declare(name, passive=True).method.message_count)

    # --- workers ---

    def worker(self, *arguments: str, fleet: Fleet | None = None, name: str = "") -> WorkerProcess:
        """Start a worker that nothing happens to."""
        return self.trapped(*arguments, fleet=fleet, name=name)

    def trapped(
        self,
        *arguments: str,
        traps: Collection[str] = (),
        fleet: Fleet | None = None,
        name: str = "",
        call_seconds: int | None = None,
    ) -> WorkerProcess:
        """Start a worker with traps and perhaps little patience with OMERO, see ``trapped_worker``."""
        name = name or f"{self.name}-{next(self._numbers)}"
        fleet, port = fleet or self.fleet, self.ground.ports.get(timeout=60)
        self.stack.callback(self.ground.ports.put, port)
        told = fleet.command("worker", "work", "--name", name, "--metrics-port", str(port), *arguments)
        chosen = [word for trap in traps for word in ("--trap", trap)]
        chosen += [] if call_seconds is None else ["--call-seconds", str(call_seconds)]
        words = [sys.executable, str(TRAPPED), "--marks", str(self._marks), *chosen, "--", *told[3:]]
        log = fleet.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                words, stdout=output, stderr=output, env=clean_environment(), start_new_session=True
            )
        started = WorkerProcess(name, port, process, log)
        self._workers.append(started)
        self.stack.callback(_end, started)
        return started

    def sprung(self, point: str, number: int = 1, deadline_seconds: float = 90.0) -> None:
        """Wait until a trap has sprung.

        Raises:
            AssertionError: It did not; with the end of every worker's log.
        """
        mark = self._marks / f"{point}.{number}"
        self.until(mark.exists, deadline_seconds, f"the trap {mark.name}")

    def until(self, holds: Callable[[], object], deadline_seconds: float, what: str) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: It does not; with the end of every worker's log.
        """
        with self._with_logs():
            waiting.until(lambda: bool(holds()), deadline_seconds, what, pause_seconds=0.05)

    def last(self, seconds: float) -> None:
        """Let a fault last: the one kind of wait whose length is what the row is about."""
        began = time.monotonic()
        waiting.until(lambda: time.monotonic() - began >= seconds, seconds + 10, "time", pause_seconds=0.2)

    def count(self, point: str) -> int:
        """How often a point was reached that is counted."""
        return len(list(self._marks.glob(f"{point}.[0-9]*")))

    def release(self, point: str) -> None:
        """Let go of who is held at a point."""
        (self._marks / f"{point}.go").touch()

    def killed(self, worker: WorkerProcess, point: str, number: int = 1) -> None:
        """Wait until a worker was killed by its own trap."""
        self.sprung(point, number)
        assert worker.process.wait(20) == -signal.SIGKILL, worker.tail()

    def with_settings(self, group: str, **values: Any) -> Fleet:
        """This row's fleet with more settings in one group."""
        extra = {**self.fleet.extra, group: {**self.fleet.extra.get(group, {}), **values}}
        return replace(self.fleet, folder=self.fleet.folder / f"with-{'-'.join((group, *values))}", extra=extra)

    def behind_proxy(self, group: str) -> tuple[Fleet, Proxy]:
        """This row's fleet with a proxy before the broker or OMERO; it ends with the row."""
        stack = self.fleet.stack
        proxy = Proxy(stack.broker.amqp_port if group == "broker" else stack.omero.ssl_port)
        self.stack.callback(proxy.close)
        return self.with_settings(group, port=proxy.port), proxy

    def logs(self, characters: int = 6000) -> str:
        """The end of every worker's log, with what its threads do."""
        for worker in self._workers:
            _tell_threads(worker)
        files = sorted(self.fleet.folder.rglob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-characters:]}" for file in files)

    @contextmanager
    def _with_logs(self) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None


@contextmanager
def scene(ground: Ground, row: Row) -> Iterator[Scene]:
    """Where a row is played."""
    base = ground.facility.fleet
    folder = base.folder / "rows" / f"{ground.run}-{row.name}"
    with ExitStack() as stack:
        yield Scene(ground, row.name, stack, replace(base, folder=folder, lanes=row.lanes))


def check_in_omero(ground: Ground, ending: Ending) -> Held:
    """One complete fileset with the right bytes, and nothing else of this request.

    Raises:
        AssertionError: Something is missing, double or left behind.
    """
    share, plate = ground.facility.share("hcs"), ending.plate
    images = len({key[:3] for key in plate.tiffs})
    held = ground.proof.one_complete_fileset(ending.request_id, share, plate.files, images)
    assert held.plates == 1, held
    folders = ground.proof.folders_with(plate.folder.name)
    others = [folder for folder in folders if folder != held.folder.resolve()]
    assert held.folder.resolve() in folders
    assert len(others) <= ending.lost_folder, "folders of dead attempts are left"
    return held


def check(ground: Ground, ending: Ending) -> None:
    """A request ended as it must, in OMERO and in what was told of it.

    Raises:
        AssertionError: It did not.
    """
    told = [one for one in ending.story.events if one["kind"] in OUTCOMES]
    assert {one["attempt"] for one in told} <= ending.attempts, ending.story.kinds
    if ending.state == "imported":
        assert {one["kind"] for one in told} <= {"imported", "already-imported"}, told
        held = check_in_omero(ground, ending)
        assert {one["result"]["fileset_id"] for one in told} == {held.fileset}
        return
    assert {(one["kind"], one.get("reason", "")) for one in told} == {(ending.state, ending.reason)}
    if not ending.debris:
        assert ground.proof.filesets_of(ending.request_id) == []
        assert ground.proof.folders_with(ending.plate.folder.name) == []


def _tell_threads(worker: WorkerProcess) -> None:
    """Have a worker that runs write down what its threads do; one that was stopped does not."""
    if worker.process.poll() is None:
        worker.process.send_signal(signal.SIGUSR1)
        with contextlib.suppress(AssertionError):
            waiting.until(lambda: b"Current thread" in worker.log.read_bytes(), 2.0)


def _end(worker: WorkerProcess) -> None:
    if worker.process.poll() is None:
        # One that was stopped by SIGSTOP hears nothing else.
        worker.process.kill()
        worker.process.wait(10)
