"""Another client of OMERO, who notices when the fleet asks too much of it, and counts what the fleet has running.

Threading: one thread asks, owned by the :class:`Bystander`; its findings are read after it was stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from omero.gateway import BlitzGateway

from fleet_stack.description import OmeroDescription
from support.proof import Proof

PAUSE_SECONDS: Final = 0.5
LOGIN_EVERY: Final = 8
"""Every so many rounds somebody logs in anew."""

_STARTED: Final = """
    select distinct f.id from FilesetAnnotationLink link join link.parent f join link.child a
    join f.details.creationEvent e join e.session s, FilesetJobLink l, UploadJob u
    where a.ns = 'omero-import-fleet/request' and s.closed is null
    and l.parent.id = f.id and l.child = u and u.status.value = 'Finished'
"""
_IMAGES: Final = "select i.fileset.id, count(i) from Image i where i.fileset is not null group by i.fileset.id"
_THUMBNAILS: Final = """
    select i.fileset.id, count(distinct p.id) from Thumbnail t join t.pixels p join p.image i
    where i.fileset is not null group by i.fileset.id
"""


@dataclass
class Bystander:
    """Asks and logs in twice a second until it is stopped.

    Attributes:
        slowest_seconds: The longest call or login.
        failures: What went wrong.
        running: How many imports of the fleet the server had, each time.
    """

    omero: OmeroDescription
    proof: Proof
    slowest_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._ask_for_ever, name="bystander")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _ask_for_ever(self) -> None:
        rounds = 0
        while not self._stopping.wait(PAUSE_SECONDS):
            self._timed("a query", self._count)
            if rounds % LOGIN_EVERY == 0:
                self._timed("a login", self._log_in)
            rounds += 1

    def _timed(self, what: str, call: Callable[[], Any]) -> None:
        began = time.monotonic()
        try:
            call()
        except Exception as error:
            # Whatever OMERO says to another client of it is a finding.
            self.failures.append(f"{what}: {type(error).__name__}: {error}")
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)

    def _count(self) -> None:
        started = {row[0] for row in self.proof.query(_STARTED)}
        thumbnails = dict(self.proof.query(_THUMBNAILS))
        images = dict(self.proof.query(_IMAGES))
        done = {one for one in started if images.get(one, 0) and thumbnails.get(one, 0) >= images[one]}
        self.running.append(len(started - done))

    def _log_in(self) -> None:
        password = self.omero.users["alice"].read_text(encoding="utf-8").strip()
        gateway = BlitzGateway("alice", password, host=self.omero.host, port=self.omero.ssl_port, secure=True)
        try:
            assert gateway.connect(), "alice cannot log in"
        finally:
            gateway.close()
