"""Where a stack lives: its folders and its ports, both found from its name.

Role: the one place that knows paths and port numbers. Everything of a stack is below ``<state root>/<name>``, what
several stacks share (unpacked packages, downloads) below the cache root; nothing else is written but Debian packages.
Neighbours: every part of the stack. Threading: plain data; `claim` excludes other processes with a lock file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleet_stack.console import StackError
from fleet_stack.processes import accepts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER: Final = "omero-import-fleet"
RECORD: Final = "stack.json"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")

# Below 32768, where Linux begins to hand out ports to outgoing connections (net.ipv4.ip_local_port_range).
FIRST_PORT: Final = 20000
PORTS_EACH: Final = 40
PLACES: Final = 300
PORTS_USED: Final = 13


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one stack, all on 127.0.0.1."""

    amqp: int
    amqps: int
    management: int
    rabbitmq_metrics: int
    distribution: int
    epmd: int
    stream: int
    postgres: int
    omero_ssl: int
    omero_tcp: int
    ice_registry: int
    web: int
    prometheus: int

    @property
    def spare(self) -> range:
        """Ports of this stack that no part uses: for servers that a test or the demo starts beside it."""
        return range(self.prometheus + 1, self.amqp + PORTS_EACH)

    @classmethod
    def from_base(cls, base: int) -> Ports:
        """The ports that follow from a stack's first port."""
        return cls(*range(base, base + PORTS_USED))


@dataclass(frozen=True, slots=True)
class Layout:
    """Folders and ports of one stack."""

    name: str
    state: Path
    cache: Path
    base_port: int
    ports: Ports = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ports", Ports.from_base(self.base_port))

    @property
    def secrets(self) -> Path:
        """Passwords, one file each, mode 0600."""
        return self.state / "secrets"

    @property
    def certificates(self) -> Path:
        """The stack's own authority and server certificate."""
        return self.state / "certs"

    @property
    def rabbitmq(self) -> Path:
        """The broker's node."""
        return self.state / "rabbitmq"

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.state / "postgres"

    @property
    def omero(self) -> Path:
        """OMERO.server and its managed repository."""
        return self.state / "omero"

    @property
    def web(self) -> Path:
        """OMERO.web."""
        return self.state / "web"

    @property
    def log(self) -> Path:
        """Logs that belong to no single part."""
        return self.state / "log"

    @property
    def record(self) -> Path:
        """The file that says where everything is, for programs and people."""
        return self.state / RECORD

    def make(self) -> None:
        """Create the stack's folder so that the database's user can enter it."""
        for folder in (self.state.parent, self.state):
            open_folder(folder)

    @classmethod
    def for_name(cls, name: str) -> Layout:
        """The layout of a stack: as recorded, or as it would be if it were created now. Writes nothing."""
        state = _state_of(name)
        base_port = _recorded_base(state / RECORD)
        if base_port is None:
            base_port = _choose(name, _taken(state.parent, name))
        return cls(name, state, cache_root(), base_port)

    @classmethod
    def claim(cls, name: str) -> Layout:
        """The layout of a stack whose ports are now recorded as its own.

        Raises:
            StackError: the name cannot be used, or no ports are left.
        """
        state = _state_of(name)
        open_folder(state.parent)
        with locked(state.parent / ".lock"):
            layout = cls.for_name(name)
            if not layout.record.exists():
                layout = cls(name, state, layout.cache, _choose(name, _taken(state.parent, name), probe=True))
                layout.make()
                write_whole(layout.record, json.dumps({"name": name, "base_port": layout.base_port}) + "\n")
        return layout


def state_root(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of all stacks: `FLEET_STATE`, /var/lib for root, otherwise the user's XDG state folder."""
    return _root(environment, "FLEET_STATE", Path("/var/lib"), "XDG_STATE_HOME", ".local/state")


def cache_root(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that stacks share: `FLEET_CACHE`, /var/cache for root, otherwise the user's XDG cache folder."""
    return _root(environment, "FLEET_CACHE", Path("/var/cache"), "XDG_CACHE_HOME", ".cache")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file against other processes; waits for as long as the holder lives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def open_folder(path: Path) -> None:
    """Create a folder that everybody may enter whatever the umask; an existing one stays as it is."""
    if not path.exists():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new text, never half of it."""
    aside = path.with_name(f"{path.name}.{threading.get_ident()}.new")
    aside.write_text(text)
    aside.replace(path)


def _root(environment: Mapping[str, str], own: str, for_root: Path, xdg: str, below_home: str) -> Path:
    if environment.get(own):
        return Path(environment[own]).expanduser().resolve()
    if os.geteuid() == 0:
        return for_root / FOLDER
    home = Path(environment.get("HOME") or Path.home())
    return Path(environment.get(xdg) or home / below_home) / FOLDER


def _state_of(name: str) -> Path:
    if not NAME.fullmatch(name):
        raise StackError(f"{name!r} is no name of a stack: use 1 to 31 of a-z, 0-9 and -, not beginning with -")
    return state_root() / name


def _recorded_base(record: Path) -> int | None:
    try:
        text = record.read_text()
    except OSError:
        return None
    try:
        return int(json.loads(text)["base_port"])
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(f"{record} is damaged ({error}): remove the stack's folder {record.parent}") from error


def _taken(root: Path, name: str) -> set[int]:
    records = (record for record in root.glob(f"*/{RECORD}") if record.parent.name != name)
    return {base for record in records if (base := _recorded_base(record)) is not None}


def _choose(name: str, taken: set[int], *, probe: bool = False) -> int:
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % PLACES
    for step in range(PLACES):
        base = FIRST_PORT + (first + step) % PLACES * PORTS_EACH
        if base not in taken and not (probe and any(map(accepts, range(base, base + PORTS_EACH)))):
            return base
    raise StackError("no ports are left for another stack: wipe one with `python -m fleet_stack wipe --name NAME`")
