"""Remove what dead attempts left in OMERO and nobody came back for.

The lock of a request is held while its debris is deleted, and the fileset is looked at once more under it: a lock that
somebody else holds means that the request is in work. Neighbours: ``sweeper`` does this every ten minutes,
``commands.doctor`` by hand, ``omero.leftovers`` finds. Threading: called by one thread at a time.
"""

from __future__ import annotations

import enum
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import structlog

from fleet_common.broker import Locks, Names
from fleet_common.errors import RequestError
from fleet_common.metrics import Metrics
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.leftovers import is_unfinished
from fleet_worker.omero.serverfacts import LostFolder
from fleet_worker.omero.state import FilesetState

_LOG = structlog.get_logger()
LOST_AFTER_SECONDS: Final = 3600.0
"""``importFileset`` makes the folder before the fileset: a young one may still get its own."""


class SweepParts(Protocol):
    """What a sweep works with; a worker's ``Parts`` are one."""

    @property
    def gateway(self) -> Gateway:
        """The service account."""

    @property
    def locks(self) -> Locks:
        """Where requests are locked."""

    @property
    def names(self) -> Names:
        """The names of the locks."""

    @property
    def metrics(self) -> Metrics:
        """Where what was removed is counted."""


class Fate(enum.StrEnum):
    """What became of one piece of debris."""

    DELETED = "deleted"
    WOULD_DELETE = "would-delete"
    SKIPPED = "skipped"
    FAILED = "failed"


_LEVELS: Final = {
    Fate.DELETED: logging.INFO,
    Fate.WOULD_DELETE: logging.DEBUG,
    Fate.SKIPPED: logging.DEBUG,
    Fate.FAILED: logging.WARNING,
}


@dataclass(frozen=True, slots=True)
class Swept:
    """One piece of debris.

    Attributes:
        what: ``Fileset:12``, or the path of a folder below the managed repository.
        owner: Login name of the owner.
        group: Name of the group that it was made in.
        fate: What became of it.
        detail: Why it was skipped, or how it failed.
    """

    what: str
    owner: str
    group: str
    fate: Fate
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """All debris that was found."""

    filesets: tuple[Swept, ...] = ()
    folders: tuple[Swept, ...] = ()

    @property
    def failed(self) -> tuple[Swept, ...]:
        """What could not be removed."""
        return tuple(one for one in (*self.filesets, *self.folders) if one.fate is Fate.FAILED)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def never() -> bool:
    """A ``stop`` that lets a sweep go on to its end."""
    return False


def sweep(
    parts: SweepParts,
    *,
    dry_run: bool = False,
    lost_after_seconds: float = LOST_AFTER_SECONDS,
    stop: Callable[[], bool] = never,
) -> SweepReport:
    """Find debris and delete it, each piece as its owner; what fails does not keep the rest.

    Args:
        parts: Of the worker.
        dry_run: Only say what would be deleted; takes no lock, so a request that is in work may be named, too.
        lost_after_seconds: How old a folder without a fileset must be, by the server's clock.
        stop: Asked between two pieces; True ends the sweep.

    Raises:
        RequestError: OMERO cannot be asked what there is.
    """
    return _Sweep(parts, dry_run=dry_run, lost_after_seconds=lost_after_seconds, stop=stop).run()


@dataclass(frozen=True, slots=True)
class _Piece:
    """One piece of debris, and how to remove it: answers why it was left, or nothing."""

    what: str
    owner: str
    group: str
    remove: Callable[[], str]


class _Sweep:
    """One sweep; used once."""

    def __init__(
        self, parts: SweepParts, *, dry_run: bool, lost_after_seconds: float, stop: Callable[[], bool]
    ) -> None:
        self._parts = parts
        self._lost_after_seconds = lost_after_seconds
        self._dry_run = dry_run
        self._stop = stop

    def run(self) -> SweepReport:
        filesets = tuple(self._each(map(self._of_fileset, self._parts.gateway.unfinished())))
        # Asked for afterwards: a fileset whose folder could not be deleted leaves a lost one.
        lost = () if self._stop() else self._parts.gateway.lost_folders(self._lost_after_seconds)
        return SweepReport(filesets, tuple(self._each(map(self._of_folder, lost))))

    def _of_fileset(self, state: FilesetState) -> _Piece:
        return _Piece(f"Fileset:{state.id}", state.owner, state.group, lambda: self._remove_fileset(state))

    def _of_folder(self, folder: LostFolder) -> _Piece:
        return _Piece(folder.path, folder.owner, folder.group, lambda: self._remove_folder(folder))

    def _each(self, pieces: Iterable[_Piece]) -> Iterator[Swept]:
        for piece in pieces:
            if self._stop():
                return
            swept = self._settled(piece)
            _LOG.log(_LEVELS[swept.fate], "swept", **asdict(swept))
            yield swept

    def _settled(self, piece: _Piece) -> Swept:
        named = piece.what, piece.owner, piece.group
        try:
            left = piece.remove()
        except RequestError as error:
            return Swept(*named, Fate.FAILED, f"{error.reason}: {error}")
        if left:
            return Swept(*named, Fate.SKIPPED, left)
        return Swept(*named, Fate.WOULD_DELETE if self._dry_run else Fate.DELETED)

    def _remove_fileset(self, state: FilesetState) -> str:
        request_id = state.annotation.get("request_id", "")
        if not _is_uuid(request_id):
            return "its annotation names no request: delete it by hand"
        if self._dry_run:
            return ""
        lease = self._parts.locks.try_take(self._parts.names.lock(request_id))
        if lease is None:
            return "its request is in work"
        with lease:
            return self._remove_under_lock(state, request_id)

    def _remove_under_lock(self, seen: FilesetState, request_id: str) -> str:
        found = self._parts.gateway.find_filesets(request_id)
        if not any(state.id == seen.id and is_unfinished(state) for state in found):
            return "it is no debris any more"
        with self._parts.gateway.sudo(seen.owner, seen.group) as session:
            session.delete_fileset(seen.id)
        self._parts.metrics.swept_filesets.inc()
        return ""

    def _remove_folder(self, folder: LostFolder) -> str:
        if self._parts.gateway.in_use(folder):
            return "a fileset uses it"
        if not self._dry_run:
            with self._parts.gateway.sudo(folder.owner, folder.group) as session:
                session.delete_folder(folder.path)
            self._parts.metrics.swept_directories.inc()
        return ""


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
