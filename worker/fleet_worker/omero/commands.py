"""Run a command of ``omero.cmd`` inside the server and wait for its end. Safe in any thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import Ice
import omero
import omero.cmd

from fleet_common.errors import Reason, failure
from fleet_worker.omero.classify import ServerError
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.translate import translated

DEADLINE_SECONDS: Final = 1800.0
"""Deleting a plate of 1,152 images took 5 s; commands queue behind imports, though."""
_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 1.0


def submit(connection: Connection, what: str, request: Any) -> None:
    """Send a request and wait until it is done."""
    with translated(what):
        handle = connection.factory.submit(request)
    finish(what, handle)


def finish(
    what: str,
    handle: Any,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Wait for a handle and close it.

    Raises:
        Transient: The server refused, for example because an import is at work on the same objects, or took too long.
    """
    give_up_at = clock() + deadline_seconds
    pause_seconds = _FIRST_PAUSE_SECONDS
    try:
        while (answer := _answer(what, handle)) is None:
            if clock() > give_up_at:
                raise failure(Reason.OMERO_BUSY, f"{what} is not done after {deadline_seconds:.0f} s")
            pause(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
    finally:
        close_handle(handle)
    if isinstance(answer, omero.cmd.ERR):
        error = error_in(answer)
        raise failure(Reason.OMERO_BUSY, f"{what} was refused by the server: {error.name}: {error.message[:500]}")


def error_in(answer: Any) -> ServerError:
    """An ``omero.cmd.ERR`` without Ice."""
    return ServerError(
        str(answer.name or ""),
        str(answer.parameters.get("message", "") or ""),
        str(answer.parameters.get("stacktrace", "") or ""),
    )


def close_handle(handle: Any) -> None:
    """Let go of a finished handle; whether the server still knows it does not matter."""
    with contextlib.suppress(Ice.Exception):
        handle.close()


def _answer(what: str, handle: Any) -> Any:
    with translated(what):
        return handle.getResponse()
