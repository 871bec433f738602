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
