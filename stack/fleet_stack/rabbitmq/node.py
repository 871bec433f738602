"""One RabbitMQ node: its processes and their files.

Role: start, stop, kill and recognise the broker and its epmd. Neighbours: `config` makes the texts, `part` is what the
stack sees. Threading: one thread at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleet_stack.console import StackError, run
from fleet_stack.layout import open_folder, write_whole
from fleet_stack.processes import accepts, detached, end, is_running, wait_until
from fleet_stack.rabbitmq.config import client_environment, enabled_plugins, server_environment

if TYPE_CHECKING:
    from fleet_stack.layout import Layout

START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 30.0
EPMD_SECONDS: Final = 5.0
# An unknown protocol version: the broker answers with its own header and hangs up (AMQP 0-9-1, 4.2.2).
GREETING: Final = b"AMQP\x00\x00\x09\x01"
TAIL_CHARACTERS: Final = 3000


@dataclass(frozen=True, slots=True)
class Running:
    """What was started last, as recorded in ``node.json``."""

    version: str
    root: Path
    broker: str
    epmd: str


def speaks_amqp(port: int) -> bool:
    """Whether a broker on this port answers the protocol; it accepts connections a little earlier."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(GREETING)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


class Node:
    """The node of one stack."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._folder = layout.rabbitmq
        self._record = self._folder / "node.json"

    @property
    def is_up(self) -> bool:
        """Whether the recorded broker runs and answers on all its ports."""
        recorded = self._recorded()
        return recorded is not None and is_running(recorded.broker) and self._answers()

    @property
    def runs(self) -> bool:
        """Whether the recorded broker runs at all."""
        recorded = self._recorded()
        return recorded is not None and is_running(recorded.broker)

    def start(self, version: str, root: Path, conf: str) -> None:
        """Start broker and epmd and wait until every listener answers; a running node is left running.

        Raises:
            StackError: a port is taken, or the broker does not come up; with what it said.
        """
        if self.runs:
            wait_until(self._answers, START_SECONDS, "RabbitMQ")
            return
        self._forget()
        self._refuse_taken_ports()
        self._write_files(conf)
        env = server_environment(self._layout, root, os.environ)
        epmd = self._start_epmd(env)
        script = _program("rabbitmq-server", env)
        broker = detached(["sh", script], env=env, cwd=self._folder, log=self._folder / "log/startup.log")
        self._remember(Running(version, root, broker, epmd))
        self._wait(broker)

    def stop(self) -> None:
        """End the broker in an orderly way; it is killed after 30 s."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker as a power cut would."""
        self._end(signal.SIGKILL)

    def ctl(self, root: Path, *words: str) -> str:
        """Run rabbitmqctl on this node and return its output.

        Raises:
            StackError: it refused.
        """
        env = client_environment(self._layout, root, os.environ)
        return run(["sh", _program("rabbitmqctl", env), *words], env=env, cwd=self._folder)

    def _answers(self) -> bool:
        return speaks_amqp(self._layout.ports.amqp) and all(map(accepts, self._listeners()[1:]))

    def _listeners(self) -> tuple[int, ...]:
        ports = self._layout.ports
        return (ports.amqp, ports.amqps, ports.management, ports.rabbitmq_metrics, ports.stream)

    def _refuse_taken_ports(self) -> None:
        wanted = (*self._listeners(), self._layout.ports.distribution, self._layout.ports.epmd)
        taken = [port for port in wanted if accepts(port)]
        if taken:
            raise StackError(
                f"ports {', '.join(map(str, taken))} of stack {self._layout.name} are used by another program: "
                f"see `ss -ltnp`, end it, or use a stack of another name"
            )

    def _write_files(self, conf: str) -> None:
        open_folder(self._folder)
        for name in ("data", "log", "generated", "conf.d"):
            (self._folder / name).mkdir(exist_ok=True)
        (self._folder / "pid").unlink(missing_ok=True)
        (self._folder / "rabbitmq-env.conf").write_text("")
        (self._folder / "advanced.config").write_text("[].\n")
        (self._folder / "enabled_plugins").write_text(enabled_plugins())
        conf_file = self._folder / "rabbitmq.conf"
        conf_file.touch(mode=0o600)
        conf_file.write_text(conf)

    def _start_epmd(self, env: dict[str, str]) -> str:
        # Not left to the broker, which would start one that nobody knows how to end.
        port = self._layout.ports.epmd
        command = [_program("epmd", env), "-port", str(port), "-address", "127.0.0.1"]
        epmd = detached(command, env=env, cwd=self._folder, log=self._folder / "log/epmd.log")
        wait_until(lambda: accepts(port), EPMD_SECONDS, f"epmd on port {port}", epmd)
        return epmd

    def _wait(self, broker: str) -> None:
        try:
            wait_until(self._answers, START_SECONDS, "RabbitMQ", broker)
        except StackError as error:
            self._end(signal.SIGTERM)
            log = self._folder / "log/startup.log"
            said = log.read_text(errors="replace")[-TAIL_CHARACTERS:]
            raise StackError(f"{error}; see {log.parent}\n{said}") from error

    def _recorded(self) -> Running | None:
        try:
            content = json.loads(self._record.read_text())
        except FileNotFoundError:
            return None
        return Running(content["version"], Path(content["root"]), content["broker"], content["epmd"])

    def _remember(self, running: Running) -> None:
        write_whole(self._record, json.dumps(asdict(running), default=str) + "\n")

    def _end(self, first: signal.Signals) -> None:
        recorded = self._recorded()
        if recorded is not None:
            end(recorded.broker, STOP_SECONDS, first)
        self._forget()

    def _forget(self) -> None:
        recorded = self._recorded()
        if recorded is not None:
            end(recorded.epmd, EPMD_SECONDS)  # a broker that crashed leaves it behind
            self._record.unlink()


def _program(name: str, env: dict[str, str]) -> str:
    found = shutil.which(name, path=env["PATH"])
    if found is None:
        raise StackError(f"{name} is not on {env['PATH']}: remove the broker's folder from the cache and try again")
    return found
