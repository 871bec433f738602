"""Whether OMERO can take an import at all: writable, with space left, and how much it does at once. Reads only.

What a restricted administrator may ask was found on a real server: every setting named here but the size of the
connection pool, which is among those that OMERO shows to full administrators only. Safe in any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fleet_common.errors import NeedsOperator, Permanent, Reason, RequestError, failure
from fleet_worker.omero.connection import PING_TIMEOUT_MS, Connection
from fleet_worker.omero.serverfacts import ServerLimits
from fleet_worker.omero.translate import translated

_KILO: Final = 1024
_MS: Final = 1000.0
_READ_ONLY: Final = {
    "database": "omero.cluster.read_only.runtime.db",
    "repository": "omero.cluster.read_only.runtime.repo",
}
"""What a running server really is, whatever it was told; blitz sets them when it starts."""


def check_vitals(connection: Connection, min_free_bytes: int) -> None:
    """Whether the server may be written to and has space.

    Args:
        connection: The service account's.
        min_free_bytes: Wanted in OMERO's data folder; 0 does not ask, which saves the server a run of ``df``.

    Raises:
        Transient: ``omero-read-only`` or ``omero-full``, or the server does not answer within 20 s.
    """
    locked = read_only(connection)
    if locked:
        raise failure(
            Reason.OMERO_READ_ONLY,
            f"OMERO is read-only ({' and '.join(locked)}): nothing is imported until it is started without "
            "omero.cluster.read_only",
        )
    free = free_bytes(connection) if min_free_bytes else None
    if free is not None and free < min_free_bytes:
        raise failure(
            Reason.OMERO_FULL,
            f"OMERO's data folder has {free:,} bytes left, {min_free_bytes:,} are needed (omero.min_free_bytes)",
        )


def read_only(connection: Connection) -> tuple[str, ...]:
    """What of the server is read-only: ``database``, ``repository``, both or nothing."""
    return tuple(part for part, name in _READ_ONLY.items() if setting(connection, name) == "true")


def free_bytes(connection: Connection) -> int | None:
    """Free space on the disk of ``omero.data.dir``; None where the server cannot tell.

    A managed repository on a disk of its own is not seen: an import that fills it ends as ``omero-full``.
    """
    try:
        with translated("the look-up of OMERO's free space"):
            service = connection.repository_info.ice_invocationTimeout(PING_TIMEOUT_MS)
            return int(service.getFreeSpaceInKilobytes()) * _KILO
    except RequestError as error:
        if error.reason in {Reason.INTERNAL_ERROR, Reason.OMERO_REFUSED}:
            return None
        raise


def server_limits(connection: Connection) -> ServerLimits:
    """How much the server does at once; None for what the account may not read or the server does not know."""
    idle_ms = _number(connection, "omero.sessions.timeout")
    cancel_ms = _number(connection, "omero.threads.cancel_timeout")
    return ServerLimits(
        min_threads=_number(connection, "omero.threads.min_threads"),
        background_threads=_number(connection, "omero.threads.background_threads"),
        pool_size=_number(connection, "omero.db.poolsize"),
        session_idle_seconds=None if idle_ms is None else idle_ms / _MS,
        cancel_seconds=None if cancel_ms is None else cancel_ms / _MS,
    )


def clock_difference_seconds(connection: Connection, clock: Callable[[], float]) -> float:
    """How far the server's clock is ahead of ours; its answer is taken for the middle of the call."""
    before = clock()
    theirs = server_seconds(connection)
    return theirs - (before + clock()) / 2


def server_seconds(connection: Connection) -> float:
    """The server's clock, in seconds since 1970."""
    with translated("the look-up of OMERO's clock"):
        return float(connection.config.ice_invocationTimeout(PING_TIMEOUT_MS).getServerTime().val) / _MS


def setting(connection: Connection, name: str) -> str | None:
    """A setting of the server, empty if it has none; None where the account may not read it."""
    try:
        with translated(f"the look-up of {name}"):
            return str(connection.config.ice_invocationTimeout(PING_TIMEOUT_MS).getConfigValue(name))
    except (Permanent, NeedsOperator):
        # SecurityViolation: a setting that is for full administrators only.
        return None


def _number(connection: Connection, name: str) -> int | None:
    value = setting(connection, name)
    return int(value) if value is not None and value.isdigit() else None
