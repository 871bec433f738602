"""Where everything is measured: a stack of its own with OMERO's default settings, and workers started on demand.

Neighbours: `fleet_stack` brings it up; cases ask it for a fleet and for workers. Threading: one thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fleet_stack import stack
from fleet_stack.console import note
from fleet_stack.description import StackDescription
from fleet_stack.fleet import Fleet, WorkerProcess, stop_all
from fleet_stack.layout import Layout
from fleet_stack.omero.folders import Folders
from fleet_stack.parts import Options
from fleet_stack.readback import logged_in

STACK: Final = "bench"
SHARE: Final = "hcs"
LANE: Final = "demo"
PLAIN_LANE: Final = "hcs"
"""Of the fleet that is measured over plain TCP beside the usual one."""
USER: Final = "alice"
GROUP: Final = "screening"

_PORTS_EACH: Final = 10
_PLAIN: Final = {"tls": False}
Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Stage:
    """A stack that is up, without workers.

    Attributes:
        build: For logs and files that outlive the stack.
        containers: Those that were made, by kind.
    """

    layout: Layout
    description: StackDescription
    build: Path
    containers: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> Path:
        """The folder of the one share."""
        return self.layout.state / "shares" / SHARE

    @property
    def repository(self) -> Path:
        """OMERO's managed repository on the disk."""
        return Folders.of(self.layout).managed

    def forget(self, least_bytes: int = 100_000_000) -> None:
        """Empty the large files that OMERO holds: nobody will look at them again."""
        for file in self.repository.rglob("*"):
            if file.is_file() and not file.is_symlink() and file.stat().st_size >= least_bytes:
                os.truncate(file, 0)

    def tell(self, text: str) -> None:
        """Say how a measurement goes."""
        note(text)

    def password(self, user: str = USER) -> str:
        """The password of an OMERO user of the stack."""
        return self.description.omero.users[user].read_text(encoding="utf-8").strip()

    def fleet(self, *, plain: bool = False, extra: Settings | None = None) -> Fleet:
        """A fleet with these settings and a lane of its own, over verified TLS unless it shall be plain TCP."""
        name, lane = ("fleet-plain", PLAIN_LANE) if plain else ("fleet", LANE)
        more = {group: dict(values) for group, values in (extra or {}).items()}
        if plain:
            more["omero"] = {**more.get("omero", {}), **_PLAIN}
        folder = self.layout.state / name
        return Fleet(self.description, folder, {SHARE: self.share}, tls=True, lanes=(lane,), extra=more)

    @contextlib.contextmanager
    def workers(self, fleet: Fleet, count: int = 1) -> Iterator[list[WorkerProcess]]:
        """Start workers, wait until they are ready, and end them."""
        fleet.apply_topology()
        first = self.layout.ports.spare[_PORTS_EACH if fleet.lanes == (PLAIN_LANE,) else 0]
        names = [f"bench-{fleet.lanes[0]}-{number}" for number in range(count)]
        started = [fleet.start_worker(name, first + number) for number, name in enumerate(names)]
        try:
            for worker in started:
                worker.wait_ready()
            yield started
        finally:
            stop_all(started)

    def container(self, kind: str) -> int:
        """The ``Screen`` or ``Dataset`` that everything goes to; made once."""
        if kind not in self.containers:
            self.containers[kind] = self._make(f"{kind}I")
        return self.containers[kind]

    def _make(self, kind: str) -> int:
        import omero  # noqa: PLC0415  takes a second, and unit tests need none of it
        from omero.rtypes import rstring  # noqa: PLC0415  as above

        with logged_in(self.description.omero, USER, GROUP) as gateway:
            made = getattr(omero.model, kind)()
            made.name = rstring("Benchmark")
            return int(gateway.getUpdateService().saveAndReturnObject(made).id.val)


@contextlib.contextmanager
def open_stage(build: Path, *, optimise: bool = True, keep: bool = False) -> Iterator[Stage]:
    """A new stack with default settings of OMERO, gone at the end.

    Args:
        build: The folder for what outlives it.
        optimise: Whether OMERO's Java may use its optimising compiler, as a facility's does.
        keep: Use a stack that is there, and leave it running.

    Raises:
        StackError: A server does not come up.
    """
    if not keep:
        stack.wipe(STACK)
    try:
        description = stack.up(STACK, ("rabbitmq", "omero"), Options(optimise_java=optimise))
        stage = Stage(Layout.for_name(STACK), description, build)
        stage.share.mkdir(parents=True, exist_ok=True)
        yield stage
    finally:
        if not keep:
            stack.wipe(STACK)
