"""One fileset each, counted in OMERO: two watches on one share, killed, one without its state, and a submit repeated.

``tests/unit/test_watch_killed.py`` kills a watch before every single step; here the steps are those of real processes.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from fleet_producer.spool import Spool
from fleet_stack.fleet import Fleet, WorkerProcess, clean_environment
from fleet_stack.plates import PlateSpec, make_plate
from support import waiting
from support.facility import Facility, until
from support.proxy import Proxy

FOLDER: Final = "once"
TARGET: Final = "Screen:+name:once"
SPEC: Final = PlateSpec(wells=1, fields=1, channels=1, size=16)
SECONDS: Final = 120.0
WATCH: Final[Mapping[str, Any]] = {
    "poll_seconds": 0.2,
    "slowest_seconds": 0.5,
    "rest_seconds": 0.5,
    "busy_percent": 100,
    "rules": [{"user": "alice", "group": "screening", "target": TARGET, "lane": "demo"}],
}
# Bounds every test; the fixture of the first waits for imports.
pytestmark = pytest.mark.timeout(400)


@dataclass
class Host:
    """An acquisition host with a watch, a spool and a state of its own."""

    fleet: Fleet
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the watch."""
        with (self.fleet.folder / "watch.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.fleet.command("demo", "watch"), stdout=log, stderr=log, env=clean_environment()
            )

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the watch."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(SECONDS)

    def kill_when(self, *states: str) -> None:
        """Kill the watch with -9 as soon as it keeps a request in one of these states, and start it again."""
        waiting.until(lambda: set(states).intersection(self.states()), SECONDS, str(states), pause_seconds=0.001)
        self.end(signal.SIGKILL)
        self.start()

    def states(self) -> list[str]:
        """Of all that is in the spool."""
        return [str(slip.state) for slip in Spool(self.fleet.folder / "spool", 1_000_000).slips()]

    def plates(self) -> list[str]:
        """The states of all plates that the watch knows."""
        shown = self.fleet.run("demo", "watch", "--state", "--json")
        return [one["state"] for one in json.loads(shown.stdout)["plates"]]

    def forget(self) -> None:
        """Lose the state."""
        shutil.rmtree(self.fleet.folder / "watch-spool")


@pytest.fixture(scope="module")
def hosts(facility: Facility, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    """Two hosts that watch the same folder of one share."""
    top = facility.share("hcs") / FOLDER
    top.mkdir()
    extra = {**facility.fleet.extra, "watch": {**WATCH, "folders": [{"path": str(top), "settle_seconds": 1.0}]}}
    first, second = (
        Host(replace(facility.fleet, folder=tmp_path_factory.mktemp(name), extra=extra)) for name in ("one", "two")
    )
    try:
        yield first, second
    finally:
        for host in (first, second):
            if host.process is not None:
                host.process.kill()
                host.process.wait(SECONDS)
            print((host.fleet.folder / "watch.log").read_text()[-2000:])  # noqa: T201  pytest shows it beside a failure


def submit_without_confirm(facility: Facility, plate: Path, folder: Path) -> None:
    """Have a command send the request of a plate, and kill it before it hears the confirm."""
    with Proxy(facility.fleet.stack.broker.amqp_port) as proxy:
        extra = {**facility.fleet.extra, "broker": {"port": proxy.port}}
        fleet = replace(facility.fleet, folder=folder, extra=extra)
        proxy.hold_answers_to(b"import.requests")
        words = ("submit", str(plate), "--target", TARGET, "--user", "alice", "--group", "screening")
        command = subprocess.Popen(fleet.command("demo", *words), env=clean_environment(), stdout=subprocess.DEVNULL)
        assert proxy.heard.wait(SECONDS)
        command.kill()
        command.wait(SECONDS)


def of_folder(facility: Facility, plate: Path) -> set[str]:
    """The ids of all requests for a plate that the event log knows."""
    source = f"hcs/{plate.relative_to(facility.share('hcs'))}/"
    return {one["request_id"] for one in facility.status() if (one.get("source") or "").startswith(source)}


def imported(facility: Facility, plate: Path) -> str:
    """The id of the request of a plate, once it is imported."""
    source = f"hcs/{plate.relative_to(facility.share('hcs'))}/"
    done = [
        one["request_id"]
        for one in facility.status()
        if (one.get("source") or "").startswith(source) and one["state"] in {"imported", "already-imported"}
    ]
    return str(done[0]) if done else ""


@pytest.fixture(scope="module")
def plates(
    facility: Facility,
    hosts: tuple[Host, Host],
    workers: tuple[WorkerProcess, WorkerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, Path]:
    """Given two watches of which one is killed twice and forgets, and a submit that is killed and repeated."""
    assert len(workers) == 2
    first, second = hosts
    top = facility.share("hcs") / FOLDER
    watched = make_plate(top, replace(SPEC, name="watched", seed=71)).folder
    submitted = make_plate(top, replace(SPEC, name="submitted", seed=72)).folder
    submit_without_confirm(facility, submitted, tmp_path_factory.mktemp("three"))
    for host in hosts:
        host.start()
    first.kill_when("pending", "sent")
    first.kill_when("sent")
    repeated = facility.submit(submitted, target=TARGET)
    assert repeated.states[0] in {"imported", "already-imported"}, repeated.errors
    request_id = until(lambda: imported(facility, watched), SECONDS, "an import of the watched plate")
    # The other one was not there for some of its outcomes.
    until(lambda: not second.states(), SECONDS, "outcomes of all that was kept")
    second.end()
    second.forget()
    second.start()
    until(lambda: second.plates() == ["published"] * 2, SECONDS, "plates that are published once more")
    assert facility.submit(watched, target=TARGET).requests[0]["request_id"] == request_id
    return {"watched": watched, "submitted": submitted}


@pytest.mark.parametrize("name", ["watched", "submitted"])
def test_a_plate_that_was_published_again_and_again_is_one_fileset(
    facility: Facility, plates: Mapping[str, Path], name: str
) -> None:
    """By request id, and by the path of its files in OMERO."""
    (request_id,) = of_folder(facility, plates[name])
    (fileset_id,) = facility.filesets_of(request_id)
    rows = facility.query(
        "select distinct entry.fileset.id from FilesetEntry entry where entry.clientPath like :path",
        path=f"%/{FOLDER}/{plates[name].name}/%",
    )
    assert rows == [(fileset_id,)]
