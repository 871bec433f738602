"""The processes of a stack's OMERO.server: IceGrid, and what IceGrid starts and watches.

``start`` returns when one can log in. A Blitz that is killed is started again by IceGrid; ``stop`` ends all of them and
leaves PostgreSQL alone. Used by ``part``; the files come from ``config``. No threads; the processes outlive the command
that started them.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Final

from fleet_stack import processes
from fleet_stack.console import StackError, run, step
from fleet_stack.layout import Layout
from fleet_stack.omero import config, icegrid, java, packages
from fleet_stack.omero.folders import Folders
from fleet_stack.omero.settings import OmeroSettings

START_SECONDS: Final = 300.0
REGISTRY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 60.0
CHILD_STOP_SECONDS: Final = 20.0
BLITZ: Final = "Blitz-0"
ACCEPTS: Final = "OMERO.blitz now accepting connections."
CLOSES: Final = "Calling close"
FAILED: Final = "Error on startup."


class OmeroServer:
    """The server of one stack; every method can be called from any process that knows the layout."""

    def __init__(self, layout: Layout, settings: OmeroSettings) -> None:
        self._layout = layout
        self._settings = settings
        self._folders = Folders.of(layout)
        self._identity_file = layout.omero / "icegridnode.process"
        self._state_file = self._folders.log / f"{BLITZ}.log.state"

    def start(self) -> None:
        """Start OMERO and wait until one can log in; PostgreSQL must run. A running one keeps its settings.

        Raises:
            StackError: A port is taken, or the server did not come up; the text names the log.
        """
        if self.node() is None:
            self.stop()  # what a killed icegridnode left over
            self._check_ports()
            self._start_grid(config.write(self._layout, self._settings, packages.require(self._layout.cache)))
        with step("start OMERO"):
            self.wait_until_ready()

    def wait_until_ready(self, deadline_seconds: float = START_SECONDS) -> None:
        """Wait until one can log in, for example after Blitz was killed.

        Raises:
            StackError: The deadline passed, or the server gave up; then it is stopped, or IceGrid would try for ever.
        """
        what = f"OMERO (see {BLITZ}.log and icegridnode.out in {self._folders.log})"
        try:
            processes.wait_until(self._ready_or_broken, deadline_seconds, what, self.node())
        except StackError:
            self.stop()
            raise

    def ready(self) -> bool:
        """Whether one can log in: the present Blitz has said so, and the doors are open."""
        blitz = self.children().get(BLITZ)
        if self.node() is None or blitz is None:
            return False
        said = self._said_by(blitz)
        doors = (self._layout.ports.omero_ssl, self._layout.ports.omero_tcp)
        return ACCEPTS in said and CLOSES not in said and all(map(processes.accepts, doors))

    def stop(self) -> None:
        """Stop OMERO and everything that IceGrid started; harmless when nothing runs."""
        node = self.node()
        if node is None and not self.children():
            return
        with step("stop OMERO"):
            processes.end(node, STOP_SECONDS)  # ends its servers first
            for child in self.children().values():
                processes.end(child, CHILD_STOP_SECONDS)
        self._identity_file.unlink(missing_ok=True)

    def kill_blitz(self) -> None:
        """Kill Blitz with SIGKILL, as the kernel does when memory is short; IceGrid starts it again by itself.

        Raises:
            StackError: No Blitz runs.
        """
        blitz = self.children().get(BLITZ)
        if blitz is None:
            raise StackError("no Blitz runs that could be killed")
        processes.end(blitz, 0, signal.SIGKILL)
        self._state_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End everything at once, without a chance to write anything; harmless when nothing runs."""
        for process in (self.node(), *self.children().values()):
            processes.end(process, 0, signal.SIGKILL)
        self._identity_file.unlink(missing_ok=True)

    def node(self) -> str | None:
        """The identity of the running icegridnode, None when there is none."""
        try:
            known = self._identity_file.read_text()
        except OSError:
            return None
        return known if processes.is_running(known) else None

    def children(self) -> dict[str, str]:
        """Names and identities of what IceGrid started for this stack: their commands name its folder."""
        mark = f"--Ice.Config={self._folders.ice}/node/servers/"
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            command = _command(folder)
            identity = processes.identity(int(folder.name)) if mark in command else None
            if identity is not None:
                found[command.split(mark)[1].split("/")[0]] = identity
        return found

    def _ready_or_broken(self) -> bool:
        blitz = self.children().get(BLITZ)
        if blitz is not None and FAILED in self._said_by(blitz):
            raise StackError(f"OMERO could not start; {self._folders.log}/{BLITZ}.log says why")
        return self.ready()

    def _said_by(self, blitz: str) -> str:
        """What this very Blitz said about its state; the file of one that was killed is older than its successor."""
        try:
            is_its_own = self._state_file.stat().st_mtime >= _started_at(blitz) - 1
            return self._state_file.read_text(errors="replace") if is_its_own else ""
        except OSError:
            return ""

    def _check_ports(self) -> None:
        ports = self._layout.ports
        for port in (ports.omero_ssl, ports.omero_tcp, ports.ice_registry):
            if processes.accepts(port):
                raise StackError(f"port {port} is taken by another program than this stack's OMERO")

    def _start_grid(self, grid: icegrid.Grid) -> None:
        # IceGrid's own files hold nothing that is not written anew.
        shutil.rmtree(self._folders.ice, ignore_errors=True)
        for name in ("registry", "node", "storm"):
            (self._folders.ice / name).mkdir(parents=True)
        self._state_file.unlink(missing_ok=True)
        with step("start IceGrid"):
            self._start_node(grid)
            etc = self._folders.etc
            address = f"--Ice.Default.Locator={grid.locator}"
            run(["icegridadmin", address, "-u", "root", "-p", "-", "-e", f"application add '{etc}/app.xml'"])

    def _start_node(self, grid: icegrid.Grid) -> None:
        command = ["icegridnode", f"--Ice.Config={self._folders.etc}/node.cfg"]
        log = self._folders.log / "icegridnode.out"
        node = processes.detached(command, env=self._environment(), cwd=self._folders.home, log=log)
        self._identity_file.write_text(node)
        registry = grid.ports.ice_registry
        what = f"IceGrid on port {registry} (see {log})"
        processes.wait_until(lambda: processes.accepts(registry), REGISTRY_SECONDS, what, node)

    def _environment(self) -> dict[str, str]:
        # omero.util.TempFileManager of omero-blitz reads this name, omero-py another one.
        return {**java.environment(), "OMERO_TEMPDIR": str(self._folders.temporary)}


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_bytes().decode(errors="replace")
    except OSError:  # it has ended
        return ""


def _started_at(process: str) -> float:
    """When a process was started, in seconds since 1970; see proc(5)."""
    ticks = int(process.partition("/")[2])
    lines = Path("/proc/stat").read_text().splitlines()
    boot_seconds = next(int(line.split()[1]) for line in lines if line.startswith("btime"))
    return boot_seconds + ticks / os.sysconf("SC_CLK_TCK")
