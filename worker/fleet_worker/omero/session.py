"""What is done as the owner of an import, in the owner's group: one attempt at a time.

Neighbours: the gateway opens it and ends it, :mod:`~fleet_worker.omero.lending` keeps it for the next attempt.
Threading: every method may be called from any thread; ``close`` by one.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from fleet_common.errors import RequestError
from fleet_common.events import Phase
from fleet_common.targets import Target
from fleet_worker.omero import annotate, bioformats, deletion, pixels, readback, register, serverlog
from fleet_worker.omero.account import identity
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.containers import Resolver
from fleet_worker.omero.facts import ImageFacts, ImportedFacts, ImportSpec, OwnerIds, Plane, ResolvedTarget
from fleet_worker.omero.running import RunningCount
from fleet_worker.omero.state import STARTING
from fleet_worker.omero.upload import RegisteredImport

_numbers = itertools.count(1)


class OwnerSession:
    """A session as ``owner.user`` in ``owner.group``; a context manager that closes it.

    A session in which an import may still run in the server is left instead of closed: to close it would take away the
    import's own reference and end it. Such a session ends by itself, ten minutes after the import.

    Attributes:
        owner: User and group with their ids.
        name: For logs; the session's uuid is a secret.
    """

    def __init__(self, connection: Connection, owner: OwnerIds, *, on_close: Callable[[OwnerSession], None]) -> None:
        self.owner = owner
        self.name = f"{owner.user}-{next(_numbers)}"
        self._connection = connection
        self._on_close = on_close
        self._lock = threading.Lock()
        self._running = RunningCount()
        self._closed = False
        self._registered: list[RegisteredImport] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def alive(self) -> bool:
        """Whether the server still knows it, as the same user in the same group."""
        try:
            return not self.given_up and identity(self._connection, self.owner.user, self.owner.group) == self.owner
        except RequestError:
            return False

    def settle(self) -> bool:
        """Let go of all that its work has left in the server; False where something may still run in it."""
        with self._lock:
            registered, self._registered = self._registered, []
        for one in registered:
            one.close()
        return not self.may_be_importing and not self.given_up

    def resolve_target(self, target: Target, *, creates: bool, made_for: str) -> ResolvedTarget:
        """Find the container, or make it.

        Args:
            target: As requested.
            creates: False to raise ``target-not-found`` where one would have to be made: the caller then takes its lock
                and calls again with True.
            made_for: The id of the request: ``@name`` is a container of its own.

        Raises:
            Permanent: ``target-not-found``, ``target-not-linkable`` or ``target-ambiguous``.
        """
        return Resolver(self._connection, self.owner, creates, made_for).resolve(target)

    def prepare(self) -> None:
        """Ask for what a registration needs, so that it takes no longer than it must: only so many run at once."""
        _ = self._connection.repository

    def register(self, spec: ImportSpec) -> RegisteredImport:
        """Create the fileset in the server; nothing is sent yet. See `register`."""
        registered = register.register(self._connection, spec, running=self._running)
        with self._lock:
            self._registered.append(registered)
        return registered

    def bioformats_version(self, fileset_id: int) -> tuple[int, ...]:
        """Of the Bio-Formats that the server will read a registered fileset with; empty where it does not tell."""
        return bioformats.version_of(self._connection, fileset_id)

    def announce(self, fileset_id: int) -> None:
        """Write on the fileset that its import is about to be started, so that it counts as one that runs."""
        annotate.mark(self._connection, self.owner.user_id, fileset_id, STARTING)

    def delete_fileset(self, fileset_id: int) -> None:
        """Delete plates, fileset, files and folder. Never while something may still import it: yours to know."""
        deletion.delete_fileset(self._connection, self.owner.user_id, fileset_id)

    def delete_folder(self, path: str) -> None:
        """Delete an import's folder that no fileset names, with all that it holds."""
        deletion.delete_folder(self._connection, f"the deletion of {path}", path)

    def verify(self, fileset_id: int) -> ImportedFacts:
        """What OMERO holds for the fileset; to compare is the caller's part."""
        return readback.read_back(self._connection, fileset_id)

    def annotate(self, fileset_id: int, provenance: Mapping[str, str], phases: Mapping[Phase, float]) -> None:
        """Write provenance and times on the fileset; may be done again. See `annotate`."""
        annotate.annotate(self._connection, self.owner.user_id, fileset_id, provenance, phases)

    def read_planes(self, image: ImageFacts, places: Sequence[tuple[int, int, int]]) -> tuple[Plane, ...]:
        """The raw pixels of planes of one image, each given by z, c and t."""
        return pixels.read_planes(self._connection, image, places)

    def log_tail(self, fileset_id: int) -> str:
        """The redacted end of the server's log of an import, also of another attempt's; empty where there is none."""
        return serverlog.log_tail(self._connection, fileset_id)

    @property
    def may_be_importing(self) -> bool:
        """Whether an import of this session may still be at work in the server."""
        return self._running.any()

    @property
    def given_up(self) -> bool:
        """Whether nothing answered any more on its connection."""
        return self._connection.given_up

    def close(self) -> None:
        """Leave the session, and end it unless an import may still run in it. Never raises; may be called again.

        All uploads must have ended: the server deadlocks when a session ends while one of its files is being saved.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.settle()
        self._connection.disconnect()
        self._on_close(self)
