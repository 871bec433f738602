"""The fleet on a stack: settings files for its accounts, and workers as real processes.

Role: what demo and tests need to run ``omero-fleet`` against a private stack. Neighbours: `description` says where
the servers are; the fleet itself is only ever started as a command. Threading: plain data; one thread uses one process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fleet_stack import processes
from fleet_stack.console import StackError
from fleet_stack.description import StackDescription
from fleet_stack.layout import Layout, write_whole
from fleet_stack.processes import wait_until

LANES: Final = ("demo", "hcs", "confocal")
_RECORD: Final = "workers.json"
_PATIENCE_SECONDS: Final = 60.0
_PROGRAM: Final = (sys.executable, "-m", "fleet_common.cli")


@dataclass(frozen=True, slots=True)
class Fleet:
    """A stack with the folders of its shares and of the fleet's own files.

    Attributes:
        stack: Where the servers are.
        folder: Settings and logs of the fleet; made when needed.
        shares: Name and folder of each share.
        lane_rules: Allow-lists by lane as in the worker's settings; by default each lane may ask for everything.
        tls: Whether broker and OMERO are reached over verified TLS; without it the settings opt out explicitly.
        lanes: What the topology declares and the workers serve.
        extra: More settings by group, which win over those that follow from the stack.
    """

    stack: StackDescription
    folder: Path
    shares: Mapping[str, Path]
    lane_rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tls: bool = False
    lanes: tuple[str, ...] = LANES
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def settings(self, account: str) -> Path:
        """Write the settings file for a broker account and return its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{account}.toml"
        # Whole: another thread may be starting a command with the same file.
        write_whole(file, self._settings(account))
        return file

    def run(self, account: str, *arguments: str, timeout_seconds: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run ``omero-fleet`` as a broker account and wait for its end."""
        return subprocess.run(
            self.command(account, *arguments),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            env=clean_environment(),
        )

    def command(self, account: str, *arguments: str) -> list[str]:
        """The command line of ``omero-fleet`` for a broker account."""
        return [*_PROGRAM, "--config", str(self.settings(account)), *arguments]

    def start_worker(self, name: str, port: int, *arguments: str) -> WorkerProcess:
        """Start a worker; :meth:`WorkerProcess.wait_ready` waits for it."""
        return self.start_service("worker", name, port, "work", "--name", name, *arguments)

    def start_service(self, account: str, name: str, port: int, command: str, *arguments: str) -> WorkerProcess:
        """Start a command that goes on and serves metrics and health as a worker does, as a broker account."""
        words = self.command(account, command, "--metrics-port", str(port), *arguments)
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                words, stdout=output, stderr=output, env=clean_environment(), start_new_session=True
            )
        return WorkerProcess(name, port, process, log)

    def apply_topology(self) -> None:
        """Declare the fleet's queues.

        Raises:
            StackError: The command failed; with what it said.
        """
        lanes = [word for lane in self.lanes for word in ("--lane", lane)]
        done = self.run("topology", "topology", "apply", *lanes)
        if done.returncode:
            raise StackError(f"topology apply ended with {done.returncode}: {done.stderr}")

    def _settings(self, account: str) -> str:
        broker, omero = self.stack.broker, self.stack.omero
        groups: dict[str, Mapping[str, Any]] = {
            "broker": {
                "host": "localhost" if self.tls else broker.host,
                "port": broker.amqps_port if self.tls else broker.amqp_port,
                "vhost": broker.vhost,
                "user": account,
                "password_file": str(broker.users[account]),
                "tls": self.tls,
                "management_url": broker.management_url,
            }
            | ({"ca_file": str(broker.ca_file)} if self.tls else {}),
            "omero": {
                "host": "localhost" if self.tls else omero.host,
                "port": omero.ssl_port,
                "user": omero.service_account,
                "password_file": str(omero.users[omero.service_account]),
                "verify_tls": self.tls,
                "web_url": omero.web_url,
            }
            | ({"ca_file": str(omero.ca_file)} if self.tls else {}),
            # Not the default below the home folder, which would outlive the stack.
            "producer": {"spool": str(self.folder / "spool")},
            "shares": {name: str(folder) for name, folder in self.shares.items()},
        }
        for group, values in self.extra.items():
            groups[group] = {**groups.get(group, {}), **values}
        lanes: dict[str, Mapping[str, Any]] = {f"worker.lanes.{lane}": self._rule(lane) for lane in self.lanes}
        return "".join(_table(name, values) for name, values in (groups | lanes).items())

    def _rule(self, lane: str) -> Mapping[str, Any]:
        everything = {"shares": {name: [""] for name in self.shares}, "users": ["*"], "groups": ["*"]}
        return self.lane_rules.get(lane, everything)


@dataclass(slots=True)
class WorkerProcess:
    """One running worker, or another command that goes on and serves its health."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ready(self) -> bool:
        """Whether it says that it can take requests."""
        return self.fetch("/readyz")[0] == 200  # noqa: PLR2004  the code means what it says

    def wait_ready(self, deadline_seconds: float = 60.0) -> None:
        """Wait until it can take requests.

        Raises:
            StackError: It ended, or was not ready in time; with the end of its log.
        """
        try:
            wait_until(lambda: self.process.poll() is not None or self.ready(), deadline_seconds, f"worker {self.name}")
        except StackError as error:
            raise StackError(f"{error}; /readyz says {self.fetch('/readyz')}\n{self.tail()}") from error
        if self.process.poll() is not None:
            raise StackError(f"worker {self.name} ended with {self.process.returncode}:\n{self.tail()}")

    def fetch(self, path: str) -> tuple[int, str]:
        """Ask its health port; 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of a metric that have these labels; 0 where there is none."""
        lines = (line.rpartition(" ") for line in self.fetch("/metrics")[1].splitlines())
        return sum(
            float(value)
            for key, _, value in lines
            if key.partition("{")[0] == name and all(f'{label}="{text}"' in key for label, text in labels.items())
        )

    def stop(self, deadline_seconds: float = 60.0) -> int:
        """End it as Kubernetes does, and return its exit code; killed when it does not end in time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(deadline_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(10)

    def tail(self, characters: int = 3000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""


def record_workers(layout: Layout, workers: Sequence[WorkerProcess]) -> None:
    """Remember workers that go on after this program, so that the stack can end them."""
    identities = [processes.identity(worker.process.pid) for worker in workers]
    write_whole(layout.state / _RECORD, json.dumps([one for one in identities if one]))


def stop_recorded(layout: Layout) -> int:
    """End the workers of an earlier program, and return how many there were."""
    file = layout.state / _RECORD
    running = list(json.loads(file.read_text())) if file.exists() else []
    alive = [one for one in running if processes.is_running(one)]
    for one in alive:
        processes.end(one, _PATIENCE_SECONDS)
    file.unlink(missing_ok=True)
    return len(alive)


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of another fleet."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OMERO_FLEET_")}


def stop_all(workers: Sequence[WorkerProcess]) -> None:
    """End several workers side by side."""
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGTERM)
    for worker in workers:
        worker.stop()


def _table(name: str, values: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, "", ""])


def _value(value: Any) -> str:
    # JSON's texts, numbers, booleans and lists of them are TOML's, too.
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
