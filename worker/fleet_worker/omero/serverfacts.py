"""Values about the server itself and what is left on it: frozen, without any Ice type, safe in any thread."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How much the server does at once; None for what the account may not read.

    Attributes:
        min_threads: ``omero.threads.min_threads``: imports that run at once (blitz 5.5.8).
        background_threads: ``omero.threads.background_threads``: imports that run or wait in the server.
        pool_size: ``omero.db.poolsize``: connections to its database; for full administrators only.
        session_idle_seconds: ``omero.sessions.timeout``: of the service account's own session.
        cancel_seconds: ``omero.threads.cancel_timeout``: how long a cancel waits for the end of a step.
    """

    min_threads: int | None = None
    background_threads: int | None = None
    pool_size: int | None = None
    session_idle_seconds: float | None = None
    cancel_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LostFolder:
    """A folder of an import in the managed repository that no fileset names.

    Attributes:
        id: Of its row in the database.
        path: Below the repository, with a slash at its end.
        owner_id: OMERO id of the owner.
        owner: Login name of the owner.
        group_id: OMERO id of the group that the import was made in.
        group: Its name.
        made_seconds: When, in seconds since 1970 by the server's clock.
    """

    id: int
    path: str
    owner_id: int
    owner: str
    group_id: int
    group: str
    made_seconds: float
