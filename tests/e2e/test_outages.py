"""Servers go away and come back, and workers are killed: nothing is lost, nothing comes twice, and people are told.

Each story is told once by a fixture, which keeps what was seen on its way; the tests look at what it kept. OMERO goes
away last, because the shared login of OMERO's root ends with it.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import omero.model
import omero.rtypes
import pytest

from fleet_stack.fleet import WorkerProcess
from fleet_stack.parts import part
from fleet_stack.plates import PlateSpec, make_plate, tiff
from fleet_stack.readback import logged_in
from support.facility import Facility, until

# Stopping and starting servers is part of the first test of each story.
pytestmark = pytest.mark.timeout(300)

ROLES = ("consume", "publish")
TARGET = "Dataset:+name:outages"
# One file after the other: slow enough to be met in the middle.
SLOWLY = ("--parallel-upload", "1")
ONE_AT_A_TIME = ("--parallel-filesets", "1")
AFTER_RABBITMQ = range(820, 824)
"""Seeds of so many images that neither of two workers takes all, be it ever so quick."""


@dataclass(frozen=True)
class Seen:
    """What a worker said at one moment.

    Attributes:
        live: Status of /healthz.
        ready: Status of /readyz.
        problems: What /readyz found, without what is well.
        omero: The metric of the connection to OMERO.
        broker: The metric of each connection to RabbitMQ.
    """

    live: int
    ready: int
    problems: dict[str, str]
    omero: float
    broker: dict[str, float]

    @classmethod
    def at(cls, worker: WorkerProcess) -> Seen:
        """Ask all its pages."""
        ready, body = worker.fetch("/readyz")
        checks = json.loads(body)["checks"] if body else {}
        return cls(
            live=worker.fetch("/healthz")[0],
            ready=ready,
            problems={name: text for name, text in checks.items() if text != "ok"},
            omero=gauge(worker, "omero_import_omero_connected"),
            broker={
                role: gauge(worker, f'omero_import_broker_connected{{role="{role}"}}')
                for role in ("consume", "publish")
            },
        )


ALL_WELL = Seen(200, 200, {}, 1.0, {"consume": 1.0, "publish": 1.0})


def gauge(worker: WorkerProcess, name: str) -> float:
    """The value of a metric; -1 while nobody tells it."""
    lines = (line.rpartition(" ") for line in worker.fetch("/metrics")[1].splitlines())
    return next((float(value) for key, _, value in lines if key == name), -1.0)


class Crew:
    """Workers of one story, which end with it."""

    def __init__(self, facility: Facility) -> None:
        self._facility = facility
        self._ports = iter(facility.layout.ports.spare[4:])
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, name: str, *arguments: str) -> WorkerProcess:
        """Start a worker, whatever it finds."""
        worker = self._facility.fleet.start_worker(name, next(self._ports), *arguments)
        self._stack.callback(worker.stop)
        return worker

    def ready(self, name: str, *arguments: str) -> WorkerProcess:
        """Start a worker and wait until it can take requests."""
        worker = self.start(name, *arguments)
        worker.wait_ready()
        return worker


def image(facility: Facility, name: str, seed: int) -> Path:
    """One small image on a share."""
    return tiff(facility.share("confocal") / f"{name}.tif", seed=seed)


def plate(facility: Facility, name: str, *, wells: int, channels: int = 1) -> Path:
    """A plate of many small files on a share."""
    return make_plate(
        facility.share("hcs"), PlateSpec(name=name, wells=wells, fields=4, channels=channels, size=16)
    ).folder


def send(facility: Facility, *paths: Path, target: str = TARGET) -> list[str]:
    """Submit without waiting, and return the request ids."""
    done = facility.submit(*paths, target=target, wait=False)
    assert done.exit_code == 0, done.errors
    return [one["request_id"] for one in done.requests]


def events(facility: Facility, request_id: str) -> list[dict[str, Any]]:
    """Wait for a request's outcome, and return everything that was told of it."""
    done = facility.fleet.run("operator", "follow", request_id, "--json", "--timeout", "150", timeout_seconds=200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def kinds(told: Sequence[dict[str, Any]]) -> list[str]:
    """What happened, without progress; an idle worker may begin before the producer has told of its request."""
    found = [event["kind"] for event in told if event["kind"] != "progress"]
    return sorted(found, key=lambda kind: kind != "accepted")


def uploading(worker: WorkerProcess, files: int = 10) -> None:
    """Wait until a worker is in the middle of an upload."""
    until(lambda: worker.metric("omero_import_files_total") >= files, 60, f"{files} files of {worker.name}")
    assert worker.metric("omero_import_requests_in_progress") == 1


# --- a worker is killed while it uploads ---


@dataclass(frozen=True)
class Rescue:
    """A request whose first worker was killed in the middle of its upload."""

    request_id: str
    debris: int
    folder: Path
    told: list[dict[str, Any]]

    @property
    def outcome(self) -> dict[str, Any]:
        """The last event."""
        return self.told[-1]


@pytest.fixture(scope="module")
def rescue(alone: Facility) -> Rescue:
    """Given a plate in upload, when its worker is killed and OMERO ends its session, then another worker takes over.

    OMERO ends the session of a client that died by itself, after ten minutes; here its root does.
    """
    with Crew(alone) as crew:
        victim = crew.ready("victim", *SLOWLY)
        (request_id,) = send(alone, plate(alone, "rescued", wells=12, channels=2), target="Screen:+name:rescued")
        uploading(victim)
        victim.process.kill()
        victim.process.wait(10)
        (debris,) = alone.filesets_of(request_id)
        folder = folder_of(alone, debris)
        assert list(folder.rglob("*.tiff"))
        end_session_of(alone, debris)
        crew.ready("rescuer")
        return Rescue(request_id, debris, folder, events(alone, request_id))


def folder_of(facility: Facility, fileset_id: int) -> Path:
    """Where the server keeps the files of a fileset."""
    ((prefix,),) = facility.query("select f.templatePrefix from Fileset f where f.id = :id", id=fileset_id)
    return Path(next(facility.layout.omero.glob("**/ManagedRepository")) / prefix)


def end_session_of(facility: Facility, fileset_id: int) -> None:
    """Do what OMERO does to the session of a silent client."""
    ((uuid,),) = facility.query(
        "select s.uuid from Fileset f join f.details.creationEvent e join e.session s where f.id = :id", id=fileset_id
    )
    session = omero.model.SessionI()
    session.uuid = omero.rtypes.rstring(uuid)
    service = facility.root.c.sf.getSessionService()
    # Every call takes one reference away, the last one the session.
    while service.closeSession(session) > 0:
        pass
    rows = facility.query(
        "select s.closed from Fileset f join f.details.creationEvent e join e.session s where f.id = :id", id=fileset_id
    )
    assert rows != [(None,)]


def test_another_worker_finishes_what_a_killed_one_began(rescue: Rescue) -> None:
    """The delivery comes again as soon as the broker misses the dead worker; the kill is no attempt."""
    assert kinds(rescue.told) == ["accepted", "started", "started", "imported"]
    assert [event["worker"] for event in rescue.told if event["kind"] == "started"] == ["victim", "rescuer"]
    assert rescue.outcome["attempt"] == 1


def test_a_killed_upload_leaves_one_complete_fileset(alone: Facility, rescue: Rescue) -> None:
    """With all images, and it is not the one that the dead worker had begun."""
    assert alone.filesets_of(rescue.request_id) == [rescue.outcome["result"]["fileset_id"]]
    assert rescue.outcome["result"]["fileset_id"] != rescue.debris
    assert alone.query("select count(p) from Plate p where p.name = 'rescued'") == [(1,)]
    assert alone.query(
        "select count(i) from Image i where i.fileset.id = :id", id=rescue.outcome["result"]["fileset_id"]
    ) == [(48,)]


def test_the_debris_of_a_killed_upload_is_removed(alone: Facility, rescue: Rescue) -> None:
    """Fileset, files and folder: in the database and on the disk."""
    assert alone.query("select f.id from Fileset f where f.id = :id", id=rescue.debris) == []
    assert not rescue.folder.exists()


# --- a worker is killed while the server imports ---


@dataclass(frozen=True)
class Adoption:
    """A request whose first worker was killed while the server had the import."""

    request_id: str
    fileset: int
    told: list[dict[str, Any]]


@pytest.fixture(scope="module")
def adoption(alone: Facility) -> Adoption:
    """Given an import inside the server, when its worker is killed, then it goes on, and another worker adopts it."""
    with Crew(alone) as crew:
        victim = crew.ready("orphaning")
        (request_id,) = send(alone, plate(alone, "adopted", wells=12), target="Screen:+name:adopted")
        until(lambda: victim.metric("omero_import_slots_held", kind="import") == 1, 60, "the import")
        until(lambda: job_status(alone, request_id) == "Finished", 60, "a verified upload")
        victim.process.kill()
        victim.process.wait(10)
        (fileset,) = alone.filesets_of(request_id)
        until(lambda: thumbnails(alone, fileset) == 48, 120, "the end of the import in the server")
        crew.ready("adopter")
        return Adoption(request_id, fileset, events(alone, request_id))


def job_status(facility: Facility, request_id: str) -> str:
    """What the server says of the upload; it imports once that is finished."""
    (fileset,) = facility.filesets_of(request_id)
    rows = facility.query(
        "select u.status.value from FilesetJobLink l, UploadJob u where l.parent.id = :id and l.child = u", id=fileset
    )
    return str(rows[0][0])


def thumbnails(facility: Facility, fileset_id: int) -> int:
    """How many images of a fileset have one: the last thing that an import makes."""
    rows = facility.query(
        "select count(distinct p.id) from Thumbnail t join t.pixels p where p.image.fileset.id = :id", id=fileset_id
    )
    return int(rows[0][0])


def test_an_import_that_lost_its_worker_is_adopted(alone: Facility, adoption: Adoption) -> None:
    """The server finished it alone; the next worker verifies it instead of importing it again."""
    assert kinds(adoption.told) == ["accepted", "started", "started", "already-imported"]
    assert alone.filesets_of(adoption.request_id) == [adoption.fileset]
    assert adoption.told[-1]["result"]["fileset_id"] == adoption.fileset
    assert alone.query("select count(p) from Plate p where p.name = 'adopted'") == [(1,)]


# --- a worker is told to stop ---


@dataclass(frozen=True)
class Drain:
    """A worker that was told to stop in the middle of an import."""

    exit_code: int
    while_draining: Seen
    plate: list[dict[str, Any]]
    waiting: int
    next: list[dict[str, Any]]


@pytest.fixture(scope="module")
def drain(alone: Facility) -> Drain:
    """Given a plate in upload, when its worker is told to stop and an image comes, then it finishes the plate."""
    with Crew(alone) as crew:
        worker = crew.ready("draining", *SLOWLY)
        (in_work,) = send(alone, plate(alone, "drained", wells=12, channels=2), target="Screen:+name:drained")
        uploading(worker)
        worker.process.send_signal(signal.SIGUSR1)
        until(lambda: "Current thread" in worker.log.read_text(errors="replace"), 30, "what its threads do")
        worker.process.terminate()
        until(lambda: "draining" in Seen.at(worker).problems, 30, "a worker that drains")
        seen = Seen.at(worker)
        (later,) = send(alone, image(alone, "after the signal", 81))
        exit_code = worker.process.wait(120)
        waiting = depth(alone)
        crew.ready("successor")
        return Drain(exit_code, seen, events(alone, in_work), waiting, events(alone, later))


def depth(facility: Facility) -> int:
    """How many requests wait in the lane of the tests."""
    with facility.channel("admin") as channel:
        return int(channel.queue_declare("import.lane.demo.normal", passive=True).method.message_count)


def test_a_worker_that_is_asked_what_its_threads_do_says_so_and_goes_on(drain: Drain) -> None:
    """For a person who wonders what it waits for; its request does not notice."""
    assert drain.plate[-1]["attempt"] == 1


def test_a_worker_that_is_told_to_stop_finishes_its_import(drain: Drain) -> None:
    """One attempt, one worker, and exit code 0."""
    assert kinds(drain.plate) == ["accepted", "started", "imported"]
    assert drain.plate[-1]["worker"] == "draining"
    assert drain.exit_code == 0


def test_a_worker_that_is_told_to_stop_takes_nothing_more(drain: Drain) -> None:
    """What came afterwards stays in its lane, and the next worker takes it."""
    assert drain.waiting == 1
    assert kinds(drain.next) == ["accepted", "started", "imported"]
    assert drain.next[-1]["worker"] == "successor"


def test_a_worker_that_stops_is_alive_but_not_ready(drain: Drain) -> None:
    """Nobody may kill it for that, and it says why."""
    assert drain.while_draining == replace(ALL_WELL, ready=503, problems={"draining": "the worker stops"})


# --- RabbitMQ is away ---


@dataclass(frozen=True)
class Outage:
    """What two workers said while a server was away and afterwards, and what became of the requests."""

    idle: Seen
    late: Seen
    afterwards: tuple[Seen, Seen]
    told: list[list[dict[str, Any]]]
    reconnects: float = 0.0


@pytest.fixture(scope="module")
def broker_outage(alone: Facility) -> Outage:
    """Given an idle worker, when RabbitMQ stops, another worker starts and RabbitMQ comes back, then both work."""
    rabbitmq = part(alone.layout, "rabbitmq")
    with Crew(alone) as crew:
        idle = crew.ready("rabbit-idle", *ONE_AT_A_TIME)
        with stopped(rabbitmq.stop, rabbitmq.start):
            late = crew.start("rabbit-late", *ONE_AT_A_TIME)
            until(lambda: broker_is_missed(idle), 60, "a worker that misses RabbitMQ")
            until(lambda: broker_is_missed(late), 60, "another one")
            away = Seen.at(idle), Seen.at(late)
        idle.wait_ready()
        late.wait_ready()
        ids = send(alone, *(image(alone, f"after RabbitMQ {seed}", seed) for seed in AFTER_RABBITMQ))
        told = [events(alone, request_id) for request_id in ids]
        reconnects = idle.metric("omero_import_broker_reconnects_total", role="consume")
        return Outage(*away, (Seen.at(idle), Seen.at(late)), told, reconnects)


@contextmanager
def stopped(stop: Callable[[], None], start: Callable[[], None]) -> Iterator[None]:
    """A server is away inside, and there again afterwards, whatever happens."""
    stop()
    try:
        yield
    finally:
        start()


def broker_is_missed(worker: WorkerProcess) -> bool:
    """Whether a worker has noticed and tried again, and is well otherwise.

    Orders that it has read hold while it cannot read more.
    """
    problems = Seen.at(worker).problems
    tried = {f"rabbitmq-{role}" for role in ROLES if "Connection" in problems.get(f"rabbitmq-{role}", "")}
    return problems.keys() - {"control"} == tried and len(tried) == len(ROLES)


@pytest.mark.parametrize("which", ["idle", "late"])
def test_a_worker_without_rabbitmq_waits_and_says_so(broker_outage: Outage, which: str) -> None:
    """Whether RabbitMQ went away or was not there at the start: alive, not ready, and everybody can see why."""
    seen: Seen = getattr(broker_outage, which)
    assert (seen.live, seen.ready) == (200, 503)
    assert all("Connection" in seen.problems[f"rabbitmq-{role}"] for role in ROLES), seen.problems
    assert (seen.omero, seen.broker) == (1.0, {"consume": 0.0, "publish": 0.0})


def test_workers_go_on_when_rabbitmq_comes(broker_outage: Outage) -> None:
    """Both: the one that reconnected and the one that had waited from its start."""
    assert broker_outage.afterwards == (ALL_WELL, ALL_WELL)
    assert broker_outage.reconnects == 1
    assert [kinds(told) for told in broker_outage.told] == [["accepted", "started", "imported"]] * len(AFTER_RABBITMQ)
    assert {told[-1]["worker"] for told in broker_outage.told} == {"rabbit-idle", "rabbit-late"}


# --- OMERO is away ---


@pytest.fixture(scope="module")
def omero_outage(alone: Facility, broker_outage: Outage) -> Outage:
    """Given an idle worker, when OMERO stops, a request comes and another worker starts, then it waits for OMERO."""
    assert broker_outage.told
    server = part(alone.layout, "omero")
    with Crew(alone) as crew:
        idle = crew.ready("omero-idle")
        with stopped(server.stop, server.start):
            (request_id,) = send(alone, image(alone, "during the outage", 84))
            until(lambda: only_omero_is_missed(idle), 60, "a worker that misses OMERO")
            late = crew.start("omero-late")
            until(lambda: only_omero_is_missed(late), 60, "another one")
            away = Seen.at(idle), Seen.at(late)
        idle.wait_ready()
        late.wait_ready()
        return Outage(*away, (Seen.at(idle), Seen.at(late)), [events(alone, request_id)])


def only_omero_is_missed(worker: WorkerProcess) -> bool:
    """Whether a worker has tried OMERO, and has everything else."""
    problems = Seen.at(worker).problems
    return problems.keys() == {"omero"} and problems["omero"].startswith("omero-unavailable: ")


@pytest.mark.parametrize("which", ["idle", "late"])
def test_a_worker_without_omero_waits_and_says_so(omero_outage: Outage, which: str) -> None:
    """Whether OMERO went away or was not there at the start: alive, not ready, and everybody can see why."""
    seen: Seen = getattr(omero_outage, which)
    assert (seen.live, seen.ready) == (200, 503)
    assert seen.problems.keys() == {"omero"}
    assert seen.problems["omero"].startswith("omero-unavailable: ")
    assert (seen.omero, seen.broker) == (0.0, {"consume": 1.0, "publish": 1.0})


def test_workers_go_on_when_omero_comes(omero_outage: Outage) -> None:
    """Without anybody's help."""
    assert omero_outage.afterwards == (ALL_WELL, ALL_WELL)


def test_an_outage_of_omero_costs_a_request_nothing(omero_outage: Outage) -> None:
    """It was taken, put back for a while, not counted, and imported when OMERO was there."""
    (told,) = omero_outage.told
    assert kinds(told) == ["accepted", "started", "retried", "started", "imported"]
    retried = next(event for event in told if event["kind"] == "retried")
    assert retried["reason"] == "omero-unavailable"
    assert told[-1]["attempt"] == 1


def test_an_outage_leaves_one_fileset(alone: Facility, omero_outage: Outage) -> None:
    """The request is in OMERO exactly once."""
    (told,) = omero_outage.told
    with logged_in(alone.fleet.stack.omero, "root") as root:
        assert replace(alone, root=root).filesets_of(told[-1]["request_id"]) == [told[-1]["result"]["fileset_id"]]
