"""Read the end of the log that OMERO.server keeps of an import. Best effort: a log never decides anything.

Threading: safe in any thread.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

import Ice

from fleet_common.errors import RequestError
from fleet_worker.omero.connection import ALL_GROUPS, Connection
from fleet_worker.omero.queries import rows
from fleet_worker.omero.redact import tail

MAX_BYTES: Final = 64 * 1024

_LOG = """
    select o.id, o.size from FilesetJobLink l, JobOriginalFileLink j join j.child o
    where l.parent.id = :id and j.parent = l.child and o.mimetype = 'application/omero-log-file' order by o.id
"""


def log_tail(connection: Connection, fileset_id: int) -> str:
    """The redacted end of the log; empty where there is none or it cannot be read."""
    try:
        found = rows(connection, "the look-up of the import log", _LOG, {"id": fileset_id}, limit=1)
        return tail(_end_of(connection, int(found[0][0]))) if found else ""
    except (RequestError, Ice.Exception):
        return ""


def _end_of(connection: Connection, file_id: int) -> str:
    store: Any = connection.factory.createRawFileStore()
    try:
        store.setFileId(file_id, dict(ALL_GROUPS))
        size = int(store.size())
        if size <= 0:
            return ""
        start = max(0, size - MAX_BYTES)
        return bytes(store.read(start, size - start)).decode("utf-8", "replace")
    finally:
        with contextlib.suppress(Ice.Exception):
            store.close()
