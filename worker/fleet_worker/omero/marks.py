"""When the server did what, and the seconds per phase that follow. Safe in any thread.

The phases are those of ``omero fs importtime`` (ome/omero-py, ``omero/plugins/fs.py``), which takes them from the event
log and from updates of the import's log file. Here the ends of steps come from the server's notifications, and what
lies inside a step from the times of creation, so that it works where the server keeps no log file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet_common.events import Phase
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.queries import rows

_MS = 1000.0
_WHAT = "the look-up of the import's times"

# One query: each is a round trip to the server and a transaction in it. The event is joined before all else, for the
# database refuses what Hibernate makes of a join behind an implicit one.
_MOMENTS = """
    select f.id,
        (select max(e.time) from FilesetJobLink l, UploadJob u join u.details.updateEvent e
            where l.parent = f and l.child = u),
        (select min(e.time) from Image i join i.details.creationEvent e where i.fileset = f),
        (select min(e.time) from RenderingDef r join r.details.creationEvent e join r.pixels p join p.image i
            where i.fileset = f),
        (select min(e.time) from Thumbnail t join t.details.creationEvent e join t.pixels p join p.image i
            where i.fileset = f)
    from Fileset f where f.id = :id
"""


@dataclass(frozen=True, slots=True)
class Marks:
    """Moments on the server's clock, in seconds; None where nothing of the kind happened.

    Attributes:
        uploaded: The upload was verified.
        first_image: Bio-Formats had opened the files, the first image was written.
        first_settings: The first rendering settings were written.
        first_thumbnail: The first thumbnail was written.
    """

    uploaded: float | None
    first_image: float | None
    first_settings: float | None
    first_thumbnail: float | None


def read_marks(connection: Connection, fileset_id: int) -> Marks:
    """The moments of a fileset; all None where it is gone."""
    for _fileset_id, *moments in rows(connection, _WHAT, _MOMENTS, {"id": fileset_id}):
        return Marks(*(None if moment is None else float(moment) / _MS for moment in moments))
    return Marks(None, None, None, None)


def phase_seconds(marks: Marks, steps: Mapping[int, float], ended_seconds: float) -> dict[Phase, float]:
    """Seconds per phase of the server's part. Pure.

    Args:
        marks: On the server's clock; only their differences are used.
        steps: Seconds from the start until step 1, 2, 3 was done, on the worker's clock; lost ones are missing.
        ended_seconds: From the start until the end.
    """
    metadata_end = steps.get(1, steps.get(2, ended_seconds))
    pixels_end = steps.get(2, steps.get(3, ended_seconds))
    thumbnails_end = steps.get(3, ended_seconds)
    set_id = min(_between(marks.uploaded, marks.first_image), metadata_end)
    drawing = max(0.0, thumbnails_end - pixels_end)
    rdefs = min(_between(marks.first_settings, marks.first_thumbnail), drawing)
    return {
        Phase.SET_ID: set_id,
        Phase.METADATA: metadata_end - set_id,
        Phase.PIXELDATA: max(0.0, pixels_end - metadata_end),
        Phase.RDEFS: rdefs,
        Phase.THUMBNAILS: drawing - rdefs,
    }


def _between(first: float | None, last: float | None) -> float:
    return 0.0 if first is None or last is None else max(0.0, last - first)
