"""Write on a fileset what the fleet knows of its import: where it came from, and how long each phase took.

Both are map annotations that exist at most once per fileset, so it may be done again. Threading: safe in any thread,
but one fileset is annotated by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import omero
import omero.model
import omero.rtypes
import tenacity

from fleet_common.events import Phase
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.filesets import NAMESPACE
from fleet_worker.omero.queries import parameters, rows
from fleet_worker.omero.register import named_values
from fleet_worker.omero.translate import translated

METRICS_NAMESPACE: Final = "openmicroscopy.org/omero/import/metrics"
"""Where ``omero fs importtime`` looks first."""

METRIC_NAMES: Final[Mapping[Phase, str]] = MappingProxyType(
    {
        Phase.UPLOAD: "upload (ms)",
        Phase.SET_ID: "setId (ms)",
        Phase.METADATA: "metadata (ms)",
        Phase.PIXELDATA: "pixeldata (ms)",
        Phase.OVERLAYS: "overlays (ms)",
        Phase.RDEFS: "rnd defs (ms)",
        Phase.THUMBNAILS: "thumbnails (ms)",
    }
)
_REQUIRED: Final = frozenset({Phase.SET_ID, Phase.METADATA})
"""``omero fs importtime --summary`` fails on an annotation without them."""

_COUNTED: Final = ("# files", "# planes", "# settings", "# thumbnails")
_COUNTS: Final = """
    select f.id,
        (select count(e) from FilesetEntry e where e.fileset = f),
        (select sum(p.sizeZ * p.sizeC * p.sizeT) from Pixels p join p.image i where i.fileset = f),
        (select count(r) from RenderingDef r join r.pixels p join p.image i
            where i.fileset = f and r.details.owner = p.details.owner),
        (select count(t) from Thumbnail t join t.pixels p join p.image i
            where i.fileset = f and t.details.owner = p.details.owner)
    from Fileset f where f.id = :id
"""

_FIRST_OF_A_NAMESPACE: Final = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(omero.ValidationException),
    stop=tenacity.stop_after_attempt(4),
    wait=tenacity.wait_random(0.05, 0.5),
    reraise=True,
)
"""The server keeps a row per namespace and makes it with the first annotation: of two workers that write that one at
the same moment, one fails on the constraint ``namespace_name``; a moment later it succeeds."""

# One query for both, as each is a round trip to the server and a transaction in it.
_ANNOTATIONS = """
    select a from MapAnnotation a left outer join fetch a.mapValue where a.id in (
        select l.child.id from FilesetAnnotationLink l where l.parent.id = :id and l.child.ns in (:key, :metrics)
        and l.details.owner.id = :owner and l.child.details.owner.id = :owner
    ) order by a.id
"""


def annotate(
    connection: Connection,
    owner_id: int,
    fileset_id: int,
    provenance: Mapping[str, str],
    phases: Mapping[Phase, float],
) -> None:
    """Add provenance to the key annotation, and write the phases where ``omero fs importtime`` reads them.

    Args:
        connection: The owner's session.
        owner_id: Of the fileset; annotations of others are left alone.
        fileset_id: Of the fileset.
        provenance: Pairs to add or replace.
        phases: Seconds by phase. Without setId and metadata no times are written: OMERO's report needs both.
    """
    wanted: dict[str, Mapping[str, str]] = {NAMESPACE: provenance}
    if phases.keys() >= _REQUIRED:
        wanted[METRICS_NAMESPACE] = _metrics(connection, fileset_id, phases)
    with translated(f"the annotation of fileset {fileset_id}"):
        known = _existing(connection, owner_id, fileset_id)
        changed = [
            changed
            for namespace, pairs in wanted.items()
            if (changed := _merged(known.get(namespace), fileset_id, namespace, pairs)) is not None
        ]
        if changed:
            _FIRST_OF_A_NAMESPACE(lambda: connection.update.saveArray(changed))


def mark(connection: Connection, owner_id: int, fileset_id: int, what: str) -> None:
    """Write on a fileset, before it is done, what is about to be done with it."""
    annotate(connection, owner_id, fileset_id, {what: "true"}, {})


def _metrics(connection: Connection, fileset_id: int, phases: Mapping[Phase, float]) -> dict[str, str]:
    written = {
        METRIC_NAMES[phase]: str(round(seconds * 1000)) for phase, seconds in phases.items() if phase in METRIC_NAMES
    }
    for _fileset_id, *counts in rows(connection, "the counts for the import times", _COUNTS, {"id": fileset_id}):
        written |= {name: str(count) for name, count in zip(_COUNTED, counts, strict=True) if count}
    return written


def _merged(annotation: Any | None, fileset_id: int, namespace: str, pairs: Mapping[str, str]) -> Any | None:
    """What there is to save; None where the annotation says it all."""
    if annotation is None:
        return _new_link(fileset_id, namespace, pairs)
    known = {pair.name: pair.value for pair in annotation.getMapValue()}
    merged = known | dict(pairs)
    if merged == known:
        return None
    annotation.setMapValue(named_values(merged.items()))
    return annotation


def _existing(connection: Connection, owner_id: int, fileset_id: int) -> dict[str, Any]:
    """By namespace, the oldest of each."""
    values: dict[str, str | int] = {"id": fileset_id, "key": NAMESPACE, "metrics": METRICS_NAMESPACE, "owner": owner_id}
    found: dict[str, Any] = {}
    for annotation in connection.query.findAllByQuery(_ANNOTATIONS, parameters(values)):
        found.setdefault(annotation.ns.val, annotation)
    return found


def _new_link(fileset_id: int, namespace: str, pairs: Mapping[str, str]) -> Any:
    annotation = omero.model.MapAnnotationI()
    annotation.ns = omero.rtypes.rstring(namespace)
    annotation.mapValue = named_values(pairs.items())
    link = omero.model.FilesetAnnotationLinkI()
    link.parent = omero.model.FilesetI(fileset_id, False)  # noqa: FBT003  Ice knows no keywords
    link.child = annotation
    return link
