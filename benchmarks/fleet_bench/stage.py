"""Where everything is measured: a stack of its own with OMERO's default settings, and workers started on demand.

Neighbours: `fleet_stack` brings it up; cases ask it for a fleet and for workers. Threading: one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from fleet_stack import stack
from fleet_stack.console import note
from fleet_stack.description import StackDescription
from fleet_stack.fleet import Fleet, WorkerProcess, stop_all
from fleet_stack.layout import Layout
from fleet_stack.parts import Options
from fleet_stack.readback import logged_in

STACK: Final = "bench"
SHARE: Final = "hcs"
LANE: Final = "demo"
USER: Final = "alice"
GROUP: Final = "screening"

Settings = Mapping[str, Mapping[str, Any]]


def parallel(uploads: int, filesets: int) -> Settings:
    """The worker's settings for as many files and requests at once."""
    return {"worker": {"parallel_upload": uploads, "parallel_filesets": filesets}}


@dataclass(frozen=True)
class Stage:
    """A stack that is up, without workers."""

    layout: Layout
    description: StackDescription
    build: Path

    @property
    def share(self) -> Path:
        """The folder of the one share."""
        return self.layout.state / "shares" / SHARE

    def tell(self, text: str) -> None:
        """Say how a measurement goes."""
        note(text)

    def password(self, user: str = USER) -> str:
        """The password of an OMERO user of the stack."""
        return self.description.omero.users[user].read_text(encoding="utf-8").strip()

    def fleet(self, *, tls: bool = True, extra: Settings | None = None) -> Fleet:
        """The fleet with these settings, over TLS that is verified unless told otherwise; its queues are there."""
        folder = self.layout.state / "fleet"
        return Fleet(self.description, folder, {SHARE: self.share}, tls=tls, lanes=(LANE,), extra=extra or {})

    @contextlib.contextmanager
    def workers(self, fleet: Fleet, count: int = 1) -> Iterator[list[WorkerProcess]]:
        """Start workers, wait until they are ready, and end them."""
        ports = self.layout.ports.spare
        fleet.apply_topology()
        started = [fleet.start_worker(f"bench-{number}", ports[number]) for number in range(count)]
        try:
            for worker in started:
                worker.wait_ready()
            yield started
        finally:
            stop_all(started)

    @cached_property
    def screen(self) -> int:
        """The screen that all plates go to."""
        return self._container("ScreenI")

    @cached_property
    def dataset(self) -> int:
        """The dataset that all images go to."""
        return self._container("DatasetI")

    def _container(self, kind: str) -> int:
        import omero  # noqa: PLC0415  takes a second, and unit tests need none of it
        from omero.rtypes import rstring  # noqa: PLC0415  as above

        with logged_in(self.description.omero, USER, GROUP) as gateway:
            made = getattr(omero.model, kind)()
            made.name = rstring("Benchmark")
            return int(gateway.getUpdateService().saveAndReturnObject(made).id.val)


@contextlib.contextmanager
def open_stage(build: Path, *, keep: bool = False) -> Iterator[Stage]:
    """A new stack with default settings of OMERO, gone at the end unless it shall be kept.

    Raises:
        StackError: A server does not come up.
    """
    stack.wipe(STACK)
    try:
        description = stack.up(STACK, ("rabbitmq", "omero"), Options(optimise_java=True))
        stage = Stage(Layout.for_name(STACK), description, build)
        stage.share.mkdir(parents=True, exist_ok=True)
        yield stage
    finally:
        if not keep:
            stack.wipe(STACK)
