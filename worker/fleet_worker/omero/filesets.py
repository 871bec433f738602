"""Find what earlier attempts left in OMERO, by the request id that each stores with its fileset. Reads only.

An annotation counts only if whoever owns the fileset made both annotation and link: in a read-annotate group everybody
may annotate everybody's filesets, and could otherwise pass an old fileset off as the result of another request. Owner
and group of the fileset are for the caller to compare. Threading: safe in any thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from fleet_worker.annotations import RESULT
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.queries import Row, pages, rows
from fleet_worker.omero.state import STARTING, FilesetState, counts

NAMESPACE: Final = "omero-import-fleet/request"
"""Of the key annotation, one per fileset."""

BIG_PLANE_PIXELS: Final = 3192 * 3192
"""The server reads no pixels of larger planes during an import (``omero.pixeldata.max_plane_width``, ``_height``)."""

_WHAT = "the look-up of filesets"

OWN: Final = "l.details.owner.id = f.details.owner.id and a.details.owner.id = f.details.owner.id"
"""A condition on fileset f, its link l and annotation a: whoever owns the fileset made both."""
UNSETTLED: Final = (
    "not exists (select m.id from MapAnnotation m join m.mapValue mv where m.id = a.id and mv.name = :result)"
)
"""A condition on annotation a: no worker has written yet what became of the import."""
_BY_REQUEST = f"""
    select f.id, v.name, v.value from FilesetAnnotationLink l join l.parent f join l.child a join a.mapValue v
    where {OWN} and a.id in (
        select b.id from MapAnnotation b join b.mapValue mv
        where b.ns = :ns and mv.name = 'request_id' and mv.value = :request
    )
"""  # noqa: S608  HQL, put together from constants only; values travel as parameters
_LIVE = f"""
    select f.id, a.id from FilesetAnnotationLink l join l.parent f join l.child a
    join f.details.creationEvent e join e.session s
    where a.ns = :ns and s.closed is null and {OWN} and (
        exists (
            select u.id from FilesetJobLink j, UploadJob u
            where j.parent = f and j.child = u and u.status.value = 'Finished'
        ) or exists (select b.id from MapAnnotation b join b.mapValue v where b = a and v.name = '{STARTING}')
    ) and {UNSETTLED}
"""  # noqa: S608  as above
_BY_BATCH = f"""
    select l.id, mv.value from FilesetAnnotationLink l join l.parent f join l.child a join a.mapValue mv
    where a.ns = :ns and mv.name = 'request_id' and {OWN} and a.id in (
        select b.id from MapAnnotation b join b.mapValue bv
        where b.ns = :ns and bv.name in ('batch', 'batch_id') and bv.value = :batch
    )
"""  # noqa: S608  as above
# One query: each is a round trip to the server and a transaction in it, and one sees everything at one moment.
# Divided, not multiplied: the product of two large sides would overflow the database's integer.
_STATES = f"""
    select f.id, o.id, o.omeName, g.id, g.name, s.closed,
        (select max(u.status.value) from FilesetJobLink j, UploadJob u where j.parent = f and j.child = u),
        (select count(e) from FilesetEntry e where e.fileset = f),
        (select count(h.hash) from FilesetEntry e join e.originalFile h where e.fileset = f),
        (select count(i) from Image i where i.fileset = f),
        (select count(distinct i.series) from Image i where i.fileset = f),
        (select count(p) from Pixels p join p.image i where i.fileset = f
            and p.sha1 like 'Pending%' and p.sizeX <= {BIG_PLANE_PIXELS} / p.sizeY),
        (select count(distinct p.id) from RenderingDef r join r.pixels p join p.image i where i.fileset = f),
        (select count(distinct p.id) from Thumbnail t join t.pixels p join p.image i where i.fileset = f)
    from Fileset f join f.details.owner o join f.details.group g
    join f.details.creationEvent c join c.session s where f.id in (:ids)
"""  # noqa: S608  as above
_ANNOTATED = """
    select l.parent.id, mv.name, mv.value from FilesetAnnotationLink l join l.child a join a.mapValue mv
    where l.parent.id in (:ids) and a.id in (:annotations)
"""


def find_filesets(connection: Connection, request_id: str, *, besides: int = 0) -> tuple[FilesetState, ...]:
    """All filesets that carry the request id, lowest id first, of any owner and group that the session may read.

    Args:
        connection: Whose rights apply.
        request_id: Of the request.
        besides: A fileset that is left out. Mostly there is no other, and then its facts need not be asked for.
    """
    found = rows(connection, _WHAT, _BY_REQUEST, {"ns": NAMESPACE, "request": request_id})
    told = _by_fileset(found)
    told.pop(besides, None)
    return _states(connection, told)


def find_requests(connection: Connection, batch: str) -> tuple[str, ...]:
    """The request ids of all verified filesets of a batch, as they are written there.

    Args:
        connection: Whose rights apply.
        batch: Name or id of the batch.
    """
    values = {"ns": NAMESPACE, "batch": batch}
    return tuple(row[1] for row in pages(connection, _WHAT, _BY_BATCH, values, key="l.id"))


def running(connection: Connection) -> tuple[FilesetState, ...]:
    """The filesets of the fleet that the server is importing, has still to import, or is about to be told to import.

    Those that are being uploaded, or have their result, are left out by the first query already: often it is the only
    one. The session of what has its result may be open for minutes, for the next requests of its owner.
    """
    found = rows(connection, _WHAT, _LIVE, {"ns": NAMESPACE, "result": RESULT})
    states = load_states(connection, found)
    return tuple(state for state in states if counts(state))


def load_states(connection: Connection, found: Sequence[Row]) -> tuple[FilesetState, ...]:
    """The facts of filesets.

    Args:
        connection: Whose rights apply.
        found: Pairs of fileset id and id of its key annotation.
    """
    if not found:
        return ()
    ids, annotations = (sorted({int(row[column]) for row in found}) for column in (0, 1))
    told = rows(connection, _WHAT, _ANNOTATED, {"ids": ids, "annotations": annotations})
    told_of = _by_fileset(told)
    return _states(connection, {fileset_id: told_of.get(fileset_id, {}) for fileset_id in ids})


def _states(connection: Connection, annotations: Mapping[int, Mapping[str, str]]) -> tuple[FilesetState, ...]:
    if not annotations:
        return ()
    found = rows(connection, _WHAT, _STATES, {"ids": sorted(annotations)})
    return tuple(sorted((_state(row, annotations[row[0]]) for row in found), key=lambda state: state.id))


def _by_fileset(told: Sequence[Row]) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for fileset_id, name, value in told:
        found[fileset_id][name] = value
    return dict(found)


def _state(row: Row, annotation: Mapping[str, str]) -> FilesetState:
    fileset_id, owner_id, owner, group_id, group, closed, job_status, *counts = row
    files, hashes, images, distinct_series, pending, rendered, thumbnails = (int(count or 0) for count in counts)
    return FilesetState(
        id=fileset_id,
        owner_id=owner_id,
        owner=owner,
        group_id=group_id,
        group=group,
        annotation=annotation,
        job_status=job_status or "Submitted",
        files=files,
        hashes=hashes,
        images=images,
        distinct_series=distinct_series,
        pending_pixels=pending,
        rendered=rendered,
        thumbnails=thumbnails,
        session_closed=closed is not None,
    )
