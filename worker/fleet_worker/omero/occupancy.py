"""Who is in OMERO right now, as numbers. Reads only. Safe in any thread."""

from __future__ import annotations

from typing import Final

from fleet_worker.omero.connection import Connection
from fleet_worker.omero.queries import rows

_OPEN: Final = "select count(s) from Session s where s.closed is null"


def open_sessions(connection: Connection) -> int:
    """How many sessions of all users are open; one that its client left counts until its idle time-out."""
    ((count,),) = rows(connection, "the count of open sessions", _OPEN, {})
    return int(count)
