"""Which Bio-Formats the server reads with, as far as it tells. Reads only; safe in any thread.

No call and no setting of OMERO says it. But the server writes it into the ``MetadataImportJob`` of every fileset, in
``importFileset`` already (``ManagedRepositoryI``; seen on OMERO.server 5.6.3). A job that was made before the server's
last start may tell of an older version, and is not asked.
"""

from __future__ import annotations

import re
from typing import Final

from fleet_worker.omero.connection import Connection
from fleet_worker.omero.queries import Row, Value, rows

Version = tuple[int, ...]
"""Such as (6, 7, 0); empty for one that is not known."""

_WHAT: Final = "the look-up of the server's Bio-Formats"
_NEWEST: Final = """
    select j.id, v.value from MetadataImportJob j join j.versionInfo v
    where v.name = 'bioformats.version' and j.id = (
        select max(k.id) from MetadataImportJob k join k.details.creationEvent e
        where e.time > (select max(n.up) from Node n)
    )
"""
_OF_FILESET: Final = """
    select j.id, v.value from FilesetJobLink l, MetadataImportJob j join j.versionInfo v
    where v.name = 'bioformats.version' and l.child = j and l.parent.id = :id
"""
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)+")


def newest_version(connection: Connection) -> Version:
    """What the newest fileset since the server's start tells; empty while there is none."""
    return _only(connection, _NEWEST, {})


def version_of(connection: Connection, fileset_id: int) -> Version:
    """What the server wrote on a fileset when it was registered."""
    return _only(connection, _OF_FILESET, {"id": fileset_id})


def parsed(text: str) -> Version:
    """The number in ``version: 6.7.0 revision: aef40b4 date: 23 August 2021``; empty where there is none. Pure."""
    found = _NUMBER.search(text)
    return tuple(map(int, found[0].split("."))) if found else ()


def _only(connection: Connection, hql: str, values: dict[str, Value]) -> Version:
    found: list[Row] = rows(connection, _WHAT, hql, values, limit=1)
    return parsed(found[0][1] or "") if found else ()
